"""How a CT scanner sees the synthetic chest: slices of a thickness, a reconstruction kernel's blur, noise with its
grain.

The scene is sampled finer along the slices' normal than the slices lie, and averaged over each slice's thickness; the
nodules are sampled finer in the slice's plane as well. Then the kernel blurs in the plane, and noise is added that the
same kernel has colored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .anatomy import Anatomy, tissue_hu
from .nodule import Nodule
from .shapes import paint
from .vessels import Segments, bronchi, lung_tree

AIR_WALL_HU = -350.0
CHUNK_SLICES = 24  # slices rendered at a time, which bounds the memory for a whole chest


@dataclass(frozen=True)
class Grid:
    """Where the scanner samples: voxel (i, j, k) lies at origin + direction @ (spacing * (i, j, k)), LPS mm."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: np.ndarray
    thickness_mm: float

    @property
    def affine(self) -> np.ndarray:
        """(4, 4): index (i, j, k) to LPS mm."""
        affine = np.eye(4)
        affine[:3, :3] = self.direction * np.asarray(self.spacing)
        affine[:3, 3] = self.origin
        return affine

    @property
    def aligned(self) -> bool:
        """Whether the grid's axes are the patient's."""
        return bool(np.allclose(self.direction, np.eye(3)))

    def to_frame(self, points: np.ndarray) -> np.ndarray:
        """LPS mm (..., 3) to mm along the grid's own axes from voxel (0, 0, 0)."""
        return (np.asarray(points) - np.asarray(self.origin)) @ self.direction


@dataclass(frozen=True)
class Scan:
    """Kernel blur (standard deviation in the plane, mm), noise (standard deviation, HU) and its grain (mm)."""

    blur_mm: float
    noise_hu: float
    grain_mm: float


def scan_chest(
    anatomy: Anatomy, nodules: Sequence[Nodule], grid: Grid, scan: Scan, seed: int, noise_seed: int
) -> np.ndarray:
    """CT numbers (k, j, i), int16 HU, of a patient's chest with its nodules on a grid.

    ``seed`` is that of the patient's vessels, ``noise_seed`` that of the noise.
    """
    from scipy.ndimage import gaussian_filter1d

    trees = _trees(anatomy, grid, seed)
    noise = np.random.Generator(np.random.Philox(np.random.SeedSequence([noise_seed, 77])))
    output = np.empty(grid.size[::-1], dtype=np.int16)
    for first in range(0, grid.size[2], CHUNK_SLICES):
        count = min(CHUNK_SLICES, grid.size[2] - first)
        part_origin = np.asarray(grid.origin) + grid.direction[:, 2] * (grid.spacing[2] * first)
        part = replace(grid, size=(*grid.size[:2], count), origin=tuple(part_origin))
        hu = _scene(anatomy, trees, part)
        _add_lung_texture(hu, anatomy, part)
        for nodule in nodules:
            _add_nodule(hu, nodule, part)
        grains = noise.standard_normal(hu.shape, dtype=np.float32)
        for axis, pixel in ((2, grid.spacing[0]), (1, grid.spacing[1])):
            hu = gaussian_filter1d(hu, scan.blur_mm / pixel, axis=axis, mode="nearest", truncate=3.0)
            grains = gaussian_filter1d(grains, scan.grain_mm / pixel, axis=axis, mode="wrap", truncate=3.0)
        # Filtered noise has lost variance; what counts is how strong it is in the image.
        grains *= scan.noise_hu / max(float(grains.std()), 1e-6)
        # Outside the patient little is attenuated, and a scanner's CT numbers end at -1024.
        hu += grains * np.clip((hu + 1000.0) / 100.0, 0.12, 1.0)
        output[first : first + count] = np.clip(np.rint(hu), -1024, 3071)
    return output


def _fine_slices(grid: Grid, slices: int, step_mm: float) -> tuple[np.ndarray, int, int]:
    """Of the first slices of a grid: positions (mm along the normal) of sub-slices no further apart than ``step_mm``;
    sub-slices a slice, and to average.

    Slice k is the mean of ``window`` sub-slices from ``k * per_slice`` on; those are centered on it.
    """
    per_slice = max(int(np.ceil(grid.spacing[2] / step_mm - 1e-9)), 1)
    step = grid.spacing[2] / per_slice
    window = max(round(grid.thickness_mm / step), 1)
    count = (slices - 1) * per_slice + window
    return (np.arange(count) - (window - 1) / 2.0) * step, per_slice, window


def _thickness_mean(fine: np.ndarray, per_slice: int, window: int, slices: int) -> np.ndarray:
    """Mean over each slice's thickness of sub-slices (n, j, i)."""
    if per_slice == window:
        return fine.reshape(slices, window, *fine.shape[1:]).mean(axis=1)
    total = fine[: (slices - 1) * per_slice + 1 : per_slice].copy()
    for shift in range(1, window):
        total += fine[shift : shift + (slices - 1) * per_slice + 1 : per_slice]
    return total / np.float32(window)


