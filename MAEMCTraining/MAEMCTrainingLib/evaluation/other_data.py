"""Other data, scored: the labeled cases of a manifest through what ``maemc batch`` uses, those of a cache from what it
holds. A case of several pictures has the mean of their log-odds, as in training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.models.card import ModelCard
from MAEMCLib.results import NoduleResult, Prediction
from MAEMCLib.scoring import CaseScorer
from scipy.special import softmax

from ..classifiers.cases import LABEL, OWN_CLASSES, labeled
from ..data.cohort import join
from ..data.kinds import KINDS
from ..data.kinds.picture import case_of
from ..data.parts import FIRST_ROW
from ..data.pseudonyms import key_name, pseudonym, pseudonym_key
from ..data.store import open_store
from .baselines import SIZE
from .predictions import PredictionTable

_TOGETHER = 16
_LEAST = 1e-7  # a probability of 0 would have no log-odds
Progress = Callable[[int, int], None]


class Failed(NamedTuple):
    """A case that could not be scored: the user's own case_id, its row of the manifest, the reason in full."""

    case_id: str
    row: int
    reason: str


@dataclass(frozen=True)
class Scored:
    """Other data after scoring.

    table: case_ids are the user's own, of a cache pseudonyms; beside the model stands the size, where all are known.
    unsized: cases without a diameter. key: name of the pseudonyms' key. failed: what could not be scored. unlabeled:
    cases left out for want of a label. gates: how many cases have each color; empty for a cache.
    """

    table: PredictionTable
    unsized: int
    key: str
    failed: list[Failed]
    unlabeled: int
    gates: Mapping[str, int]


def score_manifest(predictor: Any, path: Path, home: Path, target: str, progress: Progress) -> Scored:
    """target: the column of the class. Raises InputError for a manifest that cannot be read, a class that the model
    does not know."""
    manifest, card = read_manifest(path), predictor.card
    rows = [row for row in manifest.rows if row.kind in KINDS[card.input].rows]
    row_of = {row.case_id: number + FIRST_ROW for number, row in enumerate(manifest.rows)}
    labels = {row.case_id: _label(row, card, target, row_of[row.case_id]) for row in rows}
    labeled_rows = [row for row in rows if labels[row.case_id] is not None]
    results, failed = {}, []
    with CaseScorer(card, lambda: predictor) as scorer:
        for together in card.kind.groups(labeled_rows):
            for row, found in zip(together, scorer.score(together), strict=True):
                if found.result.status == "failed":
                    failed.append(Failed(row.case_id, row_of[row.case_id], found.message or found.result.message))
                else:
                    results[row.case_id] = found.result
            progress(len(results) + len(failed), len(labeled_rows))
    cases: dict[tuple[str, ...], list[Case]] = {}
    for row in labeled_rows:
        if row.case_id in results:
            # Slices of one volume are one case, as in training.
            cases.setdefault(case_of(row), []).append(row)
    first = [rows[0] for rows in cases.values()]
    key = pseudonym_key(home)
    table, unsized = _table(
        card,
        first,
        [row_of[row.case_id] for row in first],
        [pseudonym("P", row.patient_id, key, row.values.get("pseudonym_key")) for row in first],
        [labels[row.case_id] for row in first],
        [[_probabilities(results[row.case_id], card) for row in rows] for rows in cases.values()],
    )
    gates = dict(Counter(results[row.case_id].gate for row in first))
    return Scored(table, unsized, key_name(key), failed, len(rows) - len(labeled_rows), gates)


def _label(row: Case, card: ModelCard, target: str, number: int) -> int | None:
    """The number of the row's class; None where it has none."""
    text = row.values.get(target, "") if target != LABEL else "" if row.label is None else OWN_CLASSES[row.label]
    if not text:
        return None
    if text not in card.classes:
        raise InputError(
            f"Row {number} of the manifest has the {target} '{text}', and the model knows {', '.join(card.classes)}. "
            "Correct it, name another --target, or leave the cell empty.",
            "class",
        )
    return card.classes.index(text)


def _probabilities(result: NoduleResult | Prediction, card: ModelCard) -> list[float]:
    if result.class_probabilities:
        return [result.class_probabilities[name] for name in card.classes]
    return [1 - result.probability, result.probability]


def _table(
    card: ModelCard,
    cases: Sequence[Any],
    rows: Sequence[int],
    patients: Sequence[str],
    labels: Sequence[int],
    members: Sequence[Sequence[Sequence[float]]],
) -> tuple[PredictionTable, int]:
    """The predictions, and how many cases have no diameter. members: the probabilities of each case's images, of which
    a case has the mean of their log-odds, as in training."""
    probabilities = [
        found[0] if len(found) == 1 else softmax(np.log(np.clip(found, _LEAST, 1 - _LEAST)).mean(axis=0)).tolist()
        for found in members
    ]
    classes, sizes = tuple(card.classes), [case.diameter_mm for case in cases]
    unsized = sizes.count(None)
    table = PredictionTable(
        case_ids=[case.case_id for case in cases],
        patients=patients,
        labels=np.array(labels, dtype=int),
        probabilities=np.array(probabilities, dtype=float).reshape(-1, len(classes)),
        others={} if unsized or len(classes) > 2 else {SIZE: np.array(sizes, dtype=float)},
        rows=rows,
        classes=classes,
        by_class=classes != OWN_CLASSES or card.fusion == "graph",
    )
    return table, unsized


def score_cache(predictor: Any, path: Path, progress: Progress) -> Scored:
    """Raises InputError for a cache of other images than the model's, UsageError for one without what it asks for."""
    card = predictor.card
    if card.clinical:
        raise UsageError(
            f"The model {card.id} asks for {', '.join(one.name for one in card.clinical)}, which a cache does not hold"
            ". Give the manifest.",
            "clinical",
        )
    everyone = join([open_store(path)])
    if everyone.kind.name != card.input:
        raise InputError(f"{path} holds {everyone.kind.title}, and the model {card.id} scores others.", "kind")
    step, wanted = (getattr(settings, "slice_step_mm", None) for settings in (everyone.settings, card.preprocessing))
    if step != wanted:
        raise InputError(
            f"The cache's slices are {step} mm apart, the model wants {wanted:g} mm. Build the cache with --slice-step "
            f"{wanted:g}, or give the manifest.",
            "slice-step",
        )
    cohort = labeled(everyone).main
    images = ((case, image) for case in range(len(cohort)) for image in cohort.kind.scored(cohort, case))
    members: list[list[list[float]]] = [[] for _ in cohort.cases]
    while together := list(islice(images, _TOGETHER)):
        predictions = predictor.predict([Prepared(image) for _, image in together])
        for (owner, _), found in zip(together, predictions, strict=True):
            members[owner].append(_probabilities(found, card))
        progress(together[-1][0] + 1, len(cohort))
    table, unsized = _table(
        card,
        cohort.cases,
        [case.row for case in cohort.cases],
        [case.patient for case in cohort.cases],
        cohort.labels.tolist(),
        members,
    )
    return Scored(table, unsized, cohort.pseudonym_key, [], len(everyone) - len(cohort), {})
