"""The slices of a manifest as 8-bit images, volume by volume, in the order towards S."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import POINT, Manifest
from MAEMCLib.errors import InputError
from MAEMCLib.files.strict_json import number_of
from MAEMCLib.images.ct import WINDOW_HU, axial_slice, axial_slices, check_ct
from MAEMCLib.images.gray import open_raster
from MAEMCLib.images.reading_process import ReadingProcess

PICTURES = (".png", ".jpg", ".jpeg")


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
        volume_id = row.values.get("volume_id", "")
        if row.problem:
            left_out.append(LeftOut(volume_id, row.case_id, row.problem, "manifest-row"))
        elif row.kind == "image":
            left_out.append(LeftOut("", row.case_id, "of the kind image, it belongs to no volume", "kind"))
        elif row.kind == "slice" and not math.isfinite(_position(row)):
            reason = f"its slice_index '{row.values['slice_index']}' is no number"
            left_out.append(LeftOut(volume_id, row.case_id, reason, "order"))
        else:
            volume = volume_id if row.kind == "slice" else (row.image, row.series)
            groups.setdefault((row.patient_id, volume), []).append(row)
    if not groups and not any(item.code == "order" for item in left_out):
        raise InputError(
            f"The manifest {manifest.path} has no slices to compare. Rows of the kind slice need the columns volume_id "
            "and slice_index; rows of the kind nodule need a CT in the column image.",
            "no-cases",
        )
    volumes = []
    for rows in groups.values():
        volume = Volume(rows[0].values.get("volume_id") or rows[0].case_id, tuple(rows))
        counts = {} if volume.is_ct else Counter(map(_position, rows))
        if twice := [f"{place:g}" for place, count in counts.items() if count > 1]:
            reason = f"it has more than one slice with the slice_index {', '.join(twice[:5])}, so that it has no order"
            left_out.append(LeftOut(volume.volume_id, "", reason, "order"))
        else:
            volumes.append(volume if volume.is_ct else replace(volume, rows=tuple(sorted(rows, key=_position))))
    return volumes, left_out


def read_slices(volume: Volume, reader: ReadingProcess) -> tuple[list[Case], list[np.ndarray], list[LeftOut]]:
    """Rows of the kind ``slice`` with their images, (rows, columns) uint8, in slice order, and what cannot be read.

    A CT's slices are numbered from 0, the lowest, and windowed; see ``axial_slices``. Raises InputError where a CT
    cannot be read or lacks slices, or the slices differ in size, naming which do.
    """
    if volume.is_ct:
        ct = reader.read(volume.rows[0].image, volume.rows[0].series)
        check_ct(ct)
        if ct.absent:
            raise InputError(f"it has no image of {len(ct.absent)} of its slices. Transfer it again", "absent")
        return slice_rows(volume, ct.oriented.size[2]), list(axial_slices(ct)), []
    rows, slices, left_out = [], [], []
    for row in volume.rows:
        try:
            if row.image.suffix.lower() in PICTURES:
                pixels = read_picture(row.image)
            else:  # a slice of a CT, as a reduction writes them
                pixels = axial_slice(reader.volume(row.image, row.series), row.values["slice_index"])
        except InputError as error:
            left_out.append(LeftOut(volume.volume_id, row.case_id, str(error), error.code))
            continue
        rows.append(row)
        slices.append(pixels)
    _check_sizes(rows, slices)
    return rows, slices, left_out


def slice_rows(volume: Volume, count: int) -> list[Case]:
    """A row of the kind ``slice`` for each slice of a CT, from the lowest, with what the rows of all nodules share."""
    first = volume.rows[0]
    names = [name for name in first.values if name not in ("volume_id", "slice_index", *POINT)]
    agreed = {name: _agreed(row.values.get(name) for row in volume.rows) or "" for name in names}
    agreed |= {"window_lower_hu": f"{WINDOW_HU[0]:g}", "window_upper_hu": f"{WINDOW_HU[1]:g}"}
    label, part = _agreed(row.label for row in volume.rows), _agreed(row.split for row in volume.rows)
    row = Case(first.case_id, first.patient_id, first.image, "slice", label, part)
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


def _position(row: Case) -> float:
    """NaN or infinite where the row states none."""
    return number_of(row.values["slice_index"])


def _agreed(values: Iterable[Any]) -> Any:
    """The one value of all that are given; None where there is none, or they contradict each other."""
    given = set(values) - {None, ""}
    return given.pop() if len(given) == 1 else None
