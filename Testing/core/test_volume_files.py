"""Volume files in every storage: the voxels that were stored, or a refusal that names the cause."""

import gzip
import random
import re
import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume
from MAEMCLib.images.volume_files import header

from .volume_storage import COMPRESSED, STORAGES, affine_of, copied, image, store

CUBES_DAMAGED = 15


def damages(content: bytes, start: int, seed: int):
    """Damaged copies of a file, each with what was done, all of it behind ``start``."""
    draw = random.Random(seed)
    for length in (20, 512):
        for place in [draw.randrange(start, len(content)) for _ in range(6)]:
            yield (
                f"zeros at {place}",
                content[:place] + bytes(min(length, len(content) - place)) + content[place + length :],
            )
    for place in [draw.randrange(start, len(content)) for _ in range(25)] + list(range(len(content) - 8, len(content))):
        changed = bytearray(content)
        changed[place] ^= 1 << draw.randrange(8)
        yield f"bit at {place}", bytes(changed)
    for share in (0.1, 0.5, 0.9, 0.95, 0.999):
        yield f"cut at {share}", content[: start + int((len(content) - start) * share)]
    yield "last byte cut", content[:-1]
    for more in (b"\0", b"x", bytes(512), content[start:], b"\x1f\x8b"):
        yield f"{len(more)} bytes behind", content + more
    place = draw.randrange(start, len(content))
    yield "bytes repeated", content[:place] + content[place - 30 : place] + content[place:]
    yield "bytes left out", content[:place] + content[place + 3 :]


def payload_start(content: bytes, name: str) -> int:
    """Where compressed voxels begin behind the text of their header."""
    mark = {".nrrd": b"\n\n", ".mha": b"ElementDataFile = LOCAL\n"}.get(name[name.rindex(".") :])
    return content.index(mark) + len(mark) if mark else 0


@pytest.mark.parametrize("storage", COMPRESSED)
def test_no_damage_of_compressed_voxels_changes_them(tmp_path, storage):
    named = store(storage, tmp_path / "sound")
    sound = read_volume(named)
    file = STORAGES[storage][1]
    content = (named.parent / file).read_bytes()
    refused, tried = 0, 0
    for what, changed in damages(content, payload_start(content, file), 1):
        damaged = copied(named, tmp_path / "damaged")
        (damaged.parent / file).write_bytes(changed)
        tried += 1
        try:
            read = read_volume(damaged)
        except InputError as error:
            assert error.code == "unreadable", error
            refused += 1
            continue
        assert np.array_equal(read.array, sound.array), what  # such as a bit of gzip's time stamp
    assert tried > 50 and refused > 0.8 * tried


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_damaged_real_cubes_are_refused(lidc_cubes, tmp_path, suffix):
    """Ten damages of each of some real cubes; of 150 such files 143 were once scored as if they were sound."""
    for number, source in enumerate(sorted((lidc_cubes / "images").glob("*.nrrd"))[:CUBES_DAMAGED]):
        file = tmp_path / f"cube.{suffix}"
        sitk.WriteImage(sitk.ReadImage(str(source)), str(file), True)
        content = file.read_bytes()
        start, draw = payload_start(content, file.name), random.Random(number)
        for length in (20, 512) * 5:
            place = draw.randrange(start, len(content) - length)
            file.write_bytes(content[:place] + bytes(length) + content[place + length :])
            with pytest.raises(InputError, match=r"cut short|holds more|behind the end") as caught:
                read_volume(file)
            assert caught.value.code == "unreadable"


@pytest.mark.parametrize("storage", STORAGES)
def test_every_storage_gives_the_same_volume(tmp_path, storage):
    read = read_volume(store(storage, tmp_path))
    np.testing.assert_array_equal(read.array, sitk.GetArrayFromImage(image()))
    np.testing.assert_allclose(read.affine, affine_of(image()), atol=1e-4)  # NIfTI holds float32
    assert read.remarks == () and read.array.flags.writeable and read.array.dtype.isnative


@pytest.mark.parametrize("storage", [name for name in STORAGES if name.endswith("raw")])
def test_uncompressed_voxels_have_the_length_that_the_header_states(tmp_path, storage):
    named = store(storage, tmp_path)
    file = named.parent / STORAGES[storage][1]
    content = file.read_bytes()
    for changed, word in ((content[:-1], "cut short"), (content[:-700], "cut short"), (content + b"\0", "more")):
        file.write_bytes(changed)
        with pytest.raises(InputError, match=word):
            read_volume(named)


