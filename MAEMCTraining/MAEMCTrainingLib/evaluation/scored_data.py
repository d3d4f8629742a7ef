"""Labeled cases of a manifest or a cache, scored by the whole model or by its one member that never saw the patient.

Cases of a manifest are scored through ``MAEMCLib``'s own ``CaseScorer``, so that the numbers are those of ``maemc
batch``; a cache gives what it holds. A case of several pictures has the mean of their log-odds, as in training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.pseudonyms import key_name, pseudonym, pseudonym_key
from MAEMCLib.errors import UNREADABLE, InputError, UsageError
from MAEMCLib.images.reading_process import ReadingProcess
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.models.card import ModelCard
from MAEMCLib.results import NoduleResult, Prediction
from MAEMCLib.scoring import CaseScorer, ScoredCase, prepare
from scipy.special import softmax

from ..classifiers.cases import LABEL, OWN_CLASSES, labeled
from ..data.cases import FIRST_ROW
from ..data.cohort import join
from ..data.kinds import KINDS
from ..data.kinds.picture import case_of
from ..data.sources import Source
from .baselines import SIZE
from .groups import Grouping, check_groups, columns_of
from .predictions import PredictionTable

_TOGETHER = 16
_LEAST = 1e-7  # a probability of 0 would have no log-odds
WHOLE = -1
"""In the place of a fold's number: all members of the model together."""
Progress = Callable[[int, int], None]


class Members:
    """The predictors of a model, and which of them may judge whom.

    folds: pseudonym of a patient -> the fold that tests the patient, and whose member alone never saw that patient.
    key: name of the pseudonyms' key; patients under another one are strangers to the model. load: gives the predictor
    of one fold's member, or of ``WHOLE``; each is loaded once.
    """

    def __init__(
        self, card: ModelCard, load: Callable[[int], Any], folds: Mapping[str, int] | None = None, key: str = ""
    ) -> None:
        self.card, self.folds, self.key = card, folds or {}, key
        self._load, self._loaded = load, {}

    def predictor(self, fold: int) -> Any:
        """Of a fold's member, or of ``WHOLE``."""
        if fold not in self._loaded:
            self._loaded[fold] = self._load(fold)
        return self._loaded[fold]

    def fold_of(self, patient: str, key: str) -> int:
        """The fold whose member judges a patient; ``WHOLE`` where no fold tests the patient."""
        return self.folds.get(patient, WHOLE) if key == self.key else WHOLE

    def score(self, rows: Iterable[Case], fold_of: Callable[[Case], int]) -> Iterator[tuple[Case, ScoredCase]]:
        """Each row with its result, those of one fold after each other."""
        for fold, own in _by_fold(rows, fold_of).items():
            with CaseScorer(self.card, lambda fold=fold: self.predictor(fold)) as scorer:
                for together in self.card.kind.groups(own):
                    yield from zip(together, scorer.score(together), strict=True)

    def probabilities(
        self, rows: Iterable[Case], fold_of: Callable[[Case], int]
    ) -> Iterator[tuple[Case, float | None]]:
        """Of two classes each row's probability as ``score`` has it, without outline, gate and range over the click;
        None where it cannot be had."""
        with ReadingProcess() as reader:
            for fold, own in _by_fold(rows, fold_of).items():
                for row in own:
                    try:
                        prepared = prepare(row, self.card, reader, beside=False)
                        yield row, self.predictor(fold).predict([prepared])[0].probability
                    except UNREADABLE:
                        yield row, None


def _by_fold(rows: Iterable[Case], fold_of: Callable[[Case], int]) -> dict[int, list[Case]]:
    found: dict[int, list[Case]] = {}
    for row in rows:
        found.setdefault(fold_of(row), []).append(row)
    return found


class Failed(NamedTuple):
    """A case that could not be scored: the user's own case_id, its row of the manifest, the reason in full."""

    case_id: str
    row: int
    reason: str


@dataclass(frozen=True)
class Scored:
    """Other data after scoring.

    table: case_ids are the user's own, of a cache pseudonyms; beside the model stands the size, where all are known.
    columns: what the data say of each case of the table, by column. sizes: mm, None where unknown. key: name of the
    pseudonyms' key. failed: what could not be scored. unlabeled: cases left out for want of a label. gates: how many
    cases have each color; empty for a cache. rows, results: of the manifest, for what is scored again; empty for a
    cache.
    """

    table: PredictionTable
    columns: Sequence[Mapping[str, str]]
    sizes: Sequence[float | None]
    key: str
    failed: list[Failed] = field(default_factory=list)
    unlabeled: int = 0
    gates: Mapping[str, int] = field(default_factory=dict)
    rows: Sequence[Case] = ()
    results: Mapping[str, NoduleResult] = field(default_factory=dict)

    @property
    def unsized(self) -> int:
        """Cases without a diameter."""
        return list(self.sizes).count(None)


