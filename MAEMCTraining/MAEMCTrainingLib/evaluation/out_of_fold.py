"""A job's predictions by models that did not see the case, and their calibration.

Nothing that is reported of a fold was chosen with that fold's labels: its calibration is fitted on the other folds'
predictions, its thresholds on the validation predictions of cases outside it. The bundle gets what all cases together
give, which is not what was evaluated, only its like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError

from ..classifiers.fold_model import fold_result
from ..statistics.calibration import Calibration, fit_platt
from ..statistics.metrics import check_probabilities
from ..statistics.operating_points import POINTS, choose_thresholds, too_few

BRANCH, IMAGES_ALONE = "branch ", "images alone"
"""How a branch's own predictions are named, before the branch, and those of a network without clinical values."""


@dataclass(frozen=True)
class OutOfFold:
    """probabilities: (cases, C) the fold models' own. others: those of branches and of images alone, NaN where a branch
    was not observed. folds: (cases,) which fold tested the case.

    validation_cases, validation_labels, validation_folds, validation_scores: (predictions,) of every inner validation
    prediction of two classes the case, its label, the fold that tests it (-1: none, as with the manifest's validation
    rows) and the probability of the second class.
    """

    labels: np.ndarray
    folds: np.ndarray
    probabilities: np.ndarray
    validation_cases: np.ndarray
    validation_labels: np.ndarray
    validation_folds: np.ndarray
    validation_scores: np.ndarray
    others: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def scores(self) -> np.ndarray:
        """(cases,) of two classes the probability of the second."""
        return self.probabilities[:, 1]


@dataclass(frozen=True)
class Calibrated:
    """What a reader gets from the scores of two classes, and what a bundle needs to give the same.

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


def probabilities_of(row: Mapping[str, Any]) -> list[float]:
    """Of a row of result.json, a number for each class."""
    return row["probabilities"] if "probabilities" in row else [1 - row["probability"], row["probability"]]


def read_out_of_fold(
    folder: Path, folds: int, case_ids: Sequence[str], labels: np.ndarray, classes: int = 2
) -> OutOfFold:
    """Read the folds' results of a job. case_ids, labels: of its cohort, in order.

    Raises InputError: a fold's result is missing or damaged, a case that was not predicted, NaN.
    """
    place = {case_id: index for index, case_id in enumerate(case_ids)}
    nothing = np.full((len(case_ids), classes), np.nan)
    tables, fold_of = {"": nothing.copy()}, np.full(len(case_ids), -1)
    validation: list[tuple[str, int, float]] = []
    for fold in range(folds):
        result = fold_result(folder, fold)
        try:
            for model, row in _tested(result):
                tables.setdefault(model, nothing.copy())[place[row[0]]] = row[1]
                if not model:
                    fold_of[place[row[0]]] = fold
            for row in result["validation"] if classes == 2 else ():
                case = row["case_id"]
                label = row["label"] if "label" in row else labels[place[case]]
                validation.append((case, int(label), float(row["probability"])))
        except (KeyError, TypeError, ValueError) as error:
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
    found = tables.pop("")
    numbers = _validated(validation, place, fold_of)
    check_probabilities(found)
    check_probabilities(numbers[-1])
    return OutOfFold(np.asarray(labels), fold_of, found, *numbers, others=tables)


def _tested(result: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, list[float]]]]:
    """(model, (case, probabilities)) of all that a fold tested: the model "", each of its branches, images alone."""
    for row in result["test"]:
        yield "", (row["case_id"], probabilities_of(row))
        for branch, values in row.get("branches", {}).items():
            yield f"{BRANCH}{branch}", (row["case_id"], values)
    for row in result.get("images_alone", ()):
        yield IMAGES_ALONE, (row["case_id"], probabilities_of(row))


def _validated(
    validation: Sequence[tuple[str, int, float]], place: Mapping[str, int], fold_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    names = [case for case, _, _ in validation]
    others = {name: len(place) + number for number, name in enumerate(dict.fromkeys(names))}
    return (
        np.array([place.get(name, others[name]) for name in names], dtype=int),
        np.array([label for _, label, _ in validation], dtype=int),
        np.array([fold_of[place[n]] if n in place else -1 for n in names], dtype=int),
        np.array([score for _, _, score in validation], dtype=float),
    )


def calibrate(oof: OutOfFold) -> Calibrated:
    """Calibrate and choose thresholds, cross-fitted by fold; both are left at their defaults with too few cases.

    With one model, which the manifest's validation rows stopped, both come from the validation rows alone.
    """
    half = dict.fromkeys(POINTS, 0.5)
    plain = Calibrated(oof.scores, Calibration(), half, {}, None, None)
    reason = too_few(oof.validation_labels, oof.validation_cases)
    if reason is not None:
        return replace(plain, reason=reason, thresholds_reason=reason)
    numbers = np.unique(oof.folds)
    if len(numbers) == 1:
        return _calibrate_one(oof)
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
    return Calibrated(probabilities, calibration, _thresholds(oof, everything, calibration), used, reason, None)


def _calibrate_one(oof: OutOfFold) -> Calibrated:
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
    return Calibrated(calibration.apply(oof.scores), calibration, thresholds, used, reason, None)


def _not_better_than_chance(which: str, slopes: Sequence[float]) -> str:
    return (
        f"the {which} probabilities do not rise with the share of malignant cases (slopes of the calibration "
        f"{min(slopes):.2f} to {max(slopes):.2f}): the model is not better than chance"
    )


def _thresholds(oof: OutOfFold, kept: np.ndarray, calibration: Calibration) -> dict[str, float]:
    return choose_thresholds(oof.validation_labels[kept], calibration.apply(oof.validation_scores[kept]))
