"""The steps around the network, shared by command line, batch and Slicer: a point becomes a region, a prediction a row.

Free of torch, so that Slicer's own process can prepare and finish while a worker predicts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from .applicability import Assessment, assess, assess_features
from .cases.points import NodulePoint
from .cases.values import ClinicalCase, ClinicalValues, assess_values, read_values
from .errors import UNREADABLE, MAEMCError, UsageError, input_error
from .images.ct import CTVolume, check_ct
from .inputs.region import NoduleROI, cut_roi
from .inputs.series import with_regions
from .models.card import ModelCard
from .results import InputWarning, NoduleResult


class Scorer(Protocol):
    """What ``predict.Predictor`` is to this module, which does not import torch."""

    card: ModelCard

    def predict(self, cases: list) -> list: ...


class Prepared(Protocol):
    """What is known of a case before the network has run: a ``PreparedNodule`` or a ``PreparedPicture``."""

    nodule_id: str
    assessment: Assessment

    @property
    def point_lps(self) -> tuple[float, float, float] | None: ...

    @property
    def padded_fraction(self) -> float: ...


@dataclass(frozen=True)
class PreparedNodule:
    """A nodule ready for the network: its region, what is known about its fitness, and, where the model asks for them,
    the clinical values."""

    nodule_id: str
    roi: NoduleROI
    assessment: Assessment
    values: ClinicalValues | None = None

    @property
    def case(self) -> NoduleROI | ClinicalCase:
        """What the predictor takes."""
        return self.roi if self.values is None else ClinicalCase(self.roi, self.values)

    @property
    def point_lps(self) -> tuple[float, float, float]:
        return self.roi.point_lps

    @property
    def padded_fraction(self) -> float:
        return self.roi.padded_fraction


def prepare(
    volume: CTVolume,
    nodule_id: str,
    point_lps,
    card: ModelCard,
    diameter_mm: float | None = None,
    clinical: Mapping[str, object] | None = None,
    read: Callable[[str], CTVolume] | None = None,
) -> PreparedNodule:
    """Check the volume and cut the region that the model wants. point_lps: LPS mm. clinical: what is known of what the
    model asks for beside it, by name: a text or a number, of a further series its path or CTVolume. read: of such a
    path, in the place of ``read_volume``.

    Raises InputError, and UsageError for a model that scores something else, or values that are missing or wrong.
    """
    if card.input != "nodule":
        raise UsageError(
            f"The model {card.id} scores 2-D {card.input}s, not nodules in a CT. Choose another model.", "input-kind"
        )
    values = read_values(clinical or {}, card.clinical, card.id) if card.fusion == "graph" else None
    check_ct(volume)
    step = card.preprocessing.slice_step_mm
    roi = cut_roi(volume, point_lps, step)
    if values is not None:
        values = with_regions(values, card.clinical, roi.point_lps, step, read)
    assessment = assess_values(assess(volume, roi, card.limits, diameter_mm), values)
    return PreparedNodule(nodule_id, roi, assessment, values)


def scored(prepared: Prepared, prediction: dict, card: ModelCard) -> NoduleResult:
    """The row of a prepared case. prediction: a ``Prediction`` as a dictionary, as the worker sends it."""
    threshold = card.threshold
    probability = prediction["probability"]
    ood_percentile = prediction.get("ood_percentile")
    assessment = assess_features(prepared.assessment, ood_percentile)
    warnings = assessment.warnings
    every = prediction.get("class_probabilities")  # of more than two classes
    values = getattr(prepared, "values", None)
    if prediction.get("notice"):
        warnings = (*warnings, InputWarning("device", prediction["notice"]))
    return NoduleResult(
        nodule_id=prepared.nodule_id,
        point_lps=prepared.point_lps,
        status="scored",
        gate=assessment.gate,
        gate_reasons=assessment.reasons,
        probability=probability,
        interval_low=prediction["interval_low"],
        interval_high=prediction["interval_high"],
        interval_kind=prediction["interval_kind"],
        class_name=max(every, key=every.get) if every else card.classes[int(probability >= threshold)],
        threshold=threshold,
        padded_fraction=prepared.padded_fraction,
        warnings=warnings,
        model_id=card.id,
        model_version=card.version,
        model_sha256=card.sha256,
        device=prediction["device"],
        seconds=prediction["seconds"],
        ood_percentile=ood_percentile,
        class_probabilities=every,
        clinical=values.values if values is not None else None,
    )


def score_points(
    volume: CTVolume,
    points: list[NodulePoint],
    predictor: Scorer,
    diameters: list[float | None] | None = None,
    clinical: list[Mapping[str, object]] | None = None,
    read: Callable[[str], CTVolume] | None = None,
) -> list[tuple[NoduleResult, PreparedNodule | None]]:
    """Score every point of one volume at once; a point that cannot be scored gets a failed row, the others go on.

    clinical: of each point what is known of what the model asks for beside the CT, by name. read: see ``prepare``.
    """
    nothing: list = [None] * len(points)
    prepared: list[PreparedNodule | MAEMCError] = []
    for point, diameter, values in zip(points, diameters or nothing, clinical or nothing, strict=True):
        try:
            prepared.append(prepare(volume, point.nodule_id, point.lps, predictor.card, diameter, values, read))
        except UNREADABLE as error:
            prepared.append(input_error(error, "The nodule cannot be scored").hide(volume.name))
    ready = [nodule for nodule in prepared if isinstance(nodule, PreparedNodule)]
    predictions = iter(predictor.predict([nodule.case for nodule in ready]) if ready else ())
    rows = []
    for point, nodule in zip(points, prepared, strict=True):
        if isinstance(nodule, PreparedNodule):
            rows.append((scored(nodule, vars(next(predictions)), predictor.card), nodule))
        else:
            rows.append((failed(point.nodule_id, point.lps, nodule, predictor.card), None))
    return rows


def failed(nodule_id: str, point_lps, error: MAEMCError, card: ModelCard | None = None) -> NoduleResult:
    """The row of a nodule that could not be scored, its reason as the message; a point that is NaN is left out."""
    point = None if point_lps is None else tuple(float(value) for value in point_lps)
    if point is not None and not all(math.isfinite(value) for value in point):
        point = None  # JSON has no NaN
    result = NoduleResult(nodule_id, point, "failed", message=error.anonymous)
    if card is None:
        return result
    return replace(result, model_id=card.id, model_version=card.version, model_sha256=card.sha256)
