"""What a model's number means where another share of the nodules is malignant than it assumes. Free of torch.

Only of a model that was trained on diagnoses: one that was trained on readers' ratings gives a malignancy probability
as readers rate it, which has no PPV, no NPV and no prevalence of cancer; all here then raises with that reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from .card import ModelCard
from .operating_points import OperatingPoint, Rate


@dataclass(frozen=True)
class PredictiveValues:
    """Of the nodules that are called malignant the share that is (ppv), of the others the share that is not (npv).
    None where nothing is called so. n of the rates is that of the cases behind both of the point's rates."""

    ppv: Rate | None
    npv: Rate | None


def prevalence_problem(card: ModelCard) -> str:
    """Why there is nothing to say of a prevalence, in a sentence with what to do; empty where there is."""
    if card.label_type == "rating":
        return (
            f"{card.id} was trained on readers' ratings: its number is a {card.probability_name}, which has no "
            "PPV, no NPV and no prevalence of cancer. Leave the prevalence out, or use a model trained on diagnoses."
        )
    if len(card.classes) != 2:
        return f"{card.id} tells {len(card.classes)} classes apart: a prevalence is of two. Leave the prevalence out."
    if not 0 < assumed_prevalence(card) < 1:
        return (
            f"The card of {card.id} does not say which share of malignant nodules its probability assumes. Leave the "
            "prevalence out, or export the model again."
        )
    return ""


def check_prevalence(card: ModelCard, prevalence: float) -> None:
    """Raises UsageError: ``prevalence_problem``, or no number above 0 and below 1."""
    if problem := prevalence_problem(card):
        raise UsageError(problem, "prevalence")
    if not 0 < prevalence < 1:
        raise UsageError(
            f"The prevalence is {prevalence:g}; it has to lie between 0 and 1, without both (0.23 is 23 %).",
            "prevalence",
        )


def adjusted(card: ModelCard, probability: float, prevalence: float) -> float:
    """A model's probability where this share of the nodules is malignant, both above 0 and below 1.

    The odds are multiplied by the ratio of the prior odds (Saerens, Latinne and Decaestecker, Neural Computation
    2002;14:21-41). Raises UsageError as ``check_prevalence`` does.
    """
    check_prevalence(card, prevalence)
    return with_prior(probability, assumed_prevalence(card), prevalence)


def predictive_values(card: ModelCard, point: OperatingPoint, prevalence: float) -> PredictiveValues:
    """PPV and NPV at an operating point where this share of the nodules is malignant. Raises as ``adjusted`` does.

    Both rise with sensitivity and with specificity: their limits are what both rates' limits give together, which hold
    the truth at least as often as those do.
    """
    check_prevalence(card, prevalence)
    sensitivity, specificity = point.sensitivity, point.specificity
    n = sensitivity.n + specificity.n
    value = ppv_and_npv(sensitivity.value, specificity.value, prevalence)
    low = high = (None, None)
    if None not in (sensitivity.low, specificity.low):
        low = ppv_and_npv(sensitivity.low, specificity.low, prevalence)
        high = ppv_and_npv(sensitivity.high, specificity.high, prevalence)
    limits = [(low[k], high[k]) if None not in (low[k], high[k]) else (None, None) for k in (0, 1)]
    return PredictiveValues(*(None if v is None else Rate(v, *limits[k], n) for k, v in enumerate(value)))


def with_prior(probability: float, assumed: float, prevalence: float) -> float:
    """A probability under another prior: its odds times the ratio of the odds of both priors. 0 and 1 stay."""
    malignant = probability * prevalence * (1 - assumed)
    benign = (1 - probability) * (1 - prevalence) * assumed
    return malignant / (malignant + benign)


def ppv_and_npv(sensitivity: float, specificity: float, prevalence: float) -> tuple[float | None, float | None]:
    """By Bayes' theorem; None where nothing is called malignant (PPV), or benign (NPV)."""
    true, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    clear, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return true / (true + false) if true + false else None, clear / (clear + missed) if clear + missed else None


def assumed_prevalence(card: ModelCard) -> float:
    """The share of malignant nodules that the probability assumes; 0 where the card does not say."""
    return card.values.get("training", {}).get("prior_in_probability") or 0.0
