"""Small CT series as files, for the tests of reading DICOM: names in no order, and whatever a test wants to spoil."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE = (9, 16, 14)
SAME = {
    "SOPClassUID": CTImageStorage,
    "SeriesDescription": "Lung 1.0 SMITH",
    "PatientName": "Nobody",
    "AcquisitionNumber": 1,
    "ConvolutionKernel": "B60",
    "Rows": SHAPE[1],
    "Columns": SHAPE[2],
    "SliceThickness": 1.25,
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "PixelRepresentation": 0,
    "RescaleSlope": 1,
    "RescaleIntercept": -1024,
    "RescaleType": "HU",
}
"""What all slices of all series say."""


def rotation(degrees=25):
    a = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    return about_x @ about_z


def write_series(
    folder: Path,
    uid=None,
    step=None,
    axes=None,
    skip=(),
    modality="CT",
    image_type="AXIAL",
    seed=0,
    slices=9,
    spacing=(0.7, 0.6),
    start=(-40.0, 21.5, -300.0),
    positions=None,
    patient="0",
    study=None,
    frame=None,
    change=None,
    save=None,
):
    """Write a series with file names in random order; returns its UID, voxels (k, j, i) in HU and affine to LPS mm.

    change(dataset, k) may spoil a slice, save(dataset, path) write it in another way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uid, study, frame = uid or generate_uid(), study or generate_uid(), frame or generate_uid()
    rng = np.random.default_rng(seed)
    hu = rng.integers(-1000, 400, (slices, *SHAPE[1:])).astype(np.int16)
    axes = np.eye(3) if axes is None else axes
    step = axes[:, 2] * 1.25 if step is None else np.asarray(step, float)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = axes[:, 0] * spacing[1], axes[:, 1] * spacing[0], step
    affine[:3, 3] = start
    names = rng.permutation(slices)
    for k in range(slices):
        if k in skip:
            continue
        item = _data_set()
        item.SeriesInstanceUID, item.StudyInstanceUID, item.FrameOfReferenceUID = uid, study, frame
        item.Modality, item.ImageType = modality, ["ORIGINAL", "PRIMARY", image_type]
        item.PatientID, item.InstanceNumber, item.PixelSpacing = patient, k + 1, list(spacing)
        item.ImageOrientationPatient = [*axes[:, 0].tolist(), *axes[:, 1].tolist()]
        at = affine[:3, 3] + k * step if positions is None else np.asarray(positions[k], float)
        item.ImagePositionPatient = [f"{value:.8g}" for value in at]
        item.PixelData = (hu[k] + 1024).astype("<u2").tobytes()
        if change is not None:
            change(item, k)
        path = folder / f"{uid[-6:]}_{seed}_{names[k]:03d}"
        if save is not None:
            save(item, path)
        else:
            item.save_as(path, enforce_file_format=True)
    return uid, hu, affine


def _data_set() -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    item = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    for name, value in SAME.items():
        setattr(item, name, value)
    item.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    return item


def enhanced(path, hu, affine, order, per_frame=None, uid=None, change=None):
    """An enhanced multi-frame CT; order: which slice each frame is. per_frame(k) -> (slope, intercept)."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = EnhancedCTImageStorage, generate_uid()
    data.SeriesInstanceUID, data.StudyInstanceUID, data.FrameOfReferenceUID = uid or "1.2.5", "1.2.6", "1.2.7"
    data.Modality, data.PatientID, data.ImageType = "CT", "0", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    data.Rows, data.Columns, data.NumberOfFrames = *hu.shape[1:], len(order)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    spacing = np.linalg.norm(affine[:3, :3], axis=0)

    def item(**tags):
        found = Dataset()
        for name, value in tags.items():
            setattr(found, name, value)
        return Sequence([found])

    shared = Dataset()
    shared.PixelMeasuresSequence = item(PixelSpacing=[spacing[1], spacing[0]], SliceThickness=spacing[2])
    directions = (affine[:3, :2] / spacing[:2]).T.ravel().tolist()
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=directions)
    shared.CTImageFrameTypeSequence = item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
    if per_frame is None:
        shared.PixelValueTransformationSequence = item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")
    frames, stored = [], []
    for k in order:
        frame = Dataset()
        frame.PlanePositionSequence = item(
            ImagePositionPatient=[f"{v:.8g}" for v in affine[:3, :3] @ [0, 0, k] + affine[:3, 3]]
        )
        frame.FrameContentSequence = item(StackID="1", InStackPositionNumber=k + 1)
        slope, intercept = per_frame(k) if per_frame else (1, -1024)
        if per_frame is not None:
            frame.PixelValueTransformationSequence = item(RescaleSlope=slope, RescaleIntercept=intercept)
        frames.append(frame)
        stored.append(np.round((hu[k] - intercept) / slope).astype("<u2") | 0xF000)  # overlays in unused bits
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.PerFrameFunctionalGroupsSequence = Sequence(frames)
    data.PixelData = np.array(stored).tobytes()
    if change is not None:
        change(data)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.save_as(path, enforce_file_format=True)
