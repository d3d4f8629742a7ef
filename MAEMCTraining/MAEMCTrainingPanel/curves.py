"""The curves of a job, gathered from its events; however long the job, each stays short enough to be drawn at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

POINTS_AT_MOST = 1000
"""Of each curve; beyond that every second point is left out."""


@dataclass(frozen=True)
class Curve:
    """One line to draw. figure: the event's key ("loss", "loss_mse", ...), or "validation". fold: from 0, or None."""

    figure: str
    fold: int | None
    steps: tuple[float, ...]
    values: tuple[float, ...]


class ThinnedLine:
    """Points in the order of their coming, evenly thinned; the last one is always there."""

    def __init__(self) -> None:
        self._points: list[tuple[float, float]] = []
        self._stride, self._count = 1, 0
        self._last: tuple[float, float] | None = None

    def add(self, step: float, value: float) -> None:
        """Append a point."""
        self._last = (step, value)
        if self._count % self._stride == 0:
            self._points.append(self._last)
            if len(self._points) >= POINTS_AT_MOST:
                self._points = self._points[::2]
                self._stride *= 2
        self._count += 1

    def points(self) -> tuple[tuple[float, float], ...]:
        """At most ``POINTS_AT_MOST`` of them."""
        ended = self._last is None or (self._points and self._points[-1] == self._last)
        return tuple(self._points) if ended else (*self._points, self._last)


class JobCurves:
    """What a job's events say, line by line."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, int | None, str], ThinnedLine] = {}
        self._current: tuple[str, int | None] | None = None

    def add(self, event: Mapping[str, Any]) -> None:
        """Take an event in; those without a step and a loss are no points of a curve."""
        phase, step, fold = event.get("phase"), event.get("step"), event.get("fold")
        if phase not in ("pretrain", "finetune", "validation") or not isinstance(step, int | float):
            return
        figures = {name: value for name, value in event.items() if name == "loss" or name.startswith("loss_")}
        for figure, value in figures.items():
            if isinstance(value, int | float):
                self._lines.setdefault((phase, fold, figure), ThinnedLine()).add(step, value)
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
                points = line.points()
                if line is not whole and whole is not None and points == whole.points():
                    continue
                steps, values = zip(*points, strict=True)
                curves.append(Curve("validation" if validation else figure, fold, steps, values))
        return tuple(sorted(curves, key=lambda curve: (curve.figure == "validation", curve.figure, curve.fold or 0)))
