"""The curves of a job, gathered from its events; however long the job, each stays short enough to be drawn at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

POINTS_AT_MOST = 1000
"""Of each curve."""


@dataclass(frozen=True)
class Curve:
    """One line to draw. figure: the event's key ("loss", "loss_mse", ...), or "validation". fold: from 0, or None."""

    figure: str
    fold: int | None
    steps: tuple[float, ...]
    values: tuple[float, ...]


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``POINTS_AT_MOST`` of a curve's points: every second, fourth, eighth ... of a long one, and its last."""
    stride = 1 << ((len(points) - 1) // (POINTS_AT_MOST - 1)).bit_length() if points else 1
    return points[::stride] if (len(points) - 1) % stride == 0 else [*points[::stride], points[-1]]


class JobCurves:
    """What a job's events say, line by line."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, int | None, str], list[tuple[float, float]]] = {}
        self._current: tuple[str, int | None] | None = None

    def add(self, event: Mapping[str, Any]) -> None:
        """Take an event in; those without a step and a loss are no points of a curve."""
        phase, step, fold = event.get("phase"), event.get("step"), event.get("fold")
        if phase not in ("pretrain", "finetune", "validation") or not isinstance(step, int | float):
            return
        figures = {name: value for name, value in event.items() if name == "loss" or name.startswith("loss_")}
        for figure, value in figures.items():
            if isinstance(value, int | float):
                self._lines.setdefault((phase, fold, figure), []).append((step, value))
        if phase != "validation" and figures:
            self._current = (phase, fold)

    def shown(self) -> tuple[Curve, ...]:
        """The curves that belong into one picture: the losses of what is trained now, or was last; for a fine-tuning
        the validation of all folds so far beside it. A part that is the whole loss is drawn once."""
        if self._current is None:
            return ()
        curves, whole = [], self._lines.get((*self._current, "loss"))
        for (phase, fold, figure), line in self._lines.items():
            validation = phase == "validation" and self._current[0] == "finetune"
            if (phase, fold) == self._current or validation:
                if line is not whole and line == whole:
                    continue
                steps, values = zip(*thinned(line), strict=True)
                curves.append(Curve("validation" if validation else figure, fold, steps, values))
        return tuple(sorted(curves, key=lambda curve: (curve.figure == "validation", curve.figure, curve.fold or 0)))
