"""Voxels in HU: every slice by its own scale, frames of enhanced CT, compressed and unusual files, damaged ones."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import SHAPE, enhanced, write_series
from MAEMCLib.errors import InputError
from MAEMCLib.images.dicom.header import is_dicom
from MAEMCLib.images.files import read_volume
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)


def scaled(item, slope, intercept, dtype="<u2"):
    hu = np.frombuffer(item.PixelData, "<u2").astype(float) - 1024
    item.RescaleSlope, item.RescaleIntercept = slope, intercept
    item.PixelRepresentation = int(dtype == "<i2")
    stored = np.round((hu - intercept) / slope).astype(dtype)
    item.PixelData = stored.tobytes()
    return stored.astype(float) * slope + intercept


@pytest.mark.parametrize(
    "scales",
    [
        [(1, -1024)] + [(1.5, -1024)] * 8,
        [(1, -1024)] + [(0.25, -1024.5)] * 8,
        [(2, -1000)] + [(1, -1024 - k) for k in range(8)],
        [(1, -1024), (1, -1000.5)] * 4 + [(1, -1024)],
        [(0.5, -1024)] * 9,
    ],
)
def test_every_slice_has_its_own_scale(tmp_path, scales):
    wanted = {}
    write_series(tmp_path, change=lambda item, k: wanted.update({k: scaled(item, *scales[k])}))
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array.ravel(), np.concatenate([wanted[k] for k in range(9)]))


def test_signed_and_unsigned_slices_of_one_series(tmp_path):
    _, hu, _ = write_series(tmp_path, change=lambda item, k: scaled(item, 1, -1024, "<i2" if k > 4 else "<u2"))
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)


def without_preamble(item, path, implicit=True, meta=False):
    stream = pydicom.filebase.DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, implicit
    if meta:
        header = FileMetaDataset()
        header.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        header.MediaStorageSOPClassUID, header.MediaStorageSOPInstanceUID = item.SOPClassUID, item.SOPInstanceUID
        pydicom.filewriter.write_file_meta_info(stream, header, enforce_standard=False)
        stream.is_little_endian, stream.is_implicit_VR = True, implicit
    write_dataset(stream, Dataset({e.tag: e for e in item}))
    path.write_bytes(stream.getvalue())


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("meta", [True, False])
def test_files_without_preamble_are_read_alone_and_in_their_folder(tmp_path, implicit, meta):
    _, hu, affine = write_series(tmp_path, save=lambda item, path: without_preamble(item, path, implicit, meta))
    file = next(tmp_path.iterdir())
    assert is_dicom(file) and file.read_bytes()[128:132] != b"DICM"
    for path in (tmp_path, file):
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.array, hu)
        np.testing.assert_allclose(volume.affine, affine, atol=1e-4)


def test_other_files_are_no_dicom_without_preamble(tmp_path):
    _, hu, _ = write_series(tmp_path)
    (tmp_path / "a").write_bytes(b"\x08\x00\x05\x00" + bytes(400))
    (tmp_path / "b").write_bytes(b"\x02\x00\x10\x00UI" + b"\xff" * 300)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)


def jpeg(kind):
    """A writer of JPEG 2000 or lossless JPEG, by SimpleITK: stored values are HU then."""

    def write(item, path):
        plain = path.with_suffix(".plain")
        item.save_as(plain, enforce_file_format=True)
        image = sitk.Cast(sitk.ReadImage(str(plain)), sitk.sitkInt16)
        for key in image.GetMetaDataKeys():
            if key in ("0028|1052", "0028|1053"):
                image.EraseMetaData(key)
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(path.with_suffix(".dcm")))
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.SetCompressor(kind)
        writer.Execute(image)
        plain.unlink()
        data = pydicom.dcmread(path.with_suffix(".dcm"))
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.ImagePositionPatient, data.PixelSpacing = item.ImagePositionPatient, item.PixelSpacing
        data.ImageOrientationPatient, data.ImageType = item.ImageOrientationPatient, item.ImageType
        data.SOPClassUID, data.Modality = item.SOPClassUID, "CT"
        data.SeriesInstanceUID, data.StudyInstanceUID = item.SeriesInstanceUID, item.StudyInstanceUID
        data.save_as(path.with_suffix(".dcm"))

    return write


def rle(item, path):
    item.compress(RLELossless)
    item.save_as(path, enforce_file_format=True)


WRITERS = {"RLE": rle, "JPEG 2000": jpeg("JPEG2000"), "JPEG": jpeg("JPEG")}


@pytest.mark.parametrize("name", WRITERS)
def test_a_compressed_series_is_read_and_a_cut_frame_refused(tmp_path, name):
    _, hu, _ = write_series(tmp_path, slices=4, save=WRITERS[name])
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)
    file = sorted(tmp_path.iterdir())[1]
    data = pydicom.dcmread(file)
    assert data.file_meta.TransferSyntaxUID.is_compressed
    (frame,) = generate_frames(data.PixelData, number_of_frames=1)
    for kept in (len(frame) // 2, len(frame) - 40):
        data.PixelData = encapsulate([frame[:kept]])
        data.save_as(file)
        with pytest.raises(InputError) as caught:
            read_volume(tmp_path)
        assert file.name in str(caught.value) and file.name not in caught.value.anonymous
        assert data.file_meta.TransferSyntaxUID.name in str(caught.value)


def test_deflated_series(tmp_path):
    def write(item, path):
        item.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        item.save_as(path, enforce_file_format=True)

    _, hu, _ = write_series(tmp_path, save=write)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)
    file = next(tmp_path.iterdir())
    file.write_bytes(file.read_bytes()[:-60])
    assert "dicom-unreadable" in [remark.code for remark in read_volume(tmp_path).remarks]
    with pytest.raises(InputError, match="damaged"):
        read_volume(file)


def cube(seed=0):
    affine = np.diag([0.6, 0.7, 1.25, 1.0])
    affine[:3, 3] = (-40, 21.5, -300)
    return np.random.default_rng(seed).integers(-500, 200, SHAPE) * 2, affine


def test_enhanced_multi_frame_ct(tmp_path):
    hu, affine = cube()
    order = np.random.default_rng(1).permutation(len(hu))
    for name, per_frame in (("shared", None), ("own", lambda k: (2, -1024 + 2 * k) if k % 2 else (0.5, -1024))):
        enhanced(tmp_path / name, hu, affine, order, per_frame, uid=f"1.2.{len(name)}")
        volume = read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.array, hu)
        np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
        (tmp_path / name).unlink()


def test_enhanced_ct_of_two_stacks_and_two_files(tmp_path):
    (hu, affine), (other, _) = cube(), cube(1)
    order = [*range(9), *range(9)]

    def two(data):
        for number, frame in enumerate(data.PerFrameFunctionalGroupsSequence):
            frame.FrameContentSequence[0].StackID = "AB"[number // 9]
        pixels = np.frombuffer(data.PixelData, "<u2").reshape(-1, *SHAPE[1:]).copy()
        pixels[9:] = other + 1024
        data.PixelData = pixels.tobytes()

    enhanced(tmp_path / "x", hu, affine, order, change=two)
    with pytest.raises(InputError, match=r"1\.2\.5#2 .*stack ID B"):
        read_volume(tmp_path)
    np.testing.assert_array_equal(read_volume(tmp_path, "1.2.5#1").array, hu)
    np.testing.assert_array_equal(read_volume(tmp_path, "1.2.5#2").array, other)
    (tmp_path / "x").unlink()
    enhanced(tmp_path / "y", hu, affine, range(5))
    enhanced(tmp_path / "z", hu, affine, range(5, 9))
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: delattr(data, "PerFrameFunctionalGroupsSequence"),
        lambda data: data.PerFrameFunctionalGroupsSequence.pop(),
        lambda data: delattr(data.SharedFunctionalGroupsSequence[0], "PlaneOrientationSequence"),
        lambda data: delattr(data.PerFrameFunctionalGroupsSequence[3], "PlanePositionSequence"),
        lambda data: setattr(data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0], "PixelSpacing", ["1"]),
        lambda data: delattr(
            data.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0], "RescaleSlope"
        ),
        lambda data: setattr(data, "PixelData", data.PixelData[:-500]),
        lambda data: setattr(data, "NumberOfFrames", "8"),
        lambda data: setattr(
            data.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence[0],
            "FrameType",
            ["DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"],
        ),
    ],
)
def test_enhanced_ct_that_does_not_say_what_is_needed(tmp_path, spoil):
    enhanced(tmp_path / "x", *cube(), range(9), change=spoil)
    with pytest.raises(InputError):
        read_volume(tmp_path / "x")


def test_a_compression_without_decoder_is_named(tmp_path):
    hu, affine = cube()
    enhanced(tmp_path / "x", hu, affine, range(9))
    data = pydicom.dcmread(tmp_path / "x")
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    data.PixelData = encapsulate([b"\xff\xd8\xff\xf7" + bytes(60)] * 9)
    data.save_as(tmp_path / "x")
    with pytest.raises(InputError, match="JPEG-LS Lossless"):
        read_volume(tmp_path)


def twice(folder):
    """Make the window's center of one file a second rescale slope, before its own."""
    file = sorted(folder.iterdir())[1]
    data = pydicom.dcmread(file)
    data.WindowCenter = "40"
    data.save_as(file)
    whole = file.read_bytes()
    assert whole.count(b"\x28\x00\x50\x10DS") == 1
    file.write_bytes(whole.replace(b"\x28\x00\x50\x10DS", b"\x28\x00\x53\x10DS"))


