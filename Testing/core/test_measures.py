"""A nodule's axes, volume, attenuation and composition, against shapes whose measures are known and slow searches."""

import csv
import itertools

import numpy as np
import pytest
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume
from MAEMCLib.measures.axes import axes
from MAEMCLib.measures.mask import NoduleMask
from MAEMCLib.measures.measures import measure


def grid(spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), turn=None) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if turn is None else turn) * np.asarray(spacing)
    affine[:3, 3] = origin
    return affine


def positions(shape, affine) -> np.ndarray:
    """(slices, rows, columns, 3) LPS mm of voxel centers."""
    k, j, i = np.meshgrid(*map(np.arange, shape), indexing="ij")
    return np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3]


def ellipsoid(radii, spacing=(0.7, 0.7, 1.0), center=(0.0, 0.0, 0.0), turn=None) -> tuple[np.ndarray, np.ndarray]:
    """A mask and its affine; the field reaches 5 mm beyond the radii."""
    size = [int(2 * (max(radii) + 5) / step) | 1 for step in spacing]
    rotation = np.eye(3) if turn is None else turn
    affine = grid(spacing, turn=turn)
    affine[:3, 3] = np.asarray(center) - affine[:3, :3] @ ((np.array(size) - 1) / 2)
    local = (positions(size[::-1], affine) - center) @ rotation
    return ((local / np.asarray(radii)) ** 2).sum(axis=-1) <= 1.0, affine


