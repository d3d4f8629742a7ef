"""Batch normalization in two gloo processes and in micro-batches: what one process learns from the whole batch."""

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from MAEMCLib.errors import UsageError
from MAEMCLib.networks.vit import build_encoder
from MAEMCTrainingLib.engine import batch_norm
from MAEMCTrainingLib.engine.batch_norm import batch_norms, check_micro_batch, synchronize
from MAEMCTrainingLib.engine.configuration import Optimization
from MAEMCTrainingLib.engine.optimization import NamedParameter, build_optimizer
from MAEMCTrainingLib.engine.processes import Processes
from MAEMCTrainingLib.engine.task import Stepper, Task
from torch import nn

script = spec_from_file_location("one_batch", Path(__file__).with_name("one_batch.py"))
one_batch = module_from_spec(script)
script.loader.exec_module(one_batch)

CPU = torch.device("cpu")
FEW = ("simclr", "moco-v2", "spark", "fusion")
"""One of each kind: samples compared, keys by each process, masked cells, branches. The others under make soak."""
SOAK = bool(os.environ.get("MAEMC_SOAK"))
NAMES = [
    name if name in FEW else pytest.param(name, marks=pytest.mark.soak)
    for name in (*one_batch.METHODS, "fine-tuning", "fusion")
]
SMALLEST = 1e-4  # of the gradient's length: the largest difference


