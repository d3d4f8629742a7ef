"""Reading volumes: every format, every orientation, and every broken file with its own words."""

import struct
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.images.ct import CTVolume, check_ct
from MAEMCLib.images.files import read_volume, write_volume


def oblique(seed=3):
    """A rotation by awkward angles."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q if np.linalg.det(q) > 0 else q[:, [1, 0, 2]]


def noise(shape=(12, 20, 24), seed=0):
    return np.random.default_rng(seed).integers(-1000, 400, shape).astype(np.int16)


def volume(seed=0, direction=None, spacing=(0.7, 0.8, 1.5)):
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if direction is None else direction) * spacing
    affine[:3, 3] = (-31.5, 12.25, 803.0)
    return CTVolume(noise(seed=seed), affine, "made")


@pytest.mark.parametrize("suffix", ["nrrd", "nii", "nii.gz", "mha", "mhd"])
@pytest.mark.parametrize(
    "direction", [None, np.diag([-1.0, -1.0, 1.0]), oblique()], ids=["plain", "flipped", "oblique"]
)
def test_round_trip_keeps_voxels_and_geometry(tmp_path, suffix, direction):
    original = volume(direction=direction)
    path = tmp_path / f"Köpfchen mit Leer zeichen.{suffix}"
    write_volume(original, path)
    read = read_volume(path)
    np.testing.assert_array_equal(read.array, original.array)
    np.testing.assert_allclose(read.affine, original.affine, atol=1e-4)  # NIfTI headers hold float32


def test_index_and_lps_are_inverse():
    made = volume(direction=oblique())
    index = np.random.default_rng(1).uniform(-5, 30, (50, 3))
    np.testing.assert_allclose(made.to_index(made.to_lps(index)), index, atol=1e-9)
    # an obvious computation for one of them
    i, j, k = index[7]
    expected = made.origin + i * made.spacing[0] * made.direction[:, 0]
    expected = expected + j * made.spacing[1] * made.direction[:, 1] + k * made.spacing[2] * made.direction[:, 2]
    np.testing.assert_allclose(made.to_lps(index[7]), expected)


@pytest.mark.parametrize(
    "spacing, code", [((0, 1, 1), "geometry|spacing"), ((1, 1, 400), "spacing"), ((1e-4, 1, 1), "spacing")]
)
def test_absurd_spacing_is_refused(spacing, code):
    with pytest.raises(InputError) as caught:
        CTVolume(noise(), np.diag([*spacing, 1.0]).astype(float), "x")
    assert caught.value.code in code.split("|")


def test_degenerate_axes_are_refused():
    affine = np.eye(4)
    affine[:3, 1] = affine[:3, 0]
    with pytest.raises(InputError, match="one plane"):
        CTVolume(noise(), affine)


def test_wrong_shape_and_type_are_refused():
    with pytest.raises(InputError, match="3-D"):
        CTVolume(np.zeros((2, 3, 4, 5), np.int16), np.eye(4))
    with pytest.raises(InputError, match="real numbers"):
        CTVolume(np.zeros((3, 4, 5), bool), np.eye(4))


@pytest.mark.parametrize(
    "array, word",
    [
        (np.random.default_rng(0).integers(0, 3, (20, 20, 20)).astype(np.uint8), "label map"),
        (np.random.default_rng(0).integers(0, 2000, (20, 20, 20)).astype(np.int16), "rescale"),
        (np.random.default_rng(0).integers(-200, 300, (20, 20, 20)).astype(np.int16), "lung and air"),
        (np.random.default_rng(0).normal(0, 30000, (20, 20, 20)).astype(np.float32), "not its|derived|HU"),
        (np.full((20, 20, 20), -1000.0), "derived"),
        (np.full((20, 20, 20), np.nan), "finite"),
    ],
    ids=["labels", "mr", "no-air", "huge", "constant", "nan"],
)
def test_what_is_not_ct_is_refused(array, word):
    with pytest.raises(InputError, match=word):
        check_ct(CTVolume(array, np.eye(4), "x"))


def test_real_cubes_pass_as_ct(lidc_cubes):
    files = sorted((lidc_cubes / "images").glob("*.nrrd"))
    assert len(files) == 90
    for file in files:
        check_ct(read_volume(file))


@pytest.mark.parametrize("suffix", ["nrrd", "nii", "nii.gz", "mha"])
@pytest.mark.parametrize("compress", [True, False])
def test_truncated_file_is_refused(tmp_path, suffix, compress):
    path = tmp_path / f"whole.{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(noise()), str(path), compress)
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    with pytest.raises(InputError, match="cut"):
        read_volume(cut)


def test_renamed_file_says_what_it_is(tmp_path):
    write_volume(volume(), tmp_path / "a.nrrd")
    (tmp_path / "a.nrrd").rename(tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"contents are NRRD: name it a\.nrrd"):
        read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize("content", [b"", b"hello world" * 20])
def test_empty_and_foreign_files(tmp_path, content):
    (tmp_path / "x.nrrd").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path / "x.nrrd")
    assert caught.value.code == "unreadable"


@pytest.mark.parametrize("value", [0.0, -2.0, float("nan"), 1e6])
def test_bad_spacing_in_nifti_header(tmp_path, value):
    path = tmp_path / "x.nii"
    sitk.WriteImage(sitk.GetImageFromArray(noise()), str(path))
    data = bytearray(path.read_bytes())
    data[80:84] = struct.pack("<f", value)
    path.write_bytes(data)
    with pytest.raises(InputError, match="spacing"):
        read_volume(path)


@pytest.mark.parametrize("value", ["0", "-1", "nan"])
def test_bad_spacing_in_metaimage_header(tmp_path, value):
    path = tmp_path / "x.mha"
    sitk.WriteImage(sitk.GetImageFromArray(noise()), str(path), False)
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing = 1 ", f"ElementSpacing = {value} ".encode()))
    with pytest.raises(InputError, match="above zero"):
        read_volume(path)


def test_four_dimensions_and_colors_are_refused(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4, 5), np.int16), isVector=False), str(tmp_path / "4.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5, 3), np.uint8), isVector=True), str(tmp_path / "c.nrrd"))
    for name, word in (("4.nrrd", "4 dimensions"), ("c.nrrd", "3 values")):
        with pytest.raises(InputError, match=word):
            read_volume(tmp_path / name)


def test_missing_file_and_series_of_a_file(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_volume(tmp_path / "none.nrrd")
    write_volume(volume(), tmp_path / "a.nrrd")
    with pytest.raises(UsageError, match="DICOM folder only"):
        read_volume(tmp_path / "a.nrrd", series_uid="1.2")


def test_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can be written"):
        write_volume(volume(), tmp_path / "file" / "a.nrrd")


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.mhd", "a.nii.gz", "a.nii"])
def test_a_disk_that_does_not_take_all_leaves_what_was_there(tmp_path, name):
    import resource

    small, large = volume(), CTVolume(noise((60, 60, 60)), np.eye(4))
    write_volume(small, tmp_path / name)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        with pytest.raises(InputError, match="cannot be written") as caught:
            write_volume(large, tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == "not-written" and name not in caught.value.anonymous
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    write_volume(large, tmp_path / name)
    assert np.array_equal(read_volume(tmp_path / name).array, large.array)
