"""``make bench``: every figure that the README quotes, measured in one run beside the figure to beat.

Medians; "spread" is (largest - smallest) / median of the samples. Nothing here can fail a test: machines differ.
"""

import os
import platform
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

import imports
import journey
import panel
import panel_nodules
import prediction
import pretraining
import reduction
import region
import worker
from large_model import write_large_bundles

TO_BEAT = {
    "two planes, ViT-L, float32": "0.283 s",
    "two planes, ViT-L, bfloat16": "0.115 s, 1350 MB",
    "largest logit change in bfloat16": "0.02",
    "ROI to both montages": "2 ms",
    "wrapping, ROI and montages": "10 ms",
    "worker over bare forward, ViT-L float32": "20 %",
    "worker over bare forward, ViT-L bfloat16": "20 %",
    f"panel, {panel_nodules.NODULES} nodules, longest step": "100 ms",
    "step, ViT-L MAE, ours": "1.8 s",
    "step, ViT-L hybrid, ours": "2.4 s, 7200 MB",
    "outside the four parts, ViT-L": "5 %",
    "300 slices of 512 x 512, hash": "0.25 s",
    "light half over numpy": "0.05 s",
    "heavy half over torch": "0.1 s",
}


def main() -> None:
    """Measure, printing each row as it is known."""
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    print(f"CUDA: {torch.cuda.get_device_name() if torch.cuda.is_available() else 'not seen'}\n")
    print(f"{'what':44} {'measured':36} to beat")
    with tempfile.TemporaryDirectory(prefix="maemc-bench-") as folder:
        bundles = write_large_bundles(Path(folder))
        for measure in (
            region.rows,
            lambda: prediction.rows(bundles),
            lambda: worker.rows(bundles),
            imports.rows,
            panel.rows,
            panel_nodules.rows,
            journey.rows,
            reduction.rows,
            pretraining.rows,
        ):
            for name, value in measure():
                print(f"{name:44} {value:36} {TO_BEAT.get(name, '')}", flush=True)


if __name__ == "__main__":
    main()
