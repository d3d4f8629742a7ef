"""2-D pictures, and slices of volumes as such, read one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from .axial import absent_slices, axial_view, windowed
from .ct import CTVolume, check_ct
from .gray import Pixels, read_gray
from .reading_process import ReadingProcess


class PictureReader:
    """Reads in a child process, which a damaged file may crash; ``with`` ends it. Keeps the last volume: a manifest
    lists a volume's slices one after another.

    process: the child of a caller who ends it; without one it has its own.
    """

    def __init__(self, process: ReadingProcess | None = None) -> None:
        self._process = process or ReadingProcess()
        self._source: tuple[Path | CTVolume, str | None] | None = None
        self._volume: CTVolume | None = None

    def __enter__(self) -> PictureReader:
        return self

    def __exit__(self, *_) -> None:
        self._process.close()

    def picture(self, image: Path | Pixels) -> np.ndarray:
        """As ``gray.read_gray``."""
        return read_gray(image) if isinstance(image, Pixels) else self._process.read_gray(image)

    def slice(self, image: Path | CTVolume, series_uid: str | None, slice_index: str | int) -> np.ndarray:
        """(rows, columns) uint8 of one slice, counted from 0, the lowest, towards S.

        Raises InputError: what reading raises, no CT, a number that is none of the volume's slices.
        """
        if self._source != (image, series_uid):
            self._source = self._volume = None
            volume = image if isinstance(image, CTVolume) else self._process.read(image, series_uid)
            check_ct(volume)
            self._source, self._volume = (image, series_uid), volume
        stack = axial_view(self._volume)
        try:
            number = int(slice_index)
        except ValueError:
            raise InputError(
                f"The slice_index '{slice_index}' is not a whole number.", "slice", [slice_index]
            ) from None
        if not 0 <= number < len(stack):
            raise InputError(
                f"The slice {number} is not in a volume of {len(stack)} slices. Correct slice_index.", "slice"
            )
        if number in absent_slices(self._volume):
            raise InputError(f"The volume has no image of the slice {number}. Transfer the series again.", "slice")
        return windowed(stack[number])