def score_manifest(
    members: Members, source: Source, home: Path, target: str, groupings: Sequence[Grouping], progress: Progress
) -> Scored:
    """target: the column of the class. groupings: that will be asked for of the result. Raises InputError for a
    manifest that cannot be read, a class that the model does not know, UsageError for groupings that divide nothing."""
    manifest, card, key = source.data, members.card, pseudonym_key(home)
    rows = [row for row in manifest.rows if row.kind in KINDS[card.input].rows]
    row_of = {row.case_id: number + FIRST_ROW for number, row in enumerate(manifest.rows)}
    labels = {row.case_id: _label(row, card, target, row_of[row.case_id]) for row in rows}
    labeled_rows = [row for row in rows if labels[row.case_id] is not None]
    check_groups(groupings, columns_of(labeled_rows))
    results, failed = {}, []

    def patient(row: Case) -> str:
        return pseudonym("P", row.patient_id, key, row.values.get("pseudonym_key"))

    for row, found in members.score(labeled_rows, lambda row: members.fold_of(patient(row), key_name(key))):
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
    first = [together[0] for together in cases.values()]
    table = _table(
        card,
        first,
        [row_of[row.case_id] for row in first],
        [patient(row) for row in first],
        [labels[row.case_id] for row in first],
        [[probabilities_of(results[row.case_id], card) for row in together] for together in cases.values()],
    )
    return Scored(
        table,
        columns=columns_of(first),
        sizes=[row.diameter_mm for row in first],
        key=key_name(key),
        failed=failed,
        unlabeled=len(rows) - len(labeled_rows),
        gates=dict(Counter(results[row.case_id].gate for row in first)),
        rows=first,
        results=results,
    )


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


def probabilities_of(result: NoduleResult | Prediction, card: ModelCard) -> list[float]:
    """A number for each class of the card."""
    if result.class_probabilities:
        return [result.class_probabilities[name] for name in card.classes]
    return [1 - result.probability, result.probability]


def _table(
    card: ModelCard,
    cases: Sequence[Any],
    rows: Sequence[int],
    patients: Sequence[str],
    labels: Sequence[int],
    images: Sequence[Sequence[Sequence[float]]],
) -> PredictionTable:
    """The predictions. images: the probabilities of each case's images, of which a case has the mean of their
    log-odds, as in training."""
    probabilities = [
        found[0] if len(found) == 1 else softmax(np.log(np.clip(found, _LEAST, 1 - _LEAST)).mean(axis=0)).tolist()
        for found in images
    ]
    classes, sizes = tuple(card.classes), [case.diameter_mm for case in cases]
    return PredictionTable(
        case_ids=[case.case_id for case in cases],
        patients=patients,
        labels=np.array(labels, dtype=int),
        probabilities=np.array(probabilities, dtype=float).reshape(-1, len(classes)),
        others={} if None in sizes or len(classes) > 2 else {SIZE: np.array(sizes, dtype=float)},
        rows=rows,
        classes=classes,
        by_class=classes != OWN_CLASSES or card.fusion == "graph",
    )


def score_cache(members: Members, source: Source, groupings: Sequence[Grouping], progress: Progress) -> Scored:
    """groupings: as of ``score_manifest``. Raises InputError for a cache of other images than the model's, UsageError
    for one without what it asks for, groupings that divide nothing."""
    card = members.card
    if card.clinical:
        raise UsageError(
            f"The model {card.id} asks for {', '.join(one.name for one in card.clinical)}, which a cache does not hold"
            ". Give the manifest.",
            "clinical",
        )
    everyone = join([source.data])
    if everyone.kind.name != card.input:
        raise InputError(f"{source.path} holds {everyone.kind.title}, and the model {card.id} scores others.", "kind")
    step, wanted = (getattr(settings, "slice_step_mm", None) for settings in (everyone.settings, card.preprocessing))
    if step != wanted:
        raise InputError(
            f"The cache's slices are {step} mm apart, the model wants {wanted:g} mm. Build the cache with --slice-step "
            f"{wanted:g}, or give the manifest.",
            "slice-step",
        )
    cohort = labeled(everyone).main
    check_groups(groupings, columns_of(cohort.cases))
    folds = [members.fold_of(case.patient, cohort.pseudonym_key) for case in cohort.cases]
    found: list[list[list[float]]] = [[] for _ in cohort.cases]
    done = 0
    for fold in dict.fromkeys(folds):
        own = [case for case, of in enumerate(folds) if of == fold]
        images = ((case, image) for case in own for image in cohort.kind.scored(cohort, case))
        while together := list(islice(images, _TOGETHER)):
            predictions = members.predictor(fold).predict([Prepared(image) for _, image in together])
            for (owner, _), prediction in zip(together, predictions, strict=True):
                found[owner].append(probabilities_of(prediction, card))
            progress(done + own.index(together[-1][0]) + 1, len(cohort))
        done += len(own)
    table = _table(
        card,
        cohort.cases,
        [case.row for case in cohort.cases],
        [case.patient for case in cohort.cases],
        cohort.labels.tolist(),
        found,
    )
    return Scored(
        table,
        columns=columns_of(cohort.cases),
        sizes=[case.diameter_mm for case in cohort.cases],
        key=cohort.pseudonym_key,
        unlabeled=len(everyone) - len(cohort),
    )
