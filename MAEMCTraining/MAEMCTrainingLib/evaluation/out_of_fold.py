"""A fine-tuning job's predictions by models that did not see the case, and their calibration.

Nothing that is reported of a fold was chosen with that fold's labels: its calibration is fitted on the other folds'
predictions, its thresholds on the validation predictions of cases outside it. The bundle gets what all cases together
give, which is not what was evaluated, only its like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from MAEMCLib.errors import InputError

from ..classifiers.fold_model import fold_result
from .calibration import Calibration, fit_platt
from .metrics import check_probabilities
from .operating_points import POINTS, choose_thresholds, too_few


@dataclass(frozen=True)
class OutOfFold:
    """scores: (cases,) the fold models' own probabilities. folds: (cases,) which fold tested the case.

    validation_cases, validation_labels, validation_folds, validation_scores: (predictions,) of every inner validation
    prediction the case, its label, the fold that tests it (-1: none, as with the manifest's validation rows) and the
    probability.
    """

    labels: np.ndarray
    folds: np.ndarray
    scores: np.ndarray
    validation_cases: np.ndarray
    validation_labels: np.ndarray
    validation_folds: np.ndarray
    validation_scores: np.ndarray


@dataclass(frozen=True)
class Judged:
    """What a reader gets from the scores, and what a bundle needs to give the same.

    probabilities: (cases,) calibrated by the other folds, or the scores. thresholds and calibration: the bundle's.
    used: the threshold of each case, chosen without its fold. reason: why nothing was calibrated, or None.
    thresholds_reason: why the thresholds are 0.5, or None.
    """

    probabilities: np.ndarray
    calibration: Calibration
    thresholds: dict[str, float]
    used: dict[str, np.ndarray]
    reason: str | None
    thresholds_reason: str | None


def gather(folder: Path, folds: int, case_ids: Sequence[str], labels: np.ndarray) -> OutOfFold:
    """Read the folds' results of a job. case_ids, labels: of its cohort, in order.

    Raises InputError: a fold's result is missing or damaged, a case that was not predicted, NaN.
    """
    number_of = {case_id: index for index, case_id in enumerate(case_ids)}
    scores, fold_of = np.full(len(case_ids), np.nan), np.full(len(case_ids), -1)
    validation: list[tuple[str, int, float]] = []
    for fold in range(folds):
        result = fold_result(folder, fold)
        try:
            for row in result["test"]:
                index = number_of[row["case_id"]]
                scores[index], fold_of[index] = row["probability"], fold
            for row in result["validation"]:
                case = row["case_id"]
                label = row["label"] if "label" in row else labels[number_of[case]]
                validation.append((case, int(label), float(row["probability"])))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"The result of fold {fold + 1} in {folder} is damaged or of other data. Remove its result.json and "
                "repeat the fine-tuning's command.",
                "damaged-result",
            ) from error
    if (fold_of < 0).any():
        raise InputError(
            f"{int((fold_of < 0).sum())} cases of {folder} were tested by no fold. Repeat the fine-tuning's command.",
            "damaged-result",
        )
    names = [case for case, _, _ in validation]
    others = {name: len(case_ids) + place for place, name in enumerate(dict.fromkeys(names))}
    values = np.array([score for _, _, score in validation], dtype=float)
    check_probabilities(np.concatenate([scores, values]))
    return OutOfFold(
        np.asarray(labels),
        fold_of,
        scores,
        validation_cases=np.array([number_of.get(name, others[name]) for name in names], dtype=int),
        validation_labels=np.array([label for _, label, _ in validation], dtype=int),
        validation_folds=np.array([fold_of[number_of[n]] if n in number_of else -1 for n in names], dtype=int),
        validation_scores=values,
    )


def judge(oof: OutOfFold) -> Judged:
    """Calibrate and choose thresholds, cross-fitted by fold; both are left at their defaults with too few cases.

    With one model, which the manifest's validation rows stopped, both come from the validation rows alone.
    """
    half = dict.fromkeys(POINTS, 0.5)
    plain = Judged(oof.scores, Calibration(), half, {}, None, None)
    reason = too_few(oof.validation_labels, oof.validation_cases)
    if reason is not None:
        return replace(plain, reason=reason, thresholds_reason=reason)
    numbers = np.unique(oof.folds)
    if len(numbers) == 1:
        return _judge_one(oof)
    calibration = fit_platt(oof.labels, oof.scores)
    others = {n: fit_platt(oof.labels[oof.folds != n], oof.scores[oof.folds != n]) for n in numbers}
    slopes = [fitted.slope for fitted in (calibration, *others.values())]
    if min(slopes) <= 0:  # applied, it would turn the model's ranking round
        reason = _not_better_than_chance("out-of-fold", slopes)
        calibration, others = Calibration(), dict.fromkeys(numbers, Calibration())
    probabilities, used = np.zeros(len(oof.scores)), {name: np.zeros(len(oof.scores)) for name in POINTS}
    for number, fitted in others.items():
        tested = oof.folds == number
        probabilities[tested] = fitted.apply(oof.scores[tested]) if reason is None else oof.scores[tested]
        chosen = _thresholds(oof, oof.validation_folds != number, fitted)
        for name, value in chosen.items():
            used[name][tested] = value
    everything = np.ones(len(oof.validation_cases), dtype=bool)
    return Judged(probabilities, calibration, _thresholds(oof, everything, calibration), used, reason, None)


def _judge_one(oof: OutOfFold) -> Judged:
    calibration, reason = fit_platt(oof.validation_labels, oof.validation_scores), None
    if (oof.validation_cases < len(oof.labels)).any():
        calibration, reason = (
            Calibration(),
            (
                "the manifest has no test rows, and a calibration cannot be judged on the validation rows that it is "
                "fitted on"
            ),
        )
    elif calibration.slope <= 0:
        calibration, reason = Calibration(), _not_better_than_chance("validation", [calibration.slope])
    thresholds = _thresholds(oof, np.ones(len(oof.validation_cases), dtype=bool), calibration)
    used = {name: np.full(len(oof.scores), value) for name, value in thresholds.items()}
    return Judged(calibration.apply(oof.scores), calibration, thresholds, used, reason, None)


def _not_better_than_chance(which: str, slopes: Sequence[float]) -> str:
    return (
        f"the {which} probabilities do not rise with the share of malignant cases (slopes of the calibration "
        f"{min(slopes):.2f} to {max(slopes):.2f}): the model is not better than chance"
    )


def _thresholds(oof: OutOfFold, kept: np.ndarray, calibration: Calibration) -> dict[str, float]:
    return choose_thresholds(oof.validation_labels[kept], calibration.apply(oof.validation_scores[kept]))
