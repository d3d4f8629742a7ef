"""Figures of merit with intervals, calibration and comparisons: numbers from arrays."""
