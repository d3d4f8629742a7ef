"""SimCLR, MoCo and SwAV in two gloo processes, whose parts of a batch are uneven, learn what one process learns."""

import os
import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package")

# The stepper of the training loop with a task of its own: seven synthetic samples a step, the same in all processes.
# SGD: AdamW divides by the gradient; where that is 0 but for rounding (the bias of attention keys) nothing compares.
SCRIPT = """
import sys
import torch
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCTrainingLib.engine.configuration import Optimization
from MAEMCTrainingLib.pretraining.presets import PretrainingConfiguration
from MAEMCTrainingLib.engine.optimization import NamedParameter, build_optimizer
from MAEMCTrainingLib.pretraining.method import ViewBatch
from MAEMCTrainingLib.pretraining.methods.moco import MoCoV2
from MAEMCTrainingLib.pretraining.methods.simclr import SimCLR
from MAEMCTrainingLib.pretraining.methods.swav import SwAV
from MAEMCTrainingLib.engine.processes import Processes
from MAEMCTrainingLib.engine.task import Stepper
from MAEMCTrainingLib.engine.task import Task

ENCODER = EncoderConfiguration(image_size=20, patch_size=5, width=16, depth=1, heads=2)
METHODS = [
    (SimCLR, SimCLR.Configuration(projection_width=8)),
    (MoCoV2, MoCoV2.Configuration(projection_width=8, queue_size=12, momentum=0.9)),
    (SwAV, SwAV.Configuration(projection_width=8, prototypes=5, frozen_steps=2, queue_size=9)),
]

class OneStep(Task):
    def __init__(self, module):
        self.module = module
        self.before_step, self.after_step, self.unmoved = module.before_step, module.after_step, module.unmoved

    def batch(self, samples):
        views = []
        for view, side in enumerate((20, 20, 10)):
            draws = (torch.Generator().manual_seed(int(sample) * 3 + view) for sample in samples)
            views.append(torch.stack([torch.randn(1, side, side, generator=draw) for draw in draws]))
        patient = torch.as_tensor(samples) % 5
        return ViewBatch(tuple(views), patient, torch.zeros(len(samples), 2, 0), torch.zeros(len(samples), 0)), {}

    def names(self, samples):
        return [f"sample {int(sample)}" for sample in samples]

    def step(self, model, batch):
        return model(batch)

def run(processes):
    results = []
    for kind, settings in METHODS:
        module = kind(settings, ENCODER, DecoderConfiguration(), 0).train()
        run = PretrainingConfiguration("", settings, ENCODER, DecoderConfiguration(), batch=7,
                                       optimization=Optimization(optimizer="sgd", learning_rate=0.3))
        names = [NamedParameter(name, value) for name, value in module.named_parameters() if value.requires_grad]
        optimizer = build_optimizer(names, run.optimization, torch.device("cpu"))
        stepper = Stepper(OneStep(module), run, optimizer, torch.device("cpu"), processes)
        figures = []
        for number in range(4):
            samples = list(range(7 * number, 7 * number + 7))
            figures.append(stepper.step(samples, stepper.micro_batches(samples), number))
            if kind is SwAV:
                assert (module.prototypes.grad is None) == (number < 2), number
        results.append((kind.__name__, figures, module.state_dict()))
    return results

if __name__ == "__main__":
    rank, store, target = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    torch.distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
    results = run(Processes(rank, 2, rank))
    torch.distributed.destroy_process_group()
    torch.save(results, target)
"""


def test_two_processes_learn_what_one_learns(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    paths = os.pathsep.join(path for path in sys.path if path)
    processes = [
        subprocess.Popen(
            [sys.executable, tmp_path / "script.py", str(rank), tmp_path / "store", tmp_path / f"{rank}.pt"],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        )
        for rank in range(2)
    ]
    try:
        namespace = {"__name__": "script"}
        exec(compile(SCRIPT, "script.py", "exec"), namespace)
        one = namespace["run"](namespace["Processes"]())
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    for rank in range(2):
        two = torch.load(tmp_path / f"{rank}.pt")
        for (name, figures, state), (_, expected, weights) in zip(two, one, strict=True):
            for step, (found, wanted) in enumerate(zip(figures, expected, strict=True)):
                assert found == pytest.approx(wanted, abs=1e-4), (name, rank, step)
            for key, tensor in weights.items():
                torch.testing.assert_close(state[key], tensor, rtol=0, atol=1e-4, msg=f"{name} {rank} {key}")
    learned = {name: [step["loss"] for step in figures] for name, figures, _ in one}
    assert set(learned) == {"SimCLR", "MoCoV2", "SwAV"} and all(len(set(losses)) == 4 for losses in learned.values())