def test_the_scale_that_was_checked_is_the_one_that_is_used(tmp_path):
    _, hu, _ = write_series(tmp_path / "plain")
    twice(tmp_path / "plain")
    np.testing.assert_array_equal(read_volume(tmp_path / "plain").array, hu)
    write_series(tmp_path / "compressed", slices=4, save=jpeg("JPEG2000"))
    twice(tmp_path / "compressed")
    with pytest.raises(InputError, match="cannot be decoded"):
        read_volume(tmp_path / "compressed")


@pytest.mark.parametrize("kind", ["plain", "compressed"])
def test_an_empty_scale_is_none(tmp_path, kind):
    _, hu, _ = write_series(tmp_path, slices=4, save=jpeg("JPEG2000"))
    for file in tmp_path.iterdir():
        data = pydicom.dcmread(file)
        data.RescaleSlope = data.RescaleIntercept = None
        if kind == "plain":
            data.decompress()
        data.save_as(file)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)


@pytest.mark.parametrize(("dtype", "slope", "intercept"), [("<i4", 1, 0), ("<u4", 1, -1_000_000_000), ("<u4", 7, 3)])
def test_wide_values_do_not_wrap(tmp_path, dtype, slope, intercept):
    def change(item, k):
        item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 32, 32, 31, int("i" in dtype)
        item.RescaleSlope, item.RescaleIntercept = slope, intercept
        stored = np.random.default_rng(k).integers(np.iinfo(dtype).min, np.iinfo(dtype).max, SHAPE[1:], dtype)
        item.PixelData = stored.tobytes()
        wanted[k] = [[int(value) * slope + intercept for value in row] for row in stored]

    wanted = {}
    write_series(tmp_path, change=change)
    np.testing.assert_array_equal(read_volume(tmp_path).array, [wanted[k] for k in range(9)])


def test_bits_that_are_not_stored_are_left_out(tmp_path):
    def change(item, k):
        stored = np.frombuffer(item.PixelData, "<u2") | 0xA000  # an overlay
        item.BitsStored, item.HighBit, item.PixelData = 12, 11, stored.tobytes()

    _, hu, _ = write_series(tmp_path, change=change)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)
