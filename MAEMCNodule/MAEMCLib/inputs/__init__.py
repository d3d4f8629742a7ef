"""What a network is shown of an image: the region of a nodule, its montage, further series."""
