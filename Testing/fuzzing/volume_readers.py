"""Volumes: NRRD, MetaImage and NIfTI by their native readers in a child process, DICOM series."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from hypothesis import strategies as st
from MAEMCLib.ct import CTVolume
from MAEMCLib.reading_process import ReadingProcess
from MAEMCTrainingLib.data.importers.dicom import import_dicom

from .judging import Reader
from .mutations import mutated

SIZE = (12, 14, 16)
SPOILED_SLICE = 3


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


def _slices(folder: Path) -> tuple[list[Path], bytes]:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    image = _image()
    array = sitk.GetArrayFromImage(image)
    paths = []
    for k, plane in enumerate(array[:6]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, f"1.2.3.{k + 1}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        item.SOPClassUID, item.SOPInstanceUID = CTImageStorage, f"1.2.3.{k + 1}"
        item.StudyInstanceUID, item.SeriesInstanceUID, item.FrameOfReferenceUID = "1.2", "1.2.3", "1.2.4"
        item.Modality, item.PatientID, item.ImageType = "CT", "P", ["ORIGINAL", "PRIMARY", "AXIAL"]
        item.ImagePositionPatient, item.ImageOrientationPatient = [0, 0, 2 * k], [1, 0, 0, 0, 1, 0]
        item.PixelSpacing, item.SliceThickness, item.InstanceNumber = [1, 1], 2, k + 1
        item.Rows, item.Columns = plane.shape
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 16, 15, 1
        item.RescaleIntercept, item.RescaleSlope = 0, 1
        item.PixelData = plane.tobytes()
        target = io.BytesIO()
        item.save_as(target, enforce_file_format=True)
        paths.append(folder / f"{k}.dcm")
        paths[-1].write_bytes(target.getvalue())
    return paths, paths[SPOILED_SLICE].read_bytes()


def _dicom(folder: Path):
    series = folder / "series"
    series.mkdir()
    paths, content = _slices(series)
    reader = ReadingProcess()
    header = len(content) - 2 * SIZE[1] * SIZE[2]

    def read(spoiled: bytes) -> None:
        paths[SPOILED_SLICE].write_bytes(spoiled)
        found = reader.read(series)
        assert np.isfinite(found.affine).all() and found.array.ndim == 3, "no volume"

    return mutated(content, 0, header), read


def _dicom_import(folder: Path):
    series = folder / "series"
    series.mkdir()
    paths, content = _slices(series)
    header = len(content) - 2 * SIZE[1] * SIZE[2]

    def read(spoiled: bytes) -> None:
        paths[SPOILED_SLICE].write_bytes(spoiled)
        import_dicom(series, folder / "files")

    return mutated(content, 132, header), read


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
