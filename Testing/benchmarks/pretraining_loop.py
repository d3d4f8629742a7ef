"""In a process of its own: ``maemc-train pretrain`` on small made-up volumes, with clocks around the parts of a step.

The clocks wrap the method, ``Tensor.backward`` and the optimizer from outside; nothing else of the run is touched but
the checkpoint at its end, which is not written (5 GB for ViT-L) and not counted. Clipping the gradient counts as a part
of the optimizer's work, and is printed by itself.
"""

import contextlib
import functools
import io
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

WARM_UP = 3  # steps that are not counted: memory is made, files are read
CASES = 12


def main(preset: str, settings: list[str]) -> None:
    """Print {"batch", "steps", "pairs_per_second", "outside", "shares"} as JSON."""
    clocks = _Clocks()
    with tempfile.TemporaryDirectory(prefix="maemc-bench-") as place, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(place)
        os.environ["MAEMC_HOME"] = str(folder / "home")
        _wrap(clocks)
        from MAEMCTrainingLib.__main__ import main as maemc_train

        name = "tiny" if preset == "tiny" else "default"
        command = ["pretrain", "--data", str(_manifest(folder)), "--output", str(folder / "job"), "--preset", name]
        failed = maemc_train([*command, "--device", "cpu", "--quiet", *settings])
        assert not failed
        stored = json.loads((folder / "job" / "job.json").read_text())
    print(json.dumps(clocks.report(stored["configuration"]["batch"])))


class _Clocks:
    """Seconds of each part of each step; a step ends where the optimizer's does."""

    def __init__(self) -> None:
        self.now: dict[str, float] = {}
        self.steps: list[dict[str, float]] = []
        self.ended = 0.0

    def around(self, owner, name: str, part: str, ends: bool = False) -> None:
        """Clock a method or function."""
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def clocked(*arguments, **named):
            started = time.perf_counter()
            try:
                return inner(*arguments, **named)
            finally:
                finished = time.perf_counter()
                self.now[part] = self.now.get(part, 0.0) + finished - started
                if ends:
                    self.steps.append({**self.now, "whole": finished - self.ended})
                    self.now, self.ended = {}, finished

        setattr(owner, name, clocked)

    def report(self, batch: int) -> dict:
        """Figures of the steps after the warm-up."""
        steps = self.steps[WARM_UP:]
        whole = sum(step["whole"] for step in steps)
        parts = ("forward", "backward", "momentum", "clipping", "optimizer")
        shares = {part: sum(step.get(part, 0.0) for step in steps) / whole for part in parts}
        # Medians for the share: a single pause of the machine is not the loop's.
        outside = [1 - sum(step.get(part, 0.0) for part in parts) / step["whole"] for step in steps]
        return {
            "batch": batch,
            "steps": len(steps),
            "pairs_per_second": batch * len(steps) / whole,
            "outside": statistics.median(outside),
            "shares": shares,
        }


def _wrap(clocks: _Clocks) -> None:
    from MAEMCTrainingLib.engine import task as stepping
    from MAEMCTrainingLib.engine.checkpoints import Checkpoints
    from MAEMCTrainingLib.pretraining.methods.maemc import MAEMC

    Checkpoints.save = lambda *arguments, **named: None
    clocks.around(MAEMC, "forward", "forward")
    clocks.around(MAEMC, "before_step", "momentum")
    clocks.around(torch.Tensor, "backward", "backward")
    clocks.around(stepping, "clip_gradients", "clipping")
    clocks.around(torch.optim.AdamW, "step", "optimizer", ends=True)


def _manifest(folder: Path) -> Path:
    """Volumes of noise with a point each."""
    from MAEMCLib.cases.case import Case
    from MAEMCLib.cases.manifest import write_manifest
    from MAEMCLib.images.ct import CTVolume
    from MAEMCLib.images.files import write_volume

    rows = []
    for number in range(CASES):
        array = np.random.default_rng(number).normal(-700, 200, (64, 64, 64)).astype(np.int16)
        image = folder / f"{number}.nrrd"
        write_volume(CTVolume(array, np.diag([1.0, 1.0, 1.0, 1.0])), image)
        rows.append(Case(case_id=f"c{number}", patient_id=f"p{number}", image=image, point_lps=(32.0, 32.0, 32.0)))
    return write_manifest(folder / "manifest.csv", rows)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
