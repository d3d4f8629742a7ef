"""What a reader says of a nodule's number: own estimate, shown anyway, accepted, corrected, rejected, outcome.

Each is in the audit log before it counts (``MAEMCLib.review``); labels, table and views then follow.
"""

import contextlib

import slicer
from MAEMCLib.errors import MAEMCError
from MAEMCLib.review.review import ACCEPTED, CORRECTED

from . import labels
from .analysis import ASIDE, LOCKED, Analysis
from .identity import subjectOf
from .modelchoice import modelBehind
from .parameters import parameterNode
from .reviewstate import hasNumber, hiddenBecause, isAbout, openedReviews, resultOf
from .sceneobserver import SceneObserver
from .scoringqueue import ScoringQueue
from .status import StatusLine


class Reviewing:
    """Stores what the reader says, and brings the scene in line with it. Notes each number that is shown."""

    def __init__(self, observer: SceneObserver, queue: ScoringQueue, display, statusLine: StatusLine) -> None:
        self._observer, self._display, self._statusLine = observer, display, statusLine
        queue.scored.connect(self._onScored)

    @property
    def readerFirst(self) -> bool:
        """Whether numbers are hidden until the reader's own estimate is stored; of this machine, not of the scene.

        Setting it raises InputError where it cannot be kept.
        """
        with contextlib.suppress(MAEMCError):
            return openedReviews().reader_first
        return False

    @readerFirst.setter
    def readerFirst(self, on: bool) -> None:
        openedReviews().reader_first = on
        for analysis in Analysis.inScene(slicer.mrmlScene):
            self._shown(analysis)

    def estimate(self, analysis, pointID: str, percent: float) -> None:
        """Store the reader's own estimate of malignancy, 0 to 100 %, then show the number, unless its gate is red.

        Raises UsageError, InputError; the number then stays hidden.
        """
        reviews, subject, record = self._about(analysis, pointID)
        reviews.estimate(subject, percent)
        if hasNumber(record) and record.result["gate"] != "red":
            reviews.reveal(subject, resultOf(record), self._cardOf(record))
        self._shown(analysis)

    def showAnyway(self, analysis, pointID: str) -> None:
        """Show a number in spite of its red gate, or one that waits to be revealed. Raises UsageError, InputError."""
        self._reveal(analysis, pointID, show_anyway=True)
        self._shown(analysis)

    def decide(self, analysis, pointID: str, decision: str, corrected=(), percent=None, prevalence=None) -> None:
        """Accept, correct or reject the number (see ``Reviews.decide``). A point whose result was taken over is locked.

        Raises UsageError: the number is hidden, nobody is named as the observer; InputError: it cannot be stored.
        """
        reviews, subject, record = self._about(analysis, pointID)
        review = reviews.of(subject.nodule)
        if not isAbout(review.result, record):
            self._reveal(analysis, pointID)  # of a scene that was scored elsewhere
        reviews.decide(subject.nodule, decision, corrected, percent, prevalence)
        self._lock(analysis, pointID, decision in (ACCEPTED, CORRECTED))
        self._shown(analysis)

    def storeOutcome(self, analysis, pointID: str, outcome: str, date: str | None) -> None:
        """Keep what the nodule turned out to be. Raises UsageError, InputError."""
        reviews, subject, record = self._about(analysis, pointID)
        if reviews.of(subject.nodule).result is None and hasNumber(record):
            with contextlib.suppress(MAEMCError):  # a hidden number stays so; the outcome is one all the same
                self._reveal(analysis, pointID)
        reviews.outcome(subject.nodule, outcome, date or None)
        self._observer.analysisChanged.emit(analysis)

    def _about(self, analysis, pointID: str) -> tuple:
        reviews = openedReviews()
        return reviews, subjectOf(reviews, analysis, pointID), analysis.record(pointID)

    def _reveal(self, analysis, pointID: str, show_anyway: bool = False) -> None:
        reviews, subject, record = self._about(analysis, pointID)
        reviews.reveal(subject, resultOf(record), self._cardOf(record), show_anyway)

    def _cardOf(self, record):
        """The card of the model that has scored. Raises ModelError where it is not on this machine any more."""
        return modelBehind(record.result, parameterNode().model).card

    def _onScored(self, analysis, pointID: str) -> None:
        """A number that is to be seen is noted, and an earlier decision on another one is void."""
        self._lock(analysis, pointID, False)
        record = analysis.record(pointID)
        if hiddenBecause(analysis, pointID, record):
            return
        try:
            self._reveal(analysis, pointID)
        except MAEMCError as error:  # it is shown all the same: reader first and red gates have hidden it above
            self._statusLine.fail(error)

    def _lock(self, analysis, pointID: str, locked: bool) -> None:
        """Lock a point, or unlock one that was locked here; one that the user has locked stays so."""
        index, points, table = analysis.indexOf(pointID), analysis.pointsNode, analysis.tableNode
        if index is None:
            return
        if locked and not points.GetNthControlPointLocked(index):
            table.SetAttribute(LOCKED + pointID, "1")
            points.SetNthControlPointLocked(index, True)
        elif not locked and table.GetAttribute(LOCKED + pointID):
            table.RemoveAttribute(LOCKED + pointID)
            points.SetNthControlPointLocked(index, False)

    def _shown(self, analysis) -> None:
        """Bring label, table and views in line."""
        if analysis.standing != ASIDE:
            labels.writeLabels(analysis)
        self._observer.analysisChanged.emit(analysis)
        self._display.arrange()
