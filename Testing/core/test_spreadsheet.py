"""CSV that a spreadsheet opens: no formulas, the same texts back."""

import io

import pytest
from MAEMCLib.files.spreadsheet import RowWriter, cell, records, text_of

FORMULAS = ["=1+1", "=HYPERLINK(1)", "+1", "+A1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "-"]
HARMLESS = ["", "N1", "-12.5", "-3", "-1.5e-3", "1=1", "a-b", "'quoted'", "'", "5 mm", "ä"]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_compute_stays_a_text(text):
    assert cell(text) == "'" + text and text_of(cell(text)) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_other_texts_and_numbers_are_written_as_they_are(text):
    assert cell(text) == text and text_of(text) == text


def test_rows_come_back_whatever_line_breaks_they_hold():
    names = [*FORMULAS, *HARMLESS, "a\rb", "a\r\nb", "a\nb", "a\u2028b", "a\x85b\x0c", 'a"b,c']
    stream = io.StringIO(newline="")
    writer = RowWriter(stream)
    writer.row(["=name", "number"])
    writer.rows([name, number] for number, name in enumerate(names))
    text = stream.getvalue()
    assert text.splitlines()[0] == "'=name,number"
    assert [row["=name"] for row in records(io.StringIO(text, newline=""))] == names
