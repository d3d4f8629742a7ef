"""What a reader does to one nodule: remove, move, rename, hide, lock. What would be lost can be taken back, a step at a
time; Slicer's own undo is switched off unless a user switches it on."""

import dataclasses
import math
from collections.abc import Callable

from slicer.i18n import tr as _

from . import labels, nodes
from .analysis import Analysis
from .measuring import Measuring
from .parameters import parameterNode
from .sceneobserver import SceneObserver
from .scoringqueue import ScoringQueue
from .status import StatusLine
from .volumes import lpsFromRas, seriesRead

_STEPS = 20
OFF_MIDDLE_MM = 2.0
"""A click this far from the nodule's middle is offered to be moved there; nearer ones change the score by less than
another reader's click would."""


class NoduleEdits:
    """Changes of single nodules, by analysis and point ID."""

    def __init__(
        self, observer: SceneObserver, queue: ScoringQueue, measuring: Measuring, display, statusLine: StatusLine
    ) -> None:
        self._observer, self._queue, self._measuring = observer, queue, measuring
        self._display, self._statusLine = display, statusLine
        self._steps: list = []  # (what it takes back, function)
        observer.sceneClosing.connect(self._steps.clear)

    @property
    def undoText(self) -> str:
        """What ``undo`` takes back, in words; empty where there is nothing."""
        return self._steps[-1][0] if self._steps else ""

    def undo(self) -> None:
        """Take the last removal or move back, where its list is still there."""
        if self._steps:
            self._steps.pop()[1]()
            self._statusLine.changed.emit()

    def remove(self, analysis: Analysis, pointID: str) -> None:
        """Delete a point, or the score of a picture, and everything of it."""
        record, index = analysis.record(pointID), analysis.indexOf(pointID)
        contents, text = analysis.contentsOf(pointID), _("removal of {name}").format(name=record.name if record else "")
        if index is not None:
            point, outlined = _Point.of(analysis.pointsNode, index), self._measuring.taken(analysis, pointID)
            self._push(text, lambda: self._restorePoint(analysis, index, point, record, contents, outlined))
            analysis.pointsNode.RemoveNthControlPoint(index)
        elif not analysis.located:
            self._push(text, lambda: self._restorePicture(analysis, pointID, contents))
            self._observer.pointRemoved.emit(analysis, pointID)
            self._observer.analysisChanged.emit(analysis)

    def move(self, analysis: Analysis, pointID: str, pointRas) -> None:
        """Move a point to a place in the world (RAS mm)."""
        index, before = analysis.indexOf(pointID), analysis.pointRas(pointID)
        if index is None:
            return
        text = _("move of {name}").format(name=analysis.record(pointID).name)
        self._push(text, lambda: _place(analysis, pointID, before))
        _place(analysis, pointID, pointRas)

    def rename(self, analysis: Analysis, pointID: str, name: str) -> None:
        """Give a point another name; an empty one changes nothing."""
        index = analysis.indexOf(pointID)
        if index is not None and name.strip():
            analysis.pointsNode.SetNthControlPointLabel(index, name.strip())
        self._statusLine.changed.emit()  # its row has what was typed

    def setVisible(self, analysis: Analysis, pointID: str, visible: bool) -> None:
        """Show or hide a point, with its frame and overlay."""
        index = analysis.indexOf(pointID)
        if index is not None:
            analysis.pointsNode.SetNthControlPointVisibility(index, visible)

    def setLocked(self, analysis: Analysis, pointID: str, locked: bool) -> None:
        """Whether a point cannot be dragged, and is not removed from the panel."""
        index = analysis.indexOf(pointID)
        if index is not None:
            analysis.pointsNode.SetNthControlPointLocked(index, locked)
            self._statusLine.changed.emit()

    def _push(self, text: str, function: Callable[[], None]) -> None:
        self._steps = [*self._steps[1 - _STEPS :], (text, function)]

    def _restorePoint(self, analysis: Analysis, index: int, point: "_Point", record, contents: dict, outlined) -> None:
        pointsNode = analysis.pointsNode if _isThere(analysis) else None
        if pointsNode is None:
            return
        index = min(index, pointsNode.GetNumberOfControlPoints())
        pointID = point.insert(pointsNode, index, record.name)  # the observer makes it a new nodule of the analysis
        if record.state == "scored":
            self._queue.forget(analysis.id, pointID)
            record = dataclasses.replace(record, explained=False)
            analysis.restoreNodule(pointID, contents, record)
            outlined(pointID)
            self._observer.lookAt(analysis, pointID, seriesRead(record.fingerprint))
            labels.writeLabel(analysis, pointID, record)
            nodes.showRoi(analysis, pointID, record)
        point.finish(pointsNode, pointID)
        parameterNode().selectedPoint = pointID
        self._observer.analysisChanged.emit(analysis)
        self._display.arrange()

    def _restorePicture(self, analysis: Analysis, pointID: str, contents: dict) -> None:
        if _isThere(analysis):
            analysis.restoreNodule(pointID, contents)
            record = dataclasses.replace(analysis.record(pointID), explained=False)
            analysis.setRecord(pointID, record)
            parameterNode().selectedPoint = pointID
            self._observer.analysisChanged.emit(analysis)


@dataclasses.dataclass(frozen=True)
class _Point:
    """A control point as it was, without its label, which is the nodule's name."""

    place: tuple
    description: str
    visible: bool
    locked: bool

    @classmethod
    def of(cls, pointsNode, index: int) -> "_Point":
        return cls(
            tuple(pointsNode.GetNthControlPointPositionWorld(index)),
            pointsNode.GetNthControlPointDescription(index),
            pointsNode.GetNthControlPointVisibility(index),
            pointsNode.GetNthControlPointLocked(index),
        )

    def insert(self, pointsNode, index: int, name: str) -> str:
        """Put it into the list again; returns its ID, which is another one than before."""
        pointsNode.InsertControlPointWorld(index, self.place, name)
        return pointsNode.GetNthControlPointID(index)

    def finish(self, pointsNode, pointID: str) -> None:
        index = pointsNode.GetNthControlPointIndexByID(pointID)
        pointsNode.SetNthControlPointDescription(index, self.description)
        pointsNode.SetNthControlPointVisibility(index, self.visible)
        pointsNode.SetNthControlPointLocked(index, self.locked)


def middleOf(analysis: Analysis, pointID: str, record):
    """Middle of the nodule that was outlined about a point, (R, A, S) mm, where the point is off it and may be moved
    there; else None."""
    lps = [(record.result or {}).get(f"snap_{axis}_mm") for axis in "lps"]
    point = analysis.pointRas(pointID)
    if None in lps or point is None or record.state != "scored" or isLocked(analysis, pointID):
        return None
    middle = lpsFromRas(lps)  # its own inverse
    return middle if math.dist(middle, point) >= OFF_MIDDLE_MM else None


def isLocked(analysis: Analysis, pointID: str) -> bool:
    """Whether a point, or its whole list, is locked."""
    index = analysis.indexOf(pointID)
    points = analysis.pointsNode
    return index is not None and bool(points.GetLocked() or points.GetNthControlPointLocked(index))


def _isThere(analysis: Analysis) -> bool:
    return analysis.tableNode.GetScene() is not None


def _place(analysis: Analysis, pointID: str, pointRas) -> None:
    index = analysis.indexOf(pointID) if _isThere(analysis) else None
    if index is not None:
        analysis.pointsNode.SetNthControlPointPositionWorld(index, *pointRas)
