"""The steps around the network, shared by command line, batch and Slicer: a point becomes a region, a prediction a row.

Free of torch, so that Slicer's own process can prepare and finish while a worker predicts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .applicability import Assessment, assess
from .ct import CTVolume, check_ct
from .errors import MAEMCError
from .model_card import ModelCard
from .results import NoduleResult, Warning_
from .roi import NoduleROI, cut_roi


@dataclass(frozen=True)
class PreparedNodule:
    """A nodule ready for the network: its region and what is known about its fitness."""

    nodule_id: str
    roi: NoduleROI
    assessment: Assessment


def prepare(
    volume: CTVolume, nodule_id: str, point_lps, card: ModelCard, diameter_mm: float | None = None
) -> PreparedNodule:
    """Check the volume and cut the region that the model wants. point_lps: LPS mm. Raises InputError."""
    check_ct(volume)
    roi = cut_roi(volume, point_lps, card.preprocessing.slice_step_mm)
    return PreparedNodule(nodule_id, roi, assess(volume, roi, card.limits, diameter_mm))


def scored(prepared: PreparedNodule, prediction: dict, card: ModelCard) -> NoduleResult:
    """The row of a prepared nodule. prediction: a ``Prediction`` as a dictionary, as the worker sends it."""
    threshold = card.threshold
    probability = prediction["probability"]
    warnings = prepared.assessment.warnings
    if prediction.get("notice"):
        warnings = (*warnings, Warning_("device", prediction["notice"]))
    return NoduleResult(
        nodule_id=prepared.nodule_id,
        point_lps=prepared.roi.point_lps,
        status="scored",
        gate=prepared.assessment.gate,
        gate_reasons=prepared.assessment.reasons,
        probability=probability,
        interval_low=prediction["interval_low"],
        interval_high=prediction["interval_high"],
        interval_kind=prediction["interval_kind"],
        class_name=card.classes[int(probability >= threshold)],
        threshold=threshold,
        padded_fraction=prepared.roi.padded_fraction,
        warnings=warnings,
        model_id=card.id,
        model_version=card.version,
        model_sha256=card.sha256,
        device=prediction["device"],
        seconds=prediction["seconds"],
    )


def failed(nodule_id: str, point_lps, error: MAEMCError, card: ModelCard | None = None) -> NoduleResult:
    """The row of a nodule that could not be scored, with the reason as its message."""
    point = None if point_lps is None else tuple(float(value) for value in point_lps)
    result = NoduleResult(nodule_id, point, "failed", message=str(error))
    if card is None:
        return result
    return replace(result, model_id=card.id, model_version=card.version, model_sha256=card.sha256)
