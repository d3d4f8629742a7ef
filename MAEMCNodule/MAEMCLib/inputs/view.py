"""What of a picture a network is shown: the central square at one or several angles, standardized.

Free of torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ..errors import ModelError
from ..images.gray import crop_resized, crop_rotated, framed
from ..networks.configuration import LARGEST
from .input import check_numbers, check_standardization

MOST_ANGLES = 360
SMALLEST_VIEW = 0.01


@dataclass(frozen=True)
class PicturePreprocessing:
    """How a picture becomes network input; stored with each model.

    image_size: pixels a side. view_share: side of the central square that is shown, as a share of the picture's longer
    side; what lies around it serves shifts. mean, std: of the training pictures' gray values in [0, 1]. angles: at how
    many angles, evenly about the middle, a picture is shown; the mean of what the network says of them counts.
    stored_side: the longest side of what ``framed`` keeps of a picture; 0, of models before it was stored: any.
    """

    image_size: int = 224
    view_share: float = 1.0
    mean: float = 0.0
    std: float = 1.0
    angles: int = 1
    stored_side: int = 0

    def __post_init__(self) -> None:
        check_numbers(self)
        possible = self.image_size >= 1 and 0 < self.view_share <= 1 and self.std > 0 and self.stored_side >= 0
        whole = isinstance(self.angles, int) and isinstance(self.stored_side, int)
        if not possible or not whole or not 1 <= self.angles <= MOST_ANGLES:
            raise ModelError(f"The preprocessing settings contradict themselves: {asdict(self)}.")
        if not isinstance(self.image_size, int):
            raise ModelError(f"The image size {self.image_size} is no whole number of pixels.", "schema")
        if self.image_size > LARGEST["image_size"] or self.view_share < SMALLEST_VIEW:
            raise ModelError(f"Nothing can be seen with the preprocessing settings {asdict(self)}.", "schema")
        check_standardization(self.mean, self.std)


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
