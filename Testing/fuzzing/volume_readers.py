"""Volumes: NRRD, MetaImage and NIfTI by their native readers in a child process, DICOM series."""

from __future__ import annotations

import io
import itertools
import re
import struct
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pydicom
import SimpleITK as sitk
from hypothesis import strategies as st
from MAEMCLib.cases.case import Case
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.reading_process import ReadingProcess
from MAEMCTrainingLib.data.importers.formats.dicom import import_dicom
from pydicom.multival import MultiValue

from .judging import Reader
from .mutations import mutated

SIZE = (12, 14, 16)
SLICES, STEP_MM = 6, 5
SPOILED_SLICES = 0, 3, 5
"""The first slice of a DICOM series, one within and the last."""
SHARE = 0.1
"""Of the step between slices: so far a slice may lie off the place that the volume gives it. Where an end slice was
moved, the volume's step is another one, and it is the others that lie off."""


def _image() -> sitk.Image:
    array = np.random.default_rng(0).integers(-1000, 400, SIZE).astype(np.int16)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.8, 0.9, 1.25))
    image.SetOrigin((-10.0, 20.0, 30.0))
    return image


def _file(name: str, compressed: bool, payload: str = ""):
    """payload: the file that holds the voxels where it is not the header's own."""

    def prepare(folder: Path):
        sitk.WriteImage(_image(), str(folder / name), useCompression=compressed)
        reader = ReadingProcess()
        sound = reader.read(folder / name)
        spoiled_name = payload or name
        content = (folder / spoiled_name).read_bytes()
        start = _payload_start(content, name, bool(payload))
        plain = st.tuples(mutated(content), st.just(False))
        # Whatever happens to compressed voxels shows in their checksum; uncompressed ones have none.
        confined = st.tuples(mutated(content, start + 1), st.just(compressed))

        def read(spoiled: tuple[bytes, bool]) -> None:
            changed, checked = spoiled
            (folder / spoiled_name).write_bytes(changed)
            found = reader.read(folder / name)
            if checked or changed == content:
                _same(found, sound)

        return st.one_of(plain, confined), read

    return prepare


def _payload_start(content: bytes, name: str, detached: bool) -> int:
    if name.endswith(".nii"):
        return 352
    if detached or name.endswith(".gz"):
        return 10
    mark = b"\n\n" if name.endswith(".nrrd") else b"LOCAL\n"
    return content.index(mark) + len(mark)


def _same(found: CTVolume, sound: CTVolume) -> None:
    assert found.array.shape == sound.array.shape, "another size was accepted"
    assert np.array_equal(found.array, sound.array), "other voxels were accepted"
    assert np.allclose(found.affine, sound.affine), "another place was accepted"


