"""Batch scoring: one reading a volume, rows as they are done, going on after a stop and past bad cases."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from MAEMCLib import scoring
from MAEMCLib.batch import run as batch_run
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.images import reading_process
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCLib.images.reading_process import ReadingProcess
from MAEMCLib.models.bundle import save_bundle
from MAEMCLib.scoring import CaseScorer

from Testing.core.batch_runs import rows_of, run, volume, watched

HEADER = "case_id,patient_id,image,l_mm,p_mm,s_mm,diameter_mm\n"


@pytest.fixture
def cases(tmp_path):
    """Two volumes with two nodules each, and four rows that cannot be scored."""
    folder = tmp_path / "Fälle mit Leerzeichen"
    folder.mkdir()
    for number in range(2):
        array = np.random.default_rng(number).normal(-850, 30, (70, 70, 70))
        array[np.sum((np.indices(array.shape) - 35) ** 2, axis=0) < 36] = 20
        write_volume(CTVolume(array.astype(np.int16), np.eye(4)), folder / f"v{number}.nrrd")
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
    assert rows[0]["gate"] == rows[1]["gate"] == "green"  # a size that the manifest lacks is measured
    assert all(float(row["long_axis_mm"]) > 7 for row in rows[:2])


def test_each_volume_is_read_once(cases, tmp_path, random_bundle, monkeypatch):
    read = watched(monkeypatch)
    run(cases, tmp_path / "r.csv", random_bundle)
    assert sorted(read) == ["broken.nrrd", "v0.nrrd", "v1.nrrd"]  # none.nrrd is not there


def test_a_second_run_keeps_what_is_done_and_tries_failures_again(cases, tmp_path, random_bundle, monkeypatch):
    output = tmp_path / "r.csv"
    run(cases, output, random_bundle)
    before = {row["case_id"]: row for row in rows_of(output)}
    array = np.random.default_rng(5).integers(-1000, 300, (70, 70, 70)).astype(np.int16)
    write_volume(CTVolume(array, np.diag([1, 1, 1, 1.0])), cases.parent / "none.nrrd")
    read = watched(monkeypatch)
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
    array = np.random.default_rng(0).integers(-1000, 300, (70, 70, 70)).astype(np.int16)
    write_volume(CTVolume(array, np.eye(4)), tmp_path / "v0.nrrd")
    for number in range(1, 30):
        shutil.copy(tmp_path / "v0.nrrd", tmp_path / f"v{number}.nrrd")
    # More rows than any machine scores while another process waits for its turn to look.
    cases = [f"c{number}" for number in range(60)]
    lines = [f"{case},p{case},v{number % 30}.nrrd,35,35,35," for number, case in enumerate(cases)]
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
    assert process.returncode == -signal.SIGKILL and 0 < len(done) < len(cases)
    assert subprocess.run(command).returncode == 0
    rows = rows_of(output)
    assert [row["case_id"] for row in rows] == cases
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


# A kept result belongs to its input


@pytest.fixture
def two(tmp_path):
    """Two cases in two volumes; ``write(first=..., rest=...)`` writes the manifest anew."""
    volume(tmp_path / "a.nrrd", 1)
    volume(tmp_path / "b.nrrd", 2)

    def write(first="a.nrrd,35,35,35,12", columns="case_id,image,l_mm,p_mm,s_mm,diameter_mm"):
        (tmp_path / "m.csv").write_text(f"{columns}\na,{first}\nb,b.nrrd,35,35,35,12\n")
        return tmp_path / "m.csv"

    return write


def replace_image(folder):
    before = (folder / "a.nrrd").stat()
    volume(folder / "a.nrrd", 3)
    os.utime(folder / "a.nrrd", ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "image": {"change": replace_image},
    "point": {"first": "a.nrrd,35,35,36,12"},
    "diameter": {"first": "a.nrrd,35,35,35,13"},
    "diameter taken away": {"first": "a.nrrd,35,35,35,"},
    "flag": {"nifti_form": "qform"},
    "release": {"release": scoring.SCORING_RELEASE + 1},
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_row_is_kept_only_where_its_input_is_what_it_was(what, two, tmp_path, random_bundle, monkeypatch):
    output, change = tmp_path / "r.csv", CHANGES[what]
    run(two(), output, random_bundle)
    before = rows_of(output)
    read = watched(monkeypatch)
    run(two(), output, random_bundle)
    assert read == [] and rows_of(output) == before
    change.get("change", lambda folder: None)(tmp_path)
    if "release" in change:
        monkeypatch.setattr(scoring, "SCORING_RELEASE", change["release"])
    run(two(change.get("first", "a.nrrd,35,35,35,12")), output, random_bundle, nifti_form=change.get("nifti_form"))
    everything = what in ("flag", "release")  # concerns b as well
    assert read == (["a.nrrd", "b.nrrd"] if everything else ["a.nrrd"])
    after = rows_of(output)
    assert after[0]["input_sha256"] != before[0]["input_sha256"]
    assert everything or after[1] == before[1]
    assert (after[0]["probability"] != before[0]["probability"]) == (what in ("image", "point"))


def test_the_same_content_elsewhere_is_the_same_input(two, tmp_path, random_bundle, monkeypatch):
    output = tmp_path / "r.csv"
    run(two(), output, random_bundle)
    (tmp_path / "a.nrrd").rename(tmp_path / "moved and renamed.nrrd")
    read = watched(monkeypatch)
    assert run(two("moved and renamed.nrrd,35,35,35,12"), output, random_bundle) == (2, 0) and read == []


def test_a_volume_that_is_replaced_while_it_is_read_gives_no_number(two, tmp_path, random_bundle, monkeypatch):
    """Of none of its nodules: all were cut from what was there before."""
    original = ReadingProcess.read

    def read(self, path, *flags):
        found = original(self, path, *flags)
        if path.name == "a.nrrd":
            volume(path, 9, size=71)
        return found

    monkeypatch.setattr(ReadingProcess, "read", read)
    several = "a.nrrd,35,35,35,12\na2,a.nrrd,35,35,34,12"
    assert run(two(several), tmp_path / "r.csv", random_bundle) == (1, 2)
    first, second, _ = rows_of(tmp_path / "r.csv")
    assert all("changed while it was read" in row["message"] and not row["probability"] for row in (first, second))


def test_results_of_other_cases_and_versions_are_left_alone(two, tmp_path, random_bundle):
    output = tmp_path / "r.csv"
    run(two(), output, random_bundle)
    before, manifest = output.read_bytes(), tmp_path / "m.csv"
    manifest.write_text("case_id,image,l_mm,p_mm,s_mm\nx,a.nrrd,35,35,35\n")
    with pytest.raises(UsageError, match="other cases"):
        run(manifest, output, random_bundle)
    assert output.read_bytes() == before
    said = []
    manifest.write_text("case_id,image,l_mm,p_mm,s_mm,diameter_mm\nb,b.nrrd,35,35,35,12\n")
    assert run(manifest, output, random_bundle, say=said.append) == (1, 0)
    assert said == [f"1 results of cases that the manifest does not hold are left out of {output}."]
    older = before.decode().replace(",input_sha256\n", "\n")
    output.write_text(older)
    with pytest.raises(UsageError, match="another version of MAEMC"):
        run(two(), output, random_bundle)
    assert output.read_text() == older


# One bad row


def test_whatever_a_row_is_it_is_one_failed_row_and_nobody_is_named(two, tmp_path, random_bundle, monkeypatch):
    """Files that end the reader, that never end, that no disk can hold; and no name of any of them in the results."""
    secret = tmp_path / "Zzyzx^Quentin 1950"
    secret.mkdir()
    program = (
        "import os, signal, MAEMCLib.images.reading_process as own\nread = own.read_volume\n"
        "def dying(path, *flags):\n"
        "    if 'killer' in str(path): os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if 'odd' in str(path): raise RecursionError(f'deep in {path}')\n"
        "    return read(path, *flags)\n"
        "own.read_volume = dying; own.main()"
    )
    monkeypatch.setattr(reading_process, "_PROGRAM", program)
    for name in ("killer Zzyzx.nrrd", "odd Zzyzx.nrrd", "raw Zzyzx.nrrd"):
        volume(secret / name)
    write_volume(CTVolume(np.full((70, 70, 70), 900, np.int16), np.eye(4)), secret / "raw Zzyzx.nrrd")
    (secret / "cut Zzyzx.nrrd").write_bytes(b"NRRD0005\nnothing")
    (secret / "empty Zzyzx.nii.gz").write_bytes(b"")
    (secret / "text Zzyzx.csv").write_text("Zzyzx")
    os.mkfifo(secret / "pipe Zzyzx.nrrd")
    os.symlink(secret / "loop Zzyzx.nrrd", secret / "loop Zzyzx.nrrd")
    (secret / "folder Zzyzx").mkdir()
    images = [
        *sorted(path.relative_to(tmp_path) for path in secret.iterdir()),
        "Zzyzx" * 60,
        f"{secret.name}/none.nrrd",
    ]
    rows = [f"c{number},{image},35,35,35," for number, image in enumerate(images)]
    rows += ["far,b.nrrd,1e300,-1e300,1e300,", "text,b.nrrd,Zzyzx,0,0,", "short,b.nrrd", "more,b.nrrd,35,35,35,,,Zzyzx"]
    two()
    with (tmp_path / "m.csv").open("a") as stream:
        stream.write("\n".join(rows) + "\nlast,b.nrrd,34,35,35,\n")
    said = []
    output = tmp_path / "r.csv"
    assert run(tmp_path / "m.csv", output, random_bundle, say=said.append) == (3, len(rows))
    found = rows_of(output)
    assert [row["case_id"] for row in found if row["status"] == "scored"] == ["a", "b", "last"]
    assert all(row["message"] for row in found if row["status"] == "failed")
    assert "zzyzx" not in output.read_text().lower() and str(tmp_path) not in output.read_text()
    reasons = {row["case_id"]: row["message"] for row in found}
    numbers = {str(image).split("/")[-1].split(" ")[0]: f"c{number}" for number, image in enumerate(images)}
    for name, reason in {
        "killer": "SIGSEGV",
        "odd": "RecursionError",
        "pipe": "pipe, socket or device",
        "loop": "no file",
        "none.nrrd": "no file",
        "Zzyzx" * 60: "File name too long",
    }.items():
        assert reason in reasons[numbers[name]], name
    assert len(said) == len(rows) and any("killer Zzyzx.nrrd" in line for line in said)  # the terminal names files
    assert not any("written" in message for message in reasons.values())


def dying_work(*arguments):
    """``batch_run._work`` of a process that the case "killer" ends, once where a file says so."""
    score = CaseScorer.score

    def dying(self, rows):
        for row in rows:
            if row.case_id == "killer" or (row.case_id == "once" and not (row.image.parent / "was here").exists()):
                (row.image.parent / "was here").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return score(self, rows)

    CaseScorer.score = dying
    ORIGINAL_WORK(*arguments)


ORIGINAL_WORK = batch_run._work


def test_a_process_that_dies_costs_its_own_rows_and_those_only_where_it_dies_again(
    tmp_path, random_bundle, monkeypatch
):
    monkeypatch.setattr(batch_run, "_work", dying_work)
    names = ["a", "killer", "b", "once", "c"]
    for number, name in enumerate(names):
        volume(tmp_path / f"{name}.nrrd", number)
    rows = [f"{name},{name}.nrrd,35,35,35" for name in names]
    (tmp_path / "m.csv").write_text("case_id,image,l_mm,p_mm,s_mm\n" + "\n".join(rows) + "\n")
    assert run(tmp_path / "m.csv", tmp_path / "r.csv", random_bundle, processes=2) == (4, 1)
    found = rows_of(tmp_path / "r.csv")
    assert [row["case_id"] for row in found] == names and found[1]["status"] == "failed"
    assert "SIGKILL" in found[1]["message"]


# The results file