def _coordinates(grid: Grid, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
    """LPS coordinates of frame positions u, v, w (mm along i, j, k): axes that broadcast when aligned, else full
    arrays."""
    u, v, w = u[None, None, :], v[None, :, None], w[:, None, None]
    if grid.aligned:
        return u + grid.origin[0], v + grid.origin[1], w + grid.origin[2]
    d = grid.direction
    return tuple(grid.origin[axis] + d[axis, 0] * u + d[axis, 1] * v + d[axis, 2] * w for axis in range(3))


def _scene(anatomy: Anatomy, trees: tuple[list[Segments], list[Segments]], grid: Grid) -> np.ndarray:
    """Tissues and the lungs' vessels, averaged over the slices' thickness: float32 (k, j, i)."""
    u, v = (np.arange(grid.size[axis]) * grid.spacing[axis] for axis in (0, 1))
    w, per_slice, window = _fine_slices(grid, grid.size[2], 1.25)
    hu = tissue_hu(*_coordinates(grid, u, v, w), anatomy)
    lung = hu < -650.0
    blood, walls, lumens = (np.zeros_like(hu) for _ in range(3))
    vessels, airways = trees
    for segments in vessels:
        _mark(blood, _in_frame(segments, grid), u, v, w)
    for segments in airways:
        _mark(walls, _in_frame(segments, grid), u, v, w, margin=0.9)
        _mark(lumens, _in_frame(segments, grid), u, v, w)
    for share, value in ((walls, AIR_WALL_HU), (blood, anatomy.tissues.blood), (lumens, -980.0)):
        paint(hu, share * lung, value)
    return _thickness_mean(hu, per_slice, window, grid.size[2])


def _trees(anatomy: Anatomy, grid: Grid, seed: int) -> tuple[list[Segments], list[Segments]]:
    """Vessels and airways that can touch the grid."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.size], indexing="ij")).reshape(3, -1).T
    corners = (corners * np.asarray(grid.spacing)) @ grid.direction.T + np.asarray(grid.origin)
    low, high = corners.min(axis=0), corners.max(axis=0)
    sides = ("right", "left")
    arteries, veins = (
        [lung_tree(anatomy, side, kind, seed, low, high) for side in sides] for kind in ("artery", "vein")
    )
    return arteries + veins, [bronchi(tree) for tree in arteries]


def _in_frame(segments: Segments, grid: Grid) -> Segments:
    """Segments in LPS mm, moved into a grid's frame."""
    return replace(segments, start=grid.to_frame(segments.start), end=grid.to_frame(segments.end))


def _mark(share: np.ndarray, segments: Segments, u, v, w, margin: float = 0.0) -> None:
    """Raise ``share`` to the part of each voxel that tubes fill; each tube is evaluated in its own box only.

    ``segments`` are in the frame of the positions ``u``, ``v``, ``w`` (mm); ``margin`` widens them.
    """
    start, end = segments.start, segments.end
    reach = np.maximum(segments.radius_start, segments.radius_end) + margin + 0.8
    low = np.minimum(start, end) - reach[:, None]
    high = np.maximum(start, end) + reach[:, None]
    bounds = [(np.searchsorted(axis, low[:, n]), np.searchsorted(axis, high[:, n])) for n, axis in enumerate((u, v, w))]
    (i0, i1), (j0, j1), (k0, k1) = bounds
    wanted = np.flatnonzero((i1 > i0) & (j1 > j0) & (k1 > k0))
    u, v, w = (axis.astype(np.float32) for axis in (u, v, w))
    for n in wanted:
        box = (slice(k0[n], k1[n]), slice(j0[n], j1[n]), slice(i0[n], i1[n]))
        distance = _tube(
            u[None, None, box[2]],
            v[None, box[1], None],
            w[box[0], None, None],
            start[n],
            end[n],
            segments.radius_start[n] + margin,
            segments.radius_end[n] + margin,
        )
        np.maximum(share[box], np.clip(0.5 - distance / 0.8, 0.0, 1.0), out=share[box])


def _tube(x, y, z, start, end, radius_start: float, radius_end: float) -> np.ndarray:
    """Distance to a tapering tube, on axes that broadcast: the squares separate, so that one full-size pass is
    enough."""
    ux, uy, uz = (end - start).astype(np.float64)
    length_squared = max(ux * ux + uy * uy + uz * uz, 1e-9)
    dx, dy, dz = x - np.float32(start[0]), y - np.float32(start[1]), z - np.float32(start[2])
    dot = dx * np.float32(ux) + dy * np.float32(uy) + dz * np.float32(uz)
    along = np.clip(dot / np.float32(length_squared), 0.0, 1.0)
    squared = dx * dx + dy * dy + dz * dz
    squared = squared + along * (along * np.float32(length_squared) - 2.0 * dot)
    return np.sqrt(np.maximum(squared, 0.0)) - (
        np.float32(radius_start) + along * np.float32(radius_end - radius_start)
    )


def _add_lung_texture(hu: np.ndarray, anatomy: Anatomy, grid: Grid) -> None:
    """Lobules, small vessels and airways too fine to see: a smooth random field of position, in lung only."""
    from scipy.ndimage import map_coordinates

    lattice = np.random.Generator(np.random.Philox(anatomy.texture_seed)).standard_normal(
        (24, 24, 24), dtype=np.float32
    )
    inside = (hu < -700.0) & (hu > -930.0)
    k, j, i = np.nonzero(inside)
    points = np.stack([i, j, k]).astype(np.float32)
    matrix, origin = grid.affine[:3, :3].astype(np.float32), np.asarray(grid.origin, dtype=np.float32)
    position = (matrix @ points + origin[:, None]) / np.float32(4.5)
    hu[inside] += 22.0 * map_coordinates(lattice, position, order=1, mode="grid-wrap")


def nodule_mask(nodule: Nodule, grid: Grid) -> np.ndarray:
    """(k, j, i) uint8: 1 where the body of a nodule, without its strands, fills half of a voxel or more."""
    mask = np.zeros(grid.size[::-1], np.uint8)
    found = _nodule_in(replace(nodule, strands=()), grid)
    if found is not None:
        box, share = found
        mask[box] = share >= 0.5
    return mask


def _add_nodule(hu: np.ndarray, nodule: Nodule, grid: Grid) -> None:
    """Mix a nodule into the scene."""
    found = _nodule_in(nodule, grid)
    if found is not None:
        box, share = found
        paint(hu[box], share, nodule.hu)


def _nodule_in(nodule: Nodule, grid: Grid) -> tuple[tuple[slice, ...], np.ndarray] | None:
    """The box of the voxels that a nodule can touch, and its share of each, from samples at half the pixel and at most
    0.7 mm along the normal; None where it lies outside the grid."""
    reach = nodule.reach_mm + 1.0
    center = grid.to_frame(np.asarray(nodule.center))
    spacing = np.asarray(grid.spacing)
    extra = np.array([0.0, 0.0, grid.thickness_mm])
    first = np.maximum(np.floor((center - reach - extra) / spacing), 0).astype(int)
    last = np.minimum(np.ceil((center + reach + extra) / spacing), np.asarray(grid.size) - 1).astype(int)
    if np.any(last < first):
        return None
    size = last - first + 1
    u, v = ((np.arange(2 * size[n]) - 0.5) * (0.5 * spacing[n]) + first[n] * spacing[n] for n in (0, 1))
    w, per_slice, window = _fine_slices(grid, size[2], 0.7)
    w = w + first[2] * spacing[2]
    share = nodule_share(nodule, center, grid.direction, u, v, w)
    share = share.reshape(len(w), size[1], 2, size[0], 2).mean(axis=(2, 4))
    share = _thickness_mean(share, per_slice, window, size[2])
    box = tuple(slice(a, b + 1) for a, b in zip(first[::-1], last[::-1], strict=True))
    return box, share


def nodule_share(nodule: Nodule, center, direction: np.ndarray, u, v, w) -> np.ndarray:
    """Share (len(w), len(v), len(u)) of a nodule at frame positions (mm); ``center`` is the nodule's, in the same
    frame."""
    from scipy.ndimage import map_coordinates

    u, v, w = ((axis - c).astype(np.float32) for axis, c in zip((u, v, w), center, strict=True))
    share = np.zeros((len(w), len(v), len(u)), dtype=np.float32)
    offset = (np.asarray(nodule.offset) @ direction).astype(np.float32)
    x, y, z = u[None, None, :] - offset[0], v[None, :, None] - offset[1], w[:, None, None] - offset[2]
    radius = np.sqrt(x * x + y * y + z * z)
    smallest, largest = float(nodule.surface.min()), float(nodule.surface.max())
    share[radius < smallest - 0.5] = 1.0
    shell = (radius >= smallest - 0.5) & (radius < largest + 0.5)
    k, j, i = np.nonzero(shell)
    local = np.stack([x[0, 0, i], y[0, j, 0], z[k, 0, 0]])
    lps = direction.astype(np.float32) @ local
    distance = radius[shell]
    rows, columns = nodule.surface.shape
    latitude = np.arccos(np.clip(lps[2] / np.maximum(distance, 1e-3), -1.0, 1.0)) * np.float32(rows / np.pi) - 0.5
    longitude = np.arctan2(lps[1], lps[0]) * np.float32(columns / (2.0 * np.pi))
    wrapped = np.concatenate([nodule.surface, nodule.surface[:, :2]], axis=1)
    longitude = np.where(longitude < 0, longitude + columns, longitude)
    surface = map_coordinates(wrapped, np.stack([latitude, longitude]), order=1, mode="nearest")
    share[shell] = np.clip(0.5 - (distance - surface) / 0.4, 0.0, 1.0)
    for strand in nodule.strands:
        points = strand.points @ direction + offset
        segments = Segments(points[:-1], points[1:], strand.radii[:-1], strand.radii[1:])
        _mark(share, segments, u, v, w)
    return share
