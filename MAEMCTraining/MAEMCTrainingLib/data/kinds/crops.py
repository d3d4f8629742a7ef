"""Pieces of augmentation that kinds share."""

import numpy as np
from MAEMCLib.images.gray import crop_resized


def random_crop(image: np.ndarray, area: tuple[float, ...], side: int, rng: np.random.Generator) -> np.ndarray:
    """A square of a random share of the image's area, anywhere in it, brought to one side."""
    width = len(image) * np.sqrt(rng.uniform(*area))
    top, left = rng.uniform(0, len(image) - width, 2)
    return crop_resized(np.ascontiguousarray(image), (top + width / 2, left + width / 2), width, side)


def turned(image: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    """An image turned by right angles, then mirrored."""
    image = np.rot90(image, turns)
    return image[:, ::-1] if flip else image
