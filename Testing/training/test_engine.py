"""The loop on a small task of its own: schedule, resuming, stopping, divergence, checkpoints, job folders."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from MAEMCLib.errors import InputError, ModelError
from MAEMCTrainingLib.engine import checkpoints
from MAEMCTrainingLib.engine.checkpoints import read_tensors
from MAEMCTrainingLib.engine.configuration import Optimization
from MAEMCTrainingLib.engine.optimization import build_optimizer
from MAEMCTrainingLib.engine.task import device_failure
from MAEMCTrainingLib.jobs.stopping import Interrupted, StopRequest, request_stop
from torch import nn

from Testing.training.small_task import CPU, Line, Settings, run_line


def weights(folder):
    return {n: t.numpy().tobytes() for n, t in read_tensors(folder / "last" / "model.safetensors").items()}


def optimizer_state(folder):
    return {n: t.numpy().tobytes() for n, t in read_tensors(folder / "last" / "optimizer.safetensors").items()}


def events(folder):
    return [json.loads(line) for line in (folder.parent / "events.jsonl").read_text().splitlines()]


def without_time(rows):
    return [{k: v for k, v in row.items() if k not in ("time", "images_per_second", "memory_mb")} for row in rows]


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
    assert task.steps == 0 and weights(folder) == before and len(events(folder)) == 20


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


def test_a_single_lucky_epoch_does_not_decide_alone(tmp_path):
    """Means of two: 3, 2, 2, 2.5, 1.95, 2; the second epoch's 1 is an accident. Also over an interruption."""
    losses = [3.0, 1.0, 3.0, 2.0, 1.9, 2.1]
    alone = run_line(tmp_path / "alone" / "checkpoints", Line(losses=list(losses)), Settings(epochs=6), patience=6)
    assert alone.position.best_epoch == 1
    folder, stop = tmp_path / "job" / "checkpoints", StopRequest()
    with pytest.raises(Interrupted):  # in the fifth epoch
        task = Line(losses=losses[:4], stop=stop, stop_at=22)
        run_line(folder, task, Settings(epochs=6), patience=6, window=2, stop=stop)
    outcome = run_line(folder, Line(losses=losses[4:]), Settings(epochs=6), patience=6, window=2)
    assert (outcome.position.best_epoch, outcome.position.best_loss) == (4, pytest.approx(1.95))
    assert float(outcome.best["seen"]) == 25


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
    with pytest.raises(InputError, match=r"loss, gradient_norm not finite at step 9, epoch 2 \(cases case-1-\d+, "):
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
    optimizer = build_optimizer(task.parameters(), Optimization(), CPU)
    with pytest.raises(InputError, match="No space left"):
        checkpoints.Checkpoints(folder, task.module, optimizer, {}).save(checkpoints.Position(3), None)
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
    assert task.steps == 0 and weights(folder) == before
    assert not fresh.exists() and not old.exists()


def test_a_batch_in_halves_says_what_it_does_to_batch_normalization(tmp_path):
    class Normalized(Crowded):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.module.insert(1, nn.BatchNorm1d(8))

    folder = tmp_path / "checkpoints"
    run_line(folder, Normalized(3), Settings(epochs=1))
    said = (tmp_path / "log.txt").read_text("utf-8")
    assert "batch normalization has the statistics of a micro-batch" in said and "same result" not in said


def test_micro_batches_of_a_batch_add_up_to_it(tmp_path):
    """Without dropout, which is drawn by micro-batch, the weights move as with the whole batch."""
    whole, shared = tmp_path / "whole" / "checkpoints", tmp_path / "shared" / "checkpoints"
    run_line(whole, Line(dropout=0.0))
    task = Line(dropout=0.0)
    run_line(shared, task, Settings(accumulation=4))
    assert task.micro_batches == 80 and task.steps == 20
    for name, value in read_tensors(whole / "last" / "model.safetensors").items():
        torch.testing.assert_close(read_tensors(shared / "last" / "model.safetensors")[name], value)
    for one, other in zip(events(whole), events(shared), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5) and one["loaded"] == pytest.approx(other["loaded"])


class Crowded(Line):
    """A device whose memory takes ``most`` samples at a time."""

    def __init__(self, most, **options):
        super().__init__(dropout=0.0, **options)
        self.most = most

    def step(self, model, batch):
        if len(batch) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return super().step(model, batch)


