"""The network that outlines nodules: the planes it learns from, its training, and what its outlines are worth."""