@pytest.mark.parametrize("kind", [sitk.sitkInt8, sitk.sitkUInt16, sitk.sitkInt32, sitk.sitkFloat32, sitk.sitkFloat64])
@pytest.mark.parametrize("storage", ["nrrd-gzip", "mha-zlib", "nifti-gzip"])
def test_types_of_voxels(tmp_path, kind, storage):
    source = sitk.Cast(image(), kind)
    read = read_volume(store(storage, tmp_path, source))
    expected = sitk.GetArrayFromImage(source)
    assert read.array.dtype == expected.dtype and np.array_equal(read.array, expected)


def test_big_endian_voxels(tmp_path):
    array = sitk.GetArrayFromImage(image())
    for storage, old, new in (
        ("nrrd-raw", b"endian: little", b"endian: big"),
        ("mha-raw", b"ByteOrderMSB = False", b"ByteOrderMSB = True"),
    ):
        named = store(storage, tmp_path / storage)
        content = named.read_bytes()
        header = content[: -array.nbytes].replace(old, new)
        named.write_bytes(header + array.astype(">i2").tobytes())
        read = read_volume(named)
        assert np.array_equal(read.array, array) and read.array.dtype == np.int16


def test_a_bomb_is_not_unpacked(tmp_path):
    """What would become a thousand times as large: refused after the bytes that the header declares."""
    named = store("nhdr-gzip", tmp_path)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(30)) + packer.flush()
    (tmp_path / "ct.raw.gz").write_bytes(packed)
    with pytest.raises(InputError, match="holds more than the 2640 bytes"):
        read_volume(named)
    text = named.read_text()
    named.write_text(text.replace("sizes: 12 11 10", "sizes: 30000 30000 2"))
    with pytest.raises(InputError, match="cut short"):
        read_volume(named)
    (tmp_path / "ct.raw.gz").write_bytes(packed[:1000])
    with pytest.raises(InputError, match="cannot be in so few bytes"):
        read_volume(named)


def test_gzip_of_several_members(tmp_path):
    named = store("nifti-gzip", tmp_path)
    content = gzip.decompress(named.read_bytes())
    named.write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]))
    assert np.array_equal(read_volume(named).array, sitk.GetArrayFromImage(image()))
    named.write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:-1]))
    with pytest.raises(InputError, match="cut short"):
        read_volume(named)


def test_voxels_larger_than_one_piece(tmp_path, monkeypatch):
    """Streams are unpacked piece by piece; here the pieces are so small that every border between them is met."""
    monkeypatch.setattr(header, "_PIECE", 7)
    for storage in ("nrrd-gzip", "mhd-zlib", "nifti-gzip"):
        read = read_volume(store(storage, tmp_path / storage))
        assert np.array_equal(read.array, sitk.GetArrayFromImage(image()))


TWINS = {
    "nifti-gzip": "ct.nii",
    "nifti-raw": "ct.nii.gz",
    "pair-gzip": "ct.nii",
    "pair-raw": "ct.img.gz",
    "mhd-zlib": "ct.raw",
    "mhd-raw": "ct.zraw",
    "nhdr-gzip": "ct.raw",
    "nhdr-raw": "ct.raw.gz",
}


@pytest.mark.parametrize("storage", TWINS)
def test_a_neighbor_of_a_like_name_is_never_read(tmp_path, storage):
    """ITK reads ct.nii where ct.nii.gz was asked for."""
    named = store(storage, tmp_path)
    other = tmp_path / "other" / ("ct.nii.gz" if TWINS[storage].endswith("gz") else "ct.nii")
    other.parent.mkdir()
    sitk.WriteImage(image() + 100, str(other))
    (tmp_path / TWINS[storage]).write_bytes(other.read_bytes())
    assert np.array_equal(read_volume(named).array, sitk.GetArrayFromImage(image()))


def test_a_pair_is_read_by_either_name(tmp_path):
    named = store("pair-raw", tmp_path)
    assert np.array_equal(read_volume(tmp_path / "ct.img").array, read_volume(named).array)
    (tmp_path / "ct.img").unlink()
    with pytest.raises(InputError, match=r"the other file of the pair, ct\.img, is not beside it"):
        read_volume(named)


