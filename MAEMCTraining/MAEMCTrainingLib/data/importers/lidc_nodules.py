"""From readers' outlines to nodules: filled masks, marks of one nodule put together, the consensus of its readers.

A mask is a sorted array of voxel numbers, ``(k * rows + j) * columns + i``: a nodule has some thousand voxels in a
volume of a hundred million.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from MAEMCLib.errors import InputError

from .dicom_tree import TreeSeries
from .lidc_xml import Contour, Mark


@dataclass(frozen=True)
class Outlined:
    """One reader's nodule in a series: its voxels, their centroid in LPS mm, the diameter of a sphere as large, and the
    ratings (one, or more where the reader outlined it in several marks)."""

    reader: int
    ratings: tuple[int, ...]
    voxels: np.ndarray
    center: np.ndarray
    sphere_mm: float


@dataclass(frozen=True)
class Nodule:
    """One physical nodule: center in LPS mm and diameter of the consensus, how many readers marked it, and the median
    of their ratings of malignancy."""

    center_lps: tuple[float, float, float]
    diameter_mm: float
    readers: int
    malignancy: float


def outline(mark: Mark, series: TreeSeries, slices: Mapping[str, int]) -> Outlined:
    """Fill a mark's contours. slices: number of each slice of the series by its SOP Instance UID.

    Contour pixels lie just outside the nodule and belong to it nowhere, not even those of a hole, which lie just
    outside the nodule within the hole. A nodule so small that its contours surround no pixel is its contours' pixels.
    Raises InputError: a slice that is not in the series, a contour beyond the image.
    """
    columns, rows, _ = series.shape
    inside: dict[int, np.ndarray] = {}
    on_edge: dict[int, np.ndarray] = {}
    for contour in sorted(mark.contours, key=lambda contour: not contour.inclusion):  # holes are cut last
        k = slices.get(contour.sop_uid)
        if k is None:
            raise InputError("one of its slices (imageSOP_UID) is not in the series", "lidc-slice")
        if contour.points.min() < 0 or (contour.points >= (columns, rows)).any():
            raise InputError(f"its outline leaves the image of {columns} x {rows} pixels", "lidc-outline")
        surrounded, edge = fill(contour, columns)
        if contour.inclusion:
            inside[k] = np.union1d(inside.get(k, ()), surrounded)
            on_edge[k] = np.union1d(on_edge.get(k, ()), edge)
        else:
            hole = np.union1d(surrounded, edge)
            inside[k] = np.setdiff1d(inside.get(k, ()), hole)
    chosen = inside if any(len(pixels) for pixels in inside.values()) else on_edge
    if not any(len(pixels) for pixels in chosen.values()):
        raise InputError("its outlines include nothing (all of them are holes)", "lidc-outline")
    voxels = np.concatenate([pixels.astype(np.int64) + k * rows * columns for k, pixels in sorted(chosen.items())])
    return _measured(mark.reader, (mark.malignancy,), voxels, series)


def fill(contour: Contour, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers ``row * columns + column`` of the pixels that a closed contour surrounds, and of its own pixels.

    Neighbors in the list of points are joined by straight lines of pixels that touch at corners at least; what cannot
    be left through the sides of pixels without crossing such a line is surrounded.
    """
    from scipy.ndimage import binary_fill_holes

    corner = contour.points.min(axis=0) - 1
    points = contour.points - corner
    width, height = points.max(axis=0) + 2
    line = np.zeros((height, width), dtype=bool)
    line[points[:, 1], points[:, 0]] = True
    ends = np.roll(points, -1, axis=0)
    steps = np.abs(ends - points).max(axis=1)
    for number in np.flatnonzero(steps > 1):  # most neighbors in LIDC's lists touch
        along = np.linspace(0, 1, steps[number] + 1)[:, None]
        between = np.rint(points[number] + along * (ends[number] - points[number])).astype(int)
        line[between[:, 1], between[:, 0]] = True
    masks = (binary_fill_holes(line) & ~line, line)
    surrounded, edge = ((np.argwhere(mask) + corner[::-1]) @ (columns, 1) for mask in masks)
    return surrounded, edge