def turned(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def test_a_single_voxel_is_measured_from_edge_to_edge():
    found = axes(np.ones((1, 1, 1), bool), grid((0.6, 0.8, 2.5)))
    assert found.long_mm == pytest.approx(1.0)  # its diagonal
    # Through a corner, 0.48 above the diagonal and 0.36 from its end; on the other side the voxel's long edge.
    assert found.short_mm == pytest.approx(0.48 + 0.48 * 0.36 / 0.64)


def test_a_bar_has_its_length_and_width():
    mask = np.zeros((3, 9, 30), bool)
    mask[1, 4, 3:27] = True
    found = axes(mask, grid((0.5, 0.5, 1.0)))
    assert found.slice_index == 1
    assert found.long_mm == pytest.approx(np.hypot(12.0, 0.5))
    assert found.short_mm == pytest.approx(0.5 * np.hypot(12.0, 0.5) / 12.0)


@pytest.mark.parametrize("spacing", [(0.46, 0.46, 0.7), (0.7, 0.7, 5.0), (0.98, 0.6, 2.5)])
@pytest.mark.parametrize("degrees", [0.0, 30.0, 77.0])
def test_ellipsoids_are_measured_within_a_voxel(spacing, degrees):
    """From edge to edge a drawn axis is up to half a voxel's diagonal longer at each end, never shorter by more."""
    mask, affine = ellipsoid((12.0, 7.0, 9.0), spacing, (3.0, -2.0, 8.0), turned(degrees))
    found = axes(mask, affine)
    diagonal = np.hypot(*spacing[:2])
    assert -diagonal <= found.long_mm - 24.0 <= diagonal
    assert -diagonal <= found.short_mm - 14.0 <= 1.5 * diagonal
    for ends, length in ((found.long_lps, found.long_mm), (found.short_lps, found.short_mm)):
        assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(length)
        assert np.linalg.norm(ends.mean(axis=0) - (3.0, -2.0, 8.0)) < 2.0  # an ellipse is flat about its short axis
    assert (found.long_lps[1] - found.long_lps[0]) @ (found.short_lps[1] - found.short_lps[0]) == pytest.approx(0.0)


@pytest.mark.parametrize("seed", range(6))
def test_axes_equal_a_slow_search(seed):
    """Blobs with notches and holes on a sheared grid; every pair of voxel corners, and every line across."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((2, 12, 12), bool)
    for _ in range(5):
        j, i = rng.integers(1, 8, size=2)
        mask[rng.integers(0, 2), j : j + rng.integers(1, 5), i : i + rng.integers(1, 5)] ^= True
    mask[0, 5, 5] = True
    affine = grid((0.6, 0.8, 2.0))
    affine[0, 1] = 0.1
    found = axes(mask, affine)

    corners = {}
    for k, j, i in np.argwhere(mask):
        for di, dj in itertools.product((-0.5, 0.5), repeat=2):
            corners.setdefault(k, []).append(affine[:3, :3] @ (i + di, j + dj, 0.0))
    longest = {k: max(np.linalg.norm(a - b) for a in points for b in points) for k, points in corners.items()}
    assert found.long_mm == pytest.approx(max(longest.values()))

    along = (found.long_lps[1] - found.long_lps[0]) / found.long_mm
    across = np.array([-along[1], along[0], 0.0])
    steps = np.linspace(-0.5, 0.5, 41)
    filled = np.array(
        [
            affine[:3, :3] @ (i + a, j + b, 0.0)
            for j, i in np.argwhere(mask[found.slice_index])
            for a in steps
            for b in steps
        ]
    )
    bins = np.round(filled @ along / 0.02).astype(int)
    widest = max(np.ptp((filled @ across)[bins == place]) for place in np.unique(bins))
    assert found.short_mm == pytest.approx(widest, abs=0.05)


def test_the_readers_long_axis_is_found_again(lidc_slabs):
    """LIDC-IDRI's own figure runs between voxel centers: ours is longer by up to a voxel's diagonal, never shorter."""
    with (lidc_slabs / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))[::40]
    for row in rows:
        readers = read_volume(lidc_slabs / "masks" / row["file"])
        mask = (readers.array * 2 >= int(row["n_readers"])) & (readers.array > 0)
        found = axes(mask, readers.affine)
        assert -1e-6 <= found.long_mm - float(row["long_axial_mm"]) <= np.sqrt(2) * float(row["pixel_mm"]) + 0.06
        volume = float(mask.sum()) * np.prod(readers.spacing)
        assert (6 * volume / np.pi) ** (1 / 3) == pytest.approx(float(row["eq_diam_mask_mm"]), abs=0.051)


def ct(shape=(40, 64, 64), spacing=(0.8, 0.8, 1.2), lung=-860.0) -> tuple[CTVolume, np.ndarray]:
    affine = grid(spacing, -np.array(spacing) * (np.array(shape[::-1]) - 1) / 2)
    return CTVolume(np.full(shape, lung, np.float32), affine), positions(shape, affine)


def ball(where, radius, center=(0.0, 0.0, 0.0)) -> np.ndarray:
    return np.linalg.norm(where - center, axis=-1) <= radius


@pytest.mark.parametrize(
    ("shell", "core", "radius", "composition"),
    [(40.0, 40.0, 6.0, "solid"), (-650.0, -650.0, 6.0, "ground-glass"), (-650.0, 40.0, 5.0, "part-solid")],
)
def test_composition_and_attenuation(shell, core, radius, composition):
    volume, where = ct()
    whole = ball(where, 8.0)
    volume.array[whole] = shell
    volume.array[ball(where, radius)] = core
    found = measure(volume, NoduleMask.at(whole, volume.affine, (0.0, 0.0, 0.0)))
    assert found.composition == composition and found.status == "whole"
    assert found.volume_mm3 == pytest.approx(4 / 3 * np.pi * 8.0**3, rel=0.02)
    assert found.equivalent_diameter_mm == pytest.approx(16.0, abs=0.1)
    if composition == "part-solid":
        assert found.solid_long_axis_mm == pytest.approx(10.0, abs=0.8)
        assert shell < found.mean_hu < core
    else:
        assert found.solid_long_axis_mm is None
        assert found.mean_hu == shell and found.hu_range == (shell, shell)


def test_what_is_partial_is_said():
    volume, where = ct()
    volume.array[ball(where, 6.0)] = 30.0
    middle = (0.0, 0.0, 0.0)
    two = ball(where, 6.0) | ball(where, 2.0, (18.0, 0.0, 0.0))
    found = measure(volume, NoduleMask.at(two, volume.affine, middle))
    assert found.status == "islands" and found.axes.long_mm == pytest.approx(12.0, abs=1.2)
    assert measure(volume, NoduleMask.at(ball(where, 30.0), volume.affine, middle)).status == "border"
    volume.array[where[..., 1] > -6.0] = 30.0  # the nodule lies in the chest wall
    assert measure(volume, NoduleMask.at(ball(where, 6.0), volume.affine, middle)).status == "wall"


def test_a_mask_on_another_grid_reads_the_ct_at_its_own_voxels():
    volume, where = ct()
    volume.array[:] = where[..., 0] * 10.0  # HU grow to the left
    mask, affine = ellipsoid((5.0, 5.0, 5.0), (0.5, 0.5, 0.5), (4.0, 0.0, 0.0), turned(20.0))
    found = measure(volume, NoduleMask.at(mask, affine, (4.0, 0.0, 0.0)))
    assert found.mean_hu == pytest.approx(40.0, abs=0.5)


def test_bad_masks_are_refused():
    volume, _ = ct()
    with pytest.raises(InputError, match="empty"):
        NoduleMask.at(np.zeros((3, 3, 3), bool), volume.affine, (0.0, 0.0, 0.0))
    far = NoduleMask.at(np.ones((3, 3, 3), bool), grid(origin=(500.0, 0.0, 0.0)), (500.0, 0.0, 0.0))
    with pytest.raises(InputError, match="outside the volume"):
        measure(volume, far)


def test_a_large_mask_takes_no_memory_of_its_pairs():
    """A segment of 200,000 voxels and more, as a whole lobe has them."""
    volume, where = ct((90, 90, 90), (1.0, 1.0, 1.0))
    found = measure(volume, NoduleMask.at(ball(where, 40.0), volume.affine, (0.0, 0.0, 0.0)))
    assert found.axes.long_mm == pytest.approx(80.0, abs=1.5)
