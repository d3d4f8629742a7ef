"""The report on paper: what can be read on each page, that no line leaves its page."""

import io
import re
from itertools import pairwise

import pytest
from MAEMCLib.report.formats import render
from MAEMCLib.report.sections import Columns, Mark, Note, Report, Section, Table
from MAEMCLib.report.strips import MM, Text, properties, strips_of, text_width, wrapped
from matplotlib.textpath import text_to_path
from pypdf import PdfReader

NOTICE = "Research only, not for clinical use."
LONG = "A nodule of 8.4 x 7.2 mm in the right upper lobe; Waverly, AVATAR, ToTo: (kerned) " * 4


def texts(report):
    """The text of each page, as a reader of PDF copies it."""
    return [page.extract_text() for page in PdfReader(io.BytesIO(render(report, "pdf"))).pages]


def drawn_width(text, size, bold):
    """mm of a whole line, kerned, as matplotlib lays it out."""
    font = properties(bold).copy()
    font.set_size(size)
    return text_to_path.get_text_width_height_descent(text, font, False)[0] * MM


@pytest.mark.parametrize("bold", [False, True])
@pytest.mark.parametrize("width", [20.0, 80.0, 182.0])
def test_lines_fill_their_column_and_never_leave_it(width, bold):
    lines = wrapped(LONG, width, 8.0, bold)
    assert " ".join(lines) == " ".join(LONG.split())
    assert all(drawn_width(line, 8.0, bold) < 1.01 * width for line in lines)
    for line, following in pairwise(lines):  # no line ends before it has to
        assert drawn_width(f"{line} {following.split()[0]}", 8.0, bold) > 0.95 * width


def test_a_word_longer_than_a_line_is_broken():
    lines = wrapped("9" * 100, 20.0, 8.0)
    assert "".join(lines) == "9" * 100 and all(text_width(line, 8.0) <= 20.0 for line in lines)


def test_every_page_says_what_it_is_a_page_of_and_not_for():
    rows = [(f"nodule {n}", 0.5, Mark("amber", "amber", ["The point lies in aerated lung."])) for n in range(120)]
    pages = texts(Report("Many", [Section("All", [Table(rows, ("nodule", "probability", "gate"))])]))
    assert len(pages) > 2
    for number, page in enumerate(pages, start=1):
        assert f"page {number} of {len(pages)}" in page and page.count(NOTICE) == 2
    assert re.findall(r"nodule (\d+)", "\n".join(pages)) == [str(n) for n in range(120)]


def test_sections_begin_their_pages_and_details_stay_out():
    sections = [Section("Overview", [Note("first")]), Section("N1", [Note("one")], page=True)]
    sections += [Section("N2", [Note("two")], page=True), Section("Card", [Note("left out")], detail=True)]
    pages = texts(Report("T", sections))
    assert ["first" in pages[0], "one" in pages[1], "two" in pages[2], len(pages)] == [True, True, True, 3]
    assert not any("left out" in page for page in pages)
    alone = texts(Report("T", sections[1:2]))
    assert len(alone) == 1 and "one" in alone[0]  # a title is no page of its own


def test_a_title_stays_with_what_it_is_of():
    filler = [Note("line")] * 52
    pages = texts(Report("T", [Section("", filler), Section("Below", [Table([("a", 1)], ("x", "y"))])]))
    at = next(number for number, page in enumerate(pages) if "Below" in page)
    assert "a" in pages[at].split("Below")[1]


def test_text_is_copied_as_it_is_and_strange_letters_break_nothing():
    name = "N ü \u202e\x1b[2J 結節 $\\frac$"
    (page,) = texts(Report("T", [Section(name, [Note("volume 1234 mm³, \N{GREEK SMALL LETTER ALPHA}")])]))
    assert "volume 1234 mm³, \N{GREEK SMALL LETTER ALPHA}" in page and "\x1b" not in page and "\u202e" not in page
    assert "$\\frac$" in page and "N ü" in page


def test_columns_stand_beside_each_other():
    left, right = Table([("Long axis", "8 mm")]), Table([("Score", "0.4")])
    (strip,) = strips_of(Columns([[left], [right]]), 180.0)
    places = {shape.text: (shape.x, shape.y) for shape in strip.shapes if isinstance(shape, Text)}
    assert places["Long axis"][1] == places["Score"][1] and places["Score"][0] > 90.0 > places["8 mm"][0]
