"""The audit log against torn lines, other processes, a full disk, a home that cannot be written, and rewriting."""

import json
import subprocess
import sys

import pytest
from MAEMCLib.errors import InputError
from MAEMCLib.review.audit_log import AuditLog

WRITE = """
import sys
from pathlib import Path
from MAEMCLib.review.audit_log import AuditLog
log = AuditLog(Path(sys.argv[1]))
for number in range({count}):
    log.append("estimated", {{"nodule": sys.argv[2], "number": number, "padding": "x" * 3000}})
"""
SLOW = """
import sys, time
from pathlib import Path
from MAEMCLib.review import audit_log
def slowly(path, line_after, what):
    def waiting(last):
        print("reading", flush=True)
        time.sleep(1)
        return line_after(last)
    append(path, waiting, what)
append, audit_log.append_line = audit_log.append_line, slowly
audit_log.AuditLog(Path(sys.argv[1])).append("estimated", {"nodule": "slow"})
"""
FULL = """
import resource, signal
from pathlib import Path
from MAEMCLib.errors import InputError
from MAEMCLib.review.audit_log import AuditLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = AuditLog(Path({home!r}))
size = log.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, size + 40))
try:
    log.append("estimated", {{"nodule": "full"}})
except InputError as error:
    print(error)
"""


def run(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)


def whole(home):
    """(entries, log) of a log that is read from its beginning."""
    log = AuditLog(home)
    return log.fresh(), log


def test_what_is_appended_is_read_in_order_and_what_was_there_stays(tmp_path):
    home = tmp_path / "new" / "hôme"
    log = AuditLog(home)
    assert log.fresh() == []
    before = b""
    for number in range(5):
        log.append("estimated", {"nodule": f"N{number}", "percent": 12.5, "text": "ü\u2028\n"})
        now = log.path.read_bytes()
        assert now.startswith(before) and now.count(b"\n") == number + 1
        before = now
    assert [entry["nodule"] for entry in log.fresh()] == [f"N{number}" for number in range(5)]
    assert log.fresh() == [] and log.damaged == log.unchained == []
    entries, other = whole(home)
    assert entries[2]["text"] == "ü\u2028\n" and entries[2]["schema"] == 1 and other.unchained == []
    assert log.path.stat().st_mode & 0o077 == 0  # this user's alone


def test_a_torn_last_line_stays_and_costs_no_other(tmp_path):
    log = AuditLog(tmp_path)
    for name in "abc":
        log.append("estimated", {"nodule": name})
    torn = log.path.read_bytes()[:-20]
    log.path.write_bytes(torn)
    entries, other = whole(tmp_path)
    assert [entry["nodule"] for entry in entries] == ["a", "b"]  # it may be one that is being written
    other.append("estimated", {"nodule": "d"})
    assert [entry["nodule"] for entry in other.fresh()] == ["d"] and other.damaged == [3]
    assert log.path.read_bytes().startswith(torn + b"\n")
    assert whole(tmp_path)[1].unchained == []


def test_two_processes_lose_nothing(tmp_path):
    command = [sys.executable, "-c", WRITE.format(count=60), str(tmp_path)]
    running = [subprocess.Popen([*command, name]) for name in ("one", "other")]
    assert [process.wait(120) for process in running] == [0, 0]
    entries, log = whole(tmp_path)
    for name in ("one", "other"):
        assert [entry["number"] for entry in entries if entry["nodule"] == name] == list(range(60))
    assert log.damaged == log.unchained == []


def test_nobody_appends_between_a_process_s_reading_and_its_writing(tmp_path):
    AuditLog(tmp_path).append("estimated", {"nodule": "first"})
    slow = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert slow.stdout.readline() == "reading\n"
    AuditLog(tmp_path).append("estimated", {"nodule": "quick"})
    assert slow.wait(60) == 0
    entries, log = whole(tmp_path)
    assert [entry["nodule"] for entry in entries] == ["first", "slow", "quick"] and log.unchained == []


def test_a_full_disk_is_a_sentence_and_what_it_tore_stays_apart(tmp_path):
    AuditLog(tmp_path).append("estimated", {"nodule": "before"})
    said = run(FULL.format(home=str(tmp_path))).stdout
    assert "could not be written" in said and "nothing was recorded" in said and "Free space" in said
    assert not (tmp_path / "audit.jsonl").read_bytes().endswith(b"\n")
    AuditLog(tmp_path).append("estimated", {"nodule": "after"})
    entries, log = whole(tmp_path)
    assert [entry["nodule"] for entry in entries] == ["before", "after"] and log.damaged == [2]


@pytest.mark.parametrize("kind", ["system", "file", "folder"])
def test_a_home_that_cannot_be_written_is_a_sentence(tmp_path, kind):
    home = {"system": "/proc/maemc"}.get(kind, tmp_path / "home")
    if kind == "file":
        home.write_text("")
    if kind == "folder":
        (home / "audit.jsonl").mkdir(parents=True)
    with pytest.raises(InputError, match=r"could not be written .*MAEMC_HOME"):
        AuditLog(type(tmp_path)(home)).append("estimated", {"nodule": "a"})


@pytest.mark.parametrize(
    ("change", "unchained"),
    [
        (lambda lines: [*lines[:1], lines[1].replace(b"N1", b"N9"), *lines[2:]], [3]),
        (lambda lines: [*lines[:1], *lines[2:]], [2]),
        (lambda lines: [lines[1], lines[0], *lines[2:]], [1, 2, 3]),
        (lambda lines: lines, []),
    ],
    ids=["changed", "taken out", "swapped", "as it was"],
)
def test_a_line_that_was_changed_or_taken_out_is_noticed(tmp_path, change, unchained):
    log = AuditLog(tmp_path)
    for number in range(4):
        log.append("estimated", {"nodule": f"N{number}"})
    lines = change(log.path.read_bytes().splitlines(keepends=True))
    log.path.write_bytes(b"".join(lines))
    assert whole(tmp_path)[1].unchained == unchained


def test_a_log_that_became_shorter_is_refused(tmp_path):
    log = AuditLog(tmp_path)
    log.append("estimated", {"nodule": "a"})
    log.fresh()
    log.path.write_bytes(b"")
    with pytest.raises(InputError, match="shorter than it was"):
        log.fresh()


def test_lines_that_are_no_entries_are_counted(tmp_path):
    lines = [
        b"\xff\xfe",
        b"[]",
        b'{"event": 3}',
        b'{"event": "x", "event": "y"}',
        b"",
        json.dumps({"event": "x"}).encode(),
    ]
    (tmp_path / "audit.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    entries, log = whole(tmp_path)
    assert entries == [] and log.damaged == [1, 2, 3, 4, 5, 6]


def test_facts_that_are_no_json_leave_the_log_as_it_was(tmp_path):
    log = AuditLog(tmp_path)
    log.append("estimated", {"nodule": "a"})
    before = log.path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        log.append("estimated", {"number": float("nan")})
    assert log.path.read_bytes() == before
