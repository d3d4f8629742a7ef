"""Measuring durations, and printing them in one form."""

import statistics
import time


def seconds(action, samples: int, warm_up: int = 1) -> list[float]:
    """Durations of an action in seconds, after some runs that are not counted."""
    for _ in range(warm_up):
        action()
    durations = []
    for _ in range(samples):
        started = time.perf_counter()
        action()
        durations.append(time.perf_counter() - started)
    return durations


def said(durations: list[float], unit: str = "s") -> str:
    """``0.115 s (spread 12 %, n = 9)``."""
    median = statistics.median(durations)
    spread = (max(durations) - min(durations)) / median
    factor, digits = (1000, 2) if unit == "ms" else (1, 3)
    return f"{median * factor:.{digits}f} {unit} (spread {spread:.0%}, n = {len(durations)})"
