"""Intervals and bins of few cases, by NumPy alone: for training's evaluation and for a reader's own."""
