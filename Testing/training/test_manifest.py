"""The manifest: what is read and written, and every refusal with its reason."""

from dataclasses import replace

import pytest
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCLib.errors import InputError

HEADER = "case_id,patient_id,image,label,split,diameter_mm,l_mm,p_mm,s_mm\n"


@pytest.fixture
def folder(tmp_path):
    for name in ("a.nrrd", "b.nrrd"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def written(folder, text):
    path = folder / "manifest.csv"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder, text):
    with pytest.raises(InputError) as caught:
        read_manifest(written(folder, text))
    return str(caught.value)


def test_rows_are_read_with_their_types(folder):
    text = HEADER + "c1,p1,a.nrrd,1,train,12.5,1,-2.5,3e1\nc2,p2,b.nrrd,Benign,,,0,0,0\nc3,p3,b.nrrd,,,,0,0,0\n"
    manifest = read_manifest(written(folder, text))
    first, second, third = manifest.rows
    assert (first.case_id, first.patient_id, first.image) == ("c1", "p1", folder / "a.nrrd")
    assert (first.kind, first.label, first.split, first.diameter_mm) == ("nodule", 1, "train", 12.5)
    assert first.point_lps == (1.0, -2.5, 30.0)
    assert (second.label, second.split, second.diameter_mm) == (0, None, None)
    assert third.label is None
    assert [row for row in manifest.rows if row.label is not None] == [first, second]
    assert manifest.counts() == {"cases": 3, "patients": 3, "benign": 1, "malignant": 1, "unlabeled": 1}


def test_spreadsheet_habits_are_taken(folder):
    """A byte order mark, blanks in the header, and empty lines are what spreadsheets add."""
    text = "\ufeffcase_id, patient_id ,image,l_mm,p_mm,s_mm,age\nc1,p1, a.nrrd ,1,2,3, 61\n,,,,,,\n"
    manifest = read_manifest(written(folder, text))
    assert len(manifest.rows) == 1
    assert manifest.rows[0].image == folder / "a.nrrd"
    assert manifest.rows[0].values == {"age": "61"}


def test_writing_and_reading_is_the_identity(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "c.nrrd"
    elsewhere.write_bytes(b"")
    rows = (
        Case("c1", "p1", folder / "a.nrrd", "nodule", 1, "test", 9.25, (1.5, -2.0, 3.125)),
        Case("c2", "p,2", elsewhere, point_lps=(0.0, 0.0, 0.0), values={"note": 'a "quoted", text'}),
        Case("c3", "p3", folder / "b.nrrd", kind="image", label=0),
    )
    path = write_manifest(folder / "manifest.csv", rows)
    back = read_manifest(path).rows
    assert [replace(row, values={}) for row in back] == [replace(row, values={}) for row in rows]
    assert back[1].values["note"] == 'a "quoted", text'
    assert "\nc1,p1,a.nrrd,nodule," in path.read_text()  # relative to the manifest, so that the folder can be moved


def test_a_failed_write_leaves_the_old_manifest(folder):
    path = written(folder, HEADER + "c1,p1,a.nrrd,1,,,0,0,0\n")
    before = path.read_bytes()
    with pytest.raises(InputError, match="no point"):
        write_manifest(path, [Case("c2", "p2", folder / "a.nrrd")])
    with pytest.raises(InputError, match="no cases"):
        write_manifest(path, [])
    assert path.read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == ["a.nrrd", "b.nrrd", "manifest.csv"]


def test_kinds_ask_for_their_columns(folder):
    text = "case_id,patient_id,image,kind,volume_id,slice_index\nc1,p1,a.nrrd,slice,v1,4\nc2,p1,b.nrrd,image,,\n"
    rows = read_manifest(written(folder, text)).rows
    assert rows[0].point_lps is None
    assert rows[0].values == {"volume_id": "v1", "slice_index": "4"}
    assert "lacks the columns volume_id, slice_index" in refusal(
        folder, "case_id,patient_id,image,kind\nc1,p1,a.nrrd,slice\n"
    )
    assert "Row 2" in refusal(folder, text.replace("v1,4", "v1,"))
    assert "kind volume" in refusal(folder, "case_id,patient_id,image,kind\nc1,p1,a.nrrd,volume\n")


def test_missing_manifest_is_named(tmp_path):
    with pytest.raises(InputError, match="There is no manifest"):
        read_manifest(tmp_path / "none.csv")


def test_empty_manifests_are_refused(folder):
    assert "is empty" in refusal(folder, "")
    assert "no cases" in refusal(folder, HEADER)


def test_missing_columns_are_named(folder):
    message = refusal(folder, "case_id,image,l_mm,s_mm\nc1,a.nrrd,0,0\n")
    assert "lacks the columns patient_id, p_mm" in message


def test_a_column_given_twice_is_refused(folder):
    assert "column label twice" in refusal(folder, HEADER.replace("split", "label") + "c1,p1,a.nrrd,1,,,0,0,0\n")


def test_case_ids_given_twice_are_named(folder):
    row = "c1,p1,a.nrrd,1,,,0,0,0\n"
    assert "c1" in refusal(folder, HEADER + row + row)


def test_missing_images_are_named_up_to_a_few(folder):
    rows = "".join(f"c{n},p{n},gone{n}.nrrd,1,,,0,0,0\n" for n in range(7))
    message = refusal(folder, HEADER + rows + "ok,ok,a.nrrd,1,,,0,0,0\n")
    assert "those of the cases c0, " in message and "c4 and 2 more" in message and "ok" not in message
    assert "gone" not in message  # a path may hold a patient's name, and jobs keep their last message


def test_a_patient_in_two_splits_is_refused(folder):
    text = HEADER + "c1,p1,a.nrrd,1,train,,0,0,0\nc2,p1,b.nrrd,1,test,,0,0,0\n"
    assert "p1 (test, train)" in refusal(folder, text)
    rows = read_manifest(written(folder, text.replace("test", "train"))).rows
    assert [row.split for row in rows] == ["train", "train"]


@pytest.mark.parametrize("label", ["2", "yes", "0.5", "-1", "malign"])
def test_labels_that_are_none_are_refused_with_their_row(folder, label):
    message = refusal(folder, HEADER + f"c1,p1,a.nrrd,1,,,0,0,0\nc2,p2,b.nrrd,{label},,,0,0,0\n")
    assert "Row 3" in message
    assert f"'{label}'" in message


@pytest.mark.parametrize("value", ["", "nan", "inf", "12 mm", "1;2"])
@pytest.mark.parametrize("column", ["l_mm", "p_mm", "s_mm"])
def test_coordinates_that_are_no_numbers_are_refused(folder, column, value):
    values = {"l_mm": "1", "p_mm": "2", "s_mm": "3", column: value}
    message = refusal(folder, HEADER + "c1,p1,a.nrrd,1,,," + ",".join(values.values()) + "\n")
    assert "Row 2" in message
    assert column in message


@pytest.mark.parametrize("value", ["nan", "0", "-3", "large"])
def test_diameters_that_are_no_lengths_are_refused(folder, value):
    assert "diameter_mm" in refusal(folder, HEADER + f"c1,p1,a.nrrd,1,,{value},0,0,0\n")


def test_rows_with_too_many_or_too_few_values_are_refused(folder):
    assert "more values" in refusal(folder, HEADER + "c1,p1,a.nrrd,1,,,0,0,0,9\n")
    assert "no patient_id" in refusal(folder, HEADER + "c1,,a.nrrd,1,,,0,0,0\n")


def test_binary_files_are_refused(folder):
    path = folder / "manifest.csv"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_manifest(path)
