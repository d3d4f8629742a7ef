"""The region around a point: against an independent resampling, on real and awkward geometry."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.images.sampling import sample_stack
from MAEMCLib.inputs.region import cut_roi
from scipy.ndimage import map_coordinates


def rotation(seed):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q if np.linalg.det(q) > 0 else q[:, [1, 0, 2]]


def made_volume(direction, spacing=(0.7, 0.8, 1.25), shape=(90, 120, 130), shear=0.0, dtype=np.int16):
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 2] += shear * affine[:3, 1]
    affine[:3, 3] = (-50.3, 17.7, -803.1)
    array = np.random.default_rng(0).integers(-1000, 400, shape).astype(dtype)
    return CTVolume(array, affine, "made")


GEOMETRIES = {
    "axial": made_volume(np.eye(3)),
    "reversed": made_volume(np.diag([-1.0, 1.0, -1.0])),
    "sagittal": made_volume(np.eye(3)[:, [1, 2, 0]]),
    "oblique": made_volume(rotation(1)),
    "tilted": made_volume(np.eye(3), shear=0.25),
    "anisotropic": made_volume(np.eye(3), (0.6, 0.6, 3.0), (40, 140, 150)),
    "float": made_volume(rotation(2), dtype=np.float64),
}


def slow_roi(volume, point, plane):
    """Every sample on its own: position in the patient by the definition, value by scipy on the whole volume."""
    stack = np.empty((25, 50, 50))
    complete = np.empty(stack.shape, bool)
    values = volume.array.astype(float)
    for s in range(25):
        for r in range(50):
            columns = np.arange(50)
            left = point[0] - 24.5 + columns
            if plane == "axial":
                position = np.stack([left, np.full(50, point[1] - 24.5 + r), np.full(50, point[2] - 12.0 + s)], 1)
            else:
                position = np.stack([left, np.full(50, point[1] - 12.0 + s), np.full(50, point[2] + 24.5 - r)], 1)
            ijk = np.linalg.solve(volume.affine[:3, :3], (position - volume.affine[:3, 3]).T)
            stack[s, r] = map_coordinates(values, ijk[::-1], order=1, mode="constant", cval=-1200)
            complete[s, r] = ((ijk >= 0) & (ijk <= np.array(volume.array.shape[::-1])[:, None] - 1)).all(axis=0)
    return stack, complete


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("where", [0.5, 0.12], ids=["inside", "near-edge"])
def test_agrees_with_an_independent_resampling(name, where):
    volume = GEOMETRIES[name]
    point = volume.to_lps(where * (volume.size - 1) + 0.137)
    roi = cut_roi(volume, point)
    for plane in ("axial", "coronal"):
        expected, complete = slow_roi(volume, point, plane)
        assert complete.mean() > 0.2
        assert np.abs(getattr(roi, plane) - expected)[complete].max() < 1.0


def test_outside_is_minus_1200_and_its_share_is_reported():
    volume = made_volume(np.eye(3), (1, 1, 1), (60, 60, 60))
    point = volume.to_lps([4.0, 30.0, 30.0])  # samples reach to i = -20.5 in 24.5 mm steps of 1
    roi = cut_roi(volume, point)
    ijk = volume.to_index(point)
    outside = (ijk[0] - 24.5 + np.arange(50)) < -0.5
    assert (roi.axial[:, :, outside] == -1200).all() and (roi.coronal[:, :, outside] == -1200).all()
    assert (roi.axial[:, :, ~outside] > -1200).all()
    assert roi.padded_fraction == pytest.approx(outside.mean(), abs=1e-12)


def test_written_stacks_lie_on_the_right_anatomy(tmp_path):
    """A volume that holds its own coordinates: each written slice has to state the place where it lies."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(5) * 1.1
    affine[:3, 3] = (-60, -55, 20)
    shape = (110, 110, 110)
    k, j, i = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    lps = np.stack([i, j, k], -1) @ affine[:3, :3].T + affine[:3, 3]
    center = affine[:3, :3] @ [54.5, 54.5, 54.5] + affine[:3, 3] + (0.33, -0.21, 0.4)
    for axis in range(3):
        roi = cut_roi(CTVolume(lps[..., axis], affine), center)
        for plane in ("axial", "coronal"):
            write_volume(CTVolume(getattr(roi, plane), roi.affine(plane)), tmp_path / "s.nrrd")
            image = sitk.ReadImage(str(tmp_path / "s.nrrd"))
            values = sitk.GetArrayFromImage(image)
            for index in ((0, 0, 0), (49, 0, 3), (7, 31, 24), (25, 25, 12)):
                place = image.TransformIndexToPhysicalPoint(index)[axis]
                assert abs(values[index[2], index[1], index[0]] - place) < 0.01


