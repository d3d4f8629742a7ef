"""CMAE and ModAn-MulSupCon in two gloo processes with uneven parts of a batch: the gradient of one process."""

import os
import subprocess
import sys

import pytest
import torch

SCRIPT = """
import sys
import torch
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCTrainingLib.pretraining.method import ViewBatch
from MAEMCTrainingLib.pretraining.methods.cmae import CMAE
from MAEMCTrainingLib.pretraining.parts.gathering import rows_of_all
from MAEMCTrainingLib.pretraining.methods.modan_mulsupcon import ModAnMulSupCon

ENCODER = EncoderConfiguration(image_size=16, patch_size=4, width=16, depth=1, heads=2, position="2d")
DECODER = DecoderConfiguration(width=16, depth=1, heads=2)
METHODS = [
    CMAE(CMAE.Configuration(projection_width=8), ENCODER, DECODER, 0),
    ModAnMulSupCon(ModAnMulSupCon.Configuration(projection_hidden=16, projection_width=8), ENCODER, None, 0),
]

def run(part):
    draws = torch.Generator().manual_seed(5)
    images = tuple(torch.randn(5, 1, 16, 16, generator=draws)[part] for _ in range(2))
    noise, labels = torch.rand(5, 2, 16, generator=draws)[part], torch.rand(5, 4, generator=draws)[part] < 0.5
    batch = ViewBatch(images, torch.tensor([0, 1, 2, 0, 3])[part], noise, labels)
    results = []
    for method in METHODS:
        losses, _ = method(batch)
        weight = len(batch) / 5  # as the training loop weighs the parts of a batch
        (losses["loss"] * weight).backward()
        figures = {name: value.detach().double() * weight for name, value in losses.items()}
        gradients = {name: value.grad for name, value in method.named_parameters() if value.requires_grad}
        results += [figures, gradients]
    return results

if __name__ == "__main__":
    torch.set_num_threads(1)
    rank, store, target = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    torch.distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
    part = slice(0, 3) if rank == 0 else slice(3, 5)
    rows, mine = rows_of_all(torch.arange(5)[part])
    assert rows.tolist() == [0, 1, 2, 3, 4] and mine == part
    torch.save(run(part), target)
    torch.distributed.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package")
def test_two_processes_have_the_losses_and_the_gradient_of_one(tmp_path):
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
        one = namespace["run"](slice(None))
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for whole, *both in zip(one, *parts, strict=True):
        assert whole.keys() == both[0].keys() == both[1].keys()
        for name, value in whole.items():
            torch.testing.assert_close(both[0][name] + both[1][name], value, rtol=1e-4, atol=1e-4, msg=name)


def test_one_process_has_its_own_rows():
    from MAEMCTrainingLib.pretraining.parts.gathering import rows_of_all

    rows = torch.ones(3, 2, requires_grad=True)
    gathered, mine = rows_of_all(rows)
    assert gathered is rows and mine == slice(0, 3)
