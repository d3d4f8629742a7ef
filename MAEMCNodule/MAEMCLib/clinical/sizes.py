"""Diameters and volumes of nodules as the guidelines round them, and those of spheres."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal


def rounded(value: float | Decimal, digits: int) -> float:
    """To so many decimals, a half upward as people round: 5.95 -> 6.0 for one digit."""
    exact = value if isinstance(value, Decimal) else _decimal(value)
    return float(exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def mean_diameter(long_mm: float, short_mm: float) -> float:
    """The mean of the two axes, mm, not rounded."""
    return float((_decimal(long_mm) + _decimal(short_mm)) / 2)


def mean_to_tenth(long_mm: float, short_mm: float) -> float:
    """The mean diameter of Lung-RADS, mm: each axis to one decimal, then their mean to one decimal."""
    return rounded(mean_diameter(rounded(long_mm, 1), rounded(short_mm, 1)), 1)


def mean_to_millimeter(long_mm: float, short_mm: float) -> int:
    """The mean diameter of Fleischner 2017, to the nearest whole mm; 5.5 mm is 6 mm."""
    return int(rounded(mean_diameter(long_mm, short_mm), 0))


def axes_text(long_mm: float, short_mm: float) -> str:
    """``8.4 x 7.2 mm``."""
    return f"{rounded(long_mm, 1)} x {rounded(short_mm, 1)} mm"


def sphere_volume(diameter_mm: float) -> float:
    """mm3 of a sphere: pi / 6 * d^3."""
    return math.pi / 6 * diameter_mm**3


def sphere_diameter(volume_mm3: float) -> float:
    """mm of the sphere with this volume."""
    return (6 * volume_mm3 / math.pi) ** (1 / 3)


def _decimal(value: float) -> Decimal:
    """A float as it is written, with 9 digits behind the point: 5.95 is a half, and 5.9499999999999997 is 5.95."""
    return Decimal(f"{value:.9f}")