def test_a_batch_that_does_not_fit_is_halved_once_and_aloud(tmp_path):
    whole, halved = tmp_path / "whole" / "checkpoints", tmp_path / "halved" / "checkpoints"
    run_line(whole, Line(dropout=0.0))
    stop = StopRequest()
    with pytest.raises(Interrupted):
        run_line(halved, Crowded(3, stop=stop, stop_at=7), stop=stop)
    assert "too small for a batch of 6" in (halved.parent / "log.txt").read_text("utf-8")
    task = Crowded(3)
    run_line(halved, task)
    assert task.micro_batches == 26  # remembered: only whole halves were tried
    for name, value in read_tensors(whole / "last" / "model.safetensors").items():
        torch.testing.assert_close(read_tensors(halved / "last" / "model.safetensors")[name], value)
    with pytest.raises(InputError, match="too small even for half of the batch"):
        run_line(tmp_path / "job" / "checkpoints", Crowded(2))


class Vanishing(Line):
    def step(self, model, batch):
        if self.steps == 7:
            raise RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA")
        return super().step(model, batch)


def test_a_gpu_that_disappears_is_a_message(tmp_path):
    failure = device_failure(RuntimeError("CUDA error: unspecified launch failure\nmore"), torch.device("cuda:0"))
    assert "cuda:0 stopped working (CUDA error: unspecified launch failure)" in str(failure)
    assert "last checkpoint is kept" in str(failure) and "--device cpu" in str(failure)
    with pytest.raises(RuntimeError, match="CUDA error"):  # on a processor it is a defect of ours and shows as one
        run_line(tmp_path / "job" / "checkpoints", Vanishing())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_trains_and_resumes_bit_identically(tmp_path, precision):
    whole, pieces = tmp_path / "whole" / "checkpoints", tmp_path / "pieces" / "checkpoints"
    settings = Settings(precision=precision)
    run_line(whole, Line(), settings)
    stop = StopRequest()
    with pytest.raises(Interrupted):
        run_line(pieces, Line(stop=stop, stop_at=8), settings, stop=stop)
    run_line(pieces, Line(seed=3), settings)
    assert weights(pieces) == weights(whole) and optimizer_state(pieces) == optimizer_state(whole)
    full = tmp_path / "full" / "checkpoints"
    run_line(full, Line())
    assert weights(full) != weights(whole)
    assert events(whole)[-1]["loss"] < 0.8 * events(whole)[0]["loss"]
    scaler = json.loads((whole / "last" / "training.json").read_text())["position"]["scaler"]
    assert bool(scaler) == (precision == "float16")


def test_a_gradient_that_overflows_float16_skips_its_step(tmp_path):
    """The loss scale begins at 65,536: a loss of thousands overflows until the scale has been halved often enough."""

    class Steep(Line):
        def step(self, model, batch):
            losses, kept = super().step(model, batch)
            return {"loss": losses["loss"] * 100}, kept

    folder = tmp_path / "job" / "checkpoints"
    run_line(folder, Steep(), Settings(precision="float16"))
    rows = events(folder)
    assert "gradient_norm" not in rows[0] and "gradient_norm" in rows[-1]
    scaler = json.loads((folder / "last" / "training.json").read_text())["position"]["scaler"]
    assert scaler["scale"] < 65536


def test_tensorboard_gets_the_curves_where_it_is_installed(tmp_path):
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = tmp_path / "job" / "checkpoints"
    run_line(folder, Line())
    curves = loading.EventAccumulator(str(tmp_path / "job" / "tensorboard" / "line")).Reload()
    assert [round(point.value, 4) for point in curves.Scalars("loss")] == [round(e["loss"], 4) for e in events(folder)]


def test_events_hold_speed_and_memory(tmp_path):
    folder = tmp_path / "job" / "checkpoints"
    run_line(folder, Line())
    assert all(row["images_per_second"] > 0 for row in events(folder))
    if os.name == "posix":
        assert all(50 < row["memory_mb"] < 100_000 for row in events(folder))


def test_a_stop_file_is_heard_between_two_steps(tmp_path):
    folder = tmp_path / "job" / "checkpoints"
    folder.parent.mkdir()

    class Asking(Line):
        def step(self, model, batch):
            if self.steps == 4:
                request_stop(folder.parent)
            return super().step(model, batch)

    with pytest.raises(Interrupted, match="step 4 of 20"):
        run_line(folder, Asking(), stop=StopRequest(folder.parent))
