"""How near the edge of its category a nodule is: the nearest size at which the category is another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .sizes import mean_diameter, sphere_diameter, sphere_volume

_STEP_MM, _PRECISION_MM = 0.1, 1e-4
_SMALLEST_MM, _LARGEST_MM = 1, 40
"""Between these an edge is looked for; no guideline has one outside."""


@dataclass(frozen=True)
class Edge:
    """Where the category changes. value, at, distance: of the measure and of the nearest change, in ``unit``.

    category: beyond it. error: of the measure in that direction, None where it is not known or has no bound;
    within_error: whether the category may be the other one by that error, None where it is not known.
    """

    measure: str
    unit: str
    value: float
    at: float
    distance: float
    category: str
    error: float | None = None
    within_error: bool | None = None

    @property
    def text(self) -> str:
        """``4A, 0.15 mm above this mean diameter: within the measurement error of 0.90 mm ...``."""
        way = "above" if self.at > self.value else "below"
        where = f"{self.category}, {self._text(self.distance)} {way} this {self.measure}"
        if self.within_error is None:
            return f"{where}; the measurement error is not known here."
        error = "" if self.error is None else f" of {self._text(self.error)}"
        if self.within_error:
            return f"{where}: within the measurement error{error}, so that the category may be the other one."
        return f"{where}: beyond the measurement error{error}."

    def _text(self, value: float) -> str:
        return f"{value:.{2 if self.unit == 'mm' else 0}f} {self.unit}"


def nearest_edge(
    values: Mapping[str, Any],
    names: Sequence[str],
    measure: str,
    category_of: Callable[[Mapping[str, Any]], str],
    largest_mm: float,
) -> Edge | None:
    """The nearest size at which a nodule would get another category; None where there is none.

    names: of the values that make the size: a diameter, long and short axis, or a volume. measure: the size's name.
    category_of: of a nodule's values. largest_mm: no edge is looked for above it.
    """
    size, category = _size(values, names), category_of(values)

    def category_at(other_mm: float) -> str:
        return category_of({**values, **_resized(values, names, other_mm)})

    found = []
    for step in (-_STEP_MM, _STEP_MM):
        at = _change(category_at, category, size, step, min(largest_mm, _LARGEST_MM))
        if at is not None:
            distance = round(abs(at - size), 3)
            found.append(Edge(measure, "mm", round(size, 3), round(at, 3), distance, category_at(at)))
    return min(found, key=lambda edge: edge.distance, default=None)


def _change(
    category_at: Callable[[float], str], category: str, start: float, step: float, largest: float
) -> float | None:
    """The first size, from ``start`` in steps whose sign is the direction, that has another category; to
    ``_PRECISION_MM``. None where there is none."""
    inside = start
    while inside + step >= _SMALLEST_MM if step < 0 else inside + step <= largest:
        outside = inside + step
        if category_at(outside) != category:
            while abs(outside - inside) > _PRECISION_MM:
                middle = (inside + outside) / 2
                inside, outside = (middle, outside) if category_at(middle) == category else (inside, middle)
            return outside
        inside = outside
    return None


def _size(values: Mapping[str, Any], names: Sequence[str]) -> float:
    """mm: the diameter, the mean of two axes, or that of the sphere with the volume."""
    if len(names) == 2:
        return mean_diameter(values[names[0]], values[names[1]])
    return sphere_diameter(values[names[0]]) if names[0].endswith("mm3") else values[names[0]]


def _resized(values: Mapping[str, Any], names: Sequence[str], size_mm: float) -> dict[str, float]:
    """The size's values at another size: both axes are changed by the same mm."""
    if names[0].endswith("mm3"):
        return {names[0]: sphere_volume(size_mm)}
    difference = size_mm - _size(values, names)
    return {name: values[name] + difference for name in names}
