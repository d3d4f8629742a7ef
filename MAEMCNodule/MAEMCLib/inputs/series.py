"""Regions of the further series that a fusion model reads: the same point, in another CT of the same patient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ..cases.values import GIVEN, SERIES, ClinicalField, ClinicalValues
from ..errors import InputError
from ..images.ct import CTVolume, check_ct
from ..images.files import read_volume
from .region import cut_roi


def with_regions(
    values: ClinicalValues,
    asked: Sequence[ClinicalField],
    point_lps,
    slice_step_mm: float,
    read: Callable[[str], CTVolume] | None = None,
) -> ClinicalValues:
    """The values with the region of each further series that was given, and in its place the name of a volume (for the
    window that shows it; what is written down says GIVEN), or GIVEN of a path.

    point_lps: LPS mm, the same in all series. read: of a path, in the place of ``read_volume``. No volume is kept.
    Raises InputError naming the series: it cannot be read, is no CT, or does not hold the point.
    """
    names, regions = {}, {}
    for field in asked:
        given = values.values[field.name] if field.kind == SERIES else None
        if given is None:
            continue
        try:
            volume = given if isinstance(given, CTVolume) else (read or _read)(str(Path(given).resolve()))
            check_ct(volume)
            regions[field.name] = cut_roi(volume, point_lps, slice_step_mm)
        except InputError as error:
            message = f"The series {field.name} cannot be used: {error}"
            named = given.name if isinstance(given, CTVolume) else given
            raise InputError(message, error.code, error.private).hide(named) from error
        names[field.name] = volume.name if isinstance(given, CTVolume) else GIVEN
    return replace(values, values=values.values | names, regions=regions)


@lru_cache(maxsize=1)
def _read(path: str) -> CTVolume:
    """The last series stays in memory: the points of one patient come after each other."""
    return read_volume(path)