def test_orientation_is_radiological():
    volume = made_volume(np.eye(3), (1, 1, 1), (80, 80, 80))
    roi = cut_roi(volume, volume.to_lps([40, 40, 40]))
    left, posterior, superior = roi.affine("axial")[:3, 0], roi.affine("axial")[:3, 1], roi.affine("axial")[:3, 2]
    np.testing.assert_array_equal([left, posterior, superior], np.eye(3))
    np.testing.assert_array_equal(roi.affine("coronal")[:3, :3].T, [[1, 0, 0], [0, 0, -1], [0, 1, 0]])


def test_reversed_and_oblique_acquisitions_agree():
    """The same smooth object sampled by two scanners, one of them reversed and oblique."""

    def seen_by(affine, shape):
        k, j, i = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
        p = np.stack([i, j, k], -1) @ affine[:3, :3].T + affine[:3, 3]
        return CTVolume(800 * np.exp(-((p - (3, -2, 1)) ** 2 @ [0.004, 0.006, 0.005])) - 900, affine)

    straight = np.diag([0.8, 0.8, 0.8, 1.0])
    straight[:3, 3] = -45
    turned = np.eye(4)
    turned[:3, :3] = rotation(9) @ np.diag([-0.7, 0.7, -0.7])
    turned[:3, 3] = -turned[:3, :3] @ [75, 75, 75]
    a = cut_roi(seen_by(straight, (113,) * 3), (0.2, 0.1, -0.3))
    b = cut_roi(seen_by(turned, (151,) * 3), (0.2, 0.1, -0.3))
    inside = (a.axial > -1199) & (b.axial > -1199)
    assert inside.mean() > 0.95
    assert np.abs(a.axial - b.axial)[inside].max() < 2
    assert np.abs(a.coronal - b.coronal)[(a.coronal > -1199) & (b.coronal > -1199)].max() < 2


def test_reads_only_the_voxels_it_needs():
    """A volume whose far voxels are NaN is sampled all the same."""
    array = np.full((200, 200, 200), np.nan, np.float32)
    array[40:120, 40:120, 40:120] = -700
    roi = cut_roi(CTVolume(array, np.eye(4)), (80, 80, 80))
    assert (roi.axial == -700).all() and (roi.coronal == -700).all()


@pytest.mark.parametrize("point", [(np.nan, 0, 0), (0, np.inf, 0), (0, 0), ()])
def test_points_that_are_none(point):
    with pytest.raises(InputError) as caught:
        cut_roi(made_volume(np.eye(3)), point)
    assert caught.value.code == "point"


@pytest.mark.parametrize("padding", [-2000, -2048, -3024])
def test_filling_outside_the_scanner_s_circle_is_read_as_air(padding):
    volume = made_volume(rotation(3))
    beyond = np.arange(volume.array.shape[2]) > 70
    air, filled = (CTVolume(np.where(beyond, value, volume.array), volume.affine) for value in (-1000, padding))
    point = volume.to_lps([60, 60, 45])
    one, other = cut_roi(air, point), cut_roi(filled, point)
    assert np.array_equal(one.axial, other.axial) and np.array_equal(one.coronal, other.coronal)
    assert (one.axial == -1000).mean() > 0.1
    logits, _ = sample_stack(CTVolume(np.full((4, 4, 4), -9000.0), np.eye(4)), np.eye(4), (4, 4, 4), is_hu=False)
    assert (logits == -9000).all()


def test_point_outside_says_where_the_volume_is():
    with pytest.raises(InputError, match=r"outside the volume, which spans"):
        cut_roi(made_volume(np.eye(3)), (500.0, 0, 0))


def test_nan_near_the_point_is_refused():
    volume = made_volume(np.eye(3), dtype=np.float32)
    volume.array[45, 60, 65] = np.nan
    with pytest.raises(InputError, match="NaN"):
        cut_roi(volume, volume.to_lps([65, 60, 45]))


def test_real_cubes_fit_without_padding(lidc_cubes):
    volume = read_volume(next(iter(sorted((lidc_cubes / "images").glob("*.nrrd")))))
    roi = cut_roi(volume, (0, 0, 0))
    assert roi.padded_fraction == 0
    expected, complete = slow_roi(volume, (0.0, 0.0, 0.0), "coronal")
    assert complete.all() and np.abs(roi.coronal - expected).max() < 1


def stored_otherwise(volume, order, signs):
    """The same scan with its voxel axes in another order and direction."""
    array = volume.array.transpose([2 - axis for axis in order[::-1]])
    array = array[tuple(slice(None, None, sign) for sign in signs[::-1])]
    affine = np.eye(4)
    affine[:3, :3] = volume.affine[:3, order] * signs
    first = np.zeros(3)
    for axis, sign in zip(order, signs, strict=True):
        first[axis] = 0 if sign > 0 else volume.size[axis] - 1
    affine[:3, 3] = volume.to_lps(first)
    return CTVolume(np.ascontiguousarray(array), affine)


