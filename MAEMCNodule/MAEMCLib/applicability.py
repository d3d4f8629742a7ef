"""Does this input look like what the model was trained on? Colors a result; never hides it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from .errors import ModelError
from .images.ct import AIR_BELOW_HU, CTVolume
from .inputs.region import NoduleROI
from .models.ood import LIMIT
from .results import InputWarning

LARGEST_MM = 1000
_ORDER = ("green", "grey", "amber", "red")


@dataclass(frozen=True)
class Limits:
    """Where a model is at home; stored in its bundle under ``applicability``.

    The diameter range is that of the training nodules. 3 mm slices are those of the published data (Zhao et al. 2025,
    2.31 +/- 0.71 mm); the other limits are this project's proposals.
    """

    smallest_diameter_mm: float = 7.0
    largest_diameter_mm: float = 30.0
    slice_spacing_amber_mm: float = 3.0
    slice_spacing_red_mm: float = 5.0
    padded_amber: float = 0.25
    padded_red: float = 0.5

    def __post_init__(self) -> None:
        """Raises ModelError for limits that no nodule, scan or region could lie between."""
        sizes = 0 < self.smallest_diameter_mm <= self.largest_diameter_mm <= LARGEST_MM
        slices = 0 < self.slice_spacing_amber_mm <= self.slice_spacing_red_mm <= LARGEST_MM
        if not (sizes and slices and 0 <= self.padded_amber <= self.padded_red <= 1):
            raise ModelError(f"The model's limits make no sense: {asdict(self)}. Get the model again.", "schema")


@dataclass(frozen=True)
class Assessment:
    """gate: the worst color found. reasons: the codes behind it. warnings: every finding in words."""

    gate: str
    reasons: tuple[str, ...]
    warnings: tuple[InputWarning, ...]


def assess(volume: CTVolume, roi: NoduleROI, limits: Limits, diameter_mm: float | None = None) -> Assessment:
    """Check geometry, surroundings and, where it is known, the nodule's diameter against what the model knows."""
    findings = [
        finding
        for finding in (
            _padding(roi, limits),
            _slice_spacing(volume, limits),
            _place(roi),
            _surroundings(roi),
            _diameter(diameter_mm, limits),
        )
        if finding is not None
    ]
    findings += [
        ("amber" if remark.amber else "green", InputWarning(remark.code, remark.message)) for remark in volume.remarks
    ]
    gate = max((color for color, _ in findings), key=_ORDER.index, default="green")
    reasons = tuple(warning.code for color, warning in findings if color == gate != "green")
    return Assessment(gate, reasons, tuple(warning for _, warning in findings))


def assess_features(assessment: Assessment, ood_percentile: float | None) -> Assessment:
    """The assessment with what the network's features add once it has run; None where the model cannot tell."""
    if ood_percentile is None or ood_percentile <= LIMIT:
        return assessment
    warning = InputWarning(
        "unlike-training",
        "Its features are unlike those of the model's training cases: further away than "
        f"{min(ood_percentile, 99.0):.0f} % of these.",
    )
    reasons = assessment.reasons
    if assessment.gate != "red":
        reasons = (*(reasons if assessment.gate == "amber" else ()), warning.code)
    gate = max(assessment.gate, "amber", key=_ORDER.index)
    return Assessment(gate, reasons, (*assessment.warnings, warning))


def _padding(roi: NoduleROI, limits: Limits):
    share = roi.padded_fraction
    if share <= limits.padded_amber:
        return None
    color = "red" if share > limits.padded_red else "amber"
    return color, InputWarning(
        "padded", f"{share:.0%} of the 50 mm region lies outside the volume and was filled with air."
    )


def _slice_spacing(volume: CTVolume, limits: Limits):
    spacing = volume.slice_spacing
    if spacing <= limits.slice_spacing_amber_mm:
        return None
    color = "red" if spacing > limits.slice_spacing_red_mm else "amber"
    known = limits.slice_spacing_amber_mm
    return color, InputWarning(
        "thick-slices", f"Slices are {spacing:.1f} mm apart; the model knows up to {known:g} mm."
    )


def _place(roi: NoduleROI):
    middle = roi.axial[10:15, 22:28, 22:28]  # 5 mm through, 6 mm wide, about the point
    if float(middle.mean()) > -700:
        return None
    return "amber", InputWarning(
        "point-in-air", "The point lies in aerated lung or air. Place it in the middle of the nodule."
    )


def _surroundings(roi: NoduleROI):
    aerated = float(np.mean(roi.axial < AIR_BELOW_HU))
    if aerated >= 0.05:
        return None
    return "amber", InputWarning(
        "no-lung", f"Only {aerated:.0%} of the region is aerated; a lung nodule lies in or at lung."
    )


def _diameter(diameter_mm: float | None, limits: Limits):
    known = f"{limits.smallest_diameter_mm:g}-{limits.largest_diameter_mm:g} mm"
    if diameter_mm is None:
        return "grey", InputWarning("size-unknown", f"The nodule's size is not known here; the model knows {known}.")
    if diameter_mm > limits.largest_diameter_mm:
        return "red", InputWarning("large", f"{diameter_mm:.0f} mm is larger than the model's nodules ({known}).")
    if diameter_mm < limits.smallest_diameter_mm:
        return "amber", InputWarning("small", f"{diameter_mm:.1f} mm is smaller than the model's nodules ({known}).")
    return None
