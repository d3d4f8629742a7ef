"""A nodule's size: its mask on the grid of the CT, and what a radiologist measures of it."""