def _series(folder: Path) -> list[Path]:
    """A sound CT series, a file a slice; high enough for one region."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir()
    array = sitk.GetArrayFromImage(_image())
    paths = []
    for k, plane in enumerate(array[:SLICES]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, f"1.2.3.{k + 1}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        item.SOPClassUID, item.SOPInstanceUID = CTImageStorage, f"1.2.3.{k + 1}"
        item.StudyInstanceUID, item.SeriesInstanceUID, item.FrameOfReferenceUID = "1.2", "1.2.3", "1.2.4"
        item.Modality, item.PatientID, item.ImageType = "CT", "P", ["ORIGINAL", "PRIMARY", "AXIAL"]
        item.BodyPartExamined, item.ConvolutionKernel = "CHEST", "B60f"
        item.ImagePositionPatient, item.ImageOrientationPatient = [0, 0, STEP_MM * k], [1, 0, 0, 0, 1, 0]
        item.PixelSpacing, item.SliceThickness, item.InstanceNumber = [1, 1], STEP_MM, k + 1
        item.Rows, item.Columns = plane.shape
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 16, 15, 1
        item.RescaleIntercept, item.RescaleSlope = 0, 1
        item.PixelData = plane.tobytes()
        target = io.BytesIO()
        item.save_as(target, enforce_file_format=True)
        paths.append(folder / f"{k}.dcm")
        paths[-1].write_bytes(target.getvalue())
    return paths


def _spoiled_slices(paths: list[Path], start: int):
    """(number of the slice, its spoiled file): the first, one within and the last, changed before their voxels, by
    bytes or by whole tags."""
    contents = {number: paths[number].read_bytes() for number in SPOILED_SLICES}
    strategies = []
    for number, content in contents.items():
        by_bytes = mutated(content, start, len(content) - 2 * SIZE[1] * SIZE[2])
        by_tags = st.integers(0, 2**64 - 1).map(lambda seed, content=content: _retagged(content, Random(seed)))
        strategies += [st.tuples(st.just(number), way) for way in (by_bytes, by_tags)]
    return contents, st.one_of(strategies)


def _retagged(content: bytes, rng: Random) -> bytes:
    """A file of explicit little endian with one or two of its tags dropped or given another value."""
    data = pydicom.dcmread(io.BytesIO(content))
    elements = [data.get_item(tag) for tag in data.keys()]  # noqa: SIM118 -- as they are in the file
    begin, end = elements[0].value_tell - 8, elements[-1].value_tell - 12
    values = {element.tag: element.value for element in elements[:-1]}
    for element in rng.sample(elements[:-1], rng.randint(1, 2)):
        if rng.random() < 0.2:
            del values[element.tag]
        elif element.VR == "US":
            values[element.tag] = rng.choice((0, 1, 2, 8, 11, 12, 14, 15, 17, 32, 65535)).to_bytes(2, "little")
        else:
            values[element.tag] = _other_text(element.value.decode().strip(" \0"), rng)
    written = b""
    for element in elements[:-1]:
        if element.tag in values:
            value = values[element.tag] + b" " * (len(values[element.tag]) % 2)
            written += (
                struct.pack("<HH2sH", element.tag.group, element.tag.elem, element.VR.encode(), len(value)) + value
            )
    return content[:begin] + written + content[end:]


def _other_text(text: str, rng: Random) -> bytes:
    """One of a tag's values made another, or one more of them, or one fewer."""
    parts = text.split("\\")
    at = rng.randrange(len(parts))
    if rng.random() < 0.2:
        parts[at : at + 1] = rng.choice(([], [parts[at]] * 2))
    elif rng.random() < 0.5:
        parts[at] = rng.choice(TEXTS)
    else:
        try:
            parts[at] = f"{float(parts[at]) * rng.choice((1, -1, 1.01)) + rng.choice(NUDGES):.12g}"
        except ValueError:
            parts[at] += rng.choice(".1 X")
    return "\\".join(parts).encode()


TEXTS = ("", "nan", "inf", "-1", "0", "1e9", "1e-9", "1,5", "1_0", "0x1", "MR", "LOCALIZER", "MIP", "MPR", "DERIVED",
         "MONOCHROME1", "OD", "\u00e9", "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.2.1")  # fmt: skip
NUDGES = (0, 1e-6, 1e-4, 2e-3, 0.05, 0.4, 0.6, 5, -5, 1000)


def _dicom(folder: Path):
    paths = _series(folder / "series")
    contents, strategy = _spoiled_slices(paths, 0)
    reader = ReadingProcess()
    sound = reader.read(folder / "series")
    assert not sound.remarks

    def read(spoiled: tuple[int, bytes]) -> None:
        number, content = spoiled
        paths[number].write_bytes(content)
        try:
            found = reader.read(folder / "series")
            if not found.remarks:
                _as_stated(found, sound, number, paths[number])
        finally:
            paths[number].write_bytes(contents[number])

    return strategy, read


def _as_stated(found: CTVolume, sound: CTVolume, number: int, path: Path) -> None:
    """A volume that comes without a remark is the sound one, but for what the spoiled slice's own file states: its
    values, and at the ends of the series its place within what slices may be off."""
    if len(found.array) == SLICES - 1 and _is_of_another_series(path, number):
        _same(found, CTVolume(sound.array[1:] if number == 0 else sound.array[:-1], found.affine))
        return
    assert found.array.shape == sound.array.shape, "another size was accepted"
    voxels = np.array(sound.array, np.float64)
    if not np.array_equal(found.array[number], voxels[number]):
        voxels[number] = _stated_values(path)
    assert np.isfinite(found.array).all(), "values that are no numbers were accepted"
    assert np.allclose(found.array, voxels, rtol=1e-6, atol=1e-3), "other voxels were accepted"
    columns, rows = sound.array.shape[:0:-1]
    others = [k for k in range(SLICES) if k != number]
    corners = np.array(list(itertools.product((0, columns - 1), (0, rows - 1), others)))
    off = np.linalg.norm(found.to_lps(corners) - sound.to_lps(corners), axis=1).max()
    allowed = SHARE * found.slice_spacing if number in (0, SLICES - 1) else 0
    assert off <= allowed + 1e-9, "another place was accepted"


