"""The detector that tells whether a point lies in a nodule: its points, its training and its table."""
