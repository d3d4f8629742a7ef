"""DICOM folders as hospitals have them: shuffled names, oblique, tilted, gaps, localizers, several series."""

import shutil

import numpy as np
import pydicom
import pytest
from dicom_files import rotation, write_series
from MAEMCLib.cases.case import Case
from MAEMCLib.errors import InputError
from MAEMCLib.images.dicom.series import read_folder
from MAEMCLib.images.files import read_volume
from MAEMCLib.inputs.region import cut_roi
from MAEMCLib.scoring import failed
from pydicom.uid import SecondaryCaptureImageStorage


def codes(volume):
    return {remark.code: remark.amber for remark in volume.remarks}


def refusal(path, uid=None) -> InputError:
    with pytest.raises(InputError) as caught:
        read_volume(path, uid)
    return caught.value


@pytest.mark.parametrize("axes", [None, rotation()], ids=["axial", "oblique"])
def test_series_is_read_in_order_whatever_its_file_names(tmp_path, axes):
    _, hu, affine = write_series(tmp_path / "Ordner mit Ümlaut", axes=axes)
    volume = read_volume(tmp_path / "Ordner mit Ümlaut")
    np.testing.assert_array_equal(volume.array, hu)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    assert volume.remarks == () and volume.absent == ()
    assert "mlaut" not in volume.name


def test_descending_slices_give_the_same_anatomy(tmp_path):
    _, hu, affine = write_series(tmp_path, step=(0, 0, -2.5))
    volume = read_volume(tmp_path)
    corner = volume.to_index((affine @ [3, 5, 2, 1])[:3])
    i, j, k = np.rint(corner).astype(int)
    np.testing.assert_allclose(corner, (i, j, k), atol=1e-3)
    assert volume.array[k, j, i] == hu[2, 5, 3]


def test_gantry_tilt_is_kept_as_a_sheared_axis(tmp_path):
    _, hu, affine = write_series(tmp_path, step=(0, 0.4, 1.5))
    volume = read_volume(tmp_path)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    np.testing.assert_array_equal(volume.array, hu)


def test_one_file_stands_for_its_series(tmp_path):
    uid, hu, _ = write_series(tmp_path)
    write_series(tmp_path, seed=5)
    file = next(p for p in tmp_path.iterdir() if p.name.startswith(uid[-6:]))
    np.testing.assert_array_equal(read_volume(file).array, hu)


def test_several_series_are_listed_and_chosen_by_uid(tmp_path):
    first, hu, _ = write_series(tmp_path / "a")
    second, other, _ = write_series(tmp_path / "b", seed=1)
    error = refusal(tmp_path)
    assert first in str(error) and second in str(error) and "9 slices" in str(error)
    assert "SMITH" not in str(error) and str(tmp_path) not in str(error)
    assert first not in error.anonymous and "9 slices; step 1.25 mm" in error.anonymous
    np.testing.assert_array_equal(read_volume(tmp_path, first).array, hu)
    np.testing.assert_array_equal(read_volume(tmp_path, f"{second}#1").array, other)
    assert "no series 1.2.3" in str(refusal(tmp_path, "1.2.3"))


def test_a_gap_outside_the_region_is_a_warning_and_inside_it_a_refusal(tmp_path):
    """60 mm of slices, the two from S 25 to 26 missing; LPS (0, 0, 15) needs S 3 to 27, (0, 0, 53) S 41 to 65."""
    places = [(-4.0, -5.0, z) for z in np.arange(0.0, 90.0)]
    write_series(tmp_path / "Smith", slices=90, positions=places, step=(0, 0, 1), skip=(25, 26))
    volume = read_volume(tmp_path / "Smith")
    assert volume.absent == (25, 26) and volume.array.shape[0] == 90
    (remark,) = volume.remarks
    assert remark.amber and remark.message == "2 of 90 slices are missing, at S 25.0 to 26.0 mm."
    assert remark.where.startswith("after ")
    np.testing.assert_allclose(volume.affine[:3, 2], (0, 0, 1), atol=1e-9)
    write_series(tmp_path / "whole", slices=90, positions=places, step=(0, 0, 1))
    np.testing.assert_array_equal(
        cut_roi(volume, (0, 0, 53)).axial, cut_roi(read_volume(tmp_path / "whole"), (0, 0, 53)).axial
    )
    with pytest.raises(InputError) as caught:
        cut_roi(volume, (0, 0, 15))
    assert caught.value.code == "dicom-missing-slices" and "Smith" not in str(caught.value)