def nodules(outlined: Sequence[Outlined], series: TreeSeries) -> list[Nodule]:
    """The physical nodules behind the readers' marks, from the lowest to the highest.

    A reader's mark that shares half of its voxels with another of his is the same nodule outlined twice. Marks of two
    readers may be the same nodule where they share a voxel, or where their centers are closer than one and a half
    slices or a quarter of the sum of their diameters: outlines of a very small nodule may miss each other. From the
    pair with the largest overlap on, then the closest, such marks are put together, never two of one reader.
    """
    marks = _repeated_joined(outlined, series)
    group = list(range(len(marks)))
    for _, _, first, second in sorted(_pairs(marks, float(np.linalg.norm(series.grid.affine[:3, 2])))):
        keep, drop = group[first], group[second]
        readers = [{mark.reader for mark, g in zip(marks, group, strict=True) if g == one} for one in (keep, drop)]
        if keep != drop and not readers[0] & readers[1]:
            group = [keep if g == drop else g for g in group]
    found = [_consensus([mark for mark, g in zip(marks, group, strict=True) if g == one], series) for one in set(group)]
    return sorted(found, key=lambda nodule: nodule.center_lps[::-1])


def _repeated_joined(outlined: Sequence[Outlined], series: TreeSeries) -> list[Outlined]:
    joined: list[Outlined] = []
    for mark in outlined:
        same = [number for number, other in enumerate(joined) if _is_repeated(mark, other)]
        for number in reversed(same):
            other = joined.pop(number)
            voxels = np.union1d(other.voxels, mark.voxels)
            mark = _measured(mark.reader, other.ratings + mark.ratings, voxels, series)
        joined.append(mark)
    return joined


def _is_repeated(a: Outlined, b: Outlined) -> bool:
    return a.reader == b.reader and 2 * _shared(a, b) >= min(len(a.voxels), len(b.voxels))


def _shared(a: Outlined, b: Outlined) -> int:
    if a.voxels[-1] < b.voxels[0] or b.voxels[-1] < a.voxels[0]:  # most pairs of a lung are slices apart
        return 0
    return len(np.intersect1d(a.voxels, b.voxels, assume_unique=True))


def _pairs(marks: Sequence[Outlined], slice_step: float) -> list[tuple[float, float, int, int]]:
    """(-overlap as Dice's coefficient, distance of the centers in mm, mark, mark) of what may be one nodule."""
    pairs = []
    for first, a in enumerate(marks):
        for second, b in enumerate(marks[:first]):
            if a.reader == b.reader:
                continue
            distance = float(np.linalg.norm(a.center - b.center))
            shared = _shared(a, b)
            if shared or distance < max(1.5 * slice_step, (a.sphere_mm + b.sphere_mm) / 4):
                pairs.append((-2 * shared / (len(a.voxels) + len(b.voxels)), distance, second, first))
    return pairs


def _consensus(marks: Sequence[Outlined], series: TreeSeries) -> Nodule:
    """The voxels that at least half of the nodule's readers outlined; all outlined ones where no voxel has so many."""
    voxels, votes = np.unique(np.concatenate([mark.voxels for mark in marks]), return_counts=True)
    agreed = voxels[2 * votes >= len(marks)]
    agreed = agreed if len(agreed) else voxels
    return Nodule(
        center_lps=tuple(_center(agreed, series).tolist()),
        diameter_mm=longest_axial_mm(agreed, series),
        readers=len(marks),
        malignancy=float(median(median(mark.ratings) for mark in marks)),
    )


def longest_axial_mm(voxels: np.ndarray, series: TreeSeries) -> float:
    """The longest diameter within one slice in mm: between the centers of the two pixels farthest apart, and the width
    of one pixel, since a diameter runs from border to border."""
    index = _index(voxels, series)
    across, down = series.grid.affine[:3, 0], series.grid.affine[:3, 1]
    longest = 0.0
    for k in np.unique(index[:, 2]):
        pixels = index[index[:, 2] == k][:, :2]
        # Only the first and last pixel of each row can be the farthest from another pixel.
        ends = np.concatenate([pixels[pixels[:, 1] == j][[0, -1]] for j in np.unique(pixels[:, 1])])
        places = ends[:, :1] * across + ends[:, 1:] * down
        longest = max(longest, float(np.linalg.norm(places[:, None] - places, axis=2).max()))
    return longest + float(np.linalg.norm(across) + np.linalg.norm(down)) / 2


def _measured(reader: int, ratings: tuple[int, ...], voxels: np.ndarray, series: TreeSeries) -> Outlined:
    volume = len(voxels) * abs(np.linalg.det(series.grid.affine[:3, :3]))
    return Outlined(reader, ratings, voxels, _center(voxels, series), float((6 * volume / np.pi) ** (1 / 3)))


def _center(voxels: np.ndarray, series: TreeSeries) -> np.ndarray:
    """(3,) LPS mm."""
    return series.grid.affine[:3, :3] @ _index(voxels, series).mean(axis=0) + series.grid.affine[:3, 3]


def _index(voxels: np.ndarray, series: TreeSeries) -> np.ndarray:
    """(voxels, 3) index i, j, k."""
    return np.stack(np.unravel_index(voxels, series.shape[::-1])[::-1], axis=1)
