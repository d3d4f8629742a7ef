"""The rows of a batch that are scored together, those of one volume or a few pictures: each of them gets its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ..cases.case import Case
from ..cases.points import NodulePoint
from ..cases.values import asked_of
from ..errors import UNREADABLE, InputError, MAEMCError, input_error
from ..fingerprint import input_sha256
from ..images.content import content_sha256
from ..images.ct import CTVolume
from ..images.reading_process import ReadingProcess
from ..models.card import ModelCard
from ..picture_scoring import PictureSource, score_pictures
from ..results import NoduleResult
from ..scoring import Scorer, failed, score_points

PICTURES = 16
"""Pictures computed and written at once."""


@dataclass(frozen=True)
class RowResult:
    """A result, and what the terminal may say of a failed one: names of files that the result does not hold."""

    result: NoduleResult
    said: str = ""


def shares_of(rows: list[Case], card: ModelCard) -> list[list[Case]]:
    """The rows that are scored together: those of one volume, or a few pictures."""
    if card.input == "picture":
        return [rows[start : start + PICTURES] for start in range(0, len(rows), PICTURES)]
    volumes: dict[tuple[Path, str | None], list[Case]] = {}
    for row in rows:
        volumes.setdefault((row.image, row.series), []).append(row)
    return list(volumes.values())


def fingerprint(row: Case, card: ModelCard, nifti_form: str | None) -> str:
    """What the row's result is computed from (see ``fingerprint``). Raises what reading of its files raises."""
    clinical = asked_of(row.values, card.clinical)
    index = PictureSource.of(row).slice_index if card.input == "picture" else None
    return input_sha256(row.image, card, row.point_lps, row.diameter_mm, clinical, row.series, nifti_form, index)


def row_problem(row: Case, card: ModelCard) -> InputError | None:
    """Why a row cannot be scored by the model, whatever its image holds."""
    if row.problem:
        return InputError(row.problem, "manifest")
    if card.input == "picture" and row.kind == "nodule":
        return InputError("The row is a nodule in a CT; the model scores 2-D pictures only.", "input-kind")
    if card.input == "nodule" and row.point_lps is None:
        return InputError(f"The row is of the kind {row.kind} and has no point; only nodules can be scored.", "point")
    return None


def failed_row(row: Case, error: MAEMCError, card: ModelCard) -> RowResult:
    """The result of a row that could not be scored. What the terminal may say names the image."""
    result = failed(row.nodule_id, row.point_lps, error.hide(row.image), card)
    said = str(error)
    if row.image.name not in said and not row.problem:
        said += f" ({row.image})"
    return RowResult(replace(result, case_id=row.case_id), said)


class ShareScorer:
    """Scores shares with a loaded model. Volumes are read in a child process, which a damaged file may crash.

    Nothing that one row or image holds ends the others: whatever it ends in is its own reason. ``with`` ends the child.
    """

    def __init__(self, predictor: Scorer, nifti_form: str | None = None) -> None:
        self._predictor, self._card, self._nifti_form = predictor, predictor.card, nifti_form
        self._reader = ReadingProcess()
        # The last further series stays in memory: the points of one patient come after each other.
        self._read_further = lru_cache(maxsize=1)(lambda path: self._reader.read(path, None, nifti_form))

    def __enter__(self) -> ShareScorer:
        return self

    def __exit__(self, *_) -> None:
        self._reader.close()

    def score(self, rows: list[Case]) -> list[RowResult]:
        """A result for each row, in order."""
        known: dict[int, tuple[str, str]] = {}
        found: dict[int, RowResult] = {}
        for number, row in enumerate(rows):
            try:
                if problem := row_problem(row, self._card):
                    raise problem
                known[number] = self._fingerprint(row)
            except UNREADABLE as error:
                found[number] = failed_row(row, input_error(error, "The image cannot be read"), self._card)
        sound = [rows[number] for number in known]
        results = self._score_pictures(sound) if self._card.input == "picture" else self._score_volume(sound)
        for number, result in zip(known, results, strict=True):
            found[number] = self._completed(rows[number], result, *known[number])
        return [found[number] for number in range(len(rows))]

    def _fingerprint(self, row: Case) -> tuple[str, str]:
        whole = self._card.input != "picture" or PictureSource.of(row).slice_index is not None
        image = content_sha256(row.image, volume=whole)
        return image[:12], fingerprint(row, self._card, self._nifti_form)

    def _completed(self, row: Case, found: RowResult, image: str, sha256: str) -> RowResult:
        try:
            unchanged = self._fingerprint(row) == (image, sha256)
        except UNREADABLE:
            unchanged = False
        if not unchanged:
            error = InputError("The image changed while it was read. Run the command again.", "image-changed")
            found, sha256 = failed_row(row, error, self._card), ""
        result = replace(found.result, case_id=row.case_id, nodule_id=row.nodule_id, image=image)
        return replace(found, result=replace(result, input_sha256=sha256 or None))

    def _score_volume(self, rows: list[Case]) -> list[RowResult]:
        if not rows:
            return []
        try:
            volume = self._reader.read(rows[0].image, rows[0].series, self._nifti_form)
        except UNREADABLE as error:
            reason = input_error(error, "The image cannot be read")
            return [failed_row(row, reason, self._card) for row in rows]
        return self._together(rows, lambda some: self._score_points(volume, some))

    def _score_points(self, volume: CTVolume, rows: list[Case]) -> list[NoduleResult]:
        points = [NodulePoint(row.nodule_id, row.point_lps) for row in rows]
        diameters = [row.diameter_mm for row in rows]
        clinical = [asked_of(row.values, self._card.clinical) for row in rows]
        found = score_points(volume, points, self._predictor, diameters, clinical, self._read_further)
        return [result for result, _ in found]

    def _score_pictures(self, rows: list[Case]) -> list[RowResult]:
        def score(some: list[Case]) -> list[NoduleResult]:
            found = score_pictures([PictureSource.of(row) for row in some], self._predictor)
            return [result for result, _ in found]

        return self._together(rows, score) if rows else []

    def _together(self, rows: list[Case], score: Callable[[list[Case]], list[NoduleResult]]) -> list[RowResult]:
        """All at once, or, where that ends in an error, each alone: then it is that of one row."""
        try:
            results = score(rows)
        except UNREADABLE as error:
            if len(rows) > 1:
                return [found for row in rows for found in self._together([row], score)]
            return [failed_row(rows[0], input_error(error, "The case cannot be scored"), self._card)]
        return [
            RowResult(result) if result.status == "scored" else failed_row(row, InputError(result.message), self._card)
            for row, result in zip(rows, results, strict=True)
        ]