def test_more_missing_than_there_is_no_volume(tmp_path):
    write_series(tmp_path, slices=40, skip=range(5, 32))
    assert "slices are missing: 27" in str(refusal(tmp_path))


def test_localizer_is_passed_over_and_named_alone(tmp_path):
    uid, hu, _ = write_series(tmp_path / "both")
    write_series(tmp_path / "both", image_type="LOCALIZER", slices=2, axes=rotation(80))
    np.testing.assert_array_equal(read_volume(tmp_path / "both").array, hu)
    write_series(tmp_path / "both", uid=uid, image_type="LOCALIZER", slices=1, axes=rotation(80), seed=7)
    volume = read_volume(tmp_path / "both", uid)
    np.testing.assert_array_equal(volume.array, hu)
    assert codes(volume) == {"dicom-left-out": False}
    write_series(tmp_path / "scout", image_type="LOCALIZER", slices=2)
    assert "localizer" in str(refusal(tmp_path / "scout"))
    assert "localizer" in str(refusal(next((tmp_path / "scout").iterdir())))


def test_an_untagged_localizer_and_a_screen_save_are_left_out_with_a_note(tmp_path):
    uid, hu, _ = write_series(tmp_path)

    def screen(item, k):
        del item.ImagePositionPatient, item.ImageOrientationPatient, item.PixelSpacing
        item.SOPClassUID = SecondaryCaptureImageStorage
        item.ImageType = ["DERIVED", "SECONDARY"]

    write_series(tmp_path, uid=uid, slices=1, axes=rotation(80), seed=7, start=(-200, 0, 40))
    write_series(tmp_path, uid=uid, slices=1, seed=8, change=screen)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, hu)
    assert sorted(remark.message[:9] for remark in volume.remarks) == ["1 images ", "1 lone im"]
    assert codes(volume) == {"dicom-left-out": False}
    screens = [p for p in tmp_path.iterdir() if "_8_" in p.name]
    assert "belongs to no stack" in str(refusal(screens[0]))


def test_a_lone_image_among_the_slices_is_one_of_them_and_a_fault(tmp_path):
    write_series(tmp_path, change=lambda item, k: k == 8 and setattr(item, "PixelSpacing", [0.8, 0.6]))
    assert "differs from them" in str(refusal(tmp_path))


def test_other_modalities_and_empty_folders(tmp_path):
    write_series(tmp_path / "mr", modality="MR")
    assert "modality MR" in str(refusal(tmp_path / "mr"))
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "readme.txt").write_text("no images here")
    assert "no DICOM images" in str(refusal(tmp_path / "none"))
    (tmp_path / "none" / "x.dcm").write_bytes(b"")
    assert "1 files are named as DICOM" in str(refusal(tmp_path / "none"))


def test_slices_of_one_position_are_refused(tmp_path):
    uid, _, _ = write_series(tmp_path, study="1.2.3", frame="1.2.4")
    write_series(tmp_path, uid=uid, seed=4, slices=3, study="1.2.3", frame="1.2.4")
    assert "two slices at one position" in str(refusal(tmp_path))


