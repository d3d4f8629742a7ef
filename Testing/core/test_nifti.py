"""NIfTI: which of its geometries is used, when they disagree, and headers that make no sense."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.images.files import read_volume

from .volume_storage import affine_of, image, store

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
TILT = np.array([[1.0, 0, 0, 0], [0, 1, np.tan(np.radians(18)), 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def ras(spacing=(0.8, 0.8, 1.2), origin=(-31.0, 12.0, 803.0)):
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return affine


def written(path, sform=None, qform=None, pixdim=(0.8, 0.8, 1.2), codes=(1, 1), order="<", version=1, more=()):
    """A NIfTI file with these forms; a qform is an origin for axes along R, A and S. more: (place, format, values)."""
    array = sitk.GetArrayFromImage(image())
    codes = (codes[0] if qform is not None else 0, codes[1] if sform is not None else 0)
    srow = np.zeros(12) if sform is None else sform[:3].ravel()
    origin = (0, 0, 0) if qform is None else qform
    dim = (3, 12, 11, 10, 1, 1, 1, 1)
    lengths = (1, *pixdim, 0, 0, 0, 0)
    if version == 1:
        header = bytearray(352)
        fields = [
            (0, "i", (348,)), (40, "8h", dim), (70, "hh", (4, 16)), (76, "8f", lengths), (108, "3f", (352, 0, 0)),
            (123, "b", (2,)), (252, "hh", codes), (256, "6f", (0, 0, 0, *origin)), (280, "12f", srow),
            (344, "4s", (b"n+1\0",)),
        ]  # fmt: skip
    else:
        header = bytearray(544)
        fields = [
            (0, "i", (540,)), (4, "8s", (b"n+2\0\r\n\x1a\n",)), (12, "hh", (4, 16)), (16, "8q", dim),
            (104, "8d", lengths), (168, "q", (544,)), (344, "ii", codes), (352, "6d", (0, 0, 0, *origin)),
            (400, "12d", srow), (500, "i", (2,)),
        ]  # fmt: skip
    for place, layout, values in (*fields, *more):
        struct.pack_into(order + layout, header, place, *values)
    path.write_bytes(bytes(header) + array.astype(f"{order}i2").tobytes())
    return path


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", "<>")
def test_both_versions_in_both_byte_orders(tmp_path, version, order):
    read = read_volume(written(tmp_path / "a.nii", ras(), (-31, 12, 803), order=order, version=version))
    np.testing.assert_allclose(read.affine, LPS @ ras(), atol=1e-5)
    np.testing.assert_array_equal(read.array, sitk.GetArrayFromImage(image()))
    assert read.array.dtype == np.int16 and read.remarks == ()


def test_a_qform_of_any_rotation_is_read_as_itk_reads_it(tmp_path):
    for flip in (1.0, -1.0):
        for seed in range(4):
            direction, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
            direction[:, 2] *= flip * np.sign(np.linalg.det(direction))
            turned = image()
            turned.SetDirection(direction.ravel().tolist())
            named = store("nifti-raw", tmp_path, turned)
            np.testing.assert_allclose(read_volume(named, nifti_form="qform").affine, affine_of(turned), atol=1e-4)
            np.testing.assert_allclose(read_volume(named, nifti_form="sform").affine, affine_of(turned), atol=1e-4)


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (2, 1), (4, 4)])
@pytest.mark.parametrize("what", ["tilt", "shift", "scale"])
def test_two_forms_that_disagree_are_refused_and_either_can_be_chosen(tmp_path, codes, what):
    changed = {"tilt": ras() @ TILT, "shift": ras(origin=(-31.6, 12, 803)), "scale": ras((0.8, 0.8, 1.3))}[what]
    named = written(tmp_path / "a.nii", changed, (-31, 12, 803), codes=codes)
    with pytest.raises(InputError, match=r"its sform and its qform, up to \d+\.\d mm apart") as caught:
        read_volume(named)
    assert caught.value.code == "geometry" and "--nifti-form sform or --nifti-form qform" in str(caught.value)
    np.testing.assert_allclose(read_volume(named, nifti_form="sform").affine, LPS @ changed, atol=1e-4)
    np.testing.assert_allclose(read_volume(named, nifti_form="qform").affine, LPS @ ras(), atol=1e-4)


def test_forms_that_nearly_agree_are_read_by_the_sform(tmp_path):
    near = ras(origin=(-31.3, 12, 803))
    np.testing.assert_allclose(
        read_volume(written(tmp_path / "a.nii", near, (-31, 12, 803))).affine, LPS @ near, atol=1e-4
    )


def test_a_disagreement_at_the_far_corner_alone_counts(tmp_path):
    """0.06 mm a slice is little, over nine steps it is 0.54 mm."""
    for step, refused in ((1.25, False), (1.26, True)):
        named = written(tmp_path / "a.nii", ras((0.8, 0.8, step)), (-31, 12, 803))
        if refused:
            with pytest.raises(InputError, match=r"0\.5 mm apart"):
                read_volume(named)
        else:
            read_volume(named)


@pytest.mark.parametrize("form", ["sform", "qform"])
def test_one_form_alone_is_read(tmp_path, form):
    forms = {"sform": ras()} if form == "sform" else {"qform": (-31, 12, 803)}
    named = written(tmp_path / "a.nii", **forms)
    np.testing.assert_allclose(read_volume(named).affine, LPS @ ras(), atol=1e-4)
    np.testing.assert_allclose(read_volume(named, nifti_form=form).affine, LPS @ ras(), atol=1e-4)
    other = "qform" if form == "sform" else "sform"
    with pytest.raises(InputError, match=f"has no {other}"):
        read_volume(named, nifti_form=other)


def test_a_tilted_or_slightly_oblique_sform_is_read_as_it_is(tmp_path):
    """A gantry tilt's pixdim may be the step along the slanted axis or the distance of the slices."""
    tilted = ras() @ TILT
    for third in (1.2, 1.2 / np.cos(np.radians(18))):
        named = written(tmp_path / "a.nii", tilted, pixdim=(0.8, 0.8, third))
        np.testing.assert_allclose(read_volume(named).affine, LPS @ tilted, atol=1e-4)
    askew = ras()
    askew[0, 1], askew[1, 2] = 0.004, 0.003
    np.testing.assert_allclose(read_volume(written(tmp_path / "b.nii", askew)).affine, LPS @ askew, atol=1e-4)


