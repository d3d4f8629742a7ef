"""Reports through the worker: an owner sends a page at a time, however many there are, then where the files go.

An owner, such as the panel, sends ``report_page`` for each nodule in order, with the fields model, device, document
(any text that tells this report from another), number (from 0) and nodule (of ``encode_page``), and at the end
``report`` with model, document, pages (how many were sent), folder and patient (a pseudonym, unless the user wants the
name in the report; may be left out). The answer to ``report`` has the paths of report.html and report.pdf under
``files``. A folder that cannot be written and pages that went lost with a worker are answered by an error that says
what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..applicability import GATES
from ..errors import UsageError
from ..files.atomic import make_folder
from ..files.strict_json import is_count, is_number
from ..files.strict_json import require as require_value
from ..inputs.input import Prepared
from ..models.card import ModelCard
from ..results import MEASURED, Alike, NoduleResult
from .protocol import decode_array, encode_array, encode_case, require

if TYPE_CHECKING:
    from ..measures.view import PlaneView
    from ..report.nodule_page import NodulePage

MOST_PAGES = 1000


def encode_page(
    result: NoduleResult,
    card: ModelCard,
    views: Mapping[str, PlaneView] | None = None,
    clinical: Mapping[str, object] | None = None,
    remarks: Sequence[str] = (),
    prepared: Prepared | None = None,
) -> dict[str, Any]:
    """A nodule's page as JSON for ``report_page``.

    result: the row, under the name that the report shows. views: of ``measures.view.plane_views``. clinical: {name:
    value} for clinical scores (``clinical.together.FIELDS``), "setting" among them. remarks: sentences such as the
    reader's decision. prepared: where the report is to explain the number too, the case as it was scored.
    """
    planes = {
        plane: {"hu": encode_array(view.hu), "inside": encode_array(view.inside), "axes": _lists(view.axes)}
        for plane, view in (views or {}).items()
    }
    page = {"result": result.to_json(), "views": planes, "clinical": dict(clinical or {}), "remarks": list(remarks)}
    return page if prepared is None else {**page, "case": encode_case(prepared, card)}


def _lists(axes: Sequence[np.ndarray]) -> list:
    return [np.asarray(line, float).tolist() for line in axes]


def decode_page(message: object, explained: Sequence = ()) -> NodulePage:
    """Inverse of ``encode_page``; explained: what a report shows of the case, which is not read here.

    Raises UsageError, and InputError for arrays that are none.
    """
    from ..measures.view import DIRECTIONS, PlaneView
    from ..report.nodule_page import NodulePage, planes_part

    require(isinstance(message, dict), "A page is an object with a result.", "report-page")
    try:
        result = NoduleResult.from_json(message["result"])
        _check(result)
        clinical, remarks = dict(message.get("clinical") or {}), [str(text) for text in message.get("remarks") or ()]
        views = {
            plane: PlaneView(
                decode_array(one["hu"]),
                decode_array(one["inside"]),
                tuple(np.array(line, float).reshape(2, 2) for line in one["axes"]),
            )
            for plane, one in (message.get("views") or {}).items()
            if plane in DIRECTIONS
        }
        square = all(view.hu.ndim == 2 and view.hu.shape == view.inside.shape for view in views.values())
        require(square, "The planes of a page are two pictures of one shape each.", "report-page")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"A page is not as the protocol wants it ({error}): result, views, clinical, remarks.", "report-page"
        ) from error
    return NodulePage(result, planes_part(views) if views else None, clinical, remarks, explained)


def _check(result: NoduleResult) -> None:
    """Raise ValueError for a row whose values are not of the kinds that its fields state."""
    for one in fields(NoduleResult):
        value = getattr(result, one.name)
        empty = value is None and one.name not in ("nodule_id", "status")
        sound = {
            "float | None": is_number(value),
            "str | None": isinstance(value, str),
            "str": isinstance(value, str),
            "tuple[str, ...]": isinstance(value, tuple) and all(isinstance(text, str) for text in value),
            "tuple[float, float, float] | None": isinstance(value, tuple) and [*map(is_number, value)] == [True] * 3,
        }.get(one.type, True)
        require_value(empty or sound, f"{one.name} is {value!r}")
    texts = [text for warning in result.warnings for text in (warning.code, warning.message)]
    require_value(all(isinstance(text, str) for text in texts), "a warning is no text")
    probabilities = result.class_probabilities or {}
    require_value(all(map(is_number, probabilities.values())), "a class's probability is no number")
    told = result.characteristics or {}
    words = all(isinstance(one["word"], str) and is_number(one["rating"]) for one in told.values())
    require_value(words, "a characteristic has no word and rating")
    require_value(all(map(_is_alike, result.alike)), "an alike nodule is not described as one")
    require_value(result.measured is None or _is_measured(result.measured), "what was measured is no numbers")
    require_value(result.gate in (*GATES, None), f"the gate is {result.gate!r}")
    scored = result.status == "scored" and is_number(result.probability) and result.class_name is not None
    require_value(scored or result.status == "failed", "a scored nodule has no probability")


def _is_measured(values: object) -> bool:
    return isinstance(values, dict) and values.keys() == set(MEASURED) and all(map(is_number, values.values()))


def _is_alike(one: Alike) -> bool:
    ratings = isinstance(one.ratings, dict) and all(map(is_count, (r for row in one.ratings.values() for r in row)))
    size = one.diameter_mm is None or is_number(one.diameter_mm)
    return is_count(one.number) and is_number(one.similarity) and size and ratings


class Reports:
    """The pages of the report that an owner is sending."""

    def __init__(self) -> None:
        self._document, self._pages = "", []

    def add(self, document: str, number: object, page: NodulePage) -> int:
        """A page of a document, by its number from 0; a first page begins another document. Returns how many there are.

        Raises UsageError for a page out of order: the worker has been restarted, say.
        """
        if number == 0:
            self._document, self._pages = document, []
        if document != self._document or number != len(self._pages) or number >= MOST_PAGES:
            raise UsageError(
                f"The report's page {number} came out of order, or the scoring process was restarted in the midst of "
                "the report. Write the report again.",
                "report-incomplete",
            )
        self._pages.append(page)
        return len(self._pages)

    def write(self, document: str, count: object, folder: Path, patient: str, card: ModelCard) -> list[str]:
        """report.html and report.pdf in a folder, each whole or not at all. Returns their paths.

        Raises UsageError where pages are missing, InputError where the folder cannot be written.
        """
        from ..report.formats import write_report
        from ..report.scores import score_report

        if document != self._document or count != len(self._pages) or not self._pages:
            raise UsageError(
                f"The report has {len(self._pages)} of its pages. Write the report again.", "report-incomplete"
            )
        make_folder(folder)
        report = score_report(self._pages, card, patient)
        files = [folder / f"report.{ending}" for ending in ("html", "pdf")]
        for file in files:
            write_report(report, file)
        self._document, self._pages = "", []
        return [str(file) for file in files]