def keys_of_two_processes(name, module):
    """MoCo's keys as two processes compute them: the batch in a drawn order, each half of it normalized by itself."""
    if not name.startswith("moco"):
        return

    def keys(partners):
        order = torch.randperm(len(partners), generator=torch.Generator().manual_seed(torch.initial_seed()))
        found = torch.zeros(len(partners), 16)
        before = {key: value.clone() for key, value in module.momentum_encoder.named_buffers()}
        moved = []
        for part in np.array_split(order.numpy(), 2):
            for key, value in module.momentum_encoder.named_buffers():
                value.copy_(before[key])
            with torch.no_grad():
                found[part] = module.momentum_projection(module.momentum_encoder.features(partners[part]))
            moved.append({key: value.clone() for key, value in module.momentum_encoder.named_buffers()})
        for key, value in module.momentum_encoder.named_buffers():  # the mean of both is kept
            value.copy_((moved[0][key] + moved[1][key]) / 2)
        return found

    module._keys = keys


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """(one process, [rank 0, rank 1]) of ``one_batch.run``, and the same of ``one_batch.layer``."""
    if not torch.distributed.is_available():
        pytest.skip("this torch has no distributed package")
    folder, names = tmp_path_factory.mktemp("two processes"), () if SOAK else FEW
    processes = [
        subprocess.Popen(
            [sys.executable, one_batch.__file__, str(rank), folder / "store", folder / f"{rank}.pt", *names],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        for rank in range(2)
    ]
    try:
        one = one_batch.run(Processes(), one_batch.BATCH, names=names, prepare=keys_of_two_processes)
        assert [process.wait(timeout=300) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    ranks = [torch.load(folder / f"{rank}.pt") for rank in range(2)]
    return one, [rank[0] for rank in ranks], [rank[1] for rank in ranks]


def difference(found, expected):
    """Of all gradients together, relative to their length."""
    one, other = (torch.cat([part[key].flatten().double() for key in expected]) for part in (found, expected))
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_have_the_gradient_of_one(results, name):
    one, ranks, _ = results
    figures, gradients, running, state = one[name]
    assert figures["gradient_norm"] > 1e-3
    for rank in ranks:
        assert rank[name][1].keys() == gradients.keys() and rank[name][3].keys() == state.keys()
        assert difference(rank[name][1], gradients) < SMALLEST
        assert rank[name][0]["loss"] == pytest.approx(figures["loss"], rel=1e-5)
        for key, value in running.items():  # of the whole batch, moved once
            torch.testing.assert_close(rank[name][2][key], value, rtol=1e-4, atol=1e-5, msg=key)
    for key, value in ranks[0][name][3].items():
        assert torch.equal(value, ranks[1][name][3][key]), key
    if name in ("simclr", "moco-v2", "spark", "resmae", "supervised"):
        build_encoder(one_batch.RESNET, 1).load_state_dict(
            {key.removeprefix("encoder."): value for key, value in ranks[0][name][3].items() if key[:8] == "encoder."}
        )


@pytest.mark.parametrize("case", range(len(one_batch.PARTS)), ids=["uneven", "nothing in one"])
def test_a_synchronized_layer_is_the_layer(results, case):
    """Far from zero, where a difference of squares has no digits left; torch's own layer as the oracle."""
    output, of_rows, of_weight, of_bias, state = one_batch.layer(slice(None))
    parts = [rank[case] for rank in results[2]]
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), output, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(torch.cat([part[1] for part in parts]), of_rows, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(parts[0][2] + parts[1][2], of_weight, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(parts[0][3] + parts[1][3], of_bias)
    for part in parts:
        assert part[4].keys() == state.keys()
        for key, value in state.items():
            torch.testing.assert_close(part[4][key], value)


class Rows:
    """A batch of numbers, (B, 3)."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def to(self, device):
        return self


class Line(Task):
    """A task with one batch normalization; ``most``: rows that fit into the memory."""

    divisible = True

    def __init__(self, most=99):
        self.module = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
        self.most = most

    def batch(self, samples):
        return Rows(torch.stack([one_batch.draw(sample, 3) for sample in samples])), {}

    def names(self, samples):
        return [f"sample {int(sample)}" for sample in samples]

    def step(self, model, batch):
        output = model(batch.values)
        if len(batch) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return {"loss": output.square().mean()}, None


def step_of(task, accumulation):
    class Run:
        precision, seed, optimization = "float32", 0, Optimization(optimizer="sgd", learning_rate=0.1)

    Run.accumulation = accumulation
    parameters = [NamedParameter(name, value) for name, value in task.module.named_parameters()]
    stepper = Stepper(task, Run(), build_optimizer(parameters, Run.optimization, CPU), CPU, Processes())
    samples = list(range(11))
    stepper.step(samples, stepper.micro_batches(samples), 0)
    return task.module[0]


@pytest.mark.parametrize("accumulation", [1, 2, 3])
def test_running_statistics_move_once_a_batch(accumulation):
    """Whatever the micro-batches: a tenth of the way to the mean of theirs. Two moves would be 0.19 of it."""
    layer = step_of(Line(), accumulation)
    rows = torch.stack([one_batch.draw(sample, 3) for sample in range(11)])
    parts = [rows[torch.from_numpy(part)] for part in np.array_split(np.arange(11), accumulation)]
    mean = torch.stack([part.mean(dim=0) for part in parts]).mean(dim=0)
    variance = torch.stack([part.var(dim=0) for part in parts]).mean(dim=0)
    torch.testing.assert_close(layer.running_mean, 0.1 * mean)
    torch.testing.assert_close(layer.running_var, 0.9 + 0.1 * variance)


def test_a_batch_that_did_not_fit_leaves_no_trace_in_the_statistics():
    halved, asked = step_of(Line(most=6), 1), step_of(Line(), 2)
    for key, value in asked.state_dict().items():
        assert torch.equal(value, halved.state_dict()[key]), key


def test_a_single_sample_needs_others(monkeypatch):
    encoder = build_encoder(one_batch.RESNET, 0)
    with pytest.raises(UsageError, match="batch normalization"):
        check_micro_batch(1, encoder)
    synchronize(encoder)
    with pytest.raises(UsageError, match="batch normalization"):
        check_micro_batch(1, encoder)
    monkeypatch.setattr(batch_norm, "several_processes", lambda: True)
    check_micro_batch(1, encoder)
    assert len(list(batch_norms(encoder))) == 20