def test_voxel_sizes_that_disagree_with_the_sform_are_refused(tmp_path):
    named = written(tmp_path / "a.nii", ras(), pixdim=(1, 1, 1))
    with pytest.raises(InputError, match=r"two voxel spacings, 0\.8 x 0\.8 x 1\.2 mm in its sform and 1 x 1 x 1"):
        read_volume(named)
    np.testing.assert_allclose(read_volume(named, nifti_form="sform").affine, LPS @ ras(), atol=1e-4)


def test_no_form_at_all_is_amber(tmp_path):
    read = read_volume(written(tmp_path / "a.nii"))
    (remark,) = read.remarks
    assert remark.code == "no-geometry" and remark.amber
    np.testing.assert_allclose(read.affine, np.diag([0.8, 0.8, 1.2, 1]), atol=1e-6)  # as ITK and Slicer read it


@pytest.mark.parametrize(
    "slope, intercept, expected",
    [
        (2.0, -1024.0, (2.0, -1024.0)),
        (0.0, 5.0, (1, 0)),
        (np.nan, np.nan, (1, 0)),
        (1.0, 0.0, (1, 0)),
        (-1, 0, (-1, 0)),
    ],
)
def test_the_scale_is_applied(tmp_path, slope, intercept, expected):
    read = read_volume(written(tmp_path / "a.nii", ras(), more=[(112, "2f", (slope, intercept))]))
    original = sitk.GetArrayFromImage(image())
    np.testing.assert_array_equal(read.array, original * np.float32(expected[0]) + np.float32(expected[1]))
    assert read.array.dtype == (np.int16 if expected == (1, 0) else np.float32)


