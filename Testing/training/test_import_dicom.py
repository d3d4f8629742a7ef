"""The importer of DICOM trees: which series are usable, what each row says, and why the others are not."""

import shutil
import zlib

import numpy as np
import pydicom
import pytest
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.errors import InputError
from MAEMCLib.images.files import content_signature, read_volume
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.data.importers.formats.dicom import import_dicom
from MAEMCTrainingLib.phantom.writing import write_phantom


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """Two complete CT series, the first oblique."""
    return read_manifest(write_phantom(tmp_path_factory.mktemp("p") / "set", 2, 5, field="region", dicom=True)).rows


def copied(series, folder, keep=lambda number: True, **tags):
    """A copy of a series under a UID of its own, with other values of some tags (None: without the tag)."""
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(series.iterdir(), key=lambda path: pydicom.dcmread(path).InstanceNumber)
    name = str(zlib.crc32(str(folder).encode()))
    for number, path in enumerate(files):
        if keep(number):
            data = pydicom.dcmread(path)
            data.SeriesInstanceUID = tags.get("SeriesInstanceUID", f"1.2.{name}")
            for tag, value in tags.items():
                if value is None:
                    delattr(data, tag)
                else:
                    setattr(data, tag, value)
            data.save_as(folder / f"{name}-{path.name}")
    return folder


