"""Reads LIDC slabs and cubes and cuts the patches of all points."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import replacing
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume
from MAEMCLib.presence.patch import cut_patch

from ..data.importers.formats.lidc_cubes import rows_of
from .overlay import lay_over
from .points import NODULE, Point, draw_points
from .training import Patches

SLAB_COLUMNS = ("file", "patient", "long_axial_mm", "n_readers")
CUBE_COLUMNS = ("file", "patient", "eq_diam_mask_mm")
CUBE_JITTER_MM = 1.5
"""Standard deviation, along each axis, of the clicks on cubes."""


@dataclass(frozen=True)
class PointSet:
    """points and their patches, in one order. features: (N, 9) all that tells a point's place and the slices that its
    file has, and nothing of the image: see ``place_features``."""

    points: Sequence[Point]
    patches: Patches
    features: np.ndarray

    def save(self, path: Path) -> None:
        """Write all of it, without pickles."""
        rows = json.dumps([asdict(point) for point in self.points]).encode()
        patches = self.patches
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(
                stream,
                points=np.frombuffer(rows, np.uint8),
                hu=patches.hu,
                observed=patches.observed,
                features=self.features,
            )

    @classmethod
    def load(cls, path: Path) -> PointSet:
        """Inverse of ``save``."""
        with np.load(path, allow_pickle=False) as stored:
            rows = json.loads(stored["points"].tobytes())
            points = [Point(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}) for row in rows]
            nodule = np.array([point.kind == NODULE for point in points])
            return cls(points, Patches(stored["hu"], stored["observed"], nodule), stored["features"])


def slab_points(source: Path, seed: int, told: Callable[[int, int], None]) -> PointSet:
    """The points of all slabs; those of one patient are laid over each other first. told: receives patients done and
    all. Raises InputError: no folder of slabs, a file that cannot be read or lacks its mask."""
    folder, rows = rows_of(source, SLAB_COLUMNS, "slabs")
    patients: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        patients[row["patient"]].append(number)
    found = []
    for done, numbers in enumerate(patients.values()):
        told(done, len(patients))
        volumes = [read_volume(folder / "images" / rows[n]["file"]) for n in numbers]
        masks = [_mask(folder / "masks" / rows[n]["file"], v) for n, v in zip(numbers, volumes, strict=True)]
        for n, volume, mask, overlaid in zip(numbers, volumes, masks, lay_over(volumes, masks), strict=True):
            found.append((volume, draw_points(volume, mask, overlaid, n, rows[n], seed)))
    return cut(found)


def cube_points(source: Path, seed: int) -> PointSet:
    """Two clicks on the nodule of each cube whose patient is known, in three dimensions. Raises as ``slab_points``."""
    folder, rows = rows_of(source, CUBE_COLUMNS, "cubes")
    found = []
    for n, row in enumerate(rows):
        if "unknown" in row["file"]:
            continue
        volume = read_volume(folder / "images" / row["file"])
        mask = _mask(folder / "masks" / row["file"], volume) > 0
        middle = volume.to_lps(np.argwhere(mask).mean(axis=0)[::-1])
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 7, n])))
        clicks = middle + np.stack([np.zeros(3), rng.normal(0.0, CUBE_JITTER_MM, 3)])
        size = float(row["eq_diam_mask_mm"])
        found.append((volume, [Point(tuple(at.tolist()), NODULE, n, row["patient"], size, 0.0) for at in clicks]))
    return cut(found)


def place_features(volume: CTVolume, point: Point, observed: np.ndarray) -> np.ndarray:
    """(9,) height in the slab, which slices are observed, spacings, and where between voxels the point lies."""
    index = volume.to_index(np.array(point.lps))
    spacing = volume.spacing
    return np.array([point.offset_mm, *observed, spacing[0], spacing[2], *(index - np.rint(index))])


def cut(found: Sequence[tuple[CTVolume, Sequence[Point]]]) -> PointSet:
    """The patches of points, each in its volume. Raises InputError where there is no point."""
    points = [point for _, some in found for point in some]
    if not points:
        raise InputError("No point could be drawn: the folder holds no nodule with its surroundings.", "empty")
    patches, features = [], []
    for volume, some in found:
        for point in some:
            patch = cut_patch(volume, point.lps)
            patches.append(patch)
            features.append(place_features(volume, point, patch.observed))
    hu, observed = (np.stack([getattr(patch, name) for patch in patches]) for name in ("hu", "observed"))
    nodule = np.array([point.kind == NODULE for point in points])
    return PointSet(points, Patches(hu, observed, nodule), np.stack(features))


def _mask(path: Path, volume: CTVolume) -> np.ndarray:
    mask = read_volume(path).array
    if mask.shape != volume.array.shape:
        raise InputError(f"The mask {path} has another size than its image. Get the data again.", "mask")
    return mask
