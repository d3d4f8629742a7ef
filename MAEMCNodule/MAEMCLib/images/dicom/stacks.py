"""The stacks of slices that one series holds: usually one, but phases, reconstructions, directions and even patients
can share a SeriesInstanceUID."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..ct import ReadingRemark
from .grid import RUN, Grid, lay, runs_of_one_step
from .header import NUMBERS, Header
from .image import PROJECTED, REFORMATTED, Slice, refused

SAME_COSINES = 1e-3
SAME_SPACING_MM = 1e-4
_LONE = 0.25
"""A single image within this many steps of a stack belongs to the stack, whatever its header says."""
_NEVER_SHARED = {  # by the slices of one stack, and how it is called in a listing
    "PatientID": "patient",
    "StudyInstanceUID": "study",
    "FrameOfReferenceUID": "frame of reference",
    "StackID": "stack ID",
}
_APART = {  # what can tell colliding stacks apart, and how it is called in a listing
    "AcquisitionNumber": "acquisition",
    "TemporalPositionIdentifier": "phase",
    "TemporalPositionIndex": "phase",
    "NominalPercentageOfCardiacPhase": "cardiac phase",
    "TriggerTime": "trigger time",
    "ConvolutionKernel": "kernel",
    "SliceThickness": "slice thickness",
    "ImageType": "image type",
}


@dataclass(frozen=True)
class Stack:
    """Slices of one series that belong together.

    uid: SeriesInstanceUID. number: from 1, 0 where the series has this stack alone. slices: on the grid in order, else
    as they were read. grid: where they lie, None where they cannot be used; problem then gives the reason. remarks: all
    that the user of its score has to know. differs: what tells it from the other stacks of its series, in words without
    DICOM's free text. files: all that hold its images, copies included.
    """

    uid: str
    slices: tuple[Slice, ...] = ()
    grid: Grid | None = None
    problem: InputError | None = None
    number: int = 0
    remarks: tuple[ReadingRemark, ...] = ()
    differs: str = ""
    files: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """How it is chosen: ``UID``, or ``UID#2`` for the second stack of a series."""
        return f"{self.uid}#{self.number}" if self.number else self.uid

    def is_called(self, name: str) -> bool:
        """Whether a name means this stack, or its series."""
        return name in (self.uid, f"{self.uid}#{self.number or 1}")

    def __str__(self) -> str:
        facts = []
        if self.slices:
            first = self.slices[0]
            along = int(np.argmax(np.abs(first.normal)))
            oblique = "" if np.abs(first.normal[along]) > 0.999 else "oblique "
            facts.append(f"{len(self.slices)} slices")
            if self.grid is not None:
                facts.append(f"step {self.grid.step_mm:.4g} mm")
            facts.append(f"{first.shape[1]} x {first.shape[0]} pixels of {first.pixel_spacing[0]:.3g} mm")
            facts.append(oblique + ("sagittal", "coronal", "axial")[along])
        if self.differs:
            facts.append(self.differs)
        if self.problem is not None:
            facts.append(f"not usable: {self.problem}")
        return f"{self.name} ({'; '.join(facts)})"


def stacks_of(uid: str, slices: Sequence[Slice]) -> tuple[list[Stack], list[Slice]]:
    """Divide the slices of one series into stacks, and name the lone images that belong to none (localizers).

    What differs in patient, study, frame of reference, stack ID, size, direction, pixel spacing or kind of image is
    never one stack. What collides is divided further by acquisition, phase, kernel, thickness or slice spacing. Stacks
    are numbered by their lowest InstanceNumber, then acquisition, phase and SOPInstanceUID, whatever the files are
    called. Raises InputError: an image that lies on a stack's grid and differs from it.
    """
    stacks = [stack for group in _always_apart(slices) for stack in _divided(uid, group)]
    grids = [stack.grid for stack in stacks if stack.grid is not None]
    lone: list[Slice] = []
    if grids:
        lone = [stack.slices[0] for stack in stacks if len(stack.slices) == 1]
        stacks = [stack for stack in stacks if len(stack.slices) > 1]
    for item in lone:
        if any(belongs(item, grid) for grid in grids):
            raise refused(
                "one image lies among the slices of the series and differs from them in size, spacing, direction, "
                "patient, study, frame of reference or kind", item.path, "dicom-mixed"
            )  # fmt: skip
    stacks.sort(key=_order)
    if len(stacks) == 1:
        return stacks, lone
    differences = _differences([stack.slices for stack in stacks])
    return [replace(s, number=n, differs=differences[n - 1]) for n, s in enumerate(stacks, 1)], lone


def _always_apart(slices: Sequence[Slice]) -> list[list[Slice]]:
    groups: dict[Hashable, list[list[Slice]]] = {}
    for item in slices:
        tags = (item.header.text(tag) for tag in _NEVER_SHARED)
        kind = item.kind if item.kind in (PROJECTED, REFORMATTED) else ""
        alike = groups.setdefault((*tags, kind, item.shape), [])
        group = next((group for group in alike if _same_plane(group[0], item)), None)
        if group is None:
            alike.append(group := [])
        group.append(item)
    return [group for alike in groups.values() for group in alike]


