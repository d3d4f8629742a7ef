"""Pictures as files: every kind that is promised becomes the gray values that were put in; the others are refused."""

from dataclasses import replace

import numpy as np
import pytest
from MAEMCLib.errors import InputError, ModelError
from MAEMCLib.images.gray import crop_resized, crop_rotated, read_gray, square
from MAEMCLib.inputs.view import PicturePreprocessing, shown, views
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, UltrasoundImageStorage, generate_uid


def gray(rows=24, columns=32, seed=0):
    """Smooth enough for JPEG, with all of 0 to 255 in it."""
    values = np.random.default_rng(seed).normal(size=(rows // 8 + 2, columns // 8 + 2))
    grown = np.asarray(Image.fromarray(values.astype(np.float32)).resize((columns, rows), Image.Resampling.BILINEAR))
    return np.rint((grown - grown.min()) / np.ptp(grown) * 255).astype(np.uint8)


def write_dicom(path, pixels, photometric="MONOCHROME2", frames=1, **extra):
    """A DICOM file with plain pixels: (rows, columns), (rows, columns, 3) or, with frames, one axis before these."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    storage = UltrasoundImageStorage if photometric != "MONOCHROME1" else SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = storage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Modality, data.PatientName, data.PatientID = "US", "Nobody^None", "0"
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    colored = photometric == "RGB"
    shape = pixels.shape[1:] if frames > 1 else pixels.shape
    data.Rows, data.Columns, data.SamplesPerPixel = shape[0], shape[1], 3 if colored else 1
    data.PhotometricInterpretation, data.PixelRepresentation = photometric, 0
    data.BitsAllocated = data.BitsStored = pixels.dtype.itemsize * 8
    data.HighBit = data.BitsStored - 1
    if colored:
        data.PlanarConfiguration = 0
    if frames > 1:
        data.NumberOfFrames = frames
    for name, value in extra.items():
        setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def test_eight_bit_png_is_taken_as_it_is(tmp_path):
    values = np.full((10, 12), 51, np.uint8)
    values[2, 3] = 204
    Image.fromarray(values).save(tmp_path / "ä b.png")
    read = read_gray(tmp_path / "ä b.png")
    assert read.dtype == np.float32 and read.shape == (10, 12)
    assert read[0, 0] == pytest.approx(0.2) and read[2, 3] == pytest.approx(0.8)  # not stretched to 0 and 1


@pytest.mark.parametrize("kind", ["png", "dcm"])
def test_sixteen_bits_run_from_the_smallest_to_the_largest(tmp_path, kind):
    values = gray().astype(np.uint16) * 40 + 1000
    if kind == "png":
        path = tmp_path / "x.png"
        Image.fromarray(values).save(path)
    else:
        path = write_dicom(tmp_path / "x.dcm", values)
    np.testing.assert_allclose(read_gray(path), gray() / 255, atol=1e-5)


def test_a_constant_picture_of_sixteen_bits_stays_finite(tmp_path):
    Image.fromarray(np.full((9, 9), 700, np.uint16)).save(tmp_path / "x.png")
    assert (read_gray(tmp_path / "x.png") == 0).all()


def test_colors_become_luminance(tmp_path):
    channels = np.stack([gray(seed=1), gray(seed=2), gray(seed=3)], axis=-1)
    expected = (0.299 * channels[..., 0] + 0.587 * channels[..., 1] + 0.114 * channels[..., 2]) / 255
    Image.fromarray(channels).save(tmp_path / "x.png")
    alpha = np.concatenate([channels, gray(seed=4)[..., None]], axis=-1)
    Image.fromarray(alpha).save(tmp_path / "a.png")
    write_dicom(tmp_path / "x.dcm", channels, "RGB")
    for name in ("x.png", "a.png", "x.dcm"):
        np.testing.assert_allclose(read_gray(tmp_path / name), expected, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("mode", ["P", "1", "LA"])
def test_other_kinds_of_png(tmp_path, mode):
    values = np.where(gray() > 127, 255, 0).astype(np.uint8)
    Image.fromarray(values).convert(mode).save(tmp_path / "x.png")
    np.testing.assert_allclose(read_gray(tmp_path / "x.png"), values / 255, atol=1e-5)


def test_jpeg_is_near_what_was_written(tmp_path):
    Image.fromarray(gray()).save(tmp_path / "x.jpg", quality=95)
    assert np.abs(read_gray(tmp_path / "x.jpg") - gray() / 255).mean() < 0.02


def test_ultrasound_as_dicom(tmp_path):
    np.testing.assert_allclose(read_gray(write_dicom(tmp_path / "x.dcm", gray())), gray() / 255, atol=1e-6)


def test_more_is_brighter_also_where_the_file_says_the_reverse(tmp_path):
    """A MONOCHROME1 file of 8 bits; where its darkest lies decides nothing about which end is which."""
    read = read_gray(write_dicom(tmp_path / "x.dcm", gray(), "MONOCHROME1"))
    np.testing.assert_allclose(read, 1 - gray() / 255, atol=1e-6)


def test_several_frames_are_refused(tmp_path):
    path = write_dicom(tmp_path / "x.dcm", np.stack([gray(), gray(seed=2)]), frames=2)
    with pytest.raises(InputError, match="2 frames"):
        read_gray(path)


def damaged(tmp_path):
    Image.fromarray(gray(80, 90)).save(tmp_path / "whole.png")
    Image.fromarray(gray(80, 90)).save(tmp_path / "whole.jpg")
    write_dicom(tmp_path / "whole.dcm", gray(80, 90))
    for kind in ("png", "jpg", "dcm"):
        whole = (tmp_path / f"whole.{kind}").read_bytes()
        (tmp_path / f"cut.{kind}").write_bytes(whole[: len(whole) // 2])
    png = bytearray((tmp_path / "whole.png").read_bytes())
    png[60:90] = bytes(30)
    (tmp_path / "scratched.png").write_bytes(png)
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "head.dcm").write_bytes(bytes(128) + b"DICM")
    return tmp_path


@pytest.mark.parametrize(
    "name", ["cut.png", "cut.jpg", "cut.dcm", "scratched.png", "text.png", "empty.png", "head.dcm"]
)
def test_what_is_no_picture_is_an_input_error(tmp_path, name):
    with pytest.raises(InputError, match=name):
        read_gray(damaged(tmp_path) / name)


@pytest.mark.parametrize("name", ["none.png", "."])
def test_what_is_not_there(tmp_path, name):
    with pytest.raises(InputError):
        read_gray(tmp_path / name)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (7, 10), (6, 6)])
def test_square_keeps_the_picture_in_its_middle(shape):
    values = np.random.default_rng(0).random(shape).astype(np.float32) + 1
    framed = square(values)
    side = max(shape)
    top, left = (side - shape[0]) // 2, (side - shape[1]) // 2
    assert framed.shape == (side, side)
    np.testing.assert_array_equal(framed[top : top + shape[0], left : left + shape[1]], values)
    assert framed.sum() == pytest.approx(values.sum())


def test_look_enlarges_by_linear_interpolation():
    """On a ramp a linear interpolation is exact: each pixel has the value of its own place."""
    ramp = np.add.outer(np.arange(30.0), 100 * np.arange(30.0)).astype(np.float32)
    shown = crop_resized(ramp, (15.25, 14.5), 6.0, 24)
    places = (np.arange(24) + 0.5) * 6 / 24 - 3 - 0.5  # pixel centers lie at whole numbers and a half
    expected = np.add.outer(places + 15.25, 100 * (places + 14.5))
    np.testing.assert_allclose(shown, expected, atol=0.01)


def test_look_fills_with_black_what_lies_outside():
    shown = crop_resized(np.ones((10, 10), np.float32), (0.0, 5.0), 10.0, 10)
    np.testing.assert_allclose(shown[:5], 0)
    np.testing.assert_allclose(shown[5:], 1)


def test_shrinking_averages():
    """A fine checkerboard becomes even gray and not a pattern of its own."""
    board = np.indices((64, 64)).sum(axis=0) % 2
    shown = crop_resized(board.astype(np.float32), (32.0, 32.0), 64.0, 16)
    assert np.abs(shown[2:-2, 2:-2] - 0.5).max() < 0.05


def test_prepare_shows_the_middle_and_standardizes():
    values = np.zeros((40, 60), np.float32)
    values[10:30, 20:40] = 1
    prepared = views(values, PicturePreprocessing(image_size=20, view_share=1 / 3, mean=0.25, std=0.5))[0]
    np.testing.assert_allclose(prepared, np.full((20, 20), 1.5), atol=1e-6)
    assert views(values, PicturePreprocessing(image_size=32)).shape == (1, 32, 32)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_picture_is_shown_upright_and_turned(share):
    gray = np.random.default_rng(2).random((48, 48)).astype(np.float32)
    settings = PicturePreprocessing(image_size=24, view_share=share, mean=0.2, std=0.5, angles=4)
    turned = shown(gray, settings)
    assert turned.shape == (4, 24, 24) and turned.dtype == np.float32
    np.testing.assert_array_equal(turned[0], views(gray, replace(settings, angles=1))[0])
    first = crop_rotated(gray, (24.0, 24.0), 48 * share, 24, 0.0)  # averages four samples a pixel, where it shrinks
    for turns in (1, 2, 3):
        np.testing.assert_allclose(turned[turns] * 0.5 + 0.2, np.rot90(first, turns), atol=1e-4)
    diagonal = shown(gray, replace(settings, angles=8))[1]
    np.testing.assert_allclose(diagonal * 0.5 + 0.2, crop_rotated(gray, (24.0, 24.0), 48 * share, 24, 45.0), atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_size": 0},
        {"view_share": 0.0},
        {"view_share": 1.1},
        {"std": 0.0},
        {"mean": float("nan")},
        {"angles": 0},
        {"angles": 2.5},
    ],
)
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(ModelError):
        PicturePreprocessing(**wrong)
