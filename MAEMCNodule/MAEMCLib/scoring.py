"""The path of a case to its row, the same for every input, for command line, batch and Slicer.

Free of torch, so that Slicer's own process can prepare and finish while a worker predicts. What a row was computed from
is kept as one hash, the column ``input_sha256`` of results.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .applicability import SIZE_UNKNOWN, Finding, gate_of, unlike_training
from .cases.case import Case
from .cases.values import SERIES, asked_of, read_values
from .errors import UNREADABLE, InputError, MAEMCError, input_error
from .images.files import content_sha256
from .images.reading_process import ReadingProcess
from .inputs.input import Prepared
from .inputs.jitter import click_finding
from .machine.installation import check_torch
from .measures.gates import nodule_findings, outline_findings
from .measures.measured import MeasuredNodule, measured
from .measures.middle import snap
from .models.bundle import ModelBundle
from .models.card import ModelCard
from .presence.findings import PRESENT, presence_finding, present
from .results import InputWarning, NoduleResult, Prediction

SCORING_RELEASE = 6
"""Raise it with every change by which the same input and model give other numbers, gates or warnings: in reading
(``images``), cutting and preparing (``inputs``), outlining and measuring (``measures``), predicting (``models``) and
judging (``applicability``). Results of another release are then computed again by ``maemc batch``, and not kept. 2: an
end slice of a DICOM series that is cut short is no longer left out, whatever its modality says. 3: nodules are outlined
and measured. 4: a point that lies in no nodule, what a nodule holds and borders on, and clicks beside it are told.
5: a scanner's filling outside its circle is read as air. 6: the detector of nodules looks at a patch in eight ways;
specks of calcium and cavities are not called benign."""


@dataclass(frozen=True)
class Fingerprint:
    """What a result says of its image (the first letters of its content's hash), and of all that it was computed
    from."""

    image: str
    whole: str


class Scorer(Protocol):
    """What ``models.predictor.Predictor`` is to this module, which does not import torch."""

    card: ModelCard

    def predict(self, cases: list[Prepared]) -> list[Prediction]: ...

    def outline(self, planes: np.ndarray, first_mm: float, step_mm: float) -> np.ndarray: ...


@dataclass(frozen=True)
class ScoredCase:
    """A case with its row.

    prepared: None of a case that could not be scored; error then has the reason, and message is that for the terminal,
    with names of files, which the row does not hold. nodule: its outline and measures, None where there are none.
    """

    result: NoduleResult
    prepared: Prepared | None = None
    error: MAEMCError | None = None
    message: str = ""
    nodule: MeasuredNodule | None = None


def prepare(case: Case, card: ModelCard, reader: ReadingProcess | None = None, beside: bool = True) -> Prepared:
    """Check what is known of a case, read its image and cut what the model wants.

    reader: keeps what it has read from one case to the next; none is needed for images that are in memory. beside:
    False leaves out what the number does not need: outline, presence, range over the click.
    Raises InputError, and UsageError for values that are missing or wrong.
    """
    _check(case, card)
    values = read_values(asked_of(case.values, card.clinical), card.clinical, card.id)
    return card.kind.prepare(case, card, values, reader, beside)


def scored(
    prepared: Prepared,
    prediction: Prediction,
    card: ModelCard,
    source: Fingerprint | None = None,
    nodule: MeasuredNodule | None = None,
) -> NoduleResult:
    """The row of a prepared case. source: what it was computed from; without it the volume in memory is named.
    nodule: its measures, whose long axis is its size where the case has none of its own."""
    there = present(prediction.nodule_present, prepared.findings)
    notice = Finding("green", "device", prediction.notice) if prediction.notice else None
    low, high = prediction.jitter_low, prediction.jitter_high
    moved = None if low is None or high is None else click_finding(low, high, card.threshold)
    further = (presence_finding(there, prepared.findings), unlike_training(prediction.ood_percentile), moved, notice)
    spoken = None if there is not None and there < PRESENT else nodule  # of what is no nodule nothing more is said
    findings = [*_with_nodule(prepared, spoken, card), *(finding for finding in further if finding is not None)]
    gate, reasons = gate_of(findings)
    every = prediction.class_probabilities
    predicted = {one.name: getattr(prediction, one.name) for one in fields(prediction)} | {"nodule_present": there}
    del predicted["members"], predicted["notice"]  # what a row does not hold
    if there is not None and there < PRESENT:
        predicted |= {"characteristics": None, "alike": (), "measured": None}
    return NoduleResult(
        **_described(prepared.case, card, source),
        **predicted,
        point_lps=prepared.region.point_lps,
        status="scored",
        gate=gate,
        gate_reasons=reasons,
        class_name=max(every, key=every.get) if every else card.classes[prediction.probability >= card.threshold],
        threshold=card.threshold,
        padded_fraction=prepared.region.padded_fraction,
        warnings=tuple(InputWarning(finding.code, finding.message, finding.color) for finding in findings),
        clinical=prepared.values.values or None,
        **(nodule.columns() if nodule is not None else {}),
        **snap(nodule),
    )


def _with_nodule(prepared: Prepared, nodule: MeasuredNodule | None, card: ModelCard) -> list[Finding]:
    """What was noticed of a case, with what its nodule's outline says: its size, where the case states none, and
    everything that it holds or borders on."""
    known = list(prepared.findings)
    if nodule is None:
        return known
    around = prepared.field.around
    if prepared.case.diameter_mm is not None:
        return [*known, *nodule_findings(around, nodule.mask, nodule.measures, card.limits)]
    known = [one for one in known if one.code != SIZE_UNKNOWN]
    return [*known, *outline_findings(around, nodule, card.limits)]


def failed(
    case: Case, error: MAEMCError, card: ModelCard | None = None, source: Fingerprint | None = None
) -> NoduleResult:
    """The row of a case that could not be scored, its reason as the message; a point that is NaN is left out."""
    finite = case.point_lps is not None and all(map(math.isfinite, case.point_lps))  # JSON has no NaN
    point = tuple(map(float, case.point_lps)) if finite else None
    return NoduleResult(**_described(case, card, source), point_lps=point, status="failed", message=error.anonymous)


def failed_case(case: Case, error: Exception, card: ModelCard, source: Fingerprint | None = None) -> ScoredCase:
    """A case that could not be scored, whatever the reason."""
    in_memory = not isinstance(case.image, Path)
    known = input_error(error, f"The {card.kind.noun} cannot be scored").hide(
        case.image.name if in_memory else case.image
    )
    message = str(known)
    if not in_memory and case.image.name not in message and not case.problem:
        message += f" ({case.image})"
    return ScoredCase(failed(case, known, card, source), None, known, message)


def _described(case: Case, card: ModelCard | None, source: Fingerprint | None) -> dict[str, Any]:
    """Of a row what is known before anything is computed."""
    known: dict[str, Any] = {"case_id": case.case_id, "nodule_id": case.nodule_id}
    if card is not None:
        known |= {"model_id": card.id, "model_version": card.version, "model_sha256": card.sha256}
    if source is not None:
        return known | {"image": source.image, "input_sha256": source.whole or None}
    return known if isinstance(case.image, Path) else known | {"image": case.image.name}


def opened(bundle: ModelBundle, device: str) -> Callable[[], Scorer]:
    """Makes the predictor of a bundle; PyTorch is imported no sooner. It raises what ``check_torch`` and
    ``open_predictor`` raise."""

    def predictor() -> Scorer:
        check_torch()
        from .models.reference_case import open_predictor

        return open_predictor(bundle, device)

    return predictor


class CaseScorer:
    """Scores cases, those of one group at once. Nothing that one case or image holds ends the others.

    opened: makes the predictor, when something is ready for it first. nifti_form, notice: as of ``ReadingProcess``.
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
        self._reader = ReadingProcess(nifti_form, notice)
        self.predictor: Scorer | None = None

    def __enter__(self) -> CaseScorer:
        return self

    def __exit__(self, *error) -> None:
        self._reader.close()

    def score(self, cases: list[Case]) -> list[ScoredCase]:
        """The cases of one group, each with its row."""
        rows: dict[int, ScoredCase] = {}
        sources: dict[int, Fingerprint | None] = {}
        for number, case in enumerate(cases):  # before anything of the group is read: the reader keeps its last image
            try:
                _check(case, self._card)
                on_disk = isinstance(case.image, Path)
                sources[number] = fingerprint(case, self._card, self._nifti_form) if on_disk else None
            except UNREADABLE as error:
                rows[number] = failed_case(case, error, self._card)
        ready: dict[int, Prepared] = {}
        for number, source in sources.items():
            try:
                ready[number] = prepare(cases[number], self._card, self._reader)
            except UNREADABLE as error:
                rows[number] = failed_case(cases[number], error, self._card, source)
        predictions = self._predicted(list(ready.values()))
        for (number, prepared), prediction in zip(ready.items(), predictions, strict=True):
            source = sources[number]
            if isinstance(prediction, Exception):
                rows[number] = failed_case(cases[number], prediction, self._card, source)
            else:
                nodule = self._measured(prepared)
                row = scored(prepared, prediction, self._card, source, nodule)
                rows[number] = ScoredCase(row, prepared, nodule=nodule)
        return [self._unchanged(case, rows[number]) for number, case in enumerate(cases)]

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

    def _measured(self, prepared: Prepared) -> MeasuredNodule | None:
        field = prepared.field
        if field is None:
            return None
        return measured(field, self.predictor.outline(field.planes, field.first_mm, field.step_mm))

    def _unchanged(self, case: Case, row: ScoredCase) -> ScoredCase:
        """The same, or a failed case where its image was written to while it was read."""
        before = row.result.input_sha256
        with suppress(UNREADABLE):
            if before is None or fingerprint(case, self._card, self._nifti_form).whole == before:
                return row
        error = InputError("The image changed while it was read. Run the command again.", "image-changed")
        return failed_case(case, error, self._card, Fingerprint(row.result.image, ""))


def _check(case: Case, card: ModelCard) -> None:
    """Raise InputError for a case that the model cannot score, whatever its image holds."""
    if case.problem:
        raise InputError(case.problem, "manifest")
    card.kind.check(case)


def fingerprint(case: Case, card: ModelCard, nifti_form: str | None = None) -> Fingerprint:
    """The hash of everything that decides a case's result: contents of the image and of further series, point (LPS mm),
    diameter, the values that the model asks for, reader's flags, the model with its preprocessing, SCORING_RELEASE;
    of a slice of a volume also its number.

    Nothing can be read from it, and neither names nor places of files count.
    Raises what reading of the files raises (InputError, OSError; InputError naming the further series).
    """
    further = {one.name for one in card.clinical if one.kind == SERIES}
    values = {
        name: _series_sha256(name, value) if name in further else value
        for name, value in asked_of(case.values, card.clinical).items()
    }
    index = card.kind.slice_of(case) if card.kind.sliced else None
    image = content_sha256(case.image, card.kind.located or index is not None)
    stated = {
        "image": image,
        "point_lps": case.point_lps,
        "diameter_mm": case.diameter_mm,
        "clinical": values,
        "series": case.series,
        "nifti_form": nifti_form,
        "model": card.sha256,
        "preprocessing": card.values["preprocessing"],
        "release": SCORING_RELEASE,
    }
    if index is not None:
        stated["slice_index"] = index
    whole = hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()
    return Fingerprint(image[:12], whole)


def _series_sha256(name: str, path: str) -> str:
    try:
        return content_sha256(Path(path))
    except UNREADABLE as error:
        found = input_error(error, "It cannot be read").hide(path)
        raise InputError(f"The series {name} cannot be used: {found}", found.code, found.private) from error
