"""``maemc growth`` as it is typed: two CTs with a ball each, as NRRD and as DICOM series."""

import json

import numpy as np
import pytest
from MAEMCLib.__main__ import main
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume, write_volume
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SPACING = np.array([0.8, 0.8, 1.0])
SIZE = np.array([70, 70, 56])
NODULES = {"prior": ((-1.0, 2.0, -3.0), 6.0), "current": ((-1.5, 2.5, -2.0), 7.5)}
POINTS = ("--point", "-1.5,2.5,-2.0", "--prior-point", "-1,2,-3")


def ball(center, radius) -> tuple[CTVolume, CTVolume]:
    """A CT with a ball in lung, and its segment."""
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = -SPACING * (SIZE - 1) / 2
    k, j, i = np.indices(SIZE[::-1])
    places = np.stack([i, j, k], axis=-1) * SPACING + affine[:3, 3]
    inside = np.linalg.norm(places - center, axis=-1) <= radius
    return CTVolume(np.where(inside, 40, -870).astype(np.int16), affine), CTVolume(inside.astype(np.uint8), affine)


def write_dicom(volume, folder, day, patient="P-1", frame=None):
    """A CT series with a date."""
    from pydicom.dataset import Dataset

    folder.mkdir()
    series, study, frame = generate_uid(), generate_uid(), frame or generate_uid()
    for k, pixels in enumerate(volume.array):
        item = Dataset()
        item.file_meta = FileMetaDataset()
        item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item.SOPClassUID, item.SOPInstanceUID = CTImageStorage, generate_uid()
        item.SeriesInstanceUID, item.StudyInstanceUID, item.FrameOfReferenceUID = series, study, frame
        item.Modality, item.ImageType, item.InstanceNumber = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], k + 1
        item.PatientID, item.AcquisitionDate = patient, day
        item.Rows, item.Columns = pixels.shape
        item.PixelSpacing, item.ImageOrientationPatient = SPACING[:2].tolist(), [1, 0, 0, 0, 1, 0]
        item.ImagePositionPatient = volume.to_lps((0, 0, k)).tolist()
        item.SamplesPerPixel, item.PhotometricInterpretation, item.PixelRepresentation = 1, "MONOCHROME2", 1
        item.BitsAllocated, item.BitsStored, item.HighBit, item.RescaleSlope, item.RescaleIntercept = 16, 16, 15, 1, 0
        item.PixelData = pixels.astype("<i2").tobytes()
        item.save_as(folder / f"{k:03d}.dcm", enforce_file_format=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("growth SMITH")
    for name, (center, radius) in NODULES.items():
        ct, segment = ball(center, radius)
        write_volume(ct, folder / f"{name}.nrrd")
        write_volume(segment, folder / f"{name}-segment.nrrd")
    write_volume(CTVolume(np.zeros((4, 4, 4), np.uint8), np.eye(4)), folder / "empty.nrrd")
    prior, current = (read_volume(folder / f"{name}.nrrd") for name in NODULES)
    frame = generate_uid()
    write_dicom(prior, folder / "dicom-prior", "20250101", frame=frame)
    write_dicom(current, folder / "dicom-current", "20250411", frame=frame)
    write_dicom(current, folder / "dicom-other", "20250411", patient="P-2", frame=frame)
    return folder


@pytest.fixture
def compare(files, capfd):
    """Run ``maemc growth`` on two of the files, with their segments; returns exit code, stdout and stderr."""

    def run(prior, current, *options, segments=("prior-segment.nrrd", "current-segment.nrrd")):
        masks = ("--prior-segment", str(files / segments[0]), "--segment", str(files / segments[1]))
        code = main(["growth", str(files / prior), str(files / current), *masks, *options])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def test_growth_of_two_files(compare, tmp_path):
    code, out, err = compare(
        "prior.nrrd", "current.nrrd", *POINTS, "--days", "100", "--json", "--output", str(tmp_path)
    )
    assert code == 0 and err == ""
    found = json.loads(out)
    assert found["schema"] == 1 and "not for clinical use" in found["disclaimer"]
    assert found == json.loads((tmp_path / "growth.json").read_text())
    for name, (center, radius) in NODULES.items():
        assert found[name]["volume_mm3"] == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)
        assert found[name]["mean_diameter_mm"] == pytest.approx(2 * radius, abs=1.0)
        assert found[name]["center_lps"] == pytest.approx(center, abs=0.1)
        assert found[name]["composition"] == "solid" and found[name]["mask_status"] == "whole"
    expected = np.log(2) * 100 / (3 * np.log(7.5 / 6.0))
    assert found["growth"]["doubling_time_days"] == pytest.approx(expected, rel=0.03)
    assert found["growth"]["days"] == 100 and found["growth"]["lung_rads_growth"] is True
    assert "do not say whether both CTs are of one patient" in found["growth"]["notes"][0]
    written = (tmp_path / "growth.json").read_text()
    assert "SMITH" not in written and "prior.nrrd" not in written


