"""What each ``maemc`` command does."""
