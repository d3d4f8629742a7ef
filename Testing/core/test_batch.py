"""Batch scoring: one reading a volume, rows as they are done, going on after a stop and past bad cases."""

import csv
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from MAEMCLib import batch
from MAEMCLib.batch import run_batch
from MAEMCLib.bundle import ModelBundle, save_bundle
from MAEMCLib.ct import CTVolume, write_volume
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.manifest import read_manifest

HEADER = "case_id,patient_id,image,l_mm,p_mm,s_mm,diameter_mm\n"


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def cases(tmp_path):
    """Two volumes with two nodules each, and four rows that cannot be scored."""
    folder = tmp_path / "Fälle mit Leerzeichen"
    folder.mkdir()
    for number in range(2):
        array = np.random.default_rng(number).integers(-1000, 300, (70, 70, 70)).astype(np.int16)
        write_volume(CTVolume(array, np.eye(4)), folder / f"v{number}.nrrd")
    (folder / "broken.nrrd").write_bytes(b"NRRD0005\nnothing")
    lines = [
        "a1,p1,v0.nrrd,35,35,35,12",
        "b1,p2,v1.nrrd,35,35,35,",
        "a2,p1,v0.nrrd,30,34,36,40",
        "bad1,p3,broken.nrrd,0,0,0,",
        "bad2,p4,none.nrrd,0,0,0,",
        "bad3,p5,v1.nrrd,900,0,0,",
        "bad4,p6,v1.nrrd,nan,0,0,",
        "b2,p2,v1.nrrd,40,35,35,9",
    ]
    (folder / "manifest.csv").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    return folder / "manifest.csv"


def run(manifest, output, bundle, **options):
    return run_batch(
        list(read_manifest(manifest, lenient=True).rows), output, ModelBundle.open(bundle), "cpu", **options
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_rows_in_the_manifest_s_order_and_reasons_for_bad_cases(cases, tmp_path, random_bundle, processes):
    output = tmp_path / "new folder" / "results.csv"
    assert run(cases, output, random_bundle, processes=processes) == (4, 4)
    rows = rows_of(output)
    assert [row["case_id"] for row in rows] == ["a1", "b1", "a2", "bad1", "bad2", "bad3", "bad4", "b2"]
    reasons = {row["case_id"]: row["message"] for row in rows if row["status"] == "failed"}
    assert "cannot be read" in reasons["bad1"] and "no file" in reasons["bad2"]
    assert "outside the volume" in reasons["bad3"] and "l_mm" in reasons["bad4"]
    assert all(row["probability"] == "" for row in rows if row["status"] == "failed")
    assert rows[2]["gate"] == "red" and rows[2]["probability"] != ""  # a gate colors a row and hides nothing
    assert rows[1]["gate"] == "grey" and rows[0]["gate"] == "green"


def test_each_volume_is_read_once(cases, tmp_path, random_bundle, monkeypatch):
    read = []
    original = batch.read_volume
    monkeypatch.setattr(batch, "read_volume", lambda path: read.append(path.name) or original(path))
    run(cases, tmp_path / "r.csv", random_bundle)
    assert sorted(read) == ["broken.nrrd", "none.nrrd", "v0.nrrd", "v1.nrrd"]


def test_a_second_run_keeps_what_is_done_and_tries_failures_again(cases, tmp_path, random_bundle, monkeypatch):
    output = tmp_path / "r.csv"
    run(cases, output, random_bundle)
    before = {row["case_id"]: row for row in rows_of(output)}
    array = np.random.default_rng(5).integers(-1000, 300, (70, 70, 70)).astype(np.int16)
    write_volume(CTVolume(array, np.diag([1, 1, 1, 1.0])), cases.parent / "none.nrrd")
    read = []
    original = batch.read_volume
    monkeypatch.setattr(batch, "read_volume", lambda path: read.append(path.name) or original(path))
    assert run(cases, output, random_bundle) == (5, 3)
    assert "v0.nrrd" not in read
    after = {row["case_id"]: row for row in rows_of(output)}
    assert after["a1"] == before["a1"] and after["bad2"]["status"] == "scored"


def test_a_line_cut_by_a_crash_is_done_again(cases, tmp_path, random_bundle):
    output = tmp_path / "r.csv"
    run(cases, output, random_bundle)
    whole = {row["case_id"]: row["probability"] for row in rows_of(output)}
    text = output.read_text(encoding="utf-8")
    output.write_text(text[: text.rindex("b2") + 30], encoding="utf-8")
    run(cases, output, random_bundle)
    assert {row["case_id"]: row["probability"] for row in rows_of(output)} == whole


def test_killed_run_is_continued(tmp_path, random_bundle):
    lines = []
    for number in range(12):
        array = np.random.default_rng(number).integers(-1000, 300, (110, 160, 160)).astype(np.int16)
        write_volume(CTVolume(array, np.eye(4)), tmp_path / f"v{number}.nrrd")
        lines.append(f"c{number},p{number},v{number}.nrrd,80,80,55,")
    (tmp_path / "m.csv").write_text(HEADER + "\n".join(lines) + "\n")
    output = tmp_path / "r.csv"
    command = [sys.executable, "-m", "MAEMCLib", "batch", str(tmp_path / "m.csv"), "--output", str(output)]
    command += ["--model", str(random_bundle), "--device", "cpu", "--quiet"]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if output.exists() and output.read_text().count("\n") >= 4:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    process.wait()
    done = [row["time"] for row in rows_of(output) if row["status"] == "scored"]
    assert process.returncode == -signal.SIGKILL and 0 < len(done) < 12
    assert subprocess.run(command).returncode == 0
    rows = rows_of(output)
    assert [row["case_id"] for row in rows] == [f"c{number}" for number in range(12)]
    assert set(done) <= {row["time"] for row in rows}


def test_outputs_that_are_something_else_are_left_alone(cases, tmp_path, random_bundle, random_card, random_members):
    output = tmp_path / "r.csv"
    output.write_text("my,own,table\n1,2,3\n")
    with pytest.raises(UsageError, match="not a results file"):
        run(cases, output, random_bundle)
    assert output.read_text() == "my,own,table\n1,2,3\n"
    output.unlink()
    run(cases, output, random_bundle)
    other = save_bundle(tmp_path / "o.maemc", {**random_card, "version": "9"}, random_members).path
    before = output.read_bytes()
    with pytest.raises(UsageError, match="another model"):
        run(cases, output, other)
    assert output.read_bytes() == before


def test_a_place_that_cannot_be_written(cases, tmp_path, random_bundle):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="written"):
        run(cases, tmp_path / "file" / "r.csv", random_bundle)


def test_no_scratch_stays(cases, tmp_path, random_bundle):
    run(cases, tmp_path / "out" / "r.csv", random_bundle)
    assert os.listdir(tmp_path / "out") == ["r.csv"]
