"""Jobs as folders: states, locks, what is refused; launching, stopping, continuing and following real processes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from MAEMCLib.errors import InputError, UsageError
from MAEMCTrainingLib.jobs.files import EventLog
from MAEMCTrainingLib.jobs.job import Job, is_locked, known_jobs, open_job, read_state
from MAEMCTrainingLib.jobs.launching import launch, resume
from MAEMCTrainingLib.jobs.stopping import Interrupted, StopRequest, request_stop

SETTINGS = {"configuration": {"epochs": 3}, "data_fingerprint": "f"}
COMMAND = {"arguments": ["pretrain"], "directory": "."}


def opened(folder, home, kind="pretrain"):
    return open_job(folder, kind, COMMAND, home, StopRequest())


def test_states_of_a_job(tmp_path):
    folder, home = tmp_path / "Aufträge 1", tmp_path / "home"
    with opened(folder, home) as job:
        assert job.status == "running" and is_locked(folder)
        job.declare(SETTINGS)
        job.update(step=3, steps=10)
    assert Job(folder).status == "finished" and read_state(folder)["step"] == 3 and not is_locked(folder)
    with pytest.raises(Interrupted), opened(folder, home) as job:
        job.declare(SETTINGS)
        raise Interrupted("asked")
    assert Job(folder).status == "stopped" and read_state(folder)["message"] == "asked"
    with pytest.raises(ZeroDivisionError), opened(folder, home) as job:
        job.declare(SETTINGS)
        raise ZeroDivisionError("/data/Smith^John")
    assert Job(folder).status == "failed"
    assert "Smith" not in (folder / "log.txt").read_text() + (folder / "state.json").read_text()
    assert [job.folder for job in known_jobs(home)] == [folder]


def test_other_settings_are_refused_with_the_keys(tmp_path):
    folder = tmp_path / "job"
    with opened(folder, tmp_path / "home") as job:
        job.declare(SETTINGS)
    other = {**SETTINGS, "configuration": {"epochs": 4}, "cohort": "moved"}
    with (
        pytest.raises(UsageError, match=r"configuration\.epochs \(3 there, 4 here\)"),
        opened(folder, tmp_path / "home") as job,
    ):
        job.declare(other)
    assert Job(folder).status == "finished"  # a command that is refused changes nothing
    with (
        pytest.raises(UsageError, match="of the kind 'pretrain', not 'finetune'"),
        opened(folder, tmp_path, "finetune"),
    ):
        pass
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"), opened(tmp_path / "full", tmp_path):
        pass


HOLD = """
import sys, time
from pathlib import Path
from MAEMCTrainingLib.jobs.job import open_job
from MAEMCTrainingLib.jobs.stopping import StopRequest
with open_job(Path(sys.argv[1]), "pretrain", {"arguments": []}, Path(sys.argv[2]), StopRequest()):
    print("running", flush=True)
    time.sleep(60)
