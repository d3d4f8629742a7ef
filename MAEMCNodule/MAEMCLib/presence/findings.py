"""What is said of a point where no nodule seems to lie."""

from __future__ import annotations

from collections.abc import Iterable

from ..applicability import Finding
from .rules import RULED_OUT

NO_NODULE = "no-nodule"
PRESENT = 0.5


def present(found: float | None, findings: Iterable[Finding]) -> float | None:
    """0 to 1 whether a nodule is present: what the detector found, or 0 where the surroundings rule it out."""
    return 0.0 if any(finding.code in RULED_OUT for finding in findings) else found


def presence_finding(found: float | None, findings: Iterable[Finding]) -> Finding | None:
    """What the detector's number says; None where it is a nodule, or unknown, or the surroundings have said it."""
    if found is None or found >= PRESENT or any(finding.code in RULED_OUT for finding in findings):
        return None
    text = (
        f"The point does not seem to lie in a nodule ({found:.2f} on a scale of 0 to 1; nodules have {PRESENT:g} or "
        "more). The number is that of whatever lies there: place the point in the nodule. Masses of 20 mm and more "
        "that touch the wall may be judged so too."
    )
    return Finding("red", NO_NODULE, text)