@pytest.mark.parametrize("unit, factor", [(0, 1), (1, 1000), (2, 1), (3, 0.001)])
def test_units_of_length(tmp_path, unit, factor):
    small = ras()
    small[:3] /= factor
    pixdim = np.array([0.8, 0.8, 1.2]) / factor
    named = written(tmp_path / "a.nii", small, small[:3, 3], pixdim, more=[(123, "b", (unit | 8,))])
    for form in (None, "sform", "qform"):
        np.testing.assert_allclose(read_volume(named, nifti_form=form).affine, LPS @ ras(), rtol=1e-5, atol=1e-4)


BROKEN = {
    "voxels at NaN": ((108, "f", (np.nan,)), "begin at byte nan"),
    "voxels at infinity": ((108, "f", (np.inf,)), "begin at byte inf"),
    "voxels below zero": ((108, "f", (-352,)), "begin at byte -352"),
    "voxels at a fraction": ((108, "f", (352.5,)), r"begin at byte 352\.5"),
    "voxels in the header": ((108, "f", (100,)), "within its header"),
    "voxels behind the end": ((108, "f", (1e9,)), "cut short"),
    "voxels later": ((108, "f", (354,)), "cut short"),
    "header of another size": ((0, "i", (349,)), "no reader knows"),
    "no magic": ((344, "4s", (b"\0\0\0\0",)), "Analyze"),
    "no dimensions": ((40, "h", (0,)), "0 dimensions"),
    "eight dimensions": ((40, "h", (8,)), "8 dimensions"),
    "two dimensions": ((40, "h", (2,)), "2 dimensions"),
    "size 0": ((42, "h", (0,)), "0 x 11 x 10"),
    "size below zero": ((42, "h", (-12,)), "-12 x 11"),
    "another size": ((42, "h", (13,)), "cut short"),
    "a smaller size": ((42, "h", (11,)), "more than"),
    "time": ((40, "5h", (4, 12, 11, 5, 2)), "4 dimensions"),
    "bits": ((72, "h", (32,)), "32 bits for voxels of 16"),
    "another type": ((70, "hh", (16, 32)), "cut short"),
    "colors": ((70, "hh", (128, 24)), "no real numbers"),
    "unknown type": ((70, "h", (77,)), "no real numbers"),
    "sform NaN": ((280, "f", (np.nan,)), "srow"),
    "sform infinite": ((292, "f", (np.inf,)), "srow"),
    "sform zero": ((280, "12f", (0,) * 12), "spacing"),
    "qform NaN": ((256, "f", (np.nan,)), "quatern"),
    "qform no rotation": ((256, "3f", (2, 0, 0)), "no rotation"),
    "qform's origin": ((268, "f", (np.inf,)), "qoffset"),
    "handedness": ((76, "f", (np.nan,)), "no rotation"),
    "mirrored": ((76, "f", (-1,)), "mm apart"),
    "spacing NaN": ((80, "f", (np.nan,)), "spacing"),
    "scale infinite": ((112, "f", (np.inf,)), "scale"),
    "scale's intercept": ((112, "2f", (2, np.nan)), "scale"),
    "unknown unit": ((123, "b", (6,)), "unit"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_headers_that_make_no_sense(tmp_path, case):
    change, words = BROKEN[case]
    with pytest.raises(InputError, match=words) as caught:
        read_volume(written(tmp_path / "a.nii", ras(), (-31, 12, 803), more=[change]))
    assert len(str(caught.value)) < 500


def test_four_dimensions_with_one_volume_are_read(tmp_path):
    read = read_volume(written(tmp_path / "a.nii", ras(), more=[(40, "h", (4,))]))
    np.testing.assert_array_equal(read.array, sitk.GetArrayFromImage(image()))


def test_a_form_that_does_not_exist(tmp_path):
    with pytest.raises(UsageError, match="sform or qform"):
        read_volume(written(tmp_path / "a.nii", ras()), nifti_form="pixdim")
    assert read_volume(store("nrrd-raw", tmp_path), nifti_form="sform").array.shape == (10, 11, 12)  # has one geometry
