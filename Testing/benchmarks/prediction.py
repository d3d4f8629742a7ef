"""Two-plane ViT-L prediction: seconds, peak memory of a fresh process, and what bfloat16 changes."""

import json
import math
import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
SAMPLES = 15


def rows(bundles: dict[str, Path]):
    """Rows of the table; each precision is measured in a process of its own."""
    logits = {}
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in devices:
        for name, path in bundles.items():
            command = [sys.executable, __file__, str(path), device]
            found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
            logits[device, name] = found["logits"]
            where = "" if device == "cpu" else " on CUDA"
            yield f"two planes, ViT-L, {name}{where}", f"{found['said']}, {found['peak_mb']:.0f} MB"
            yield (
                f"loading ViT-L, {name}{where}",
                f"{found['load_seconds']:.2f} s, first call {found['first_seconds']:.2f} s",
            )
    changes = [abs(a - b) for a, b in zip(logits["cpu", "float32"], logits["cpu", "bfloat16"], strict=True)]
    yield "largest logit change in bfloat16", f"{max(changes):.4f} (8 regions)"
    if ("cuda", "float32") in logits:
        changes = [abs(a - b) for a, b in zip(logits["cpu", "float32"], logits["cuda", "float32"], strict=True)]
        yield "largest logit change on CUDA, float32", f"{max(changes):.5f} (8 regions)"


def _measure(path: str, device: str) -> None:
    """In a process of its own: load, predict, print figures as JSON."""
    import time

    sys.path.insert(0, str(HERE))
    from large_model import regions
    from MAEMCLib.inputs.input import Prepared
    from MAEMCLib.models.bundle import ModelBundle
    from MAEMCLib.models.predictor import Predictor
    from samples import said, seconds

    started = time.perf_counter()
    predictor = Predictor(ModelBundle.open(path), device)
    load = time.perf_counter() - started
    rois = [Prepared(region) for region in regions(8)]
    started = time.perf_counter()
    predictor.predict(rois[:1])
    first = time.perf_counter() - started
    durations = seconds(lambda: predictor.predict(rois[:1]), SAMPLES)
    # Not ru_maxrss: Linux carries the parent's peak over into a child.
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1000
    probabilities = [predictor.predict([roi])[0].probability for roi in rois]
    logits = [math.log(p / (1 - p)) for p in probabilities]
    print(
        json.dumps(
            {
                "said": said(durations),
                "peak_mb": peak,
                "load_seconds": load,
                "first_seconds": first,
                "logits": logits,
            }
        )
    )


if __name__ == "__main__":
    _measure(sys.argv[1], sys.argv[2])
