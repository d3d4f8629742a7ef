"""2-D pictures: PNG, JPEG and single DICOM frames as gray values, squares and crops of them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UNREADABLE, InputError
from .itk import itk_warnings_off, native_path

if TYPE_CHECKING:
    from PIL.Image import Image

STORED_SIDE = 1024
"""Pixels; wider pictures are brought to this side, in 8 bits, before anything else: what training keeps of them."""
LARGEST_SIDE = 20_000
"""Pixels; mammograms and radiographs have up to 8,000. A few bytes of a damaged header can state any number."""


@dataclass(frozen=True)
class Pixels:
    """A picture that is in memory. values: (rows, columns) or (rows, columns, colors), more is brighter. name: for
    people."""

    values: np.ndarray
    name: str = ""


def read_gray(path: Path) -> np.ndarray:
    """(rows, columns) float32 in [0, 1]: 8-bit values as they are, others from their smallest to their largest.

    Colors become luminance; MONOCHROME1 is turned round, so that more is brighter. Raises InputError: no picture, a
    damaged one, more than one frame.
    """
    try:
        with open(path, "rb") as stream:
            start = stream.read(132)
    except OSError as error:
        raise InputError(
            f"The picture {path} cannot be read ({error.strerror}). Check the path.", "missing-file", [path]
        ) from error
    return gray_of(_dicom(path) if start[128:] == b"DICM" else _raster(path))


def gray_of(values: np.ndarray) -> np.ndarray:
    """Pixels (rows, columns) or (rows, columns, 3 or more) of any type as ``read_gray`` gives them."""
    if values.ndim == 3:
        values = values[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    elif values.dtype != np.uint8:
        values = values.astype(np.float32)
        low, high = float(values.min()), float(values.max())
        return (values - low) / (high - low) if high > low else np.zeros_like(values)
    return values.astype(np.float32) / 255.0


@contextlib.contextmanager
def open_raster(path: Path) -> Iterator[Image]:
    """The image in a PNG or JPEG file, to be decoded within the block.

    Raises InputError, whose text does not name the file: no such file, no PNG or JPEG, a damaged one, a size that
    no medical image has.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                if max(image.size) > LARGEST_SIDE:
                    raise Image.DecompressionBombError
                yield image
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError("the file is not there", "missing-file") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError("it states a size that no medical picture has", "unreadable") from error
    except UNREADABLE as error:
        raise InputError("it is no PNG or JPEG, damaged or cut short", "unreadable") from error


def _raster(path: Path) -> np.ndarray:
    try:
        with open_raster(path) as image:
            plain = image.mode in ("L", "I;16", "I", "RGB")
            return np.asarray(image if plain else image.convert("RGB" if image.mode != "1" else "L"))
    except InputError as error:
        text = f"The picture {path} cannot be used: {error}. Export it again as PNG, JPEG or DICOM."
        raise InputError(text, error.code, [path]) from error


def _dicom(path: Path) -> np.ndarray:
    import SimpleITK as sitk

    try:
        with itk_warnings_off():
            values = sitk.GetArrayFromImage(sitk.ReadImage(native_path(path)))
    except RuntimeError as error:
        message = f"The DICOM picture {path} cannot be read ({type(error).__name__})."
        raise InputError(message, "unreadable", [path]) from error
    if values.shape[0] != 1:
        raise InputError(f"{path} holds {values.shape[0]} frames. Export single pictures.", "frames", [path])
    return values[0]  # ITK has turned MONOCHROME1 round already: more is brighter


def square(gray: np.ndarray) -> np.ndarray:
    """(side, side): the picture in the middle of a black square as wide as its longer side."""
    rows, columns = gray.shape
    side = max(rows, columns)
    top, left = (side - rows) // 2, (side - columns) // 2
    framed = np.zeros((side, side), np.float32)
    framed[top : top + rows, left : left + columns] = gray
    return framed


def framed(gray: np.ndarray, stored_side: int) -> np.ndarray:
    """(side, side) float32: the square of which every view is taken, in training and in scoring. It depends on the
    picture alone. stored_side: larger ones are brought to this side and to 8 bits; 0: none.
    """
    whole = square(gray)
    if not stored_side or len(whole) <= stored_side:
        return whole
    middle = len(whole) / 2
    levels = np.rint(crop_resized(whole, (middle, middle), len(whole), stored_side) * 255)
    return levels.astype(np.float32) / np.float32(255)


def crop_resized(gray: np.ndarray, center: tuple[float, float], width: float, side: int) -> np.ndarray:
    """(side, side) float32: the square of ``width`` pixels about a point (row, column), anti-aliased where it shrinks.

    Places between pixels are interpolated linearly; what lies outside the picture is black.
    """
    from PIL import Image

    top, left = center[0] - width / 2, center[1] - width / 2
    rows, columns = gray.shape
    margin = int(np.ceil(max(0.0, -top, -left, top + width - rows, left + width - columns)))
    if margin:
        gray = np.pad(gray, margin)
        top, left = top + margin, left + margin
    box = (left, top, left + width, top + width)
    return np.asarray(Image.fromarray(gray).resize((side, side), Image.Resampling.BILINEAR, box=box))


def crop_rotated(gray: np.ndarray, center: tuple[float, float], width: float, side: int, degrees: float) -> np.ndarray:
    """As ``crop_resized``, of a picture that is rotated about the point, counter-clockwise.

    As sharp as can be, because the upright picture is not interpolated at all where it is not resized, and a network
    that knows blurred ones only does worse on it: interpolated once, by a cubic, and clipped to the picture's range.
    """
    from PIL import Image

    finer = max(1, round(width / side))  # a picture that shrinks is sampled finer, and the samples are averaged
    step, angle = width / (side * finer), np.radians(degrees)
    across, down = step * np.cos(angle), step * np.sin(angle)
    half, (row, column) = side * finer / 2, center
    # From the middle of an output pixel (x, y) to the place in the picture.
    places = (across, -down, column - (across - down) * half, down, across, row - (across + down) * half)
    size = (side * finer, side * finer)
    image = Image.fromarray(gray).transform(size, Image.Transform.AFFINE, places, Image.Resampling.BICUBIC)
    turned = np.clip(np.asarray(image), gray.min(), gray.max())
    return turned.reshape(side, finer, side, finer).mean(axis=(1, 3))
