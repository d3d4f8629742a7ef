"""The path of a case to its row, the same for every input, for command line, batch and Slicer.

Free of torch, so that Slicer's own process can prepare and finish while a worker predicts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .applicability import Finding
from .cases.case import Case
from .cases.values import asked_of, read_values
from .errors import UNREADABLE, InputError, MAEMCError, input_error
from .fingerprint import Fingerprint, fingerprint
from .inputs.input import Prepared
from .models.card import ModelCard
from .models.ood import unlike_training
from .results import NoduleResult, Prediction


class Scorer(Protocol):
    """What ``models.predictor.Predictor`` is to this module, which does not import torch."""

    card: ModelCard

    def predict(self, cases: list[Prepared]) -> list[Prediction]: ...


@dataclass(frozen=True)
class ScoredCase:
    """A case with its row. prepared: None of a case that could not be scored; then error says why, and said is that for
    the terminal, with names of files that the row does not hold."""

    result: NoduleResult
    prepared: Prepared | None = None
    error: MAEMCError | None = None
    said: str = ""


def prepare(case: Case, card: ModelCard, reader: Any = None) -> Prepared:
    """Check what is known of a case, read its image and cut what the model wants.

    reader: the input's own (``card.kind.reader``); none is needed for volumes that are in memory.
    Raises InputError, and UsageError for values that are missing or wrong.
    """
    if problem := _problem(case, card):
        raise problem
    values = read_values(asked_of(case.values, card.clinical), card.clinical, card.id)
    return card.kind.prepare(case, card, values, reader)


def scored(
    prepared: Prepared, prediction: Prediction, card: ModelCard, source: Fingerprint | None = None
) -> NoduleResult:
    """The row of a prepared case. source: what it was computed from; without it the volume in memory is named."""
    notice = Finding("green", "device", prediction.notice) if prediction.notice else None
    assessment = prepared.assessment.with_findings(unlike_training(prediction.ood_percentile), notice)
    every = prediction.class_probabilities
    threshold = card.threshold
    return NoduleResult(
        **_described(prepared.case, card, source),
        point_lps=prepared.region.point_lps,
        status="scored",
        gate=assessment.gate,
        gate_reasons=assessment.reasons,
        probability=prediction.probability,
        interval_low=prediction.interval_low,
        interval_high=prediction.interval_high,
        interval_kind=prediction.interval_kind,
        class_name=max(every, key=every.get) if every else card.classes[int(prediction.probability >= threshold)],
        threshold=threshold,
        padded_fraction=prepared.region.padded_fraction,
        warnings=assessment.warnings,
        device=prediction.device,
        seconds=prediction.seconds,
        ood_percentile=prediction.ood_percentile,
        class_probabilities=every,
        clinical=prepared.values.values or None,
    )


def failed(
    case: Case, error: MAEMCError, card: ModelCard | None = None, source: Fingerprint | None = None
) -> NoduleResult:
    """The row of a case that could not be scored, its reason as the message; a point that is NaN is left out."""
    point = case.point_lps
    if point is not None:
        point = tuple(float(value) for value in point)
        point = point if all(math.isfinite(value) for value in point) else None  # JSON has no NaN
    return NoduleResult(**_described(case, card, source), point_lps=point, status="failed", message=error.anonymous)


def failed_case(case: Case, error: Exception, card: ModelCard, source: Fingerprint | None = None) -> ScoredCase:
    """A case that could not be scored, whatever the reason."""
    in_memory = not isinstance(case.image, Path)
    known = input_error(error, f"The {card.kind.noun} cannot be scored").hide(
        case.image.name if in_memory else case.image
    )
    said = str(known)
    if not in_memory and case.image.name not in said and not case.problem:
        said += f" ({case.image})"
    return ScoredCase(failed(case, known, card, source), None, known, said)


def _described(case: Case, card: ModelCard | None, source: Fingerprint | None) -> dict[str, Any]:
    """Of a row what is known before anything is computed."""
    known: dict[str, Any] = {"case_id": case.case_id, "nodule_id": case.nodule_id}
    if card is not None:
        known |= {"model_id": card.id, "model_version": card.version, "model_sha256": card.sha256}
    if source is not None:
        return known | {"image": source.image, "input_sha256": source.whole or None}
    return known if isinstance(case.image, Path) else known | {"image": case.image.name}


class CaseScorer:
    """Scores cases, those of one group at once. Nothing that one case or image holds ends the others.

    opened: makes the predictor, when something is ready for it first. nifti_form, notice: see ``Input.reader``.
    ``with`` ends what reads the images.
    """

    def __init__(
        self,
        card: ModelCard,
        opened: Callable[[], Scorer],
        nifti_form: str | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        self._card, self._opened, self._nifti_form = card, opened, nifti_form
        self._context = card.kind.reader(nifti_form, notice)
        self.predictor: Scorer | None = None

    def __enter__(self) -> CaseScorer:
        self._reader = self._context.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._context.__exit__(*error)

    def score(self, cases: list[Case]) -> list[ScoredCase]:
        """The cases of one group, each with its row."""
        found: dict[int, ScoredCase] = {}
        sources: dict[int, Fingerprint | None] = {}
        for number, case in enumerate(cases):  # before anything of the group is read: the reader keeps its last image
            try:
                if problem := _problem(case, self._card):
                    raise problem
                sources[number] = self._fingerprint(case)
            except UNREADABLE as error:
                found[number] = failed_case(case, error, self._card)
        ready: dict[int, tuple[Prepared, Fingerprint | None]] = {}
        for number, source in sources.items():
            try:
                ready[number] = prepare(cases[number], self._card, self._reader), source
            except UNREADABLE as error:
                found[number] = failed_case(cases[number], error, self._card, source)
        predictions = self._predicted([prepared for prepared, _ in ready.values()])
        for (number, (prepared, source)), prediction in zip(ready.items(), predictions, strict=True):
            if isinstance(prediction, Exception):
                found[number] = failed_case(cases[number], prediction, self._card, source)
            else:
                found[number] = ScoredCase(scored(prepared, prediction, self._card, source), prepared)
        return [self._unchanged(cases[number], found[number]) for number in range(len(cases))]

    def _fingerprint(self, case: Case) -> Fingerprint | None:
        """None of an image that is in memory."""
        return fingerprint(case, self._card, self._nifti_form) if isinstance(case.image, Path) else None

    def _predicted(self, prepared: list[Prepared]) -> list[Prediction | Exception]:
        """All at once, or, where that ends in an error, each alone: then it is that of one case."""
        if not prepared:
            return []
        if self.predictor is None:
            self.predictor = self._opened()
        try:
            return self.predictor.predict(prepared)
        except UNREADABLE as error:
            return [error] if len(prepared) == 1 else [self._predicted([one])[0] for one in prepared]

    def _unchanged(self, case: Case, found: ScoredCase) -> ScoredCase:
        """The same, or a failed case where its image was written to while it was read."""
        if found.result.input_sha256 is None:
            return found
        try:
            if fingerprint(case, self._card, self._nifti_form).whole == found.result.input_sha256:
                return found
        except UNREADABLE:
            pass
        error = InputError("The image changed while it was read. Run the command again.", "image-changed")
        return failed_case(case, error, self._card, Fingerprint(found.result.image, ""))


def _problem(case: Case, card: ModelCard) -> InputError | None:
    """Why a case cannot be scored by the model, whatever its image holds."""
    return InputError(case.problem, "manifest") if case.problem else card.kind.problem(case)
