"""``maemc-train`` as it is typed: the whole journey, killing and continuing real processes, what is refused and how."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from MAEMCLib.models.bundle import ModelBundle
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.jobs.job import Job, read_state

SMALL = ["encoder.width=16", "encoder.depth=1", "encoder.heads=2", "encoder.patch_size=50"]
PRETRAIN = [*SMALL, "decoder.width=16", "decoder.depth=1", "decoder.heads=2", "queue_size=20", "projection_width=8"]
PRETRAIN += ["batch=4", "views_per_case=1", "log_every=1", "seed=5"]


def process(*arguments, home):
    """A real maemc-train, in one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MAEMC_HOME": str(home)}
    command = [sys.executable, "-m", "MAEMCTrainingLib", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def cache(balls, home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches") / "balls"
    running = process("cache", balls, "--output", folder, "--processes", 1, home=home)
    out, error = running.communicate(timeout=120)
    assert running.returncode == 0 and out.strip() == str(folder)
    assert "16 cases cached, 0 left out" in error
    return folder


def start_pretraining(cache, job, home, epochs=5):
    return process(
        "pretrain", "--unlabeled-data", cache, "--output", job, "--preset", "tiny", "--device", "cpu",
        *PRETRAIN, f"epochs={epochs}", "checkpoint_seconds=0", home=home,
    )  # fmt: skip


def wait_for_step(job, step, running):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and running.poll() is None:
        lines = (job / "events.jsonl").read_text().count("\n") if (job / "events.jsonl").is_file() else 0
        if lines >= step:
            return
        time.sleep(0.002)
    raise AssertionError(f"step {step} was not reached: {running.communicate()}")


def content(job, name="model.safetensors"):
    return (job / "checkpoints" / "last" / name).read_bytes()


@pytest.fixture(scope="module")
def pretraining(cache, home, tmp_path_factory):
    """A finished pre-training of 24 steps that was not interrupted."""
    job = tmp_path_factory.mktemp("jobs") / "whole"
    running = start_pretraining(cache, job, home, epochs=24)
    out, error = running.communicate(timeout=120)
    assert running.returncode == 0, error
    assert out.strip() == str(job)
    return job


@pytest.mark.soak
def test_a_killed_pretraining_ends_with_the_same_bits(cache, pretraining, home, tmp_path):
    """kill -9 at random steps, then the same command: weights, momentum encoder, queue, optimizer are identical."""
    job = tmp_path / "killed job"
    draws = random.Random(time.time_ns())
    steps = sorted(draws.sample(range(1, 20), 2))
    print(f"killed at steps {steps}")
    for step in steps:
        running = start_pretraining(cache, job, home, epochs=24)
        wait_for_step(job, step, running)
        running.send_signal(signal.SIGKILL)
        running.communicate()
        assert running.returncode == -signal.SIGKILL
        assert Job(job).status == "stopped"
    running = start_pretraining(cache, job, home, epochs=24)
    _, error = running.communicate(timeout=120)
    assert running.returncode == 0, error
    assert "Continuing at step" in error
    assert content(job) == content(pretraining)
    assert content(job, "optimizer.safetensors") == content(pretraining, "optimizer.safetensors")
    steps_seen = [json.loads(line)["step"] for line in (job / "events.jsonl").read_text().splitlines()]
    assert steps_seen == list(range(1, 25))


def test_ctrl_c_saves_and_the_same_command_continues(cache, pretraining, home, tmp_path):
    job = tmp_path / "job"
    running = start_pretraining(cache, job, home, epochs=24)
    wait_for_step(job, 10, running)
    running.send_signal(signal.SIGINT)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "saved. Repeat the command to go on." in error and "Traceback" not in error
    state = read_state(job)
    assert state["status"] == "stopped" and state["pid"] == running.pid
    running = start_pretraining(cache, job, home, epochs=24)
    assert running.wait(timeout=120) == 0
    running.communicate()
    assert content(job) == content(pretraining)


def test_from_manifest_to_bundle(balls, cache, pretraining, home, tmp_path, monkeypatch, capsys):
    """Honest fine-tuning, killed once on the way, and the bundle; then what the commands say about the jobs."""
    monkeypatch.setenv("MAEMC_HOME", str(home))
    job, whole = tmp_path / "fine", tmp_path / "fine whole"
    settings = ["epochs=8", "batch=8", "validation_fraction=0.2", "checkpoint_seconds=0", "log_every=1"]

    def command(folder):
        return ["finetune", "--from", pretraining, "--data", cache, "--output", folder, "--preset", "tiny",
                "--folds", 3, "--device", "cpu", *settings]  # fmt: skip

    running = process(*command(job), home=home)
    wait_for_step(job, 30, running)  # in the second fold
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert main([str(word) for word in command(job)]) == 0
    assert main([str(word) for word in command(whole)]) == 0
    out = capsys.readouterr().out
    assert "size alone" in out and "Only 6 benign, 6 malignant cases" in out
    assert (job / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    killed, unharmed = (json.loads((folder / "metrics.json").read_text()) for folder in (job, whole))
    assert killed.pop("subject") != unharmed.pop("subject") and killed == unharmed
    for fold in range(3):
        weights = f"folds/{fold}/checkpoints/best/model.safetensors"
        assert (job / weights).read_bytes() == (whole / weights).read_bytes()
    assert main(["export", str(job), "--output", str(tmp_path / "m.maemc"), "--id", "balls"]) == 0
    assert ModelBundle.open(tmp_path / "m.maemc").card.id == "balls"
    capsys.readouterr()
    assert main(["jobs", "list"]) == 0
    listed = capsys.readouterr().out
    assert str(pretraining) in listed and str(job) in listed and "finished" in listed
    assert main(["jobs", "show", str(job)]) == 0
    assert "finetune, finished, 100 %" in capsys.readouterr().out
    assert main(["jobs", "watch", str(job)]) == 0
    assert capsys.readouterr().out.strip().endswith("finished")
    for action in ("stop", "resume"):
        assert main(["jobs", action, str(job)]) == 3
        assert "is finished: there is nothing" in capsys.readouterr().err


def test_a_manifest_serves_as_data(balls, home, tmp_path, monkeypatch):
    monkeypatch.setenv("MAEMC_HOME", str(home))
    arguments = ["pretrain", "--data", str(balls), "--output", str(tmp_path / "job"), "--preset", "tiny", "--quiet",
                 "--device", "cpu", *PRETRAIN, "epochs=1"]  # fmt: skip
    assert main(arguments) == 0
    settings = json.loads((tmp_path / "job" / "job.json").read_text())
    assert settings["cohort"]["cases"] == 16 and settings["cohort"]["unlabeled"] == 4
    assert "patient-" not in "".join(p.read_text() for p in (tmp_path / "job").glob("*.json*"))


def test_phantom_and_cubes_become_manifests(lidc_cubes, tmp_path, capsys):
    assert main(["phantom", "--output", str(tmp_path / "ph"), "--cases", "2", "--seed", "3", "--processes", "1"]) == 0
    assert (tmp_path / "ph" / "manifest.csv").is_file()
    assert main(["import", "lidc-cubes", str(lidc_cubes), "--output", str(tmp_path / "cubes.csv")]) == 0
    assert "90 cases, 90 patients, 8 benign, 47 malignant, 35 unlabeled" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["pretrain", "--output", "JOB"], 2, "--data with a manifest or a cache"),
        (["pretrain", "--data", "none.csv", "--output", "JOB"], 3, "There is no manifest"),
        (["pretrain", "--data", ".", "--output", "JOB"], 3, "folder without a cache"),
        (["pretrain", "--data", "none.csv", "--output", "JOB", "epoch=3"], 2, "Did you mean epochs"),
        (
            ["pretrain", "--data", "none.csv", "--output", "JOB", "encoder.patch_size=7"],
            2,
            "do not fill an image of 250",
        ),
        (
            ["finetune", "--from", "scratch", "--data", "x", "--output", "JOB", "encoder.width=10000000"],
            2,
            "at most 8192",
        ),
        (["pretrain", "epochs=3", "--data", "none.csv", "--output", "JOB", "seed=1"], 3, "There is no manifest"),
        (["pretrain", "--data", "none.csv", "--output", "JOB", "--method", "moco"], 2, "no pre-training method"),
        (["finetune", "--from", "none", "--data", "none.csv", "--output", "JOB"], 3, "is no job folder"),
        (["finetune", "--from", "scratch", "--data", "none.csv", "--output", "JOB", "--folds", "0"], 2, "at least 1"),
        (["cache", "none.csv", "--output", "JOB", "--slice-step", "0"], 2, "whole number of mm"),
        (["export", "none", "--output", "m.maemc"], 2, "--id NAME, or --card"),
        (["export", "none", "--output", "m.maemc", "--id", "x"], 3, "is no job folder"),
        (["export", "none", "--output", "m.maemc", "--id", "a@b"], 2, "cannot be called so"),
        (["jobs", "show", "none"], 3, "is no job folder"),
        (["import", "lidc-cubes", "none", "--output", "m.csv"], 3, "no folder of LIDC cubes"),
    ],
)
def test_refusals(arguments, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "JOB").exists()


def test_wrong_words_are_refused_by_the_parser(capsys):
    for arguments in (["pretrain", "--output", "x", "--nonsense"], ["jobs", "list", "a=b"], ["nonsense"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 2
    assert "unrecognized arguments: a=b" in capsys.readouterr().err


def test_a_divergence_is_a_message(cache, home, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAEMC_HOME", str(home))
    arguments = ["pretrain", "--data", str(cache), "--output", str(tmp_path / "job"), "--preset", "tiny", *PRETRAIN]
    arguments += ["learning_rate=1e30", "epochs=3", "warmup_fraction=0", "--device", "cpu"]
    assert main(arguments) == 3
    error = capsys.readouterr().err
    assert "Training diverged" in error and "of its manifest" in error
    state = read_state(tmp_path / "job")
    assert state["status"] == "failed" and "diverged" in state["message"]