def spoiled(named, old: bytes, new: bytes):
    """Replace a part of the header, which has to be there."""
    content = named.read_bytes()
    assert old in content, content[:900]
    named.write_bytes(content.replace(old, new, 1))
    return named


NRRD_HEADERS = {
    "line of 70,000 letters": (b"encoding: gzip", b"encoding: " + b"g" * 70_000, "encoding is neither raw nor gzip"),
    "sizes of 70,000 letters": (b"sizes: 12 11 10", b"sizes: 12 11 " + b"1" * 70_000, "'sizes'"),
    "endless header": (b"kinds: ", b"#" * (5 << 20) + b"\nkinds: ", "no end|no field"),
    "no dimension": (b"dimension: 3\n", b"", "no field 'dimension'"),
    "dimension -1": (b"dimension: 3", b"dimension: -1", "-1 dimensions"),
    "dimension 1e9": (b"dimension: 3", b"dimension: 1000000000", "1000000000 dimensions"),
    "size 0": (b"sizes: 12 11 10", b"sizes: 12 0 10", "12 x 0 x 10 voxels"),
    "size below zero": (b"sizes: 12 11 10", b"sizes: 12 -11 -10", "12 x -11 x -10"),
    "absurd size": (b"sizes: 12 11 10", b"sizes: 99999 99999 99999", "which no CT has"),
    "size of 400 digits": (b"sizes: 12 11 10", b"sizes: 12 11 " + b"9" * 400, "'sizes'"),
    "smaller size": (b"sizes: 12 11 10", b"sizes: 12 11 9", "holds more"),
    "larger size": (b"sizes: 12 11 10", b"sizes: 12 11 11", "cut short"),
    "sizes twice": (b"sizes: 12 11 10", b"sizes: 12 11 10\nsizes: 12 11 10", "'sizes' twice"),
    "unknown type": (b"type: short", b"type: shirt", "type of voxels"),
    "other type": (b"type: short", b"type: float", "cut short"),
    "block": (b"type: short", b"type: block", "type of voxels"),
    "unknown encoding": (b"encoding: gzip", b"encoding: bzip2", "encoding is neither"),
    "wrong encoding": (b"encoding: gzip", b"encoding: raw", "cut short|more"),
    "unknown field": (b"kinds: ", b"kimds: ", "no field of NRRD"),
    "no byte order": (b"endian: little\n", b"", "byte order"),
    "unknown byte order": (b"endian: little", b"endian: middle", "byte order"),
    "direction NaN": (b"space directions: (", b"space directions: (nan", "finite numbers|no numbers"),
    "no kinds": (b"kinds: ", b"#", "same"),
    "vector axis": (b"kinds: domain domain domain", b"kinds: vector domain domain", "12 values a voxel"),
    "time axis": (b"kinds: domain domain domain", b"kinds: domain domain time", "time axis"),
    "kinds of two axes": (b"kinds: domain domain domain", b"kinds: domain domain", "'kinds'"),
    "unknown space": (b"space: left-posterior-superior", b"space: scanner-xyz", "space does not say"),
    "right-handed space": (b"space: left-posterior-superior", b"space: 3D-right-handed", "space does not say"),
    "damaged space": (b"space: left-posterior-superior", b"space: lefT-posterior-supe0ior", "space does not say"),
    "meters": (b"kinds: ", b'space units: "m" "m" "m"\nkinds: ', "another unit"),
    "millimeters": (b"kinds: ", b'space units: "mm" "mm" "mm"\nkinds: ', "same"),
    "measurement frame": (b"kinds: ", b"measurement frame: (1,0,0) (0,1,0) (0,0,1)\nkinds: ", "same"),
    "comment and key": (b"kinds: ", b"# a remark\nOperator:=" + b"x" * 70_000 + b"\nkinds: ", "same"),
    "two geometries": (b"kinds: ", b"spacings: 1 1 1\nkinds: ", "both 'space directions' and 'spacings'"),
    "line skip": (b"kinds: ", b"line skip: 100000\nkinds: ", "fewer lines"),
    "line skip below zero": (b"kinds: ", b"line skip: -3\nkinds: ", "below zero"),
    "byte skip": (b"kinds: ", b"byte skip: 2\nkinds: ", "cut short"),
    "list of files": (b"kinds: ", b"data file: LIST\nkinds: ", "several files"),
    "names of a list": (b"kinds: ", b"data file: LIST\na.raw\nb.raw\nkinds: ", "several files"),
    "pattern of files": (b"kinds: ", b"data file: a%03d.raw 1 10 1\nkinds: ", "several files"),
    "file elsewhere": (b"kinds: ", b"data file: ../other.raw\nkinds: ", "does not lie beside it"),
    "absolute file": (b"kinds: ", b"data file: /etc/hostname\nkinds: ", "does not lie beside it"),
    "file that is missing": (b"kinds: ", b"data file: other.raw\nkinds: ", "is not beside it"),
    "version": (b"NRRD0004", b"NRRD0009", "version of NRRD"),
    "underscore in a number": (b"sizes: 12 11 10", b"sizes: 1_2 11 10", "'sizes'"),
}