def test_the_picture_shows_both(compare, tmp_path):
    from PIL import Image

    assert compare("prior.nrrd", "current.nrrd", *POINTS, "--days", "100", "--output", str(tmp_path))[0] == 0
    picture = np.asarray(Image.open(tmp_path / "growth.png").convert("RGB")).astype(int)
    outline = (np.abs(picture - (0x4F, 0xC3, 0xF7)).sum(axis=2) < 60).nonzero()[1]
    left, right = (outline < picture.shape[1] / 2).sum(), (outline > picture.shape[1] / 2).sum()
    assert left > 50 and right / left == pytest.approx(7.5 / 6.0, rel=0.15)  # one scale


def test_the_table_has_the_sentence_and_the_disclaimer(compare):
    code, out, _ = compare("prior.nrrd", "current.nrrd", *POINTS, "--days", "100")
    assert code == 0
    for words in (
        "Mean diameter",
        "Doubling time",
        "BTS 2015",
        "For the report",
        "Research only, not for clinical use",
    ):
        assert words in out
    assert compare("prior.nrrd", "current.nrrd", *POINTS, "--days", "100", "--quiet")[1] == ""


def test_dates_and_position_follow_from_dicom(compare):
    """January 1 to April 11; one frame of reference, so that the prior's point need not be given."""
    code, out, err = compare("dicom-prior", "dicom-current", *POINTS[:2], "--json")
    assert code == 0 and err == ""
    found = json.loads(out)
    assert found["growth"]["days"] == 100 and found["growth"]["notes"] == []
    assert found["prior"]["center_lps"] == pytest.approx(NODULES["prior"][0], abs=0.1)
    for secret in ("P-1", "20250101", "20250411", "2025-01-01"):
        assert secret not in out


def test_ras_is_turned(compare):
    points = ("--ras", "--point", "1.5,-2.5,-2.0", "--prior-point", "1,-2,-3")
    found = json.loads(compare("dicom-prior", "dicom-current", *points, "--json")[1])
    assert found["current"]["center_lps"] == pytest.approx(NODULES["current"][0], abs=0.1)


@pytest.mark.parametrize(
    ("prior", "current", "options", "code", "words"),
    [
        ("prior.nrrd", "current.nrrd", POINTS, 2, "--days"),
        ("prior.nrrd", "current.nrrd", (*POINTS, "--days", "0"), 2, "above 0"),
        ("prior.nrrd", "current.nrrd", (*POINTS[:2], "--days", "9"), 2, "--prior-point"),
        ("dicom-current", "dicom-prior", POINTS, 3, "Exchange"),
        ("dicom-prior", "dicom-prior", POINTS, 3, "same day"),
        ("dicom-prior", "dicom-other", POINTS, 3, "different patients"),
        ("prior.nrrd", "gone.nrrd", (*POINTS, "--days", "9"), 3, "There is no file"),
        ("prior.nrrd", "current.nrrd", ("--point", "1,2", "--days", "9"), 2, "not a point"),
        ("prior.nrrd", "current.nrrd", ("--point", "900,0,0", *POINTS[2:], "--days", "9"), 3, "outside the volume"),
        (
            "prior.nrrd",
            "current.nrrd",
            ("--point", "20,20,20", *POINTS[2:], "--days", "9"),
            3,
            "nothing within 5 mm of the point",
        ),
        ("prior-segment.nrrd", "current.nrrd", (*POINTS, "--days", "9"), 3, "not look like a chest CT"),
    ],
)
def test_what_cannot_be_compared_is_refused(compare, prior, current, options, code, words):
    found, out, err = compare(prior, current, *options, "--json")
    assert (found, out) == (code, "") and words in err and "Traceback" not in err


def test_another_patient_can_be_confirmed(compare):
    code, out, _ = compare("dicom-prior", "dicom-other", *POINTS, "--same-patient", "--json")
    assert code == 0 and "confirmed" in json.loads(out)["growth"]["notes"][0]


def test_a_segment_of_one_ct_alone_is_refused(files, capfd):
    both = ["growth", str(files / "prior.nrrd"), str(files / "current.nrrd"), *POINTS, "--days", "9"]
    assert main([*both, "--segment", str(files / "current-segment.nrrd")]) == 2
    assert "--prior-segment" in capfd.readouterr().err


def test_without_segments_both_are_outlined_alike(files, capfd):
    both = ["growth", str(files / "prior.nrrd"), str(files / "current.nrrd"), *POINTS, "--days", "100", "--json"]
    assert main(both) == 0
    found = json.loads(capfd.readouterr().out)
    for name, (_, radius) in NODULES.items():
        assert found[name]["mean_diameter_mm"] == pytest.approx(2 * radius, abs=1.5)
    assert found["growth"]["diameter_change_mm"] == pytest.approx(3.0, abs=1.0)


def test_an_empty_segment_is_refused(compare):
    found = compare(
        "prior.nrrd", "current.nrrd", *POINTS, "--days", "9", segments=("empty.nrrd", "current-segment.nrrd")
    )
    assert found[0] == 3 and "empty" in found[2]


def test_a_folder_that_cannot_be_written(compare, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, err = compare("prior.nrrd", "current.nrrd", *POINTS, "--days", "9", "--output", str(tmp_path / "file"))
    assert code == 3 and out == "" and "cannot be written" in err
