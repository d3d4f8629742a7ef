"""Two networks compared: layers, features, maps."""
