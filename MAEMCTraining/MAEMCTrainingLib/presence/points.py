"""The points that the detector learns from and is judged on: in a nodule, and by kind of tissue in none.

Both come from the same slices of the same slabs, so that neither height, nor the slices that a slab has, nor its pixels
tell them apart; their patches lie wholly inside of what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.presence.patch import SIDE_MM

from .overlay import Overlaid
from .tissue import KINDS, tissue_masks

NODULE = "nodule"
APART_MM = 5.0
"""Points in no nodule are this far from any voxel that any reader marked."""
JITTER_MM, OUTSIDE_MM = 1.5, 1.0
"""Standard deviation, in plane, of a click about the middle of the nodule's section, and how far beside it one may
lie."""
SLICES_A_SLAB, FREE_A_SLICE = 3, 2
WANTED = {"vessel": 0.36, "wall": 0.24, "mediastinum": 0.12, "fissure": 0.14, "lung": 0.14}
"""Shares of the kinds among points in no nodule, where a slice shows them all. The gaps are filled by the others, by
``lung`` last: at most a quarter of all points lie in aerated lung."""
TRIES = 60


@dataclass(frozen=True)
class Point:
    """lps: mm. kind: NODULE or one of ``tissue.KINDS``, or what a phantom adds. case: index of its slab. patient: of
    which fold it is. diameter_mm: long axis of the nodule of its slab. offset_mm: along S from the slab's middle.
    middle: (3,) from the point to the middle of its nodule, mm; NaN in none. unchecked: no reader's mask of another
    nodule of the patient could be laid over."""

    lps: tuple[float, float, float]
    kind: str
    case: int
    patient: str
    diameter_mm: float
    offset_mm: float
    middle: tuple[float, float, float] = (np.nan, np.nan, np.nan)
    unchecked: bool = False


def draw_points(
    volume: CTVolume, mask: np.ndarray, overlaid: Overlaid, case: int, row: Mapping[str, str], seed: int
) -> list[Point]:
    """A point in the nodule and FREE_A_SLICE in none for each of up to SLICES_A_SLAB slices of a slab.

    mask: (slices, rows, columns), how many readers marked a voxel. row: of labels.csv.
    """
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, case])))
    needed = max(1.0, float(row["n_readers"]) / 2)
    consensus = mask >= needed
    heights = np.flatnonzero(consensus.any(axis=(1, 2)))
    if not len(heights):
        return []
    chosen = rng.choice(heights, min(SLICES_A_SLAB, len(heights)), replace=False)
    apart = _distance_mm(overlaid.marked, volume.spacing)
    center = volume.to_lps(np.argwhere(consensus).mean(axis=0)[::-1])
    known = (case, row["patient"], float(row["long_axial_mm"]))
    found = []
    for k in sorted(chosen.tolist()):
        offset = (k - (len(mask) - 1) / 2) * float(volume.spacing[2])
        inside = _inside(volume, consensus[k], k, rng)
        outside = _free(volume, apart[k], k, rng)
        if inside is None or len(outside) < FREE_A_SLICE:  # a slice serves both classes or none
            continue
        found.append(Point(inside, NODULE, *known, offset, tuple((center - inside).tolist()), overlaid.unchecked))
        found += [Point(place, kind, *known, offset, unchecked=overlaid.unchecked) for kind, place in outside]
    return found


def stored(volume: CTVolume, lps: np.ndarray) -> np.ndarray:
    """(N,) bool: whether the patches of points (N, 3) lie, in plane, within what is stored."""
    half = SIDE_MM / 2 * np.array([[1, 1, 0], [-1, -1, 0]])
    return volume.inside(volume.to_index(lps + half[0])) & volume.inside(volume.to_index(lps + half[1]))


def _distance_mm(marked: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~marked, sampling=spacing[::-1])


def _inside(volume: CTVolume, section: np.ndarray, k: int, rng: np.random.Generator) -> tuple | None:
    """A click about the middle of a nodule's section, in it or up to OUTSIDE_MM beside it."""
    from scipy.ndimage import distance_transform_edt

    beside = distance_transform_edt(~section, sampling=volume.spacing[1::-1]) <= OUTSIDE_MM
    rows, columns = np.nonzero(section)
    middle = volume.to_lps(np.array([columns.mean(), rows.mean(), k]))
    for _ in range(TRIES):
        place = middle + np.append(rng.normal(0.0, JITTER_MM, 2), 0.0)
        column, row, _k = np.rint(volume.to_index(place)).astype(int)
        within = 0 <= row < section.shape[0] and 0 <= column < section.shape[1] and beside[row, column]
        if within and stored(volume, place[None])[0]:
            return tuple(place.tolist())
    return None


def _free(volume: CTVolume, apart: np.ndarray, k: int, rng: np.random.Generator) -> list[tuple[str, tuple]]:
    """FREE_A_SLICE places of a slice that lie in no nodule, each with its kind; fewer where there are none."""
    masks = tissue_masks(volume.array[k], float(volume.spacing[0]))
    places: dict[str, np.ndarray] = {}
    for kind in KINDS:
        index = np.argwhere(masks[kind] & (apart >= APART_MM))[:, ::-1]
        if not len(index):
            continue
        index = index + rng.uniform(-0.5, 0.5, index.shape)  # no click falls on voxel centers alone
        lps = volume.to_lps(np.column_stack([index, np.full(len(index), k)]))
        lps = lps[stored(volume, lps)]
        if len(lps):
            places[kind] = lps
    chosen = []
    for _ in range(FREE_A_SLICE):
        kinds = [kind for kind in places if kind != "lung"] or list(places)
        if "lung" in places and rng.random() < WANTED["lung"]:
            kinds = ["lung"]
        if not kinds:
            break
        shares = np.array([WANTED[kind] for kind in kinds])
        kind = str(rng.choice(kinds, p=shares / shares.sum()))
        chosen.append((kind, tuple(places[kind][rng.integers(len(places[kind]))].tolist())))
    return chosen
