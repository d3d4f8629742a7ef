"""Whether a point lies in a nodule at all: rules on its surroundings, and a small network that has learned it."""