@pytest.mark.parametrize("case", NRRD_HEADERS)
def test_nrrd_headers(tmp_path, case):
    old, new, words = NRRD_HEADERS[case]
    check(spoiled(store("nrrd-gzip", tmp_path), old, new), words)


def check(named, words):
    if words == "same":
        assert np.array_equal(read_volume(named).array, sitk.GetArrayFromImage(image()))
        return
    with pytest.raises(InputError, match=words) as caught:
        read_volume(named)
    assert len(str(caught.value)) < 600 and caught.value.private


@pytest.mark.parametrize(("storage", "field"), [("nhdr-raw", "data file: "), ("mhd-raw", "ElementDataFile = ")])
def test_the_whole_path_of_a_file_beside_the_header_is_its_name(tmp_path, storage, field):
    named = spoiled(store(storage, tmp_path), f"{field}ct.raw".encode(), f"{field}{tmp_path / 'ct.raw'}".encode())
    check(named, "same")


def test_nrrd_skips(tmp_path):
    named = store("nhdr-raw", tmp_path)
    content, text = (tmp_path / "ct.raw").read_bytes(), named.read_text()
    for skip, before in (
        ("line skip: 2", b"one\ntwo\n"),
        ("byte skip: 5", b"12345"),
        ("line skip: 1\nbyte skip: 3", b"line\n123"),
        ("byte skip: -1", b"of any length"),
    ):
        named.write_text(text.replace("kinds: ", f"{skip}\nkinds: "))
        (tmp_path / "ct.raw").write_bytes(before + content)
        assert np.array_equal(read_volume(named).array, sitk.GetArrayFromImage(image())), skip


@pytest.mark.parametrize("space", ["right-anterior-superior", "RAS", "left-anterior-superior", "LPS"])
def test_nrrd_spaces(tmp_path, space):
    named = spoiled(store("nrrd-gzip", tmp_path), b"left-posterior-superior", space.encode())
    np.testing.assert_allclose(read_volume(named).affine, affine_of(sitk.ReadImage(str(named))), atol=1e-12)


