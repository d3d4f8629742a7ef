"""Writing a phantom case as a CT series in DICOM."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from .case import PhantomCase

INTERCEPT = -1024
WHEN = "20260101"  # one made-up day: the files must not tell when or where they were written


def write_series(case: PhantomCase, folder: Path, seed: int) -> None:
    """Write every slice of a case as a CT Image Storage file into a new folder, under names in no order.

    UIDs follow from the case's content, so that the same case gets the same ones. Raises OSError.
    """
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian

    folder.mkdir(parents=True)
    volume = case.volume
    stored = np.clip(volume.array.astype(np.int32) - INTERCEPT, 0, 4095).astype(np.uint16)
    root = hashlib.sha256(stored.tobytes() + repr((case.case_id, seed)).encode()).hexdigest()
    order = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 6]))).permutation(len(stored))
    for k, pixels in enumerate(stored):
        data = _slice_data(case, root, k, pixels)
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.save_as(folder / f"IM{order[k] + 1:05d}.dcm", enforce_file_format=True)


def _uid(root: str, what: str) -> str:
    """A UID under the arc for UUIDs (2.25), from a hash."""
    return "2.25." + str(int.from_bytes(hashlib.sha256(f"{root} {what}".encode()).digest()[:16]))


def _slice_data(case: PhantomCase, root: str, k: int, pixels: np.ndarray):
    """The data set of slice k: all attributes that the CT Image object requires (type 1 and 2)."""
    from pydicom.dataset import Dataset
    from pydicom.uid import CTImageStorage

    volume = case.volume
    across, down, normal = volume.direction.T
    position = volume.to_lps(np.array([[0, 0, k]], dtype=float))[0]
    data = Dataset()
    # SOP common, patient
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = _uid(root, f"image {k}")
    data.SpecificCharacterSet = "ISO_IR 192"
    data.PatientName = case.patient_id
    data.PatientID = case.patient_id
    data.PatientBirthDate = ""
    data.PatientSex = ""
    data.PatientIdentityRemoved = "YES"
    data.DeidentificationMethod = "Synthetic image, no patient"
    # study, series, frame of reference, equipment
    data.StudyInstanceUID = _uid(root, "study")
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = WHEN
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = data.ContentTime = "120000"
    data.AccessionNumber = ""
    data.ReferringPhysicianName = ""
    data.StudyID = "1"
    data.StudyDescription = "Synthetic chest CT"
    data.Modality = "CT"
    data.SeriesInstanceUID = _uid(root, "series")
    data.SeriesNumber = 1
    data.SeriesDescription = "Synthetic nodule"
    data.BodyPartExamined = "CHEST"
    data.PatientPosition = "HFS"
    data.FrameOfReferenceUID = _uid(root, "frame")
    data.PositionReferenceIndicator = ""
    data.Manufacturer = "MAEMC phantom"
    data.ManufacturerModelName = "MAEMC phantom"
    # image, plane, pixels
    data.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    data.InstanceNumber = k + 1
    data.AcquisitionNumber = 1
    data.KVP = "120"
    data.SliceThickness = _decimal(case.slice_thickness_mm)
    data.SpacingBetweenSlices = _decimal(volume.spacing[2])
    data.ImagePositionPatient = [_decimal(c) for c in position]
    data.ImageOrientationPatient = [_decimal(c) for c in (*across, *down)]
    data.SliceLocation = _decimal(position @ normal)
    data.PixelSpacing = [_decimal(volume.spacing[1]), _decimal(volume.spacing[0])]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated = 16
    data.BitsStored = 12
    data.HighBit = 11
    data.PixelRepresentation = 0
    data.RescaleIntercept = str(INTERCEPT)
    data.RescaleSlope = "1"
    data.RescaleType = "HU"
    data.WindowCenter = "-500"
    data.WindowWidth = "1400"
    data.PixelData = pixels.tobytes()
    return data


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters, as DICOM wants it."""
    text = f"{float(value):.10f}"[:16]
    return text.rstrip("0").rstrip(".") if "." in text else text
