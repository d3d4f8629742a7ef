"""A small CT with a ball in lung, as NRRD and as DICOM folder, with its point list and its manifest; models that take
other things: 2-D pictures, and a CT with clinical values."""

import json
from pathlib import Path

import numpy as np

SIZE, SPACING = 30, 2.0  # 60 mm each way: the model's region of 50 mm fits in


def write(folder: Path) -> None:
    """Write ct.nrrd, dicom/, segment.nrrd, points.mrk.json and manifest.csv, the nodule at the origin; picture.png and
    its model pictures.maemc; fused.maemc, which asks for the age.
    """
    folder.mkdir(parents=True)
    hu = ball_in_lung()
    write_nrrd(hu, folder / "ct.nrrd")
    write_nrrd((hu > -300).astype(np.int16), folder / "segment.nrrd")
    write_dicom(hu, folder / "dicom")
    point = {"id": "1", "label": "N1", "position": [0.0, 0.0, 0.0], "positionStatus": "defined"}
    markups = {"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": [point]}]}
    (folder / "points.mrk.json").write_text(json.dumps(markups), encoding="utf-8")
    header = "case_id,patient_id,image,l_mm,p_mm,s_mm"
    (folder / "manifest.csv").write_text(f"{header}\nball,nobody,ct.nrrd,0,0,0\n", encoding="utf-8")

    write_picture(hu, folder / "picture.png")
    write_models(folder)


def write_picture(hu: np.ndarray, path: Path) -> None:
    from PIL import Image

    gray = np.clip((hu[SIZE // 2].astype(float) + 1200) / 1400 * 255, 0, 255)
    Image.fromarray(gray.astype(np.uint8)).save(path)


def write_models(folder: Path) -> None:
    """Random weights: what they say is of no interest, only that it can be had."""
    from MAEMCLib.cases.values import ClinicalField
    from MAEMCLib.models.bundle import Member, save_bundle
    from MAEMCLib.models.card import graph_of
    from MAEMCLib.networks.configuration import BackboneConfiguration, EncoderConfiguration
    from MAEMCLib.networks.heads.graph import GraphHead
    from MAEMCLib.networks.heads.linear import LinearHead

    common = {
        "version": "1.0",
        "title": "Random weights",
        "classes": ["benign-like", "malignant-like"],
        "positive_class": "malignant-like",
        "thresholds": {"rule_out": 0.5, "balanced": 0.5, "rule_in": 0.5},
        "calibration": {"calibrated": False, "slope": 1.0, "intercept": 0.0},
        "intended_use": "Tests only.",
    }
    backbone = {"backbone": "convnextv2-atto", "image_size": 32}
    network = LinearHead(BackboneConfiguration(**backbone), 2)
    card = {
        **common,
        "id": "pictures",
        "input": "picture",
        "fusion": "mean",
        "architecture": {"encoder": backbone},
        "preprocessing": {"image_size": 32, "view_share": 1.0, "mean": 0.5, "std": 0.25},
    }
    save_bundle(folder / "pictures.maemc", card, [Member("classifier", "classifier", network.state_dict())])
    encoder = {"patch_size": 50, "width": 16, "depth": 1, "heads": 2}
    asked = (ClinicalField("age", "number", "years", 40, 90),)
    card = {
        **common,
        "id": "fused",
        "fusion": "graph",
        "clinical": [field.to_json() for field in asked],
        "architecture": {"encoder": encoder, "graph": {"branches": ["axial", "coronal"], "width": 8, "rounds": 2}},
        "preprocessing": {"mean": 0.25, "std": 0.3},
    }
    network = GraphHead(EncoderConfiguration(**encoder), 2, 0, graph_of(card, asked, "fused"))
    save_bundle(folder / "fused.maemc", card, [Member("classifier", "classifier", network.state_dict())])


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
