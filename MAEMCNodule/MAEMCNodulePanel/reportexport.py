"""The report of a CT's nodules as HTML and PDF: cut and worded here, drawn and written by the scoring process."""

import uuid
from collections.abc import Callable

from MAEMCLib.errors import MAEMCError, UsageError
from MAEMCLib.measures.measures import measure
from MAEMCLib.measures.view import place_of, plane_views
from MAEMCLib.models.store import StoredModel
from MAEMCLib.worker.reports import encode_page
from slicer.i18n import tr as _

from .exporting import rowsOf
from .identity import subjectOf
from .outlines import outlineOf
from .reviewstate import decisionOf, hiddenBecause, openedReviews
from .scorevalues import valuesOf
from .volumes import ctVolume, lpsFromRas


class ReportExport:
    """Sends a page when the one before has arrived: of two hundred nodules none waits in memory.

    ask: asks the worker (``ScoringQueue.ask``). done: called with the paths that were written, or with an error's
    message, its code and no paths.
    """

    def __init__(self, ask: Callable, done: Callable[[list, str, str], None]) -> None:
        self._ask, self._done = ask, done

    def begin(self, analysis, model: StoredModel, folder: str, named: bool) -> None:
        """Write the report of all nodules whose number may be seen. named: see ``exporting.rowsOf``.

        Raises UsageError where there is none, InputError.
        """
        shown = [one for one in _scored(analysis) if not hiddenBecause(analysis, one, analysis.record(one))]
        if not shown:
            hidden = (hiddenBecause(analysis, one, analysis.record(one)) for one in _scored(analysis))
            raise UsageError(next(hidden, _("Score a nodule first.")), "hidden")
        self._analysis, self._model, self._folder = analysis, model, folder
        self._rows = rowsOf(analysis, named)
        self._values = valuesOf(analysis) if analysis.located else {}
        self._waiting, self._sent, self._document = shown, 0, uuid.uuid4().hex
        self._next()

    def _next(self) -> None:
        common = {"model": str(self._model.path), "document": self._document}
        if self._waiting:
            page = self._page(self._waiting.pop(0))
            self._ask("report_page", self._onAnswer, **common, number=self._sent, nodule=page)
            self._sent += 1
            return
        patient = subjectOf(openedReviews(), self._analysis, self._analysis.recordIDs()[0]).patient or ""
        self._ask("report", self._onAnswer, **common, pages=self._sent, folder=self._folder, patient=patient)

    def _onAnswer(self, message: dict) -> None:
        if message["kind"] == "error":
            self._done([], message["message"], message["code"])
        elif "files" in message:
            self._done(message["files"], "", "")
        else:
            try:
                self._next()
            except MAEMCError as error:  # the CT has gone meanwhile
                self._done([], str(error), error.code)

    def _page(self, pointID: str) -> dict:
        analysis, card = self._analysis, self._model.card
        row = self._rows[[one for one in analysis.recordIDs() if analysis.record(one).result].index(pointID)]
        decision = decisionOf(analysis, pointID, analysis.record(pointID))
        remarks = [_("The reader {decision} this result.").format(decision=decision["decision"])] if decision else []
        return encode_page(row, card, _views(analysis, pointID), self._values.get(pointID), remarks)


def _scored(analysis) -> list:
    return [pointID for pointID, record in analysis.records() if (record.result or {}).get("probability") is not None]


def _views(analysis, pointID: str) -> dict:
    """The planes through a nodule, with its outline where it has one; none of a picture."""
    point = analysis.pointRas(pointID)
    if not analysis.located or analysis.volumeNode is None or point is None:
        return {}
    volume, outline = ctVolume(analysis.volumeNode), outlineOf(analysis, pointID)
    if outline is None:
        return plane_views(volume, lpsFromRas(point))
    axes = measure(volume, outline.mask).axes
    return plane_views(volume, place_of(outline.mask, axes), outline.mask, axes)