def _is_of_another_series(path: Path, number: int) -> bool:
    """Whether two tags say so: the series' UID, and the modality or a place that is not the slice's own."""
    data = pydicom.dcmread(path, stop_before_pixels=True)
    place = np.array(data.get("ImagePositionPatient") or [], float)
    elsewhere = place.shape != (3,) or np.abs(place - (0, 0, STEP_MM * number)).max() > SHARE * STEP_MM
    return data.get("SeriesInstanceUID") != "1.2.3" and (data.get("Modality") != "CT" or bool(elsewhere))


def _stated_values(path: Path) -> np.ndarray:
    """(rows, columns) of what a file's tags and uncompressed voxels say, by another reader than the product's."""
    data = pydicom.dcmread(path)
    order = "<" if data.original_encoding[1] else ">"
    kind = f"{order}{'i' if data.PixelRepresentation else 'u'}{data.BitsAllocated // 8}"
    stored = np.frombuffer(data.PixelData, kind, data.Rows * data.Columns).reshape(data.Rows, data.Columns)
    unused = data.BitsAllocated - data.BitsStored
    return ((stored << unused) >> unused) * float(data.RescaleSlope) + float(data.RescaleIntercept)


def _dicom_import(folder: Path):
    paths = _series(folder / "series")
    contents, strategy = _spoiled_slices(paths, 132)
    (sound,) = import_dicom(folder / "series", folder / "files").rows

    def read(spoiled: tuple[int, bytes]) -> None:
        number, content = spoiled
        paths[number].write_bytes(content)
        try:
            found = import_dicom(folder / "series", folder / "files")
            if not found.skipped and not found.remarks:
                _row_as_stated(found.rows, sound, paths[number])
        finally:
            paths[number].write_bytes(contents[number])

    return strategy, read


def _row_as_stated(rows: tuple[Case, ...], sound: Case, path: Path) -> None:
    """Where nothing is skipped or remarked on, the table has the sound series' row, but for slices that are missing by
    its count, a kind of image that it says, and what the spoiled file states of itself."""
    assert len(rows) == 1, "no row and no reason, or a row more"
    (row,) = rows
    assert replace(row, values=sound.values) == sound, "another series was accepted"
    changed = {name for name, value in row.values.items() if value != sound.values[name]}
    changed -= {"image_type", "missing_slices"}
    there = int(row.values["slices"]) - int(row.values["missing_slices"])
    assert there in (SLICES, SLICES - 1) and (row.values["missing_slices"] != "0" or there == SLICES), "slices lack"
    changed.discard("slices")
    if "slice_step_mm" in changed:
        step = float(row.values["slice_step_mm"])
        assert abs(step - STEP_MM) * (SLICES - 2) <= SHARE * step + 0.003, "another step was accepted"  # it is rounded
        changed.remove("slice_step_mm")
    if changed:
        stated = _stated_texts(path)
        assert all(row.values[name] == stated[name] for name in changed), f"other {sorted(changed)} than stated"


def _stated_texts(path: Path) -> dict[str, str]:
    data = pydicom.dcmread(path, stop_before_pixels=True)

    def text(name: str) -> str:
        try:
            value = data.get(name)
        except Exception:  # of an unknown kind, which pydicom cannot understand
            return "\ufffd"
        parts = value if isinstance(value, MultiValue) else [] if value is None else [value]
        return " ".join("\\".join(map(str, parts)).split())

    thickness = text("SliceThickness")
    is_number = re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", thickness, re.IGNORECASE)
    return {
        "modality": "CT",
        "anatomy": text("BodyPartExamined").upper(),
        "kernel": text("ConvolutionKernel"),
        "contrast": "yes" if text("ContrastBolusAgent") else "",
        "slice_thickness_mm": f"{float(thickness):.4g}" if is_number else "",
    }


VOLUMES = (
    Reader("NRRD, gzip", _file("ct.nrrd", True), native=True),
    Reader("NRRD, raw", _file("raw.nrrd", False), native=True),
    Reader("MetaImage .mha, zlib", _file("ct.mha", True), native=True),
    Reader("MetaImage .mhd and .zraw", _file("ct.mhd", True, "ct.zraw"), native=True),
    Reader("NIfTI .nii.gz", _file("ct.nii.gz", True), native=True),
    Reader("NIfTI .nii", _file("ct.nii", False), native=True),
    Reader("DICOM series, one slice spoiled", _dicom, native=True),
    Reader("DICOM import, one slice spoiled", _dicom_import, native=True),
)
