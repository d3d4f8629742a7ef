"""Several processes train as one: real gloo processes started by torchrun, against one process."""

import json
import os
import subprocess
import sys

import pytest
import torch
from MAEMCTrainingLib.engine.checkpoints import read_tensors
from MAEMCTrainingLib.engine.processes import Processes, launched

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package")


def run(count, home, *arguments):
    """maemc-train in one process, or in ``count`` of them."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MAEMC_HOME": str(home)}
    return subprocess.run(
        [sys.executable, *(torchrun if count > 1 else []), "-m", "MAEMCTrainingLib", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


def training_events(folder):
    rows = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [row for row in rows if "gradient_norm" in row]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home-of-processes")


def settings(cache, folder, *more):
    common = ["--preset", "tiny", "--device", "cpu", "--threads", "1", "log_every=1"]
    small = ["encoder.patch_size=50", "encoder.position=1d", "encoder.width=16", "encoder.depth=1", "encoder.heads=2"]
    return ["--data", cache.folder, "--output", folder, *common, *small, *more]


def apart(name, one, other):
    """The largest difference of a weight. A bias of the keys adds the same to all of a softmax, so
    that its gradient is rounding, which AdamW makes as large as any other: it may differ by a step of the rate."""
    difference = (one[name].double() - other[name].double()).abs()
    if name.endswith("attn.qkv.bias"):
        queries, keys, values = difference.chunk(3)
        assert keys.max() <= 1e-3, name
        difference = torch.cat([queries, values])
    return difference.max().item()


def pretrain(count, cache, home, folder, *extra):
    """16 cases in batches of at most 5 (5, 5, 4, 4 ... of 32 views): uneven parts, a queue that wraps. Its weights."""
    more = ["epochs=2", "batch=5", "views_per_case=2", "queue_size=12", "learning_rate=1e-3", "preview_epochs=0"]
    done = run(count, home, "pretrain", *settings(cache, folder, *more, *extra))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(folder)  # one of them speaks
    return read_tensors(folder / "checkpoints" / "last" / "model.safetensors")


@pytest.mark.parametrize("shares", [pytest.param(1, marks=pytest.mark.soak), 2])
def test_two_processes_pretrain_as_one(ball_cache, home, tmp_path, shares):
    whole = pretrain(1, ball_cache, home, tmp_path / "one")
    parts = pretrain(2, ball_cache, home, tmp_path / "two", f"accumulation={shares}")
    one, two = training_events(tmp_path / "one"), training_events(tmp_path / "two")
    assert len(one) == len(two) == 14
    for first, second in zip(one, two, strict=True):
        assert second["negatives"] == pytest.approx(first["negatives"])
        for name in ("loss", "loss_mse", "loss_info_nce", "gradient_norm"):
            assert second[name] == pytest.approx(first[name], abs=1e-4), (first["step"], name)
    assert torch.equal(whole["queue.patients"], parts["queue.patients"])
    for name in whole:
        assert apart(name, whole, parts) <= 1e-4, name


@pytest.mark.soak
def test_two_processes_fine_tune_as_one(ball_cache, home, tmp_path):
    more = ["--from", "scratch", "--folds", "2", "epochs=3", "batch=5", "validation_fraction=0.2"]
    for count in (1, 2):
        done = run(count, home, "finetune", *settings(ball_cache, tmp_path / f"job-{count}", *more))
        assert done.returncode == 0, done.stderr
    one, two = (training_events(tmp_path / f"job-{count}") for count in (1, 2))
    assert len(one) == len(two)
    for first, second in zip(one, two, strict=True):
        assert second["loss"] == pytest.approx(first["loss"], abs=1e-4)
    metrics = [json.loads((tmp_path / f"job-{count}" / "metrics.json").read_text()) for count in (1, 2)]
    assert metrics[0]["metrics"]["auc"] == metrics[1]["metrics"]["auc"]


def test_what_the_leader_refuses_ends_the_others(ball_cache, home, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter 1.txt").write_text("mine")
    done = run(2, home, "pretrain", *settings(ball_cache, tmp_path / "thesis"))
    assert done.returncode != 0
    assert done.stderr.count("holds other files and no job") == 1


def test_more_processes_than_samples_are_refused(ball_cache, home, tmp_path):
    done = run(2, home, "pretrain", *settings(ball_cache, tmp_path / "job", "batch=1", "epochs=1"))
    assert done.returncode != 0 and "A batch has 1 samples for 2 processes" in done.stderr


def test_who_this_process_is(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "8")  # the shell of a batch script, not a task of srun
    assert launched() == Processes()
    for name, value in (("SLURM_PROCID", "5"), ("SLURM_STEP_NUM_TASKS", "8"), ("SLURM_LOCALID", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_LAUNCH_NODE_IPADDR", "10.0.0.7")
    assert launched() == Processes(5, 8, 1) and os.environ["MASTER_ADDR"] == "10.0.0.7"
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert launched() == Processes(1, 2, 1)
