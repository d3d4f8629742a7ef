"""DICOM folders as hospitals have them: shuffled names, oblique, tilted, gaps, localizers, several series."""

import numpy as np
import pytest
from MAEMCLib.ct import read_volume
from MAEMCLib.dicom_series import list_series
from MAEMCLib.errors import InputError
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE = (9, 16, 14)


def rotation(degrees=25):
    a = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    return about_x @ about_z


def write_series(folder, uid=None, step=None, axes=None, skip=(), modality="CT", image_type="AXIAL", seed=0, slices=9):
    """Write a series with file names in random order; returns its UID, voxels (k, j, i) in HU and affine to LPS mm."""
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid or generate_uid()
    rng = np.random.default_rng(seed)
    hu = rng.integers(-1000, 400, (slices, *SHAPE[1:])).astype(np.int16)
    axes = np.eye(3) if axes is None else axes
    step = axes[:, 2] * 1.25 if step is None else np.asarray(step, float)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = axes[:, 0] * 0.6, axes[:, 1] * 0.7, step
    affine[:3, 3] = (-40.0, 21.5, -300.0)
    frame, names = generate_uid(), rng.permutation(slices)
    for k in range(slices):
        if k in skip:
            continue
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        item = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        item.SOPClassUID, item.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        item.SeriesInstanceUID, item.StudyInstanceUID, item.FrameOfReferenceUID = uid, frame, frame
        item.Modality, item.ImageType, item.SeriesDescription = (
            modality,
            ["ORIGINAL", "PRIMARY", image_type],
            "Lung 1.0",
        )
        item.PatientName, item.PatientID, item.InstanceNumber = "Nobody", "0", int(names[k])
        item.Rows, item.Columns, item.PixelSpacing, item.SliceThickness = SHAPE[1], SHAPE[2], [0.7, 0.6], 1.25
        item.ImageOrientationPatient = [*axes[:, 0].tolist(), *axes[:, 1].tolist()]
        item.ImagePositionPatient = (affine[:3, 3] + k * step).tolist()
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 16, 15, 0
        item.RescaleSlope, item.RescaleIntercept = 1, -1024
        item.PixelData = (hu[k] + 1024).astype("<u2").tobytes()
        item.save_as(folder / f"{uid[-6:]}_{seed}_{names[k]:03d}", enforce_file_format=True)
    return uid, hu, affine


@pytest.mark.parametrize("axes", [None, rotation()], ids=["axial", "oblique"])
def test_series_is_read_in_order_whatever_its_file_names(tmp_path, axes):
    _, hu, affine = write_series(tmp_path / "Ordner mit Ümlaut", axes=axes)
    volume = read_volume(tmp_path / "Ordner mit Ümlaut")
    np.testing.assert_array_equal(volume.array, hu)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)


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
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path)
    assert first in str(caught.value) and second in str(caught.value) and "9 slices" in str(caught.value)
    np.testing.assert_array_equal(read_volume(tmp_path, first).array, hu)
    np.testing.assert_array_equal(read_volume(tmp_path, second).array, other)
    with pytest.raises(InputError, match=r"no series 1\.2\.3"):
        read_volume(tmp_path, "1.2.3")


def test_missing_slices_are_counted_and_placed(tmp_path):
    write_series(tmp_path, skip=(4, 5))
    with pytest.raises(InputError, match=r"slices are missing \(2, .*3\.75 mm where 1\.25 mm"):
        read_volume(tmp_path)


def test_localizer_is_passed_over_and_named_alone(tmp_path):
    uid, hu, _ = write_series(tmp_path / "both")
    write_series(tmp_path / "both", image_type="LOCALIZER", slices=2, axes=rotation(80))
    np.testing.assert_array_equal(read_volume(tmp_path / "both").array, hu)
    write_series(tmp_path / "both", uid=uid, image_type="LOCALIZER", slices=1, axes=rotation(80), seed=7)
    np.testing.assert_array_equal(read_volume(tmp_path / "both", uid).array, hu)
    write_series(tmp_path / "scout", image_type="LOCALIZER", slices=2)
    with pytest.raises(InputError, match="localizer"):
        read_volume(tmp_path / "scout")


def test_other_modalities_and_empty_folders(tmp_path):
    write_series(tmp_path / "mr", modality="MR")
    with pytest.raises(InputError, match="modality MR"):
        read_volume(tmp_path / "mr")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "readme.txt").write_text("no images here")
    with pytest.raises(InputError, match="no DICOM images"):
        read_volume(tmp_path / "none")


def test_duplicates_and_mixtures_are_refused(tmp_path):
    uid, _, _ = write_series(tmp_path / "twice")
    write_series(tmp_path / "twice", uid=uid, seed=4, slices=3)
    with pytest.raises(InputError, match="two slices at one position"):
        read_volume(tmp_path / "twice")
    uid, _, _ = write_series(tmp_path / "mixed")
    write_series(tmp_path / "mixed", uid=uid, seed=8, slices=2, axes=rotation())
    with pytest.raises(InputError, match="mixes slices"):
        read_volume(tmp_path / "mixed")


def test_truncated_slice_is_refused(tmp_path):
    write_series(tmp_path)
    file = sorted(tmp_path.iterdir())[3]
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"cannot be read|damaged"):
        read_volume(tmp_path)


def test_listing_names_what_cannot_be_used(tmp_path):
    write_series(tmp_path / "a", slices=1)
    write_series(tmp_path / "b", modality="PT")
    problems = {series.problem for series in list_series(tmp_path)}
    assert problems == {"a single slice", "modality PT, not CT"}
