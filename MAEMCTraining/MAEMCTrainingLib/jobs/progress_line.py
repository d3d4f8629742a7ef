"""A job's progress in one line, for the terminal that runs it and for those that follow it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def progress_line(state: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """state: as state.json; figures: "loss", "learning_rate" and "images_per_second" of a training event, or none."""
    parts = [state.get("stage", "")]
    if state.get("epochs") and figures:
        parts.append(f"epoch {state.get('epoch', 0) + 1}/{state['epochs']}")
    if state.get("steps"):
        parts.append(f"step {state.get('step', 0)}/{state['steps']}")
    formats = {"loss": "loss {:.4f}", "learning_rate": "rate {:.2e}", "images_per_second": "{:.0f} images/s"}
    parts += [text.format(figures[name]) for name, text in formats.items() if name in figures]
    if state.get("seconds_left") is not None:
        parts.append(f"{duration(state['seconds_left'])} left")
    return "  ".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
