"""Manifests whose rows are scored: a radiology table, with rows that are wrong among those that are not."""

import pytest
from MAEMCLib.cases.manifest import read_scoring_manifest
from MAEMCLib.errors import InputError


def rows_of(folder, text):
    (folder / "m.csv").write_text(text, encoding="utf-8", newline="")
    return read_scoring_manifest(folder / "m.csv").rows


def test_nodules_of_a_case_are_told_apart_and_nothing_else_is_asked_for(tmp_path):
    text = "case_id,nodule_id,image,l_mm,p_mm,s_mm,series,label,split\n"
    text += "c1,,a.nrrd,1,2,3,,probably benign,train\nc2,left,b,1,2,3,1.2.3#2,,\nc1,,a.nrrd,4,5,6,,,test\n"
    text += "c2,,b,7,8,9,,,\nc3,N1,b,7,8,9,,,\nc3,,b,7,8,9,,,\n"
    rows = rows_of(tmp_path, text)
    assert [(row.case_id, row.nodule_id) for row in rows] == [
        *(("c1", "N1"), ("c2", "left"), ("c1", "N2"), ("c2", "N1"), ("c3", "N1"), ("c3", "N2"))
    ]
    assert not any(row.problem for row in rows)
    assert rows[1].series == "1.2.3#2" and rows[0].series is None


def test_the_column_of_importers_chooses_the_series_too(tmp_path):
    assert rows_of(tmp_path, "case_id,image,l_mm,p_mm,s_mm,series_uid\na,b,1,2,3,1.2.3\n")[0].series == "1.2.3"


def test_pictures_of_a_case_are_told_apart(tmp_path):
    rows = rows_of(tmp_path, "case_id,image,kind\nc,a.png,image\nc,b.png,image\n")
    assert [row.nodule_id for row in rows] == ["P1", "P2"] and not any(row.problem for row in rows)


def test_a_row_at_fault_is_one_row_with_its_reason(tmp_path):
    text = "case_id,nodule_id,image,l_mm,p_mm,s_mm,kind\n"
    text += "a,N1,a.nrrd,1,2,3,\na,N1,a.nrrd,4,5,6,\nb,,b.nrrd,x,2,3,\nc,,b.nrrd,1,2\n,,b.nrrd,1,2,3,\n"
    text += 'd,,b.nrrd,1,2,3,volume\ne,,b.nrrd,1_0,2,3,\nf,,"b"x.nrrd,1,2,3,\ng,,b.nrrd,1,2,1e999,\nh,,b.nrrd,1,2,3,\n'
    rows = rows_of(tmp_path, text)
    assert [bool(row.problem) for row in rows] == [False, *[True] * 8, False]
    assert "has the case_id and nodule_id of row 2" in rows[1].problem and "l_mm" in rows[2].problem
    assert "kind" in rows[5].problem and "Row 9" in rows[7].problem
    assert [row.case_id for row in rows][4:5] == ["row 6"]


@pytest.mark.parametrize("between", [";", "\t"])
def test_a_table_with_decimal_commas_is_read(between, tmp_path):
    lines = ["\ufeffcase_id;image;l_mm;p_mm;s_mm;diameter_mm", "c,1;a.nrrd;-60,5;10;1e2;12,5"]
    (row,) = rows_of(tmp_path, "\r\n".join(lines).replace(";", between))
    assert (row.case_id, row.point_lps, row.diameter_mm, row.problem) == ("c,1", (-60.5, 10.0, 100.0), 12.5, "")


def test_a_semicolon_in_a_column_of_commas_is_a_letter(tmp_path):
    (row,) = rows_of(tmp_path, 'case_id,image,l_mm,p_mm,s_mm,"age; years"\na,b,1,2,3,"4,5"\n')
    assert row.point_lps == (1, 2, 3) and row.values["age; years"] == "4,5"


def test_a_manifest_that_is_no_text_is_told_in_words(tmp_path):
    (tmp_path / "m.csv").write_bytes("case_id,image,l_mm,p_mm,s_mm\n\u00e4,b,1,2,3\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"\(it is no text in UTF-8\)"):
        read_scoring_manifest(tmp_path / "m.csv")


def test_a_manifest_without_an_end_is_none():
    with pytest.raises(InputError, match="pipe, socket or device"):
        read_scoring_manifest("/dev/zero")


def test_what_a_row_says_instead_of_a_number_is_not_repeated(tmp_path):
    (row,) = rows_of(tmp_path, "case_id,image,l_mm,p_mm,s_mm\na,b,Meyer,2,3\n")
    assert row.problem == "Row 2 of the manifest has no number in the column l_mm."


def test_a_quote_that_does_not_end_is_no_silent_loss_of_the_rows_after_it(tmp_path):
    text = 'case_id,image,l_mm,p_mm,s_mm,note\na,a.nrrd,1,2,3,\nb,a.nrrd,1,2,3,"open\nc,a.nrrd,1,2,3,\n'
    first, second = rows_of(tmp_path, text)
    assert not first.problem and "cannot be read as CSV" in second.problem and "Rows after it" in second.problem


@pytest.mark.parametrize(
    "text, words",
    [
        ("case_id,l_mm,p_mm,s_mm\na,1,2,3\n", "lacks the column image"),
        ("case_id,image,l_mm\na,b,1\n", "lacks the columns p_mm, s_mm"),
        ("case_id,image,image,l_mm,p_mm,s_mm\na,b,b,1,2,3\n", "twice"),
        ("case_id,image,l_mm,p_mm,s_mm\n", "no cases"),
        ("", "is empty"),
    ],
)
def test_what_concerns_the_file_as_a_whole_is_refused(text, words, tmp_path):
    with pytest.raises(InputError, match=words):
        rows_of(tmp_path, text)
