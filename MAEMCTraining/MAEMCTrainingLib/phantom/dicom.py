"""Writing a phantom case as a CT series in DICOM."""

import hashlib
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from MAEMCLib.images.ct import CTVolume

from .case import CasePlan

INTERCEPT = -1024
WHEN = date(2026, 1, 1), "120000"  # one made-up moment: the files must not tell when or where they were written
_DATED = "Study", "Series", "Acquisition", "Content"
SAME = {
    "SpecificCharacterSet": "ISO_IR 192",
    "PatientBirthDate": "",
    "PatientSex": "",
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "Synthetic image, no patient",
    **{f"{what}Time": WHEN[1] for what in _DATED},
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "StudyID": "1",
    "StudyDescription": "Synthetic chest CT",
    "Modality": "CT",
    "SeriesNumber": 1,
    "SeriesDescription": "Synthetic nodule",
    "BodyPartExamined": "CHEST",
    "PatientPosition": "HFS",
    "PositionReferenceIndicator": "",
    "Manufacturer": "MAEMC phantom",
    "ManufacturerModelName": "MAEMC phantom",
    "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
    "AcquisitionNumber": 1,
    "KVP": "120",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
    "RescaleIntercept": str(INTERCEPT),
    "RescaleSlope": "1",
    "RescaleType": "HU",
    "WindowCenter": "-500",
    "WindowWidth": "1400",
}
"""Attributes that are the same in all slices of all cases. With those of ``_slice_data`` they are all that the CT Image
object requires (types 1 and 2)."""


def write_series(plan: CasePlan, volume: CTVolume, folder: Path) -> None:
    """Write every slice of a case as a CT Image Storage file into a new folder, under names in no order.

    UIDs follow from the case's content, so that the same case gets the same ones. Raises OSError.
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    folder.mkdir(parents=True)
    stored = np.clip(volume.array.astype(np.int32) - INTERCEPT, 0, 4095).astype(np.uint16)
    root = hashlib.sha256(stored.tobytes() + repr((plan.case_id, plan.seed)).encode()).hexdigest()
    order = np.random.Generator(np.random.Philox(np.random.SeedSequence([plan.seed, 6]))).permutation(len(stored))
    for k, pixels in enumerate(stored):
        data = _slice_data(plan, volume, root, k, pixels)
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.save_as(folder / f"IM{order[k] + 1:05d}.dcm", enforce_file_format=True)


def _uid(root: str, what: str) -> str:
    """A UID under the arc for UUIDs (2.25), from a hash."""
    return "2.25." + str(int.from_bytes(hashlib.sha256(f"{root} {what}".encode()).digest()[:16]))


def _slice_data(plan: CasePlan, volume: CTVolume, root: str, k: int, pixels: np.ndarray):
    """The data set of slice k."""
    from pydicom.dataset import Dataset
    from pydicom.uid import CTImageStorage

    across, down, normal = volume.direction.T
    position = volume.to_lps(np.array([[0, 0, k]], dtype=float))[0]
    data = Dataset()
    for name, value in SAME.items():
        setattr(data, name, value)
    day = WHEN[0] - timedelta(days=0 if plan.earlier is None else plan.earlier.days)
    for what in _DATED:
        setattr(data, f"{what}Date", day.strftime("%Y%m%d"))
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = _uid(root, f"image {k}")
    data.StudyInstanceUID = _uid(root, "study")
    data.SeriesInstanceUID = _uid(root, "series")
    data.FrameOfReferenceUID = _uid(root, "frame")
    data.PatientName = data.PatientID = plan.patient_id
    data.InstanceNumber = k + 1
    data.SliceThickness = _decimal(plan.grid.thickness_mm)
    data.SpacingBetweenSlices = _decimal(volume.spacing[2])
    data.ImagePositionPatient = [_decimal(c) for c in position]
    data.ImageOrientationPatient = [_decimal(c) for c in (*across, *down)]
    data.SliceLocation = _decimal(position @ normal)
    data.PixelSpacing = [_decimal(volume.spacing[1]), _decimal(volume.spacing[0])]
    data.Rows, data.Columns = pixels.shape
    data.PixelData = pixels.tobytes()
    return data


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters, as DICOM wants it."""
    text = f"{float(value):.10f}"[:16]
    return text.rstrip("0").rstrip(".") if "." in text else text