STORAGES = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def same_region(one, other):
    assert np.array_equal(one.axial, other.axial) and np.array_equal(one.coronal, other.coronal)
    assert one.padded_fraction == other.padded_fraction


@pytest.mark.parametrize(
    "number, where",
    [(0, (0, 0, 0)), (20, (2.0, 1.6, -1.1)), (40, (1.0, 1.8, -1.9)), (60, (10.3, -12.1, 7.7)), (80, (1 / 3, 0, 25))],
)
def test_a_cube_in_any_of_48_storages_gives_the_same_bits(lidc_cubes, number, where):
    """Real cubes of 51 mm: at whole millimeters samples lie just on the outer face, where rounding once decided."""
    cube = read_volume(sorted((lidc_cubes / "images").glob("*.nrrd"))[number])
    affine = cube.affine.copy()
    affine[:3, 3] += (137.1 + number, -41.3, 803.7)  # as in a scanner's frame, where rounding has more to do
    cube, point = CTVolume(cube.array, affine), affine[:3, 3] + 25 + where
    expected = cut_roi(cube, point)
    for order, signs in STORAGES:
        same_region(cut_roi(stored_otherwise(cube, order, signs), point), expected)


@pytest.mark.parametrize("name", ["oblique", "tilted", "anisotropic"])
def test_awkward_geometry_in_other_storages_gives_the_same_bits(name):
    volume = GEOMETRIES[name]
    point = volume.to_lps(0.3 * volume.size)
    expected = cut_roi(volume, point)
    for order, signs in STORAGES[::5]:
        same_region(cut_roi(stored_otherwise(volume, order, signs), point), expected)


def test_a_cropped_scan_gives_the_same_bits():
    """Down to the voxels that the region touches."""
    volume = made_volume(np.diag([-1.0, 1.0, 1.0]))
    point = volume.to_lps([64.2, 58.9, 41.7])
    reach = np.ceil(24.5 / volume.spacing).astype(int) + 1
    low, high = np.floor([64, 58, 41] - reach).astype(int), np.ceil([66, 60, 43] + reach).astype(int)
    affine = volume.affine.copy()
    affine[:3, 3] = volume.to_lps(low)
    crop = CTVolume(volume.array[low[2] : high[2], low[1] : high[1], low[0] : high[0]], affine)
    assert crop.array.size < 0.5 * volume.array.size
    same_region(cut_roi(crop, point), cut_roi(volume, point))


def test_a_direction_that_is_hardly_off_changes_hardly_anything(lidc_cubes):
    """One millionth of a radian about each axis; samples on the outer face do not turn into air."""
    for file in sorted((lidc_cubes / "images").glob("*.nrrd"))[::45]:
        cube = read_volume(file)
        for point in ((0, 0, 0), (2.0, 1.6, -1.1), (1.0, 1.8, -1.9)):
            expected = cut_roi(cube, point)
            for axis, sign in itertools.product(range(3), (1e-6, -1e-6)):
                turned = cube.affine.copy()
                one, two = (axis + 1) % 3, (axis + 2) % 3
                turned[one, :3], turned[two, :3] = (
                    turned[one, :3] - sign * turned[two, :3],
                    turned[two, :3] + sign * turned[one, :3],
                )
                found = cut_roi(CTVolume(cube.array, turned), point)
                assert np.abs(found.axial - expected.axial).max() < 1
                assert np.abs(found.coronal - expected.coronal).max() < 1
                assert found.padded_fraction == expected.padded_fraction


def test_oriented_axes_run_to_left_posterior_superior():
    volume = made_volume(rotation(1))
    seen = volume.oriented
    assert (np.diag(seen.direction) > 0.5).all() and np.shares_memory(seen.array, volume.array)
    index = np.array([3, 40, 7])
    k, j, i = np.round(volume.to_index(seen.to_lps(index))).astype(int)[::-1]
    assert seen.array[7, 40, 3] == volume.array[k, j, i]


def test_slices_without_an_image_are_refused_where_they_matter():
    volume = made_volume(np.diag([1.0, -1.0, -1.0]))
    point = volume.to_lps([65, 60, 45])  # the region reaches over the slices 25.4 ... 64.6
    for absent, words in ((30, "31 of 90"), (64, "65 of 90"), (20, ""), (70, "")):
        gappy = CTVolume(volume.array, volume.affine, absent=(absent,))
        if not words:
            assert cut_roi(gappy, point).padded_fraction == 0
            continue
        with pytest.raises(InputError, match=words):
            cut_roi(gappy, point)
