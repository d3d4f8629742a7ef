"""Planes of LIDC nodules with their readers' masks: slabs give their axial slices, cubes planes in three directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume
from MAEMCLib.images.sampling import sample_stack
from MAEMCLib.measures.field import PIXEL_MM

from ..data.importers.formats.lidc_cubes import rows_of

STORED_SIDE = 80
"""Pixels: 64 mm, so that turned and shifted planes are whole."""
CUBE_STEP_MM, CUBE_PLANES = 1.6, 31
DIRECTIONS = ((0, 1, 2), (0, 2, 1), (1, 2, 0))
"""Axial, coronal, sagittal: the patient's axes along columns, rows and across."""
HELD_OUT = 5
"""One patient of so many is trained on by no outline network."""
_SPLIT_SEED = 7


@dataclass(frozen=True)
class Lesion:
    """A nodule of a folder of slabs or cubes. readers: who marked it. row: of labels.csv. held_out: of a patient whom
    the network that is judged has not seen."""

    folder: Path
    row: dict[str, str]
    patient: str
    readers: int
    held_out: bool = False

    @property
    def image(self) -> CTVolume:
        """HU; (0, 0, 0) LPS is the middle of the mask of a slab, and near it of a cube."""
        return read_volume(self.folder / "images" / self.row["file"])

    def marks(self) -> CTVolume:
        """How many readers marked each voxel."""
        return read_volume(self.folder / "masks" / self.row["file"])

    def consensus(self) -> CTVolume:
        """Voxels that at least half of the readers marked, as 0 and 1."""
        marks = self.marks()
        agreed = (marks.array > 0) & (marks.array * 2.0 >= self.readers)
        return CTVolume(agreed.astype(np.float32), marks.affine)


@dataclass(frozen=True)
class Planes:
    """(N, 80, 80) int16 HU and uint8 percent of nodule; (N,) mm from the plane to the nodule's middle, and the number
    of its lesion."""

    hu: np.ndarray
    nodule: np.ndarray
    beside_mm: np.ndarray
    lesion: np.ndarray


def lesions(slabs: Path, cubes: Path) -> tuple[list[Lesion], list[Lesion]]:
    """Of both folders, one patient in five held out: the same one in both. A cube of an unknown patient is left out.

    Raises InputError for a folder that is neither.
    """
    found = []
    for source, what in ((slabs, "slabs"), (cubes, "cubes")):
        folder, rows = rows_of(source, ("file", "patient", "n_readers"), what)
        if not (folder / "masks").is_dir():
            raise InputError(f"{folder} has no folder masks, which the outline is learned from.", "missing-file")
        readers = [1 if what == "cubes" else int(row["n_readers"]) for row in rows]
        found.append([Lesion(folder, row, row["patient"], n) for row, n in zip(rows, readers, strict=True)])
    known = [[one for one in part if one.patient] for part in found]
    patients = np.unique([one.patient for part in known for one in part])
    drawn = np.random.default_rng(_SPLIT_SEED).permutation(patients)
    held = set(drawn[: len(drawn) // HELD_OUT].tolist())
    marked = [[Lesion(o.folder, o.row, o.patient, o.readers, o.patient in held) for o in part] for part in known]
    return marked[0], marked[1]


def read_planes(found: list[Lesion], cubes: bool, progress: Callable[[int, int], None]) -> Planes:
    """Of every lesion the planes that its file holds: a slab's slices, a cube's planes in three directions about the
    middle of its mask."""
    hu, nodule, beside, numbers = [], [], [], []
    for number, lesion in enumerate(found):
        image, mask = lesion.image, lesion.consensus()
        stacks = _cube_grids(mask) if cubes else [_slab_grid(image, mask)]
        for affine, count, offsets in stacks:
            size = (STORED_SIDE, STORED_SIDE, count)
            sampled, _ = sample_stack(image, affine, size)
            share, _ = sample_stack(mask, affine, size, fill=0.0)
            hu.append(np.rint(sampled).astype(np.int16))
            nodule.append(np.rint(100 * share).astype(np.uint8))
            beside.append(offsets)
            numbers.append(np.full(count, number))
        progress(number + 1, len(found))
    parts = (np.concatenate(part) for part in (hu, nodule, beside, numbers))
    return Planes(*parts)


def _slab_grid(image: CTVolume, mask: CTVolume) -> tuple[np.ndarray, int, np.ndarray]:
    """The native slices: grid index to LPS mm, their number, and their offsets from the middle."""
    heights = image.to_lps(np.stack([np.zeros(len(image.array))] * 2 + [np.arange(len(image.array))], axis=1))[:, 2]
    step = (heights[1] - heights[0]) if len(heights) > 1 else 1.0
    return _grid(DIRECTIONS[0], np.zeros(3), heights[0], step), len(heights), heights.astype(np.float32)


def _cube_grids(mask: CTVolume) -> list[tuple[np.ndarray, int, np.ndarray]]:
    voxels = np.argwhere(mask.array > 0)
    middle = mask.to_lps(voxels.mean(axis=0)[::-1])
    offsets = (np.arange(CUBE_PLANES) - (CUBE_PLANES - 1) / 2) * CUBE_STEP_MM
    return [
        (_grid(axes, middle, offsets[0], CUBE_STEP_MM), CUBE_PLANES, offsets.astype(np.float32)) for axes in DIRECTIONS
    ]


def _grid(axes: tuple[int, int, int], middle: np.ndarray, first: float, step: float) -> np.ndarray:
    """(4, 4): 80 x 80 pixels about ``middle``, the first plane ``first`` mm beside it."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1.0
    start = np.array(middle, float)
    for column, axis in enumerate(axes):
        affine[axis, column] = PIXEL_MM if column < 2 else step
        start[axis] += -(STORED_SIDE - 1) / 2 * PIXEL_MM if column < 2 else first
    affine[:3, 3] = start
    return affine