@pytest.mark.parametrize("where", ["pixels", "header", "header, and another modality"])
def test_a_file_cut_short_is_refused_or_said(tmp_path, where):
    write_series(tmp_path)
    last = max(tmp_path.iterdir(), key=lambda path: float(pydicom.dcmread(path).ImagePositionPatient[2]))
    if "modality" in where:  # of its class an image all the same
        data = pydicom.dcmread(last)
        data.Modality = "CU"
        data.save_as(last)
    content = last.read_bytes()
    last.write_bytes(content[: {"pixels": -200, "header": 300}.get(where, content.find(b"CS\x02\x00CU") + 6)])
    if where == "pixels":
        assert "PixelData is cut short" in str(refusal(tmp_path)) and last.name in str(refusal(tmp_path))
        assert last.name not in refusal(tmp_path).anonymous
        assert (
            last.name not in failed(Case("c", "p", tmp_path, nodule_id="N1"), refusal(tmp_path)).message
        )  # what is written down
    else:
        volume = read_volume(tmp_path)
        assert volume.array.shape[0] == 8 and codes(volume) == {"dicom-unreadable": True}


def test_copies_of_an_image_are_used_once(tmp_path):
    _, hu, _ = write_series(tmp_path)
    for path in sorted(tmp_path.iterdir())[2:5]:
        shutil.copy(path, tmp_path / f"copy {path.name}")
    copies = [path for path in tmp_path.iterdir() if path.name.startswith("copy")]
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, hu)
    assert [remark.message for remark in volume.remarks] == ["3 copies of an image left out of the series."]
    np.testing.assert_array_equal(read_volume(copies[0]).array, hu)
    data = pydicom.dcmread(copies[0])
    data.PixelData = bytes(len(data.PixelData))
    data.save_as(copies[0])
    assert "one SOPInstanceUID and differ" in str(refusal(tmp_path))


def test_listing_names_what_cannot_be_used(tmp_path):
    write_series(tmp_path / "a", slices=1)
    write_series(tmp_path / "b", modality="PT")
    problems = {str(stack.problem) for stack in read_folder(tmp_path).stacks}
    assert problems == {"a single slice", "modality PT, not CT"}


def test_one_slice_is_no_volume_alone_or_in_its_folder(tmp_path):
    write_series(tmp_path, slices=1)
    (file,) = tmp_path.iterdir()
    assert "a single slice" in str(refusal(tmp_path)) and "a single slice" in str(refusal(file))


MIPS = (
    ["DERIVED", "SECONDARY", "MIP"],
    ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"],
    ["DERIVED", "SECONDARY", "REFORMATTED", "MAX IP"],
    ["DERIVED", "SECONDARY", "PROJECTION IMAGE"],
    ["DERIVED", "SECONDARY", "AXIAL", "MinIP"],
    ["DERIVED", "SECONDARY", "OTHER", "CSA MIP THIN"],
)


@pytest.mark.parametrize("image_type", MIPS, ids=lambda value: "-".join(value[2:]))
def test_a_projection_is_refused(tmp_path, image_type):
    write_series(tmp_path, change=lambda item, k: setattr(item, "ImageType", image_type))
    assert "projections" in str(refusal(tmp_path)) and "projections" in str(refusal(next(tmp_path.iterdir())))


@pytest.mark.parametrize(
    ("image_type", "expected"),
    [
        (["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"], {"dicom-reformatted": True}),
        (["DERIVED", "SECONDARY", "MPR"], {"dicom-reformatted": True}),
        (["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MPR"], {"dicom-reformatted": True}),
        (["DERIVED", "SECONDARY", "AXIAL"], {}),
        (["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"], {}),
        ([], {"dicom-image-type": True}),
    ],
)
def test_a_reformatted_series_is_amber(tmp_path, image_type, expected):
    _, hu, _ = write_series(tmp_path, change=lambda item, k: setattr(item, "ImageType", image_type))
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, hu)
    assert codes(volume) == expected


def test_itk_keeps_quiet(tmp_path, capfd):
    rng = np.random.default_rng(2)
    places = [(-40, 21.5, 1.25 * k + rng.normal(0, 0.02)) for k in range(9)]
    write_series(tmp_path, positions=places, skip=(4,))
    assert codes(read_volume(tmp_path)) == {"dicom-missing-slices": True, "dicom-uneven": False}
    said = capfd.readouterr()
    assert said.out == said.err == ""
