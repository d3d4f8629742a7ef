"""What several pre-training methods are made of."""
