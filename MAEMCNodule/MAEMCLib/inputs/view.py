"""What of a picture a network is shown: the central square at one or several angles, standardized."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..images.gray import crop_resized, crop_rotated, framed
from .settings import PicturePreprocessing


def shown(gray: np.ndarray, preprocessing: PicturePreprocessing) -> np.ndarray:
    """A square picture in [0, 1] -> (angles, image_size, image_size) network input; the first is upright."""
    middle, width = (len(gray) / 2, len(gray) / 2), len(gray) * preprocessing.view_share
    turns = 360.0 * np.arange(1, preprocessing.angles) / preprocessing.angles
    views = [crop_resized(gray, middle, width, preprocessing.image_size)]
    views += [crop_rotated(gray, middle, width, preprocessing.image_size, degrees) for degrees in turns]
    return normalize_gray(np.stack(views), preprocessing)


def normalize_gray(gray: np.ndarray, preprocessing: PicturePreprocessing) -> np.ndarray:
    """[0, 1] -> network input, float32, any shape."""
    return ((gray - preprocessing.mean) / preprocessing.std).astype(np.float32)


def views(gray: np.ndarray, preprocessing: PicturePreprocessing) -> np.ndarray:
    """A picture in [0, 1] -> (angles, image_size, image_size) network input: all that a network is shown of it."""
    return shown(framed(gray, preprocessing.stored_side), preprocessing)


@dataclass(frozen=True)
class View:
    """The square of a picture that the network sees. top, left, width: in the picture's pixels; 0 is the first pixel's
    border, and what lies outside the picture is black."""

    top: float
    left: float
    width: float

    @classmethod
    def of(cls, gray: np.ndarray, preprocessing: PicturePreprocessing) -> View:
        """The square that ``views`` shows; like there, the black frame is a whole number of pixels wide."""
        side = max(gray.shape)
        width = side * preprocessing.view_share
        top, left = ((side - width) / 2 - (side - size) // 2 for size in gray.shape)
        return cls(top, left, width)

    def outside(self, gray: np.ndarray) -> float:
        """Share of the square that lies outside the picture."""
        covered = [
            max(0.0, min(start + self.width, size) - max(start, 0.0))
            for start, size in zip((self.top, self.left), gray.shape, strict=True)
        ]
        return 1.0 - covered[0] * covered[1] / self.width**2