@pytest.fixture(scope="module")
def tree(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive") / "Ordner mit Ä"
    first, second = (row.image for row in phantom)
    shutil.copytree(first, folder / "oblique")
    contrast = {"ConvolutionKernel": ["B30f", "3"], "ContrastBolusAgent": "Omnipaque for Mr Smith"}
    copied(second, folder / "contrast", **contrast, PatientID="p2", PatientName="Smith", SliceThickness=3)
    copied(second, folder / "study" / "lung", PatientID="p3", ConvolutionKernel="B70f", BodyPartExamined=None)
    copied(second, folder / "study" / "soft", PatientID="p3", ConvolutionKernel="B30f", ContrastBolusAgent="NONE")
    for name, kernel in (("one", "B70f"), ("two", "B30f")):  # two reconstructions in one folder
        copied(second, folder / name, PatientID="", ConvolutionKernel=kernel)
        for path in (folder / name).iterdir():
            (folder / "mixed").mkdir(exist_ok=True)
            path.rename(folder / "mixed" / path.name)
        (folder / name).rmdir()
    copied(second, folder / "gap", keep=lambda n: n != 7, ImageType=["DERIVED", "SECONDARY", "MPR"])
    copied(second, folder / "unusable" / "mip", ImageType=["DERIVED", "SECONDARY", "MIP"])
    copied(second, folder / "unusable" / "mr", Modality="MR")
    copied(second, folder / "unusable" / "scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    copied(second, folder / "unusable" / "few", keep=lambda n: n < 4)
    copied(second, folder / "unusable" / "one", keep=lambda n: n == 0)
    copied(second, folder / "unusable" / "frames", keep=lambda n: n < 2, NumberOfFrames=20)
    copied(second, folder / "unusable" / "unplaced", ImagePositionPatient=None)
    copied(second, folder / "unusable" / "torn" / "a", keep=lambda n: n % 2, SeriesInstanceUID="1.2.7")
    copied(second, folder / "unusable" / "torn" / "b", keep=lambda n: n % 2 == 0, SeriesInstanceUID="1.2.7")
    copied(second, folder / "unusable" / "torn" / "c")
    (folder / "unusable" / "cut.dcm").write_bytes(next(first.iterdir()).read_bytes()[:90])
    report = pydicom.dcmread(next(first.iterdir()))
    del report.Rows, report.PixelData
    report.Modality, report.SeriesInstanceUID = "SR", "1.2.8"
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"  # Basic Text SR
    report.save_as(folder / "unusable" / "report")
    (folder / "README.txt").write_text("viewer")
    return folder


@pytest.fixture(scope="module")
def found(tree):
    return import_dicom(tree, tree)


def test_each_usable_series_is_a_row_that_reads_as_that_series(found, tree, phantom):
    rows = {row.image.relative_to(tree).as_posix(): row for row in found.rows}
    mixed = sorted(name for name in rows if name.startswith("mixed/"))
    assert len(mixed) == 2
    whole = {"oblique", "contrast", "study/lung", "study/soft", "unusable/torn/c"}
    assert set(rows) - set(mixed) == {*whole, "gap"}
    assert [rows[name].values["missing_slices"] for name in ("gap", "contrast")] == ["1", "0"]
    for name, row in rows.items():
        if name == "gap":
            assert read_volume(row.image).absent == (7,)
            continue
        original = read_volume(phantom[0 if name == "oblique" else 1].image)
        volume = read_volume(row.image)
        assert np.array_equal(volume.array, original.array) and np.allclose(volume.affine, original.affine)
        assert (row.kind, row.label, row.point_lps) == ("image", None, None)
        assert int(row.values["slices"]) == volume.array.shape[0]
        assert float(row.values["slice_step_mm"]) == pytest.approx(volume.spacing[2], rel=1e-3)
    assert len({row.values["kernel"] for name, row in rows.items() if name in mixed}) == 2


def test_rows_say_what_the_scanner_said(found, tree):
    rows = {row.image.relative_to(tree).as_posix(): row for row in found.rows}
    contrast, lung, soft = (rows[name].values for name in ("contrast", "study/lung", "study/soft"))
    assert contrast["kernel"] == "B30f\\3" and contrast["slice_thickness_mm"] == "3"
    assert [extra["contrast"] for extra in (contrast, lung, soft)] == ["yes", "", ""]
    assert [extra["anatomy"] for extra in (contrast, lung, soft)] == ["CHEST", "", "CHEST"]
    assert {extra["modality"] for extra in (contrast, lung, soft)} == {"CT"}
    assert [rows[name].values["image_type"] for name in ("contrast", "gap")] == ["derived", "reformatted"]
    assert rows["study/lung"].patient_id == rows["study/soft"].patient_id == "p3"
    assert not any("Smith" in value for row in found.rows for value in row.values.values())
    nameless = {row.patient_id for name, row in rows.items() if name.startswith("mixed/")}
    assert len(nameless) == 1 and nameless.pop().startswith("study ")  # without a PatientID the study is the patient


def test_what_is_left_out_of_a_series_or_assumed_of_it_is_said(phantom, tmp_path):
    folder = copied(phantom[1].image, tmp_path / "series", RescaleType="Z")
    last = max(folder.iterdir(), key=lambda path: pydicom.dcmread(path).InstanceNumber)
    data = pydicom.dcmread(last)
    data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    data.save_as(last)
    found = import_dicom(tmp_path, tmp_path)
    assert len(found.rows) == 1 and not found.skipped
    assert [remark.startswith("series: ") for remark in found.remarks] == [True, True]
    assert "1 localizers left out" in found.remarks[0] and "another unit than HU" in found.remarks[1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unusable/mip", "projections"),
        ("unusable/mr", "modality MR, not CT"),
        ("unusable/scout", "localizer"),
        ("unusable/few", "reach over"),
        ("unusable/one", "a single slice"),
        ("unusable/frames", "multi-frame"),
        ("unusable/unplaced", "ImagePositionPatient is missing"),
        ("unusable/torn/", "in several folders among other series"),
        ("unusable/cut.dcm", "none or damaged"),
        ("unusable/report", "without an image (modality SR)"),
        ("1 files", "the first is README.txt"),
    ],
)
def test_whatever_is_skipped_has_its_reason(found, name, words):
    assert any(item.name.startswith(name) and words in item.reason for item in found.skipped), found.skipped
    assert len(found.skipped) == 11


def test_the_command(tree, tmp_path, capsys):
    assert main(["import", "dicom", str(tree), "--output", str(tmp_path / "m.csv")]) == 0
    assert "8 cases, 5 patients, 0 benign, 0 malignant, 8 unlabeled; 11 skipped" in capsys.readouterr().err
    text = (tmp_path / "m.csv").read_text()
    uids = {str(pydicom.dcmread(path).SeriesInstanceUID) for path in (tree / "mixed").iterdir()}
    assert not any(uid in text for uid in uids) and "p3" not in text
    assert main(["cache", str(tmp_path / "m.csv"), "--output", str(tmp_path / "c")]) == 3
    assert "Add l_mm, p_mm, s_mm" in capsys.readouterr().err


def test_two_patients_under_one_series_uid_are_two_rows(phantom, tmp_path):
    """Poor de-identification; the second lies end to end with the first."""
    second = phantom[1].image
    first = copied(second, tmp_path / "tree", SeriesInstanceUID="1.2.9", PatientID="a")
    height = 400.0

    def moved(path):
        data = pydicom.dcmread(path)
        data.PatientID = "b"
        data.SOPInstanceUID = f"{data.SOPInstanceUID[:40]}.9"
        data.ImagePositionPatient = [*data.ImagePositionPatient[:2], data.ImagePositionPatient[2] + height]
        data.save_as(first / f"other-{path.name}")

    for path in list(first.iterdir()):
        moved(path)
    rows = import_dicom(first, tmp_path).rows
    assert sorted(row.patient_id for row in rows) == ["a", "b"] and len({row.case_id for row in rows}) == 2
    original = read_volume(second)
    for row in rows:
        volume = read_volume(row.image)
        assert np.array_equal(volume.array, original.array)
        assert volume.origin[2] == pytest.approx(original.origin[2] + (height if row.patient_id == "b" else 0))
    with pytest.raises(InputError, match=r"(?s)1\.2\.9#1.*patient.*1\.2\.9#2"):
        read_volume(first)
    signed = {content_signature(first, f"1.2.9#{number}") for number in (1, 2)}
    assert len(signed) == 2
    (first / "another").write_bytes(next((phantom[0].image).iterdir()).read_bytes())
    assert {content_signature(first, f"1.2.9#{number}") for number in (1, 2)} == signed


def test_a_point_written_beside_a_row_makes_it_a_nodule(tree, phantom, tmp_path):
    """What the table is for: points are added by hand, and the series is found again, in a mixed folder too."""
    assert main(["import", "dicom", str(tree), "--output", str(tmp_path / "m.csv")]) == 0
    lines = (tmp_path / "m.csv").read_text().splitlines()
    point = ",".join(str(value) for value in phantom[1].point_lps)
    chosen = [line.replace(",image,,,,,,", f",nodule,1,,,{point}") for line in lines if "/mixed/" in line]
    (tmp_path / "n.csv").write_text("\n".join([lines[0], *chosen]))
    assert main(["cache", str(tmp_path / "n.csv"), "--output", str(tmp_path / "c"), "--processes", "1"]) == 0


def test_trees_without_dicom_are_refused(tmp_path, capsys):
    with pytest.raises(InputError, match="no folder"):
        import_dicom(tmp_path / "none", tmp_path)
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(InputError, match="no DICOM files"):
        import_dicom(tmp_path, tmp_path)
    with pytest.raises(InputError, match="no folder"):
        import_dicom(tmp_path / "a.txt", tmp_path)
    (tmp_path / "b.dcm").write_bytes(b"")
    assert main(["import", "dicom", str(tmp_path), "--output", str(tmp_path / "m.csv")]) == 3
    said = capsys.readouterr().err
    assert "skipped b.dcm" in said and "Nothing in" in said and not (tmp_path / "m.csv").exists()
