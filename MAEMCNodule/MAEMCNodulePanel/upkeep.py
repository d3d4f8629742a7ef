"""Keeps results true to the scene: what follows when a point, a CT, a list or a table has changed or is gone."""

import dataclasses
import time

import slicer
from slicer.i18n import tr as _

from . import nodes, segments, views
from .analysis import ASIDE, Analysis, NoduleRecord, batch
from .overlaychoice import OverlayKind
from .parameters import parameterNode
from .resulttable import writeTable
from .sceneobserver import SceneObserver
from .scoringqueue import ScoringQueue, setRecord, settle
from .showing import NoduleDisplay, isCurrent, isSelected
from .status import Status, StatusLine

DEBOUNCE_SECONDS = 0.4
"""A moved point is scored this long after it came to rest."""
TABLE_SECONDS = 1.0
"""While nodules are being scored, their table is written no more often than this."""


class SceneUpkeep:
    """Acts on what a ``SceneObserver`` notices and on what a ``ScoringQueue`` brings in."""

    def __init__(
        self, observer: SceneObserver, queue: ScoringQueue, display: NoduleDisplay, statusLine: StatusLine
    ) -> None:
        self._observer, self._queue, self._display, self._statusLine = observer, queue, display, statusLine
        self._lostTables: list = []  # (name, contents, ID of the point list) of tables that were deleted
        self._written: dict = {}  # analysis ID -> monotonic time at which its table was written
        observer.pointPlaced.connect(self._onPointPlaced)
        observer.inputChanged.connect(self._onInputChanged)
        observer.pointRemoved.connect(self._onPointRemoved)
        observer.volumeRemoved.connect(self._onVolumeRemoved)
        observer.analysisRemoved.connect(self._onAnalysisRemoved)
        observer.analysisFound.connect(self._onAnalysisFound)
        observer.analysisChanged.connect(self._onAnalysisChanged)
        observer.pointsSeen.connect(display.arrange)
        observer.sceneClosing.connect(self._onSceneClosing)
        observer.sceneChanged.connect(statusLine.changed.emit)
        queue.scored.connect(self._onScored)
        queue.explained.connect(self._onExplained)

    def _onPointPlaced(self, analysis: Analysis, pointID: str) -> None:
        if parameterNode().scoreAtOnce:
            self._queue.schedule(analysis, pointID)
        if isCurrent(analysis):
            parameterNode().selectedPoint = pointID
            self._display.show(analysis, pointID, centered=False)

    def _onInputChanged(self, analysis: Analysis, pointID: str, record: NoduleRecord) -> None:
        """The result is no longer true and goes; the nodule is scored again when it has come to rest."""
        self._queue.forget(analysis.id, pointID)
        if record.state != "waiting":
            changes = {"result": None, "fingerprint": None, "explained": False}
            record = setRecord(analysis, pointID, record, "waiting", **changes)
            if isCurrent(analysis):
                parameterNode().selectedPoint = pointID
        self._statusLine.forgetInput()
        if analysis.roiNode(pointID) is not None:
            nodes.showRoi(analysis, pointID, record)  # the frame follows the point, the pictures wait for the score
        if parameterNode().scoreAtOnce and analysis.standing != ASIDE:
            self._queue.schedule(analysis, pointID, DEBOUNCE_SECONDS)
        self._display.arrange()

    def _onPointRemoved(self, analysis: Analysis, pointID: str) -> None:
        self._queue.forget(analysis.id, pointID)
        analysis.setRecord(pointID, None)
        nodes.removeNodesOf(analysis, pointID)
        if isSelected(analysis, pointID):
            parameterNode().selectedPoint = next(iter(analysis.recordIDs()), "")
        self._statusLine.forgetInput()
        self._display.arrange()

    def _onVolumeRemoved(self, analysis: Analysis) -> None:
        self._queue.forget(analysis.id)
        for pointID, record in analysis.records():
            if record.state in ("pending", "waiting"):
                settle(analysis, pointID, record, _("The CT was removed."))

    def _onAnalysisRemoved(self, analysis: Analysis, removedID: str) -> None:
        self._queue.forget(analysis.id)
        pointsNode = analysis.pointsNode
        if removedID == analysis.id and pointsNode is not None and analysis.standing != ASIDE:
            # The points are still nodules, and their numbers still true: the table is made again by the next poll.
            self._lostTables.append((analysis.tableNode.GetName(), analysis.contents(), pointsNode.GetID()))
            self._statusLine.changed.emit()
            return
        if parameterNode().points is pointsNode and removedID != analysis.id:
            parameterNode().points = None  # the next nodule begins a list of its own
        views.stopPlacing(pointsNode)
        _removeNodes(analysis)
        if removedID != analysis.id:
            slicer.mrmlScene.RemoveNode(analysis.tableNode)
        self._statusLine.forgetInput()
        self._display.arrange()
        self._statusLine.changed.emit()

    def restoreTables(self) -> None:
        """Make tables again that were deleted: those of them whose points are still there."""
        lost, self._lostTables = self._lostTables, []
        for name, contents, pointsID in lost:
            analysis = Analysis.restore(slicer.mrmlScene, name, contents)
            nodes.AnalysisFolder(analysis).place(analysis.tableNode)
            if slicer.mrmlScene.GetNodeByID(pointsID) is None:
                _removeNodes(analysis)
                slicer.mrmlScene.RemoveNode(analysis.tableNode)
        if lost:
            self._observer.attach()
            self._display.arrange()

    def _onAnalysisFound(self, analysis: Analysis) -> None:
        for pointID, record in analysis.records():
            if record.state == "pending":  # saved while it was being scored
                settle(analysis, pointID, record, "")
                if record.result is None:
                    self._queue.schedule(analysis, pointID)
        writeTable(analysis)

    def _onAnalysisChanged(self, analysis: Analysis) -> None:
        # Of two hundred nodules that are being scored, each answer would write two hundred rows.
        written, now = self._written.get(analysis.id, 0.0), time.monotonic()
        soon = self._queue.isBusy(analysis) and now - written < TABLE_SECONDS  # it is called again when all is answered
        if analysis.tableNode.GetScene() is not None and not soon:
            self._written[analysis.id] = now
            writeTable(analysis)
        self._statusLine.changed.emit()

    def _onScored(self, analysis: Analysis, pointID: str) -> None:
        if isCurrent(analysis) and not parameterNode().selectedPoint:
            parameterNode().selectedPoint = pointID
        if isSelected(analysis, pointID):
            self._display.show(analysis, pointID, centered=False)
        else:
            self._display.arrange()  # its frame is new

    def _onExplained(self, analysis: Analysis, pointID: str) -> None:
        if not analysis.located and parameterNode().overlay is not OverlayKind.NONE:
            parameterNode().overlay = OverlayKind.ATTENTION  # the one that there is of a picture
        self.makeOverlays(analysis, pointID)
        if isSelected(analysis, pointID):
            self._display.show(analysis, pointID, jump=False)

    def makeOverlays(self, analysis: Analysis, pointID: str) -> bool:
        """Make the overlay volumes of the chosen kind, where the scene has others of this nodule's result.

        Returns whether they are there; the nodule has to be explained first where they are not.
        """
        kind, record = parameterNode().overlay, analysis.record(pointID)
        if kind is OverlayKind.NONE or record is None or record.state != "scored":
            return True
        kinds = nodes.overlayKinds(analysis, pointID)
        if record.explained and kind.value in kinds:
            return True
        explained = self._queue.explanations.of((analysis.id, pointID))
        if explained is None:
            return record.explained and not kinds  # its model has none to show
        nodes.createOverlays(analysis, pointID, record, explained, kind.value)
        analysis.setRecord(pointID, dataclasses.replace(record, explained=True))
        self._display.arrange()
        return True

    def _onSceneClosing(self) -> None:
        self._queue.forget()
        self._lostTables.clear()
        self._written.clear()
        self._statusLine.status = Status()


def _removeNodes(analysis: Analysis) -> None:
    """Remove frames, overlays and folders of all nodules of an analysis."""
    with batch(analysis.tableNode.GetScene()):
        folder = nodes.AnalysisFolder(analysis)  # found by what lies in it
        analysis.removeNodesOf()
        segments.removeOutlines(analysis)
        folder.remove()
