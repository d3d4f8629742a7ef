"""A small CT with a ball in lung, as NRRD and as DICOM folder, with its point list and its manifest."""

import json
from pathlib import Path

import numpy as np

SIZE, SPACING = 30, 2.0  # 60 mm each way: the model's region of 50 mm fits in


def write(folder: Path) -> None:
    """Write ct.nrrd, dicom/, points.mrk.json and manifest.csv; the nodule is at the origin."""
    folder.mkdir(parents=True)
    hu = ball_in_lung()
    write_nrrd(hu, folder / "ct.nrrd")
    write_dicom(hu, folder / "dicom")
    point = {"id": "1", "label": "N1", "position": [0.0, 0.0, 0.0], "positionStatus": "defined"}
    markups = {"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": [point]}]}
    (folder / "points.mrk.json").write_text(json.dumps(markups), encoding="utf-8")
    header = "case_id,patient_id,image,l_mm,p_mm,s_mm"
    (folder / "manifest.csv").write_text(f"{header}\nball,nobody,ct.nrrd,0,0,0\n", encoding="utf-8")


def ball_in_lung() -> np.ndarray:
    """(k, j, i) int16 HU: lung with noise, and a ball of 14 mm about the middle."""
    axis = (np.arange(SIZE) - (SIZE - 1) / 2) * SPACING
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    noise = np.random.default_rng(0).normal(0, 30, radius.shape)
    return np.round(-850 + 880 / (1 + np.exp(radius - 7)) + noise).astype(np.int16)


def write_nrrd(hu: np.ndarray, path: Path) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(hu)
    image.SetSpacing([SPACING] * 3)
    image.SetOrigin([-(SIZE - 1) / 2 * SPACING] * 3)
    sitk.WriteImage(image, str(path))


def write_dicom(hu: np.ndarray, folder: Path) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir()
    series, study, start = generate_uid(), generate_uid(), -(SIZE - 1) / 2 * SPACING
    for k, pixels in enumerate(hu):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        item = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        item.SOPClassUID, item.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        item.SeriesInstanceUID, item.StudyInstanceUID, item.FrameOfReferenceUID = series, study, study
        item.Modality, item.ImageType, item.InstanceNumber = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], k + 1
        item.Rows, item.Columns, item.PixelSpacing, item.SliceThickness = SIZE, SIZE, [SPACING] * 2, SPACING
        item.ImageOrientationPatient, item.ImagePositionPatient = (
            [1, 0, 0, 0, 1, 0],
            [start, start, start + k * SPACING],
        )
        item.SamplesPerPixel, item.PhotometricInterpretation, item.PixelRepresentation = 1, "MONOCHROME2", 1
        item.BitsAllocated, item.BitsStored, item.HighBit = 16, 16, 15
        item.RescaleSlope, item.RescaleIntercept, item.PixelData = 1, 0, pixels.astype("<i2").tobytes()
        item.save_as(folder / f"{k:03d}.dcm", enforce_file_format=True)
