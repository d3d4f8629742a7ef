"""The loop on a small task of its own: schedule, resuming, stopping, divergence, checkpoints, job folders."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from MAEMCLib.errors import InputError, ModelError, UsageError
from MAEMCTrainingLib import checkpoints
from MAEMCTrainingLib.checkpoints import read_tensors
from MAEMCTrainingLib.configuration import Optimization
from MAEMCTrainingLib.draws import generator
from MAEMCTrainingLib.engine import train
from MAEMCTrainingLib.jobs import Interrupted, Job, StopRequest, is_locked, known_jobs, open_job, read_state
from MAEMCTrainingLib.optimization import NamedParameter, build_optimizer, layer_scale, learning_rate
from torch import nn

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Settings:
    epochs: int = 4
    seed: int = 0
    log_every: int = 1
    checkpoint_seconds: float = 1e9
    optimization: Optimization = field(default_factory=lambda: Optimization(learning_rate=0.05))


class Numbers(list):
    def to(self, device):
        return self


class Line:
    """Fit a line with dropout; state that is no parameter must survive too (the buffer counts steps)."""

    phase, images_per_sample = "line", 1

    def __init__(self, seed=0, stop=None, stop_at=-1, spoil_at=-1, losses=()):
        self.module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1))
        draws = np.random.default_rng(seed)
        for parameter in self.module.parameters():
            parameter.data = torch.from_numpy(draws.normal(size=tuple(parameter.shape))).float()
        self.module.register_buffer("seen", torch.zeros(1))
        self.steps_per_epoch = 5
        self.stop, self.stop_at, self.spoil_at, self.losses = stop, stop_at, spoil_at, list(losses)
        self.calls = 0

    def parameters(self):
        return [NamedParameter(name, p) for name, p in self.module.named_parameters()]

    def batch(self, epoch, index):
        return Numbers(generator(0, "data", epoch, index).normal(size=(6, 4)).tolist()), {"loaded": float(index)}

    def names(self, epoch, index):
        return [f"case-{epoch}-{index}"]

    def step(self, batch):
        self.calls += 1
        self.module.seen += 1
        if self.calls == self.stop_at:
            self.stop.asked = True
        x = torch.tensor(list(batch))
        loss = (self.module(x)[:, 0] - x.sum(dim=1)).square().mean()
        return {"loss": loss * (float("nan") if self.calls == self.spoil_at else 1.0)}

    def validate(self, device):
        return self.losses.pop(0) if self.losses else None


def run_line(folder, task, settings=None, data="data", patience=None, stop=None):
    job = Job(folder.parent, quiet=True)
    folder.parent.mkdir(exist_ok=True)
    return train(task, settings or Settings(), job, folder, data, CPU, stop or StopRequest(), patience)


def weights(folder):
    return {n: t.numpy().tobytes() for n, t in read_tensors(folder / "last" / "model.safetensors").items()}


def optimizer_state(folder):
    return {n: t.numpy().tobytes() for n, t in read_tensors(folder / "last" / "optimizer.safetensors").items()}


def events(folder):
    return [json.loads(line) for line in (folder.parent / "events.jsonl").read_text().splitlines()]


def without_time(rows):
    return [{k: v for k, v in row.items() if k not in ("time", "images_per_second")} for row in rows]


@pytest.mark.parametrize("interrupted_at", [[1], [7], [5, 6, 19], [4, 10]])
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path, interrupted_at):
    whole, pieces = tmp_path / "whole" / "checkpoints", tmp_path / "pieces" / "checkpoints"
    run_line(whole, Line())
    done = 0
    for step in interrupted_at:
        stop = StopRequest()
        with pytest.raises(Interrupted, match=f"step {step} of 20"):
            run_line(pieces, Line(seed=done, stop=stop, stop_at=step - done), stop=stop)
        done = step
    outcome = run_line(pieces, Line(seed=99))  # other starting weights: what counts is the checkpoint
    assert outcome.position.step == 20
    assert weights(pieces) == weights(whole)
    assert optimizer_state(pieces) == optimizer_state(whole)
    assert np.frombuffer(weights(pieces)["seen"], np.float32) == 20
    assert without_time(events(pieces)) == without_time(events(whole))


def test_a_finished_run_does_nothing_again(tmp_path):
    folder = tmp_path / "job" / "checkpoints"
    run_line(folder, Line())
    before = weights(folder)
    task = Line(seed=5)
    run_line(folder, task)
    assert task.calls == 0 and weights(folder) == before and len(events(folder)) == 20


def test_events_say_what_happened(tmp_path):
    folder = tmp_path / "job" / "checkpoints"
    run_line(folder, Line())
    rows = events(folder)
    assert [row["step"] for row in rows] == list(range(1, 21))
    assert [row["epoch"] for row in rows] == [n // 5 for n in range(20)]
    assert set(rows[3]) >= {"time", "phase", "loss", "learning_rate", "gradient_norm", "images_per_second", "loaded"}
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_early_stop_keeps_the_best_epoch(tmp_path):
    folder = tmp_path / "job" / "checkpoints"
    task = Line(losses=[3.0, 2.0, 2.5, 2.0, 1.0, 0.5])
    outcome = run_line(folder, task, Settings(epochs=6), patience=2)
    assert (outcome.position.best_epoch, outcome.position.best_loss, outcome.position.step) == (1, 2.0, 20)
    assert outcome.position.ended
    assert float(outcome.best["seen"]) == 10  # the weights as they were after the second epoch
    assert float(read_tensors(folder / "best" / "model.safetensors")["seen"]) == 10
    again = run_line(folder, Line(seed=3), Settings(epochs=6), patience=2)
    assert again.position == outcome.position and float(again.best["seen"]) == 10


def test_best_epoch_survives_an_interruption(tmp_path):
    folder = tmp_path / "job" / "checkpoints"
    stop = StopRequest()
    with pytest.raises(Interrupted):
        run_line(folder, Line(losses=[1.0, 2.0], stop=stop, stop_at=12), Settings(epochs=6), patience=9, stop=stop)
    outcome = run_line(folder, Line(losses=[3.0, 3.0, 3.0, 3.0]), Settings(epochs=6), patience=9)
    assert outcome.position.best_epoch == 0 and float(outcome.best["seen"]) == 5 and outcome.position.stale == 5


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path):
    folder = tmp_path / "job" / "checkpoints"
    stop = StopRequest()
    with pytest.raises(Interrupted):
        run_line(folder, Line(stop=stop, stop_at=6), stop=stop)
    before = weights(folder)
    with pytest.raises(InputError, match=r"loss, gradient_norm not finite at step 9, epoch 2 \(cases case-1-3\)"):
        run_line(folder, Line(spoil_at=3))
    assert weights(folder) == before


def test_a_validation_loss_that_is_not_finite_stops_too(tmp_path):
    with pytest.raises(InputError, match="validation loss not finite at step 10"):
        run_line(tmp_path / "job" / "checkpoints", Line(losses=[1.0, float("nan")]), patience=5)


def test_the_best_weights_are_written_again_after_a_kill_at_the_very_end(tmp_path):
    folder = tmp_path / "job" / "checkpoints"
    run_line(folder, Line(losses=[3.0, 2.0, 4.0, 5.0]), patience=9)
    before = (folder / "best" / "model.safetensors").read_bytes()
    shutil.rmtree(folder / "best")
    run_line(folder, Line(), patience=9)
    assert (folder / "best" / "model.safetensors").read_bytes() == before


def test_a_checkpoint_of_another_run_is_refused_with_the_keys(tmp_path):
    folder = tmp_path / "job" / "checkpoints"
    run_line(folder, Line())
    other = Settings(epochs=5, optimization=Optimization(learning_rate=0.01))
    with pytest.raises(InputError, match=r"configuration\.epochs \(4 there, 5 here\).*learning_rate"):
        run_line(folder, Line(), other)
    with pytest.raises(InputError, match="data"):
        run_line(folder, Line(), data="other")
    (folder / "last" / "model.safetensors").write_bytes(b"123")
    with pytest.raises(ModelError, match="damaged"):
        run_line(folder, Line())


def test_a_full_disk_leaves_the_checkpoint_that_was_there(tmp_path, monkeypatch):
    folder = tmp_path / "job" / "checkpoints"
    run_line(folder, Line(), Settings(epochs=4))
    before = weights(folder)
    written = []
    real = checkpoints.save_file

    def full(tensors, path):
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(checkpoints, "save_file", full)
    task = Line()
    optimizer = build_optimizer(task.parameters(), Optimization())
    with pytest.raises(InputError, match="No space left"):
        checkpoints.save(folder, task.module, optimizer, checkpoints.Position(3), None, {})
    assert weights(folder) == before and not (folder / "last.new").exists()


@pytest.mark.parametrize("moment", ["half written", "old moved away", "new in place"])
def test_killed_while_a_checkpoint_is_replaced(tmp_path, moment):
    """Every state of the folder between the steps of ``save`` leads to a whole checkpoint."""
    folder = tmp_path / "job" / "checkpoints"
    run_line(folder, Line())
    before = weights(folder)
    last, fresh, old = folder / "last", folder / "last.new", folder / "last.old"
    if moment == "half written":
        fresh.mkdir()
        (fresh / "model.safetensors").write_bytes(b"half")
    elif moment == "old moved away":
        os.rename(last, old)
        fresh.mkdir()
        (fresh / "model.safetensors").write_bytes(b"half")
    else:
        os.rename(last, fresh)
    task = Line(seed=7)
    assert run_line(folder, task).position.step == 20
    assert task.calls == 0 and weights(folder) == before
    assert not fresh.exists() and not old.exists()


def test_learning_rates():
    cosine = Optimization(learning_rate=2.0, warmup_fraction=0.1)
    rates = [learning_rate(cosine, step, 100, 10) for step in range(100)]
    np.testing.assert_allclose(rates[:10], 0.2 * np.arange(1, 11))
    np.testing.assert_allclose(rates[10:], 1 + np.cos(np.pi * np.arange(90) / 90))
    drops = Optimization(learning_rate=1.0, schedule="milestones", milestones=(4, 7), warmup_fraction=0.0)
    rates = [learning_rate(drops, step, 100, 10) for step in range(100)]
    np.testing.assert_allclose(rates, [1.0] * 40 + [0.1] * 30 + [0.01] * 30)
    constant = Optimization(learning_rate=0.3, schedule="constant", warmup_fraction=0.0)
    assert {learning_rate(constant, step, 100, 10) for step in range(100)} == {0.3}


def test_layer_decay_and_weight_decay():
    scales = {
        name: layer_scale(name, 3, 0.5)
        for name in (
            "encoder.cls_token",
            "encoder.patch_embed.proj.weight",
            "encoder.blocks.0.attn.qkv.weight",
            "encoder.blocks.2.mlp.fc1.bias",
            "encoder.norm.weight",
            "head.weight",
        )
    }
    assert list(scales.values()) == [0.0625, 0.0625, 0.125, 0.5, 1.0, 1.0]
    module = nn.Linear(3, 2)
    token = nn.Parameter(torch.zeros(1, 1, 3))
    named = [NamedParameter("head.weight", module.weight), NamedParameter("head.bias", module.bias)]
    optimizer = build_optimizer([*named, NamedParameter("cls_token", token, 0.5)], Optimization(weight_decay=0.1))
    decays = {name: g["weight_decay"] for g in optimizer.param_groups for name in g["names"]}
    assert decays == {"head.weight": 0.1, "head.bias": 0.0, "cls_token": 0.0}


SETTINGS = {"kind": "pretrain", "configuration": {"epochs": 3}, "data_fingerprint": "f", "command": "maemc-train ..."}


def test_states_of_a_job(tmp_path):
    folder, home = tmp_path / "Aufträge 1", tmp_path / "home"
    with open_job(folder, SETTINGS, home) as job:
        assert job.status == "running" and is_locked(folder)
        job.update(step=3, steps=10)
    assert Job(folder).status == "finished" and read_state(folder)["step"] == 3 and not is_locked(folder)
    with pytest.raises(Interrupted), open_job(folder, SETTINGS, home):
        raise Interrupted("asked")
    assert Job(folder).status == "stopped" and read_state(folder)["message"] == "asked"
    with pytest.raises(ZeroDivisionError), open_job(folder, SETTINGS, home):
        raise ZeroDivisionError("/data/Smith^John")
    assert Job(folder).status == "failed"
    assert "Smith" not in (folder / "log.txt").read_text() + (folder / "state.json").read_text()
    assert [job.folder for job in known_jobs(home)] == [folder]


def test_other_settings_are_refused_with_the_keys(tmp_path):
    folder = tmp_path / "job"
    with open_job(folder, SETTINGS, tmp_path / "home"):
        pass
    other = {**SETTINGS, "configuration": {"epochs": 4}, "command": "typed differently"}
    with (
        pytest.raises(UsageError, match=r"configuration\.epochs \(3 there, 4 here\)"),
        open_job(folder, other, tmp_path / "home"),
    ):
        pass
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"), open_job(tmp_path / "full", SETTINGS, tmp_path):
        pass


HOLD = """
import sys, time
from pathlib import Path
from MAEMCTrainingLib.jobs import open_job
with open_job(Path(sys.argv[1]), {"kind": "pretrain"}, Path(sys.argv[2])):
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
            open_job(folder, {"kind": "pretrain"}, tmp_path / "home"),
        ):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert read_state(folder)["status"] == "running"  # nobody could write that it ended
    assert Job(folder).status == "stopped"
    with open_job(folder, {"kind": "pretrain"}, tmp_path / "home"):
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
    with pytest.raises(InputError, match=r"events\.jsonl .* cannot be written.*last checkpoint is intact"):
        Job(tmp_path, quiet=True).event(step=1)
