"""The phantom as DICOM: complete CT series, one of them oblique, that come back as the volumes that they were made
from."""

import numpy as np
import pydicom
import pytest
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.images.files import read_volume
from MAEMCTrainingLib.phantom.case import PhantomConfiguration, plan_case, render_volume
from MAEMCTrainingLib.phantom.writing import write_phantom

# Of the CT Image object: type 1 (with a value) and type 2 (may be empty).
REQUIRED = """SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality FrameOfReferenceUID ImageType
    SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation
    PixelSpacing ImageOrientationPatient ImagePositionPatient RescaleIntercept RescaleSlope PixelData"""
REQUIRED_EMPTY = """PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime AccessionNumber
    ReferringPhysicianName StudyID SeriesNumber InstanceNumber AcquisitionNumber KVP SliceThickness
    PositionReferenceIndicator Manufacturer PatientPosition"""


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dicom")
    return read_manifest(write_phantom(folder / "set", 2, seed=5, field="region", dicom=True)).rows


def test_series_come_back_as_the_volumes(series):
    for index, row in enumerate(series):
        plan = plan_case(index, PhantomConfiguration(2, 5, field="region"), oblique=index == 0)
        expected = render_volume(plan)
        volume = read_volume(row.image)
        assert volume.array.shape == expected.array.shape
        assert np.array_equal(np.asarray(volume.array, dtype=np.int16), expected.array)
        assert np.allclose(volume.affine, expected.affine, atol=1e-4)


def test_the_first_series_is_oblique_and_the_others_are_not(series):
    directions = [read_volume(row.image).direction for row in series]
    turned = [np.rad2deg(np.arccos(np.clip(np.abs(np.diag(d)), 0.0, 1.0))) for d in directions]
    assert (turned[0] > 4.0).all()
    assert np.linalg.det(directions[0]) == pytest.approx(1.0)
    assert (turned[1] < 0.01).all()


def test_files_are_complete_anonymous_and_in_no_order(series):
    for row in series:
        files = sorted(row.image.iterdir())
        heads = [pydicom.dcmread(file) for file in files]
        assert heads[0].SOPClassUID == pydicom.uid.CTImageStorage
        for head in heads:
            for name in REQUIRED.split():
                assert head.get(name) not in (None, ""), name
            for name in REQUIRED_EMPTY.split():
                assert name in head, name
            assert head.file_meta.MediaStorageSOPInstanceUID == head.SOPInstanceUID
            assert str(head.PatientName) == head.PatientID == row.case_id
            assert head.PatientIdentityRemoved == "YES"
        assert len({head.SOPInstanceUID for head in heads}) == len(files)
        assert len({head.SeriesInstanceUID for head in heads}) == 1
        assert all(pydicom.uid.UID(head.SOPInstanceUID).is_valid for head in heads)
        numbers = [int(head.InstanceNumber) for head in heads]
        assert sorted(numbers) == list(range(1, len(files) + 1))
        assert numbers != sorted(numbers)
    assert series[0].image.name == "PHANTOM-5-0001"


def test_positions_are_a_slice_apart_along_the_normal(series):
    for row in series:
        heads = sorted((pydicom.dcmread(file) for file in row.image.iterdir()), key=lambda head: head.InstanceNumber)
        positions = np.array([head.ImagePositionPatient for head in heads], dtype=float)
        orientation = np.array(heads[0].ImageOrientationPatient, dtype=float)
        normal = np.cross(orientation[:3], orientation[3:])
        steps = np.diff(positions, axis=0)
        assert np.allclose(steps, normal * float(heads[0].SpacingBetweenSlices), atol=1e-6)
        assert all(float(head.SliceThickness) >= 1.0 for head in heads)


def test_writing_again_leaves_the_series_and_mends_a_lost_slice(series):
    folder = series[0].image.parent.parent
    first = {file.name: file.stat().st_mtime_ns for file in series[1].image.iterdir()}
    lost = sorted(series[0].image.iterdir())[3]
    content = lost.read_bytes()
    lost.unlink()
    write_phantom(folder, 2, seed=5, field="region", dicom=True)
    assert lost.read_bytes() == content
    assert {file.name: file.stat().st_mtime_ns for file in series[1].image.iterdir()} == first
