"""Every format says what a report holds and what its numbers are not for; a new one is a file of its own."""

import base64
import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from MAEMCLib.errors import UsageError
from MAEMCLib.report.formats import FORMATS, render, write_report
from MAEMCLib.report.sections import OWN, Difference, Figure, Mark, Metric, Note, Notes, Report, Section, Table
from pypdf import PdfReader

LIBRARY = Path(__file__).resolve().parents[2] / "MAEMCNodule" / "MAEMCLib"
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")
TABLE = Table(
    [(OWN, Metric(0.8123, 0.704, 0.911, 40), 7, Mark("amber", "amber", ["too <small>"])), ("=size | mm", None, 3, "x")],
    ("", "AUC", "cases", "gate"),
    ("row", "auc", "cases", "gate"),
)
REPORT = Report(
    "Two & two",
    [
        Section("Ranking", [TABLE, Note("LEAKY: seen", "leaky"), Figure(PNG, "curves")]),
        Section("More", [Table([("Made", "by <hand>")]), Notes(["one", "two\x1b[2J"])], detail=True),
    ],
)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_format_says_what_the_numbers_are_and_are_not_for(ending):
    made = render(REPORT, ending)
    text = made if isinstance(made, str) else "".join(page.extract_text() for page in PdfReader(io.BytesIO(made)).pages)
    assert "0.812 (0.70-0.91)" in text or "0.8123" in text
    assert "Research only, not for clinical use." in text or ending == "csv"  # a table alone, for a program
    assert "\x1b" not in text


def test_text_aligns_and_puts_remarks_below_and_leaves_details_out():
    lines = render(REPORT, "txt").splitlines()
    assert lines[:2] == ["Two & two", ""] and "Made" not in render(REPORT, "txt")
    assert lines[3:7] == [
        "                          AUC  cases  gate",
        "this model  0.812 (0.70-0.91)      7  amber",
        "    too <small>",
        "=size | mm                  -      3  x",
    ]


def test_a_page_escapes_and_marks_the_own_row():
    page = render(REPORT, "html")
    assert "<h1>Two &amp; two</h1>" in page and "by &lt;hand&gt;" in page and "too &lt;small&gt;" in page
    assert "<tr class='own'><th>this model</th>" in page and "<p class='leaky'>LEAKY: seen</p>" in page
    assert (
        page.count("Research only, not for clinical use.") == 2
        and f"data:image/png;base64,{base64.b64encode(PNG).decode()}" in page
    )


def test_tables_for_programs_have_every_number():
    rows = list(csv.reader(io.StringIO(render(Report("", [Section("", [TABLE])]), "csv"))))
    assert rows[0] == ["row", "auc", "auc_low", "auc_high", "cases", "gate"]
    assert rows[1] == ["this model", "0.8123", "0.704", "0.911", "7", "amber"]
    assert rows[2] == ["'=size | mm", "", "", "", "3", "x"]
    table = json.loads(render(REPORT, "json"))["sections"][0]["parts"][0]
    assert table["rows"][0][1] == {"value": 0.8123, "low": 0.704, "high": 0.911, "n": 40}


def test_markdown_keeps_its_columns():
    lines = render(REPORT, "md").splitlines()
    assert "| this model | 0.812 (0.70-0.91) | 7 | amber |" in lines and "| =size \\| mm | - | 3 | x |" in lines


def test_numbers_as_people_read_them():
    assert Metric(None).text() == "-" and Metric(0.5).text() == "0.500" and Metric.of(None) is None
    assert Metric(-0.02, -0.1, 0.05).text() == "-0.020 (-0.10 to 0.05)"
    assert Metric(31.234, 30.1, 32.345).text(2) == "31.23 (30.10-32.34)"
    assert Difference(0.0123, -0.01, 0.034).text() == "+0.012 (-0.01 to +0.03)"
    assert Difference(0.1, None, None, p=0.0004).text() == "+0.100, p < 0.001"


def test_a_format_that_there_is_none_of(tmp_path):
    with pytest.raises(UsageError, match="csv, html, json, md, pdf, txt"):
        write_report(REPORT, tmp_path / "report.docx")
    assert not list(tmp_path.iterdir())


def test_a_new_format_is_one_file(tmp_path):
    """The library is copied, a file is added, and a report is written in its format."""
    shutil.copytree(LIBRARY, tmp_path / "MAEMCLib", ignore=shutil.ignore_patterns("__pycache__"))
    code = "def render(report):\n    return ' & '.join(map(str, report.tables()[0].rows[0])) + ' ' + report.notice\n"
    (tmp_path / "MAEMCLib" / "report" / "formats" / "tex.py").write_text(code)
    script = (
        "from pathlib import Path\n"
        "from MAEMCLib.report.formats import write_report\n"
        "from MAEMCLib.report.sections import Report, Section, Table\n"
        "write_report(Report('T', [Section('', [Table([('a', 1)])])]), Path('report.tex'))\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, env={"PYTHONPATH": str(tmp_path)})
    assert (tmp_path / "report.tex").read_text() == "a & 1 Research only, not for clinical use."