"""


def test_a_second_start_is_refused_and_a_dead_one_does_not_block(tmp_path):
    folder = tmp_path / "job"
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder, tmp_path / "home"], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"running\n"
        assert Job(folder).status == "running"
        with (
            pytest.raises(UsageError, match=rf"already running \(process {process.pid}\)"),
            opened(folder, tmp_path / "home"),
        ):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert read_state(folder)["status"] == "running"  # nobody could write that it ended
    assert Job(folder).status == "stopped"
    with opened(folder, tmp_path / "home"):
        pass
    assert Job(folder).status == "finished"


def test_a_stop_request_is_heard_and_handlers_come_back():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest().listening() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 5
        while not stop.asked and time.monotonic() < deadline:
            time.sleep(0.01)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_log_that_cannot_be_written_is_a_message(tmp_path):
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(InputError, match=r"events\.jsonl .* cannot be written.*goes on from the last checkpoint"):
        Job(tmp_path).event(step=1)


def test_data_that_could_not_be_read_do_not_bind_the_folder(tmp_path):
    """A job that failed before it knew what to train on may be begun again with another command."""
    folder, home = tmp_path / "job", tmp_path / "home"
    with pytest.raises(InputError), opened(folder, home):
        raise InputError("no such manifest")
    assert not folder.exists()  # who typed it has read the message
    folder.mkdir()
    (folder / "output.txt").touch()  # nobody has read it: a launched process
    with pytest.raises(InputError), opened(folder, home):
        raise InputError("no such manifest")
    assert Job(folder).status == "failed" and read_state(folder)["message"] == "no such manifest"
    corrected = {"arguments": ["pretrain", "--data", "right.csv"], "directory": "."}
    with open_job(folder, "pretrain", corrected, home, StopRequest()) as job:
        job.declare(SETTINGS)
    assert Job(folder, home=home).settings["command"] == corrected and Job(folder).status == "finished"
    with opened(folder, home) as job:
        job.declare(SETTINGS)
    assert Job(folder, home=home).settings["command"] == corrected  # now it is bound


def test_an_event_log_reads_on_and_starts_over_after_a_cut(tmp_path):
    job, log = Job(tmp_path), EventLog(tmp_path)
    assert log.refresh() is False
    for step in range(1, 6):
        job.event(step=step, phase="pretrain", loss=1.0 / step)
    assert log.refresh() is True and [e["step"] for e in log.events] == [1, 2, 3, 4, 5]
    assert log.refresh() is False
    with open(tmp_path / "events.jsonl", "a") as stream:
        stream.write('{"step": 6, "phase"')  # being written
    assert log.refresh() is False
    with open(tmp_path / "events.jsonl", "a") as stream:
        stream.write(': "pretrain"}\n')
    assert log.refresh() is True and log.events[-1]["step"] == 6
    job.forget_events(3, ("pretrain",))
    for step in range(4, 9):
        job.event(step=step, phase="pretrain", loss=9.0)
    assert log.refresh() is True
    assert [e["step"] for e in log.events] == [1, 2, 3, 4, 5, 6, 7, 8] and log.events[3]["loss"] == 9.0


def test_reading_jobs_needs_no_torch(tmp_path):
    """Slicer's own process does it."""
    code = "import sys, MAEMCTrainingLib.jobs.job, MAEMCTrainingLib.jobs.progress; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_without_filelock_a_job_may_run_where_its_lock_lies(tmp_path, monkeypatch):
    """Slicer lists the jobs of a terminal before the packages of training are installed there."""
    monkeypatch.setitem(sys.modules, "filelock", None)
    assert not is_locked(tmp_path)
    (tmp_path / "lock").touch()
    assert is_locked(tmp_path)


def waited(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def arguments(ball_cache, tmp_path):
    return [
        "pretrain", "--data", str(ball_cache.folder), "--output", str(tmp_path / "job"), "--preset", "tiny",
        "--device", "cpu", "--threads", "1", "epochs=4", "batch=4", "checkpoint_seconds=0", "log_every=1",
    ]  # fmt: skip


def test_a_launched_job_is_stopped_continued_and_found_again(tmp_path, arguments):
    folder, home = tmp_path / "job", tmp_path / "home"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = launch(arguments, folder, home, environment=environment)
    assert Job(folder).status in ("queued", "running")
    if os.name == "posix":
        assert os.getsid(process.pid) != os.getsid(0)  # what ends this terminal does not end it
    waited(lambda: read_state(folder).get("step", 0) >= 2 and read_state(folder).get("stage") == "Pre-training")
    with pytest.raises(UsageError, match="already running"):
        launch(arguments, folder, home)
    request_stop(folder)
    assert process.wait(timeout=30) == 130
    assert Job(folder).status == "stopped" and not (folder / "stop").exists()
    stopped_at = read_state(folder)["step"]
    assert 2 <= stopped_at < 64
    assert [job.folder for job in known_jobs(home)] == [folder]
    process = resume(folder, home, environment=environment)
    waited(lambda: Job(folder).status == "running" and read_state(folder)["step"] > stopped_at)
    process.kill()  # as a power cut would
    process.wait()
    assert Job(folder).status == "stopped"
    process = resume(folder, home, environment=environment)
    assert process.wait(timeout=120) == 0
    assert Job(folder).status == "finished" and Job(folder).progress == 1.0
    steps = [json.loads(line)["step"] for line in (folder / "events.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 65))  # every step once, whatever was repeated


def test_a_launched_command_that_is_wrong_says_so_in_its_output(tmp_path, arguments):
    folder, home = tmp_path / "job", tmp_path / "home"
    process = launch([*arguments, "epohcs=3"], folder, home)
    assert process.wait(timeout=60) == 2
    assert "Did you mean epochs" in (folder / "output.txt").read_text()
    missing = [str(tmp_path / "none.csv") if word.endswith("balls") else word for word in arguments]
    process = launch(missing, folder, home)
    assert process.wait(timeout=60) == 3
    assert Job(folder).status == "failed" and "There is no manifest" in read_state(folder)["message"]


def test_an_interpreter_that_is_not_there_is_a_message(tmp_path):
    with pytest.raises(InputError, match="could not be started"):
        launch(["pretrain"], tmp_path / "job", tmp_path / "home", interpreter=[str(tmp_path / "python")])