METAIMAGE_HEADERS = {
    "NDims -1": (b"NDims = 3", b"NDims = -1", "-1 dimensions"),
    "NDims 0": (b"NDims = 3", b"NDims = 0", "0 dimensions"),
    "NDims 1e9": (b"NDims = 3", b"NDims = 1000000000", "1000000000 dimensions"),
    "NDims 2": (b"NDims = 3", b"NDims = 2", "'DimSize'"),
    "long line": (b"Offset = ", b"Comment = " + b"x" * 70_000 + b"\nOffset = ", "same"),
    "no end": (b"ElementDataFile = LOCAL", b"ElementDataFale = LOCAL", "no line 'ElementDataFile'|no 'Key = value'"),
    "size": (b"DimSize = 12 11 10", b"DimSize = 12 -11 10", "12 x -11 x 10"),
    "size of text": (b"DimSize = 12 11 10", b"DimSize = 12 x 10", "'DimSize'"),
    "absurd size": (b"DimSize = 12 11 10", b"DimSize = 32000 32000 32000", "which no CT has"),
    "twice": (b"DimSize = 12 11 10", b"DimSize = 12 11 10\nDimSize = 12 11 10", "'DimSize' twice"),
    "one fact by two names": (b"DimSize", b"ElementByteOrderMSB = False\nDimSize", "same"),
    "two byte orders": (b"DimSize", b"ElementByteOrderMSB = True\nDimSize", "'BinaryDataByteOrderMSB' twice"),
    "two origins": (b"Offset = ", b"Origin = 1 2 3\nOffset = ", "'Offset' twice"),
    "channels": (b"DimSize", b"ElementNumberOfChannels = 3\nDimSize", "3 values a voxel"),
    "type": (b"MET_SHORT", b"MET_SHIRT", "type of voxels"),
    "array type": (b"MET_SHORT", b"MET_SHORT_ARRAY", "type of voxels"),
    "other type": (b"MET_SHORT", b"MET_FLOAT", "cut short"),
    "byte order": (b"MSB = False", b"MSB = Folse", "neither True nor False"),
    "text": (b"BinaryData = True", b"BinaryData = False", "written as text"),
    "not compressed": (b"CompressedData = True", b"CompressedData = False", "cut short|more"),
    "compressed size": (b"CompressedDataSize = ", b"CompressedDataSize = 1", "cut short"),
    "scale": (b"DimSize", b"ElementToIntensityFunctionSlope = 2\nDimSize", "scale of its values"),
    "no scale": (b"DimSize", b"ElementToIntensityFunctionSlope = 1\nDimSize", "same"),
    "units": (b"DimSize", b"DistanceUnits = um\nDimSize", "another unit"),
    "direction": (b"TransformMatrix = ", b"TransformMatrix = 0 ", "9 finite numbers"),
    "direction NaN": (b"TransformMatrix = ", b"TransformMatrix = nan 0 0 0 1 0 0 0 1\nComment = ", "9 finite numbers"),
    "direction zero": (b"TransformMatrix = ", b"TransformMatrix = 0 0 0 0 1 0 0 0 1\nComment = ", "of length 1"),
    "origin": (b"Offset = ", b"Offset = inf 0 0\nComment = ", "finite numbers"),
    "list": (b"ElementDataFile = LOCAL", b"ElementDataFile = LIST", "several files"),
    "pattern": (b"ElementDataFile = LOCAL", b"ElementDataFile = a%03d.raw 1 10 1", "several files"),
    "elsewhere": (b"ElementDataFile = LOCAL", b"ElementDataFile = ../ct.raw", "does not lie beside it"),
    "absolute": (b"ElementDataFile = LOCAL", b"ElementDataFile = C:\\ct.raw", "does not lie beside it"),
    "missing": (b"ElementDataFile = LOCAL", b"ElementDataFile = other.raw", "is not beside it"),
    "key of ITK": (b"DimSize", b"0008|0060 = CT\nDimSize", "same"),
    "other object": (b"ObjectType = Image", b"ObjectType = Tube", "no image"),
}


@pytest.mark.parametrize("case", METAIMAGE_HEADERS)
def test_metaimage_headers(tmp_path, case):
    old, new, words = METAIMAGE_HEADERS[case]
    check(spoiled(store("mha-zlib", tmp_path), old, new), words)


@pytest.mark.parametrize("skipped", [13, -1])
def test_metaimage_header_size(tmp_path, skipped):
    named = store("mhd-raw", tmp_path)
    spoiled(named, b"DimSize", f"HeaderSize = {skipped}\nDimSize".encode())
    (tmp_path / "ct.raw").write_bytes(b"13 bytes here" + (tmp_path / "ct.raw").read_bytes())
    check(named, "same")


@pytest.mark.parametrize(
    "storage, line, missing",
    [
        ("nrrd-gzip", rb"space: .*\n", "space"),
        ("nrrd-gzip", rb"space origin: .*\n", "origin"),
        ("nrrd-gzip", rb"space directions: .*\n", "directions and spacing"),
        ("mha-zlib", rb"TransformMatrix = .*\n", "TransformMatrix"),
        ("mha-zlib", rb"Offset = .*\n", "Offset"),
        ("mha-zlib", rb"ElementSpacing = .*\n", "ElementSpacing"),
    ],
)
def test_what_a_header_leaves_open_is_said(tmp_path, storage, line, missing):
    named = store(storage, tmp_path)
    content = named.read_bytes()
    changed = re.sub(line, b"", content)
    assert changed != content
    named.write_bytes(changed)
    (remark,) = read_volume(named).remarks
    assert (remark.code, remark.amber) == ("no-geometry", True) and missing in remark.message


def test_a_volume_that_was_read_is_a_volume(tmp_path):
    assert isinstance(read_volume(store("nifti-gzip", tmp_path)), CTVolume)
