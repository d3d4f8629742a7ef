"""One pre-training step of the published ViT-L: ours beside the same step of lightly's parts, and what the loop adds.

Every variant lives in a process of its own, so that its peak memory is known, and all of them take steps in turn, so
that they see the same machine. A sample is quiet when other processes used at most 5 % of the machine while it ran.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
BATCH = 4
QUIET = 0.05
ENOUGH = 7  # quiet samples of every variant
LONGEST = 150  # seconds for the variants of one comparison, on a machine that does not become quiet
STEP_MEMORY_GB = 8.5  # what a variant may need; where all of them do not fit together, one follows the other

METHODS = {"mae": "MAE", "hybrid": "hybrid"}
VARIANTS = {"ours": "ours", "lightly": "lightly's parts", "lightly fused": "the same, fused AdamW"}


def rows():
    """Rows of the table."""
    for method, name in METHODS.items():
        # The two optimizers of lightly's step share a process: a second copy of it would not fit beside the others.
        samples, peaks = _in_turn([f"{method} ours", f"{method} lightly"])
        medians = []
        for variant, title in VARIANTS.items():
            taken = samples[f"{method} {variant}"]
            quiet = [seconds for seconds, others in taken if others <= QUIET]
            used = quiet if len(quiet) >= 3 else [seconds for seconds, _ in taken]
            medians.append(statistics.median(used))
            kept = f"{len(quiet)} quiet of {len(taken)}" if used is quiet else f"{len(used)}, machine busy"
            peak = peaks.get(f"{method} {variant}")
            memory = f", {peak:.0f} MB" if peak else ""
            yield f"step, ViT-L {name}, {title}", f"{medians[-1]:.2f} s{memory} (least {min(used):.2f}, {kept})"
        ours, plain, fused = medians
        yield f"step, ViT-L {name}, ours / lightly's, fused", f"{ours / plain:.2f}, {ours / fused:.2f}"
    yield from _loop_rows()
    yield from _cuda_rows()


def _in_turn(kinds: list[str]) -> tuple[dict[str, list[tuple[float, float]]], dict[str, float]]:
    """{variant: [(seconds, others' share of the machine)]} and {process: peak in MB}."""
    together = _available_gb() > STEP_MEMORY_GB * len(kinds)
    samples: dict[str, list[tuple[float, float]]] = {}
    peaks = {}
    for group in [kinds] if together else [[kind] for kind in kinds]:
        children = {kind: _Child(kind) for kind in group}
        try:
            for child in children.values():
                for variant, *_ in child.steps():  # the first step of each makes the optimizer's memory
                    samples[variant] = []
            started = time.monotonic()
            enough = False
            while not enough and time.monotonic() - started < LONGEST:
                for child in children.values():
                    for variant, *sample in child.steps():
                        samples[variant].append(tuple(sample))
                names = [name for child in children.values() for name in child.variants]
                enough = all(sum(others <= QUIET for _, others in samples[name]) >= ENOUGH for name in names)
            peaks |= {kind: child.peak() for kind, child in children.items()}
        finally:
            for child in children.values():
                child.end()
    return samples, peaks


def _available_gb() -> float:
    text = Path("/proc/meminfo").read_text()
    return int(text.split("MemAvailable:")[1].split()[0]) / 1e6


class _Child:
    """A process that takes a step when told to."""

    def __init__(self, kind: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "step", kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.variants = json.loads(self.process.stdout.readline())

    def steps(self):
        """(variant, seconds, others' share) of one step of each variant that the process holds."""
        for variant in self.variants:
            before = self._busy()
            found = self._ask(variant)
            after = self._busy()
            elapsed, all_busy, own = (b - a for a, b in zip(before, after, strict=True))
            yield variant, found["seconds"], max(0.0, all_busy - own) / (elapsed * os.cpu_count())

    def _busy(self) -> tuple[float, float, float]:
        """Seconds: the clock, what all processors worked, what this child did."""
        ticks = os.sysconf("SC_CLK_TCK")
        values = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        idle = values[3] + values[4]
        return time.monotonic(), (sum(values) - idle) / ticks, (int(stat[11]) + int(stat[12])) / ticks

    def _ask(self, what: str) -> dict:
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def peak(self) -> float:
        return self._ask("peak")["peak_mb"]

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def _peak_mb() -> float:
    # Not ru_maxrss: Linux carries the parent's peak over into a child.
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1000


def _serve_steps(kind: str) -> None:
    """In a process of its own: one step for each line of the input."""
    from pretraining_steps import make_step

    step = make_step(kind, BATCH, torch.device("cpu"))
    print(json.dumps([kind, f"{kind} fused"] if "lightly" in kind else [kind]), flush=True)
    for line in sys.stdin:
        if line.strip() == "peak":
            print(json.dumps({"peak_mb": _peak_mb()}), flush=True)
            continue
        started = time.perf_counter()
        step(line.strip().endswith("fused"))
        print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)


def _loop_rows():
    """The real ``maemc-train pretrain``, with clocks around the parts of its steps."""
    for preset, settings in (
        ("vit-large", ["batch=4", "views_per_case=8", "epochs=1"]),
        ("tiny", ["views_per_case=40", "epochs=3"]),
    ):
        command = [sys.executable, str(HERE / "pretraining_loop.py"), preset, *settings]
        found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        parts = ", ".join(f"{name} {share:.1%}" for name, share in found["shares"].items())
        if preset == "tiny":
            yield "pre-training, tiny, pairs a second", f"{found['pairs_per_second']:.0f} (batch {found['batch']})"
            yield "outside the four parts, tiny", f"{found['outside']:.1%} ({parts})"
        else:
            yield "outside the four parts, ViT-L", f"{found['outside']:.1%} (n = {found['steps']}, clipping: optimizer)"
            yield "of a step in the loop, ViT-L", parts


def _cuda_rows():
    """Batch 64 in bfloat16, and its share of what large matrix products reach on the same chip."""
    if not torch.cuda.is_available():
        yield "step, ViT-L, CUDA, bfloat16, batch 64", "not measured: no GPU here"
        return
    from pretraining_steps import make_step, step_operations

    device, batch = torch.device("cuda"), 64
    rate = _matrix_rate(device)
    for method, name in METHODS.items():
        for who in ("ours", "lightly"):
            step = make_step(f"{method} {who}", batch, device)
            torch.cuda.reset_peak_memory_stats()
            for _ in range(5):
                step(True)
            torch.cuda.synchronize()
            durations = []
            for _ in range(20):
                started = time.perf_counter()
                step(True)
                torch.cuda.synchronize()
                durations.append(time.perf_counter() - started)
            median = statistics.median(durations)
            share = step_operations(batch, method == "hybrid") / median / rate
            peak = torch.cuda.max_memory_allocated() / 1e6
            yield (
                f"step, ViT-L {name}, CUDA, batch 64, {who}",
                f"{median * 1000:.1f} ms, {peak:.0f} MB, {share:.0%} of {rate / 1e12:.0f} TFLOP/s",
            )
            del step
            torch.cuda.empty_cache()


def _matrix_rate(device: torch.device) -> float:
    """Operations a second of a bfloat16 product of matrices of 8192 x 8192."""
    side = 8192
    one = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        one @ one
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(20):
        one @ one
    torch.cuda.synchronize()
    return 20 * 2 * side**3 / (time.perf_counter() - started)


if __name__ == "__main__":
    if sys.argv[1:2] == ["step"]:
        _serve_steps(sys.argv[2])
    else:
        for row, value in rows():
            print(f"{row:44} {value}", flush=True)