def _same_plane(a: Slice, b: Slice) -> bool:
    return bool(
        np.abs(a.orientation - b.orientation).max() <= SAME_COSINES
        and np.abs(a.pixel_spacing - b.pixel_spacing).max() <= SAME_SPACING_MM
    )


def _divided(uid: str, slices: list[Slice]) -> list[Stack]:
    """One stack where the slices lie on one grid, or those into which their headers or spacings divide them."""
    whole = _laid(uid, slices)
    if len(slices) < 2 * RUN:
        return [whole]
    varying = [name for name in _APART if len({item.header.get(name) for item in slices}) > 1]
    if whole.grid is not None:
        return _interleaved(uid, slices, varying) or [whole]
    best, most = [whole], 0
    for count in range(1, len(varying) + 1):
        for names in combinations(varying, count):
            parts = _by(slices, names)
            if not 2 <= len(parts) <= len(slices) / RUN or not _overlap(parts):
                continue
            stacks = [_laid(uid, part) for part in parts]
            placed = sum(len(stack.slices) for stack in stacks if stack.grid is not None)
            if placed > most:
                best, most = stacks, placed
    if most:
        return best
    runs = runs_of_one_step(slices) if whole.problem.code == "dicom-spacings" else []
    if runs and min(map(len, runs)) >= RUN:
        return [_laid(uid, run) for run in runs]
    return [whole]


def _interleaved(uid: str, slices: list[Slice], varying: Sequence[str]) -> list[Stack]:
    """Phases or reconstructions whose slices happen to lie between each other's on one grid, as stacks; else none."""
    for name in varying:
        parts = _by(slices, [name])
        if len(parts) > 1 and min(map(len, parts)) >= RUN and _overlap(parts, 0.5):
            stacks = [_laid(uid, part) for part in parts]
            if all(stack.grid is not None and not stack.grid.absent for stack in stacks):
                return stacks
    return []


def _by(slices: Sequence[Slice], names: Sequence[str]) -> list[list[Slice]]:
    parts: dict[tuple, list[Slice]] = {}
    for item in slices:
        parts.setdefault(tuple(item.header.get(name) for name in names), []).append(item)
    return list(parts.values())


def _overlap(parts: Sequence[Sequence[Slice]], share: float = 0.0) -> bool:
    """Whether two parts cover the same height, by a share of the lower one at least: those of a scan in several steps
    lie one after the other."""
    normal = parts[0][0].normal
    spans = sorted((min(h), max(h)) for h in ([float(item.position @ normal) for item in part] for part in parts))
    return any(min(a[1], b[1]) - b[0] >= share * min(a[1] - a[0], b[1] - b[0]) for a, b in pairwise(spans))


def _laid(uid: str, slices: Sequence[Slice]) -> Stack:
    try:
        if slices[0].kind == PROJECTED:
            raise InputError("projections (MIP, MinIP or a rendering), no CT slices", "dicom-projection")
        without = [item for item in slices if item.slope is None]
        if without and len(without) < len(slices):
            raise refused("RescaleSlope and RescaleIntercept are missing on some of its slices", without[0].path)
        grid = lay(slices)
    except InputError as problem:
        return Stack(uid, tuple(slices), problem=problem)
    return Stack(uid, grid.slices, grid)


def belongs(item: Slice, grid: Grid) -> bool:
    """Whether an image lies where a slice of the grid would: in a gap, or next to its ends."""
    k, aside = grid.place(item)
    number = round(k)
    free = number in (-1, grid.depth) or number in grid.absent
    return free and abs(k - number) <= _LONE and aside <= grid.tolerance_mm


def _order(stack: Stack) -> tuple:
    headers = [item.header for item in stack.slices]
    names = ("InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier", "TemporalPositionIndex")
    values = [[header.number(name) for header in headers] for name in names]
    lowest = [min((value for value in every if not math.isnan(value)), default=math.inf) for every in values]
    return (*lowest, min(header.text("SOPInstanceUID") for header in headers))


def _differences(stacks: Sequence[Sequence[Slice]]) -> list[str]:
    """For each stack what tells it from the others: numbers as they are, texts by letters, since DICOM's are free."""
    differences: list[list[str]] = [[] for _ in stacks]
    for name, word in (_NEVER_SHARED | _APART).items():
        values = [{_value(item.header, name) for item in stack} for stack in stacks]
        different = sorted(set().union(*values))
        if any(len(value) > 1 for value in values) or len(different) < 2:
            continue
        for words, (value,) in zip(differences, values, strict=True):
            shown = f"{value:g}" if name in NUMBERS else chr(ord("A") + different.index(value))
            words.append(f"{word} {'not stated' if value == -math.inf else shown}")
    return ["; ".join(dict.fromkeys(words)) for words in differences]


def _value(header: Header, name: str) -> str | float:
    """A text, or a number that is -infinity where none is stated."""
    if name not in NUMBERS:
        return header.text(name)
    value = header.number(name)
    return -math.inf if math.isnan(value) else value
