"""The results file of a batch: names that are no formulas, damage, other files in its place, an interruption."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.spreadsheet import records
from MAEMCLib.results import COLUMNS
from MAEMCLib.scoring import CaseScorer

from Testing.core.batch_runs import rows_of, run, volume, watched

IDS = ["ä\r1", "b\n2", "c\u20283", "d\x85\x0c4", "=cmd|' /C calc'!A0", "@SUM(1)", "-2+3", "+1", "-12.5", 'q"u,o']


@pytest.fixture(scope="module")
def odd_names(tmp_path_factory, random_bundle):
    """A manifest of cases with odd names, and the bytes of its results."""
    folder = tmp_path_factory.mktemp("odd")
    volume(folder / "v.nrrd")
    with (folder / "m.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\r\n")
        writer.writerow(["case_id", "image", "l_mm", "p_mm", "s_mm"])
        writer.writerows([name, "v.nrrd", 30 + number, 35, 35] for number, name in enumerate(IDS))
    assert run(folder / "m.csv", folder / "r.csv", random_bundle) == (len(IDS), 0)
    return folder / "m.csv", (folder / "r.csv").read_bytes()


def test_names_stay_what_they_are_and_are_no_formulas(odd_names, tmp_path, random_bundle, monkeypatch):
    manifest, written = odd_names
    (tmp_path / "r.csv").write_bytes(written)
    cells = [row["case_id"] for row in rows_of(tmp_path / "r.csv")]
    assert cells[:4] == IDS[:4] and cells[4:] == ["'" + name for name in IDS[4:8]] + IDS[8:]
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["case_id"] for row in records(stream)] == IDS
    read = watched(monkeypatch)
    assert run(manifest, tmp_path / "r.csv", random_bundle) == (len(IDS), 0)
    assert read == [] and (tmp_path / "r.csv").read_bytes() == written


HEADER_LINE = ",".join(COLUMNS).encode() + b"\n"


DAMAGES = {
    "cut in a two-byte letter": (lambda data: data[: len(HEADER_LINE) + 2], 0),
    "cut in the header": (lambda data: data[:40], 0),
    "header alone": (lambda data: HEADER_LINE, 0),
    "nothing": (lambda data: b"", 0),
    "last line cut": (lambda data: data[:-30], len(IDS) - 1),
    "more values in a line": (lambda data: data.replace(b"@SUM(1),", b"@SUM(1),x,y,"), len(IDS) - 1),
    "fewer values in a line": (lambda data: data.replace(b"@SUM(1),N1,", b"@SUM(1),"), len(IDS) - 1),
    "a byte that is no text": (lambda data: data.replace(b"@SUM(1)", b"@SUM\xff1)"), len(IDS) - 1),
    "every line twice": (lambda data: data + data[len(HEADER_LINE) :], len(IDS)),
    "header again": (lambda data: data + data, len(IDS)),
    "fingerprint cut": (lambda data: data[:-10] + b"\n", len(IDS) - 1),
    "no number": (lambda data: re.sub(rb"(,scored,\w+,[\w-]*,)0", rb"\1x", data, count=1), len(IDS) - 1),
    "saved by a spreadsheet": (lambda data: b"\xef\xbb\xbf" + data, len(IDS)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_sound_rows_of_a_damaged_file_are_kept_and_the_rest_done_again(
    damage, odd_names, tmp_path, random_bundle, monkeypatch
):
    manifest, written = odd_names
    change, kept = DAMAGES[damage]
    (tmp_path / "r.csv").write_bytes(change(written))
    done, original = [], CaseScorer.score
    monkeypatch.setattr(CaseScorer, "score", lambda self, rows: done.extend(rows) or original(self, rows))
    assert run(manifest, tmp_path / "r.csv", random_bundle) == (len(IDS), 0) and len(done) == len(IDS) - kept
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["case_id"] for row in records(stream)] == IDS


@pytest.mark.parametrize("content", [b"one line without an end", b"\x89PNG\r\n\x1a\n\x00\xff", b"case_id,image\na,b\n"])
def test_a_file_of_something_else_is_never_replaced(content, odd_names, tmp_path, random_bundle):
    (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(UsageError, match="not a results file"):
        run(odd_names[0], tmp_path / "r.csv", random_bundle)
    assert (tmp_path / "r.csv").read_bytes() == content


@pytest.mark.skipif(sys.platform == "win32", reason="no devices that are files")
def test_results_are_not_looked_for_in_a_device_that_has_no_end(odd_names, random_bundle):
    with pytest.raises(InputError, match="device"):
        run(odd_names[0], Path("/dev/full"), random_bundle)


@pytest.mark.parametrize("number, processes, code, word", [(2, 1, 130, "interrupted"), (15, 2, 143, "terminated")])
def test_an_interrupted_batch_says_one_line_and_leaves_whole_rows(
    number, processes, code, word, tmp_path, random_bundle
):
    volume(tmp_path / "v.nrrd")
    rows = "".join(f"c{place},v.nrrd,{30 + place / 10},35,35\n" for place in range(3))
    (tmp_path / "m.csv").write_text(f"case_id,image,l_mm,p_mm,s_mm\n{rows}")
    script = (
        "import sys, time\nfrom MAEMCLib.batch import run as batch, results_file\nadd = results_file.ResultsFile.add\n"
        "def slow(self, rows):\n    add(self, rows)\n    print('added', flush=True)\n    time.sleep(60)\n"
        "results_file.ResultsFile.add = slow\nfrom MAEMCLib.__main__ import main\n"
        "if __name__ == '__main__':\n    sys.exit(main(sys.argv[1:]))\n"
    )
    (tmp_path / "slow.py").write_text(script)
    command = [sys.executable, tmp_path / "slow.py", "batch", tmp_path / "m.csv", "--output", tmp_path / "r.csv"]
    command += ["--model", random_bundle, "--device", "cpu", "--processes", str(processes)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "added\n"
    process.send_signal(number)
    assert (process.communicate()[1], process.returncode) == (f"maemc: {word}\n", code)
    assert [row["status"] for row in rows_of(tmp_path / "r.csv")] == ["scored"] * 3
