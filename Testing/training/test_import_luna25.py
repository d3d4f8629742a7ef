"""The importer of LUNA25's public table: columns as published, volumes named after their series."""

import csv

import numpy as np
import pytest
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.inputs.region import cut_roi
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.data.importers.formats.luna25 import import_luna25
from MAEMCTrainingLib.data.importers.volume_box import read_box

HEADER = [
    *("PatientID", "SeriesInstanceUID", "StudyDate", "CoordX", "CoordY", "CoordZ", "LesionID", "AnnotationID"),
    *("NoduleID", "label", "Age_at_StudyDate", "Gender"),
]
UID = "1.2.840.113654.2.55.99"


def oblique() -> tuple[CTVolume, np.ndarray]:
    """A rotated volume with one bright ball, and the ball's center in LPS mm."""
    angle = 0.3
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([0.8, 0.9, 1.5])
    affine[:3, 3] = (-80.0, 60.0, 1300.0)
    k, j, i = np.meshgrid(np.arange(50), np.arange(90), np.arange(100), indexing="ij")
    array = np.full(i.shape, -800, dtype=np.int16)
    array[np.sqrt(((i - 60) * 0.8) ** 2 + ((j - 40) * 0.9) ** 2 + ((k - 22) * 1.5) ** 2) < 5] = 50
    return CTVolume(array, affine, ""), (affine @ (60, 40, 22, 1))[:3]


def record(uid, point, patient="100471", lesion=1, label="1", **values) -> dict:
    return {
        "PatientID": patient, "SeriesInstanceUID": uid, "StudyDate": "20000102", "CoordX": f"{point[0]:.2f}",
        "CoordY": f"{point[1]:.2f}", "CoordZ": f"{point[2]:.2f}", "LesionID": lesion,
        "AnnotationID": f"{patient}_{lesion}_20000102", "NoduleID": f"{patient}_{lesion}", "label": label,
        "Age_at_StudyDate": "61", "Gender": "Male", **values,
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The table with sound and spoiled rows, and volumes in three formats, some in a folder below."""
    folder = tmp_path_factory.mktemp("luna25")
    volume, point = oblique()
    (folder / "luna25_images").mkdir()
    write_volume(volume, folder / "luna25_images" / f"{UID}.1.mha")
    write_volume(volume, folder / f"{UID}.2.nii.gz")
    write_volume(volume, folder / f"{UID}.3.nrrd")
    write_volume(volume, folder / f"{UID}.4.mha")
    write_volume(volume, folder / f"{UID}.4.nrrd")
    (folder / f"{UID}.5.mha").write_bytes(b"ObjectType = Image\nNDims = 3\n")
    rows = [
        record(f"{UID}.1", point),
        record(f"{UID}.1", point + (3, 3, 3), lesion=2, label="0"),
        record(f"{UID}.2", point, "100472", label="", Gender="Female"),
        record(f"{UID}.3", point, "100473"),
        record(f"{UID}.4", point, "100474"),
        record(f"{UID}.5", point, "100475"),
        record(f"{UID}.6", point, "100476"),
        record(f"{UID}.1", point + (0, 0, 500), lesion=3),
        record(f"{UID}.1", point, lesion=4, label="2"),
        record(f"{UID}.1", point, lesion=5, CoordY="left"),
        record(f"{UID}.1", point, "", lesion=6),
        record(f"{UID}.1", point),
    ]
    with open(folder / "LUNA25_Public_Training_Development_Data.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, HEADER)
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_rows_and_reasons(folder):
    found = import_luna25(folder, folder)
    facts = [(row.patient_id, row.label, row.values["age"], row.values["sex"]) for row in found.rows]
    assert facts == [
        ("100471", 1, "61", "male"),
        ("100471", 0, "61", "male"),
        ("100472", None, "61", "female"),
        ("100473", 1, "61", "male"),
    ]
    reasons = {item.name: item.reason for item in found.skipped}
    for name, words in (
        ("row 6", "several volumes"),
        ("row 7", "cannot be read"),
        ("row 8", f"no volume {UID}.6.mha"),
        ("row 9", "outside its volume"),
        ("row 10", "'2', not 0 or 1"),
        ("row 11", "not three numbers"),
        ("row 12", "no PatientID"),
        ("100471_1_20000102", "taken once"),
    ):
        assert any(key.startswith(name) and words in reason for key, reason in reasons.items()), (name, reasons)
    assert len(reasons) == 8
    assert import_luna25(folder / "LUNA25_Public_Training_Development_Data.csv", folder) == found


def test_the_point_is_on_the_nodule_whatever_the_format(folder):
    for row in import_luna25(folder, folder).rows[::2]:
        roi = cut_roi(read_volume(row.image), row.point_lps)
        assert np.abs(np.argwhere(roi.axial > -400).mean(axis=0) - (12, 24.5, 24.5)).max() < 0.3


def test_a_header_tells_which_points_are_inside(folder):
    volume = oblique()[0]
    box = read_box(folder / f"{UID}.3.nrrd")
    points = volume.to_lps(np.random.default_rng(0).uniform(-25, 125, (300, 3)))
    inside = [bool(volume.inside(volume.to_index(point))) for point in points]
    assert [box.holds(tuple(point)) for point in points] == inside and 20 < sum(inside) < 280


def test_dates_and_numbers_stay_behind(folder, tmp_path, capsys):
    assert main(["import", "luna25", str(folder), "--output", str(tmp_path / "m.csv")]) == 0
    assert "4 cases, 3 patients, 1 benign, 2 malignant, 1 unlabeled; 8 skipped" in capsys.readouterr().err
    rows = read_manifest(tmp_path / "m.csv").rows
    written = " ".join(" ".join((row.case_id, row.patient_id, *row.values.values())) for row in rows)
    assert not any(word in written for word in ("2000", "10047", UID))


def test_refusals(folder, tmp_path, capsys):
    with pytest.raises(InputError, match="no file or folder"):
        import_luna25(tmp_path / "none", tmp_path)
    with pytest.raises(InputError, match="holds none"):
        import_luna25(tmp_path, tmp_path)
    table = tmp_path / "a.csv"
    table.write_text("PatientID,SeriesInstanceUID,CoordX,CoordY,label\n1,2,3,4,1\n")
    with pytest.raises(InputError, match=r"lacks the column CoordZ\."):
        import_luna25(table, tmp_path)
    table.write_text(",".join(HEADER) + "\n")
    with pytest.raises(InputError, match="no volumes"):
        import_luna25(table, tmp_path)
    write_volume(oblique()[0], tmp_path / f"{UID}.1.mha")
    assert main(["import", "luna25", str(table), "--output", str(tmp_path / "m.csv")]) == 3
    assert "no manifest was written" in capsys.readouterr().err and not (tmp_path / "m.csv").exists()
    (tmp_path / "b.csv").write_text(",".join(HEADER) + "\n")
    with pytest.raises(InputError, match=r"several \(a.csv, b.csv\)"):
        import_luna25(tmp_path, tmp_path)
    table.write_bytes(b"\xff\xfe\x00PatientID")
    with pytest.raises(InputError, match="CSV text"):
        import_luna25(table, tmp_path)
