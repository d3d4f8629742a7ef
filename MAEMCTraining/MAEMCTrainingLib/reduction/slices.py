"""The slices of a manifest as 8-bit pictures, volume by volume, in the order towards S."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import POINT, Manifest
from MAEMCLib.errors import InputError
from MAEMCLib.images.axial import axial_slices
from MAEMCLib.images.ct import WINDOW_HU, check_ct
from MAEMCLib.images.files import read_volume
from MAEMCLib.images.gray import open_raster

PICTURES = (".png", ".jpg", ".jpeg")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Volume:
    """Slices that are compared with each other.

    rows: either of the kind ``slice``, in slice order; or of the kind ``nodule``, all in one CT, whose slices are known
    only after it was read.
    """

    volume_id: str
    rows: tuple[Case, ...]

    @property
    def is_ct(self) -> bool:
        """Whether the rows name a CT rather than its slices."""
        return self.rows[0].kind == "nodule"


@dataclass(frozen=True)
class LeftOut:
    """A slice, or a volume where ``case_id`` is empty, that could not be used. reason: for the user; it may name files.
    code: for what is stored.
    """

    volume_id: str
    case_id: str
    reason: str
    code: str

    def __str__(self) -> str:
        return f"{self.case_id or f'volume {self.volume_id}'}: {self.reason}"


def volumes_of(manifest: Manifest) -> tuple[list[Volume], list[LeftOut]]:
    """The volumes in the manifest's order, and what cannot be ordered.

    Pictures are grouped by patient and ``volume_id``, rows of nodules by their CT. Raises InputError where the manifest
    has neither.
    """
    groups: dict[tuple, list[Case]] = {}
    left_out = []
    for row in manifest.rows:
        if row.problem:
            left_out.append(LeftOut(row.values.get("volume_id", ""), row.case_id, row.problem, "manifest-row"))
        elif row.kind == "nodule":
            groups.setdefault((row.patient_id, row.image, row.values.get("series_uid", "")), []).append(row)
        elif row.kind == "slice":
            volume_id = row.values["volume_id"]
            if _position(row) is None:
                index = row.values["slice_index"]
                left_out.append(LeftOut(volume_id, row.case_id, f"its slice_index '{index}' is no number", "order"))
            else:
                groups.setdefault((row.patient_id, volume_id), []).append(row)
        else:
            left_out.append(LeftOut("", row.case_id, f"of the kind {row.kind}, it belongs to no volume", "kind"))
    if not groups and not any(item.code == "order" for item in left_out):
        raise InputError(
            f"The manifest {manifest.path} has no slices to compare. Rows of the kind slice need the columns volume_id "
            "and slice_index; rows of the kind nodule need a CT in the column image.",
            "no-cases",
        )
    volumes = []
    for rows in groups.values():
        if rows[0].kind == "nodule":
            volumes.append(Volume(rows[0].values.get("volume_id") or rows[0].case_id, tuple(rows)))
            continue
        volume_id = rows[0].values["volume_id"]
        twice = [f"{place:g}" for place, count in Counter(map(_position, rows)).items() if count > 1]
        if twice:
            reason = f"it has more than one slice with the slice_index {', '.join(twice[:5])}, so that it has no order"
            left_out.append(LeftOut(volume_id, "", reason, "order"))
        else:
            volumes.append(Volume(volume_id, tuple(sorted(rows, key=_position))))
    return volumes, left_out


def read_slices(volume: Volume) -> tuple[list[Case], list[np.ndarray], list[LeftOut]]:
    """Rows of the kind ``slice`` with their pictures, (rows, columns) uint8, in slice order, and what cannot be read.

    A CT's slices are numbered from 0, the lowest, and windowed; see ``axial_slices``. Raises InputError where a CT
    cannot be read or the slices differ in size, naming which do.
    """
    if volume.is_ct:
        stack = _read_ct(volume.rows[0])
        return slice_rows(volume, len(stack)), list(stack), []
    rows, slices, left_out = [], [], []
    stacks: dict[tuple, np.ndarray] = {}
    for row in volume.rows:
        try:
            if row.image.suffix.lower() in PICTURES:
                pixels = read_picture(row.image)
            else:  # a slice of a CT, as a reduction writes them
                source = (row.image, row.values.get("series_uid", ""))
                stacks[source] = stack = stacks[source] if source in stacks else _read_ct(row)
                pixels = _slice_of(stack, _position(row))
        except InputError as error:
            left_out.append(LeftOut(volume.volume_id, row.case_id, str(error), error.code))
            continue
        rows.append(row)
        slices.append(pixels)
    _check_sizes(rows, slices)
    return rows, slices, left_out


def count_slices(volume: Volume) -> list[Case]:
    """The rows that ``read_slices`` would return, without reading images; a CT has to be read all the same."""
    return slice_rows(volume, len(_read_ct(volume.rows[0]))) if volume.is_ct else list(volume.rows)


def slice_rows(volume: Volume, count: int) -> list[Case]:
    """A row of the kind ``slice`` for each slice of a CT, from the lowest, with what the rows of all nodules share."""
    first = volume.rows[0]
    names = [name for name in first.values if name not in ("volume_id", "slice_index", *POINT)]
    agreed = {name: _agreed(volume.rows, lambda row, name=name: row.values.get(name, "")) or "" for name in names}
    agreed |= {"window_lower_hu": f"{WINDOW_HU[0]:g}", "window_upper_hu": f"{WINDOW_HU[1]:g}"}
    row = Case(
        first.case_id,
        first.patient_id,
        first.image,
        "slice",
        _agreed(volume.rows, lambda row: row.label),
        _agreed(volume.rows, lambda row: row.split),
    )
    return [
        replace(
            row,
            case_id=f"{first.case_id}-{index:04d}",
            values={"volume_id": volume.volume_id, "slice_index": str(index), **agreed},
        )
        for index in range(count)
    ]


def read_picture(path: Path) -> np.ndarray:
    """(rows, columns) uint8 of a PNG or JPEG; color becomes gray.

    Raises InputError: damaged or no such file, more than 8 bits a pixel (which window was meant is not known).
    """
    with open_raster(path) as image:
        if image.mode.startswith(("I", "F")):
            raise InputError("it has more than 8 bits a pixel; save it windowed, with 8 bits", "bits")
        return np.array(image.convert("L"))


def _read_ct(row: Case) -> np.ndarray:
    volume = read_volume(row.image, row.values.get("series_uid") or None)
    check_ct(volume)
    absent = volume.oriented.absent
    if absent:
        raise InputError(f"it has no image of {len(absent)} of its slices. Transfer it again", "absent")
    return axial_slices(volume)


def _slice_of(stack: np.ndarray, position: float) -> np.ndarray:
    if position != int(position) or not 0 <= position < len(stack):
        raise InputError(f"its volume has the slices 0 to {len(stack) - 1}", "order")
    return stack[int(position)]


def _check_sizes(rows: Sequence[Case], slices: Sequence[np.ndarray]) -> None:
    sizes = Counter(pixels.shape for pixels in slices)
    if len(sizes) < 2:
        return
    (usual, count), *_ = sizes.most_common(1)
    others = [
        f"{row.values['slice_index']} ({pixels.shape[1]} x {pixels.shape[0]})"
        for row, pixels in zip(rows, slices, strict=True)
        if pixels.shape != usual
    ]
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    raise InputError(
        f"its slices differ in size: {count} have {usual[1]} x {usual[0]} pixels, but not slice "
        f"{', '.join(others[:5])}{more}. Slices of one volume have one size",
        "sizes",
    )


def _position(row: Case) -> float | None:
    try:
        value = float(row.values["slice_index"])
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _agreed(rows: Sequence[Case], value: Callable[[Case], Value]) -> Value | None:
    """The value of all rows that have one; None where they contradict each other."""
    values = {value(row) for row in rows} - {None, ""}
    return values.pop() if len(values) == 1 else None
