"""What scores mean at a prevalence: adjusted probabilities, and PPV and NPV of the model's operating points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..models.card import ModelCard
from ..models.operating_points import Rate, operating_points
from ..models.prevalence import adjusted, assumed_prevalence, predictive_values
from ..results import NoduleResult
from .formats import render
from .sections import Metric, Note, Report, Section, Table


def prevalence_text(results: Sequence[NoduleResult], card: ModelCard, prevalence: float) -> str:
    """For the terminal. Raises UsageError as ``models.prevalence.check_prevalence`` does."""
    return render(Report("", prevalence_sections(results, card, prevalence)), "txt")


def prevalence_sections(results: Sequence[NoduleResult], card: ModelCard, prevalence: float) -> list[Section]:
    """Of scored nodules, and of the model's operating points where it has them. Raises as ``prevalence_text``."""
    document = prevalence_document(results, card, prevalence)
    assumed = f"{assumed_prevalence(card):.1%}"
    rows = [
        (row["nodule_id"], row["probability"], Metric(row["adjusted"], row["adjusted_low"], row["adjusted_high"]))
        for row in document["nodules"]
    ]
    heads = (card.kind.noun, f"as the model says, at {assumed}", f"at {prevalence:.1%} (spread)")
    parts: list[Note | Table] = [Table(rows, heads)]
    points = [
        (point.purpose, point.threshold, *map(_metric, (point.sensitivity, point.specificity, found.ppv, found.npv)))
        for point in operating_points(card)
        for found in [predictive_values(card, point, prevalence)]
    ]
    if points:
        parts.append(Table(points, ("operating point", "threshold", "sensitivity", "specificity", "PPV", "NPV")))
        parts.append(Note("Thresholds are of the number as the model says it. Intervals: 95 %."))
    else:
        reason = card.values.get("thresholds_reason") or "its card holds none"
        parts.append(Note(f"There is no PPV and no NPV, for want of operating points: {reason}."))
    return [Section(f"Where {prevalence:.1%} of the nodules are malignant", parts)]


def prevalence_document(results: Sequence[NoduleResult], card: ModelCard, prevalence: float) -> dict[str, Any]:
    """For programs: a row for each scored nodule, and the operating points by name. Raises as ``prevalence_text``."""
    nodules = [
        {
            "case_id": result.case_id,
            "nodule_id": result.nodule_id,
            "probability": result.probability,
            "adjusted": adjusted(card, result.probability, prevalence),
            "adjusted_low": _adjusted(card, result.interval_low, prevalence),
            "adjusted_high": _adjusted(card, result.interval_high, prevalence),
        }
        for result in results
        if result.probability is not None
    ]
    points = {
        point.name: {
            "threshold": point.threshold,
            "sensitivity": asdict(point.sensitivity),
            "specificity": asdict(point.specificity),
            **asdict(predictive_values(card, point, prevalence)),
        }
        for point in operating_points(card)
    }
    return {
        "prevalence": prevalence,
        "assumed_prevalence": assumed_prevalence(card),
        "nodules": nodules,
        "operating_points": points,
    }


def _adjusted(card: ModelCard, probability: float | None, prevalence: float) -> float | None:
    return None if probability is None else adjusted(card, probability, prevalence)


def _metric(rate: Rate | None) -> Metric:
    return Metric(None) if rate is None else Metric(rate.value, rate.low, rate.high, rate.n)
