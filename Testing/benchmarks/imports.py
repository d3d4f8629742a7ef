"""What importing the two halves of the library costs over numpy and over torch, in fresh interpreters."""

import statistics
import subprocess
import sys

LIGHT = "MAEMCLib.scoring, MAEMCLib.worker.client, MAEMCLib.models.bundle, MAEMCLib.models.store, MAEMCLib.cases.points"
HEAVY = "MAEMCLib.models.predictor, MAEMCLib.models.autoencoder, MAEMCLib.worker.server"
SAMPLES = 11


def rows():
    """Rows of the table; base and whole are measured in turn."""
    for name, base, more in (("light half over numpy", "numpy", LIGHT), ("heavy half over torch", "torch", HEAVY)):
        pairs = [(_seconds(f"import {base}"), _seconds(f"import {base}, {more}")) for _ in range(SAMPLES)]
        bases, wholes = zip(*pairs, strict=True)
        added = statistics.median(whole - alone for alone, whole in pairs)
        yield name, f"{added:.3f} s ({statistics.median(wholes):.3f} s over {statistics.median(bases):.3f} s)"


def _seconds(statement: str) -> float:
    code = f"import time; t = time.perf_counter()\n{statement}\nprint(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
