"""What is wrong with a tag is refused, naming the file, or changes nothing: whatever its bytes are."""

import struct

import numpy as np
import pytest
from dicom_files import write_series
from MAEMCLib.errors import InputError
from MAEMCLib.images.files import read_volume
from pydicom.tag import Tag

SLICES = 5
USED = {  # tag: VR and a sound value, one or several
    "Rows": ("US", b"\x10\x00"),
    "Columns": ("US", b"\x0e\x00"),
    "PixelSpacing": ("DS", b"0.7\\0.6 "),
    "ImagePositionPatient": ("DS", b"-40\\21.5\\-295 "),
    "ImageOrientationPatient": ("DS", b"1\\0\\0\\0\\1\\0 "),
    "RescaleSlope": ("DS", b"1 "),
    "RescaleIntercept": ("DS", b"-1024 "),
    "NumberOfFrames": ("IS", b"1 "),
    "SamplesPerPixel": ("US", b"\x01\x00"),
    "BitsAllocated": ("US", b"\x10\x00"),
    "BitsStored": ("US", b"\x10\x00"),
    "HighBit": ("US", b"\x0f\x00"),
    "PixelRepresentation": ("US", b"\x00\x00"),
    "PhotometricInterpretation": ("CS", b"MONOCHROME2 "),
    "ImageType": ("CS", b"ORIGINAL\\PRIMARY"),
    "Modality": ("CS", b"CT"),
    "SOPClassUID": ("UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
    "SOPInstanceUID": ("UI", b"1.2.3.4\0"),
    "SeriesInstanceUID": ("UI", b"1.2.3.5\0"),
    "StudyInstanceUID": ("UI", b"1.2.3.6\0"),
    "FrameOfReferenceUID": ("UI", b"1.2.3.7\0"),
    "PatientID": ("LO", b"0 "),
    "AcquisitionNumber": ("IS", b"1 "),
    "InstanceNumber": ("IS", b"1 "),
    "SliceThickness": ("DS", b"1.25"),
    "ConvolutionKernel": ("SH", b"B60 "),
    "RescaleType": ("LO", b"HU"),
}


WAYS = ("absent", "empty", "nan", "inf", "huge", "text", "number", "too few", "too many", "hole", "bytes", "comma")


def spoiled(vr: str, value: bytes, how: str) -> tuple[str, bytes] | None:
    """VR and bytes of a value gone wrong; None for one that is not there."""
    if how == "absent":
        return None
    parts = value.strip(b" \0").split(b"\\")
    ways = {
        "empty": b"",
        "nan": b"\\".join([b"nan", *parts[1:]]),
        "inf": b"\\".join([*parts[:-1], b"inf"]),
        "huge": b"\\".join([b"1e400", *parts[1:]]),
        "text": b"many",
        "number": b"1 OF 1",
        "too few": b"\\".join(parts[:-1]),
        "too many": b"\\".join([*parts, parts[0]]),
        "hole": b"\\".join([*parts[:-1], b""]),
        "bytes": b"\xff\xfe\x80\x00",
        "comma": value.replace(b".", b",").replace(b"1", b"1,5"),
    }
    if vr != "US":
        return vr, ways[how]
    binary = {"empty": b"", "too few": b"\x00", "too many": value * 3, "bytes": b"\xff\xff", "hole": value + b"\0"}
    return (vr, binary[how]) if how in binary else ("LO", ways[how])


def element(tag, vr: str, value: bytes) -> bytes:
    value += b"" if len(value) % 2 == 0 or vr == "US" else (b"\0" if vr == "UI" else b" ")
    return struct.pack("<HH2sH", tag.group, tag.element, vr.encode(), len(value)) + value


def replaced(file: bytes, name: str, new: tuple[str, bytes] | None) -> bytes:
    """A file in explicit VR little endian with another element in place of one, whatever sense it makes."""
    tag, at = Tag(name), 132
    while at < len(file):
        group, number, vr = struct.unpack_from("<HH2s", file, at)
        long = vr in (b"OB", b"OW", b"SQ", b"UN", b"UT")
        begin = at + (12 if long else 8)
        end = begin + struct.unpack_from("<I" if long else "<H", file, begin - (4 if long else 2))[0]
        if (group, number) >= (tag.group, tag.element):
            kept = end if (group, number) == (tag.group, tag.element) else at
            return file[:at] + (element(tag, *new) if new else b"") + file[kept:]
        at = end
    raise AssertionError(name)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Bytes of each slice in order of position, HU and affine."""
    paths = {}
    folder = tmp_path_factory.mktemp("sound")
    _, hu, affine = write_series(
        folder, slices=SLICES, save=lambda item, path: (item.save_as(path), paths.update({item.InstanceNumber: path}))
    )
    return [paths[k + 1].read_bytes() for k in range(SLICES)], hu, affine


@pytest.mark.parametrize("tag", USED)
def test_a_spoiled_tag_is_refused_naming_the_file_or_changes_nothing(tmp_path, sound, tag):
    files, hu, affine = sound
    for how in WAYS:
        at_end = [(SLICES - 1,)] if how in ("absent", "nan", "text") else []
        for slices in ((2,), range(SLICES), *at_end):
            for k, file in enumerate(files):
                new = replaced(file, tag, spoiled(*USED[tag], how)) if k in slices else file
                (tmp_path / f"IMAGE{k}").write_bytes(new)
            try:
                volume = read_volume(tmp_path)
            except InputError as error:
                text, of_all = str(error), len(slices) == SLICES
                assert "IMAGE" in text or (of_all and ("modality" in text or "no DICOM images" in text)), (how, text)
                assert "IMAGE" not in error.anonymous
            else:
                np.testing.assert_array_equal(volume.array, hu, err_msg=f"{how} {slices}")
                np.testing.assert_allclose(volume.affine, affine, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1.01, 0]}, "no unit vectors"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.01, 1, 0]}, "not at a right angle"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "no unit vectors"),
        ({"PixelSpacing": [0, 0.6]}, "PixelSpacing is not above zero"),
        ({"RescaleSlope": 0}, "RescaleSlope is 0"),
        ({"RescaleSlope": -1}, "RescaleSlope is -1"),
        ({"Rows": 8}, "PixelData has 448 bytes where Rows and Columns need 224"),
        ({"NumberOfFrames": 20}, "multi-frame"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "PhotometricInterpretation"),
    ],
)
def test_values_that_are_numbers_and_wrong(tmp_path, change, words):
    for slices in ((4,), range(9)):
        folder = tmp_path / str(len(slices))
        write_series(
            folder, change=lambda item, k, s=slices: k in s and [setattr(item, n, v) for n, v in change.items()]
        )
        with pytest.raises(InputError, match=words):
            read_volume(folder)


def test_no_scale_at_all_is_amber_for_hu_and_refused_for_anything_else(tmp_path):
    def bare(item, k):
        del item.RescaleSlope, item.RescaleIntercept

    def bare_hu(item, k):
        bare(item, k)
        item.PixelRepresentation = 1
        item.PixelData = (np.frombuffer(item.PixelData, "<u2").astype(int) - 1024).astype("<i2").tobytes()

    def padded(item, k):
        bare(item, k)
        values = np.frombuffer(item.PixelData, "<u2").astype("<i2")
        values[:20] = -2000
        item.PixelRepresentation, item.PixelData = 1, values.tobytes()

    _, hu, _ = write_series(tmp_path / "hu", change=bare_hu)
    volume = read_volume(tmp_path / "hu")
    np.testing.assert_array_equal(volume.array, hu)
    assert [(remark.code, remark.amber) for remark in volume.remarks] == [("dicom-no-rescale", True)]
    for name, change in (("raw", bare), ("padded", padded)):
        write_series(tmp_path / name, change=change)
        with pytest.raises(InputError, match="its values are not HU"):
            read_volume(tmp_path / name)
    write_series(tmp_path / "some", change=lambda item, k: k % 2 and bare_hu(item, k))
    with pytest.raises(InputError, match="missing on some of its slices"):
        read_volume(tmp_path / "some")
