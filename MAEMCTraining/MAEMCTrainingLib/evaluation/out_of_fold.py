"""A job's predictions by models that did not see the case, and their calibration.

Nothing that is reported of a fold was chosen with that fold's labels: its calibration is fitted on the other folds'
predictions, its thresholds on the validation predictions of cases outside it. The bundle gets what all cases together
give, which is not what was evaluated, only its like.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from MAEMCLib.errors import InputError

from ..classifiers.fold_model import probabilities_of
from ..statistics.calibration import Calibration, fit_platt
from ..statistics.metrics import check_probabilities
from ..statistics.operating_points import POINTS, choose_thresholds, too_few
from .evaluation import Decisions
from .predictions import BRANCH, IMAGES_ALONE


@dataclass(frozen=True)
class OutOfFold:
    """probabilities: (cases, C) the fold models' own. others: those of branches and of images alone, NaN where a branch
    was not observed. folds: (cases,) which fold tested the case.

    validation_cases, validation_labels, validation_scores: (predictions,) of every inner validation prediction of two
    classes the case, its label and the probability of the second class. Cases that no fold tests, as the manifest's
    validation rows, are numbered on.
    """

    labels: np.ndarray
    folds: np.ndarray
    probabilities: np.ndarray
    validation_cases: np.ndarray
    validation_labels: np.ndarray
    validation_scores: np.ndarray
    others: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def scores(self) -> np.ndarray:
        """(cases,) of two classes the probability of the second."""
        return self.probabilities[:, 1]

    @property
    def validation_folds(self) -> np.ndarray:
        """(predictions,) the fold that tests each validation prediction's case; -1: none."""
        return np.append(self.folds, -1)[np.minimum(self.validation_cases, len(self.folds))]


class Calibrated(NamedTuple):
    """What a reader gets from the scores of two classes, and what a bundle needs to give the same.

    probabilities: (cases,) calibrated by the other folds, or the scores. decisions: the bundle's. used: the threshold
    of each case, chosen without its fold.
    """

    probabilities: np.ndarray
    decisions: Decisions
    used: dict[str, np.ndarray]


def out_of_fold(
    results: Sequence[Mapping[str, Any]], folder: Path, case_ids: Sequence[str], labels: np.ndarray, classes: int = 2
) -> OutOfFold:
    """The folds' results of the job in a folder, of which nothing is read. case_ids, labels: of its cohort, in order.

    Raises InputError: a fold's result is missing or damaged, a case that was not predicted, NaN.
    """
    place = {case_id: index for index, case_id in enumerate(case_ids)}
    numbers = dict(place)  # cases that no fold tests follow
    nothing = np.full((len(case_ids), classes), np.nan)
    tables, fold_of = {"": nothing.copy()}, np.full(len(case_ids), -1)
    validation: list[tuple[int, int, float]] = []
    for fold, result in enumerate(results):
        try:
            for model, case, probabilities in _tested(result):
                tables.setdefault(model, nothing.copy())[place[case]] = probabilities
                if not model:
                    fold_of[place[case]] = fold
            for row in result["validation"] if classes == 2 else ():
                number = numbers.setdefault(row["case_id"], len(numbers))
                label = row["label"] if "label" in row else labels[number]
                validation.append((number, label, row["probability"]))
            validated = np.array(validation, dtype=float).reshape(-1, 3).T
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(
                f"The result of fold {fold + 1} in {folder} is damaged or of other data. Remove its result.json and "
                "repeat the training's command.",
                "damaged-result",
            ) from error
    if (fold_of < 0).any():
        raise InputError(
            f"{int((fold_of < 0).sum())} cases of {folder} were tested by no fold. Repeat the training's command.",
            "damaged-result",
        )
    probabilities = tables.pop("")
    check_probabilities(probabilities)
    check_probabilities(validated[2])
    return OutOfFold(labels, fold_of, probabilities, *validated[:2].astype(int), validated[2], others=tables)


def _tested(result: Mapping[str, Any]) -> Iterator[tuple[str, str, list[float]]]:
    """(model, case, probabilities) of all that a fold tested: the model "", each of its branches, images alone."""
    for row in result["test"]:
        yield "", row["case_id"], probabilities_of(row)
        for branch, values in row.get("branches", {}).items():
            yield f"{BRANCH}{branch}", row["case_id"], values
    for row in result.get("images_alone", ()):
        yield IMAGES_ALONE, row["case_id"], probabilities_of(row)


def calibrate(oof: OutOfFold) -> Calibrated:
    """Calibrate and choose thresholds, cross-fitted by fold; both are left at their defaults with too few cases.

    With one model, which the manifest's validation rows stopped, both come from the validation rows alone.
    """
    reason = too_few(oof.validation_labels, oof.validation_cases)
    if reason is not None:
        return Calibrated(oof.scores, Decisions(Calibration(reason=reason), thresholds_reason=reason), {})
    folds, every = np.unique(oof.folds), np.ones(len(oof.validation_cases), dtype=bool)
    if len(folds) > 1:
        calibration, source = fit_platt(oof.labels, oof.scores), "out-of-fold"
        fitted = {fold: fit_platt(oof.labels[oof.folds != fold], oof.scores[oof.folds != fold]) for fold in folds}
    else:
        calibration, source = fit_platt(oof.validation_labels, oof.validation_scores), "validation"
        calibration = replace(calibration, cases=len(oof.labels))
        fitted = {folds[0]: calibration}
        if (oof.validation_folds >= 0).any():
            reason = (
                "the manifest has no test rows, and a calibration cannot be judged on the validation rows that it is "
                "fitted on"
            )
    slopes = [one.slope for one in (calibration, *fitted.values())]
    if reason is None and min(slopes) <= 0:  # applied, it would turn the model's ranking round
        reason = (
            f"the {source} probabilities do not rise with the share of malignant cases (slopes of the calibration "
            f"{min(slopes):.2f} to {max(slopes):.2f}): the model is not better than chance"
        )
    if reason is not None:
        calibration = Calibration(reason=reason)
        fitted = dict.fromkeys(folds, calibration)
    probabilities, used = np.zeros(len(oof.scores)), {name: np.zeros(len(oof.scores)) for name in POINTS}
    for fold, own in fitted.items():
        tested = oof.folds == fold
        probabilities[tested] = own.apply(oof.scores[tested])
        for name, value in _thresholds(oof, oof.validation_folds != fold if len(folds) > 1 else every, own).items():
            used[name][tested] = value
    return Calibrated(probabilities, Decisions(calibration, _thresholds(oof, every, calibration)), used)


def _thresholds(oof: OutOfFold, chosen: np.ndarray, calibration: Calibration) -> dict[str, float]:
    return choose_thresholds(oof.validation_labels[chosen], calibration.apply(oof.validation_scores[chosen]))
