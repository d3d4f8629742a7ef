"""A volume's values at the places of any regular grid, which of its slices were observed, and whether a point lies in
the volume."""

import itertools

import numpy as np

from ..errors import InputError
from .ct import FACE, CTVolume

OUTSIDE_HU = -1200.0
"""Value of samples outside the volume: the lower end of the window, so that they look like air and not like tissue."""
PADDING_HU, AIR_HU = -1500.0, -1000.0
"""Below it a stored value is no attenuation but the scanner's filling outside its circle (-2000, -2048, -3024), and is
read as air."""


def check_point(volume: CTVolume, point_lps) -> np.ndarray:
    """(3,) the point in LPS mm. Raises InputError: not finite, or outside the volume."""
    point = np.asarray(point_lps, dtype=float)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise InputError("The point has no finite position (three numbers in mm are needed). Place it again.", "point")
    if not volume.inside(volume.to_index(point)):
        points = volume.to_lps(np.array(list(itertools.product(*((-0.5, n - 0.5) for n in volume.size)))))
        low, high = points.min(axis=0), points.max(axis=0)
        raise InputError(
            f"The point ({_numbers(point)}) mm LPS lies outside the volume, which spans ({_numbers(low)}) to "
            f"({_numbers(high)}). Check that point and volume belong together, and whether it is given in RAS.",
            "point-outside",
        )
    return point


def observed_slices(volume: CTVolume, affine: np.ndarray, size) -> np.ndarray:
    """Which slices of a grid the volume has something of, (slices,) bool: their middle lies between the centers of its
    outermost voxels, and at least half of them within its faces. affine, size: as in ``sample_stack``."""
    columns, rows, slices = size
    seen = volume.oriented
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    flat = np.stack([column.ravel(), row.ravel(), np.zeros(row.size)], axis=1)[::7]
    middle = np.array([[(columns - 1) / 2, (rows - 1) / 2, 0.0]])
    step = seen.inverse_affine[:3, :3] @ affine[:3, 2]
    steps = np.arange(slices)[:, None, None] * step
    center, points = (seen.to_index(at @ affine[:3, :3].T + affine[:3, 3]) + steps for at in (middle, flat))
    between = ((center >= -FACE) & (center <= seen.size - 1 + FACE)).all(axis=(1, 2))
    return between & (seen.inside(points).mean(axis=1) >= 0.5)


def sample_stack(
    volume: CTVolume, affine: np.ndarray, size, fill: float = OUTSIDE_HU, is_hu: bool = True
) -> tuple[np.ndarray, float]:
    """Sample a volume on any regular grid, trilinear, touching only the voxels that the grid covers.

    affine: (4, 4) grid index (column, row, slice) to LPS mm. size: (columns, rows, slices).
    fill: the value of samples outside the volume. is_hu: whether what lies below any attenuation is read as air.
    Returns (slices, rows, columns) float32, and the share of samples outside.
    The same scan stored along other axes, flipped or cropped gives the same bits.
    Raises InputError where NaN or infinity is among the voxels read, or a slice among them has no image.
    """
    import SimpleITK as sitk

    columns, rows, slices = size
    corners = np.array(list(itertools.product(*((0, n - 1) for n in size))))
    to_slice = (volume.inverse_affine @ affine)[2]
    _check_absent(volume, corners @ to_slice[:3] + to_slice[3])
    seen = volume.oriented
    to_voxel = seen.inverse_affine @ affine
    # Storing a scan in another way moves positions by rounding errors; rounded to decimals they are the same again.
    matrix, shift = to_voxel[:3, :3].round(12), to_voxel[:3, 3].round(9)
    corners = (corners @ matrix.T + shift).round(9)
    first = np.floor(corners.min(axis=0)).astype(int)
    end = np.ceil(corners.max(axis=0)).astype(int) + 1
    low, high = np.maximum(first, 0), np.minimum(end, seen.size)
    if (low >= high).any():
        return np.full((slices, rows, columns), fill, np.float32), 1.0
    crop = seen.array[low[2] : high[2], low[1] : high[1], low[0] : high[0]].astype(np.float32, order="C")
    if volume.array.dtype.kind == "f" and not np.isfinite(crop).all():
        raise InputError(
            f"{volume.name or 'The volume'} holds values that are not numbers (NaN or infinity) near the point. "
            "Convert it again from DICOM, or replace them by -1000 HU.",
            "not-finite",
            (volume.name,),
        )
    if is_hu:
        crop[crop < PADDING_HU] = AIR_HU
    if (first < low).any() or (end > high).any():  # the outer half of a border voxel has the voxel's value
        crop = np.pad(crop, list(zip((low - first)[::-1], (end - high)[::-1], strict=True)), mode="edge")
    # In index space any affine, sheared or oblique, is one transform; ITK images cannot hold a sheared direction.
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix.ravel().tolist())
    transform.SetTranslation((shift - first).round(9).tolist())
    stack = sitk.Resample(
        sitk.GetImageFromArray(crop),
        [int(n) for n in size],
        transform,
        sitk.sitkLinear,
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0),
        (1, 0, 0, 0, 1, 0, 0, 0, 1),
        fill,
        sitk.sitkFloat32,
    )
    stack = sitk.GetArrayFromImage(stack)
    if seen.inside(corners).all():  # the volume is convex: nothing else can leave it
        return stack, 0.0
    outside = ~_inside(seen, matrix, shift, size)
    stack[outside] = fill
    return stack, float(outside.mean())


def _check_absent(volume: CTVolume, heights: np.ndarray) -> None:
    """heights: the slices k, continuous, at the corners of what is sampled. Raises InputError."""
    missing = [k for k in volume.absent if np.floor(heights.min()) <= k <= np.ceil(heights.max())]
    if missing:
        raise InputError(
            f"{volume.name or 'The volume'} lacks {len(missing)} of the slices around the point (first: slice "
            f"{missing[0] + 1} of {volume.size[2]}). Transfer the series again, completely.",
            "dicom-missing-slices",
            (volume.name,),
        )


def _inside(volume: CTVolume, matrix: np.ndarray, shift: np.ndarray, size) -> np.ndarray:
    """(slices, rows, columns) which samples lie in the volume."""
    s, r, c = np.ogrid[: size[2], : size[1], : size[0]]
    inside = np.ones((size[2], size[1], size[0]), bool)
    for (across, down, through), start, count in zip(matrix, shift, volume.size, strict=True):
        index = across * c + down * r + (through * s + start)
        inside &= (index >= -0.5 - FACE) & (index <= count - 0.5 + FACE)
    return inside


def _numbers(values) -> str:
    return ", ".join(f"{value:.1f}" for value in values)
