"""A training on disk: its folder, events, progress, starting and stopping."""
