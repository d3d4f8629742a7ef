"""Keeps results true to the scene: what follows when a point, a CT, a list or a table has changed or is gone."""

import dataclasses

import slicer
from slicer.i18n import tr as _

from . import hierarchy, nodes, views
from .analysis import ASIDE, Analysis, NoduleRecord
from .scoringqueue import setRecord, settle
from .status import Status

DEBOUNCE_SECONDS = 0.4
"""A moved point is scored this long after it came to rest."""


class SceneUpkeep:
    """What a ``SceneFollower`` tells, carried out for a ``MAEMCNoduleLogic``."""

    def __init__(self, logic) -> None:
        self._logic = logic
        self._lostTables: list = []  # (name, contents, ID of the point list) of tables that were deleted

    def onPointPlaced(self, analysis: Analysis, pointID: str) -> None:
        if self._logic.getParameterNode().scoreAtOnce:
            self._logic.queue.schedule(analysis, pointID)
        if self._logic.isCurrent(analysis):
            self._logic.getParameterNode().selectedPoint = pointID
            self._logic.show(analysis, pointID, centered=False)

    def onInputChanged(self, analysis: Analysis, pointID: str, record: NoduleRecord) -> None:
        """The result is no longer true and goes; the nodule is scored again when it has come to rest."""
        self._logic.queue.forget(analysis.id, pointID)
        if record.state != "waiting":
            record = dataclasses.replace(record, result=None, fingerprint=None, explained=False, time="")
            setRecord(analysis, pointID, record, "waiting")
            if self._logic.isCurrent(analysis):
                self._logic.getParameterNode().selectedPoint = pointID
        self._logic.forgetStatus()
        if analysis.roiNode(pointID) is not None:
            nodes.showRoi(analysis, pointID, record)  # the frame follows the point, the pictures wait for the score
        if self._logic.getParameterNode().scoreAtOnce and analysis.standing != ASIDE:
            self._logic.queue.schedule(analysis, pointID, DEBOUNCE_SECONDS)
        self._logic.arrange()

    def onPointRemoved(self, analysis: Analysis, pointID: str) -> None:
        self._logic.queue.forget(analysis.id, pointID)
        analysis.setRecord(pointID, None)
        nodes.removeNodesOf(analysis, pointID)
        if self._logic.isShown(analysis, pointID):
            self._logic.getParameterNode().selectedPoint = next(iter(analysis.recordIDs()), "")
        self._logic.forgetStatus()
        self._logic.arrange()

    def onVolumeRemoved(self, analysis: Analysis) -> None:
        self._logic.queue.forget(analysis.id)
        for pointID, record in analysis.records():
            if record.state in ("pending", "waiting"):
                settle(analysis, pointID, record, _("The CT was removed."))

    def onAnalysisRemoved(self, analysis: Analysis, removedID: str) -> None:
        self._logic.queue.forget(analysis.id)
        pointsNode = analysis.pointsNode
        if removedID == analysis.id and pointsNode is not None and analysis.standing != ASIDE:
            # The points are still nodules, and their numbers still true: the table is made again by the next poll.
            self._lostTables.append((analysis.tableNode.GetName(), analysis.contents(), pointsNode.GetID()))
            self._logic.notify()
            return
        parameterNode = self._logic.getParameterNode()
        if parameterNode.points is pointsNode and removedID != analysis.id:
            parameterNode.points = None  # the next nodule begins a list of its own
        if views.isPlacing(pointsNode):
            views.stopPlacing(slicer.mrmlScene)
        for pointID in analysis.recordIDs():
            nodes.removeNodesOf(analysis, pointID)
        hierarchy.removeFolder(analysis)
        if removedID != analysis.id:
            slicer.mrmlScene.RemoveNode(analysis.tableNode)
        self._logic.forgetStatus()
        self._logic.arrange()
        self._logic.notify()

    def restoreTables(self) -> None:
        """Make tables again that were deleted: those of them whose points are still there."""
        lost, self._lostTables = self._lostTables, []
        for name, contents, pointsID in lost:
            analysis = Analysis.restore(slicer.mrmlScene, name, contents)
            hierarchy.placeInFolder(analysis, analysis.tableNode)
            if slicer.mrmlScene.GetNodeByID(pointsID) is None:
                for pointID in analysis.recordIDs():
                    nodes.removeNodesOf(analysis, pointID)
                hierarchy.removeFolder(analysis)
                slicer.mrmlScene.RemoveNode(analysis.tableNode)
        if lost:
            self._logic.attach()
            self._logic.arrange()

    def onPointsSeen(self) -> None:
        self._logic.arrange()

    def onAnalysisFound(self, analysis: Analysis) -> None:
        for pointID, record in analysis.records():
            if record.state == "pending":  # saved while it was being scored
                settle(analysis, pointID, record, "")
                if record.result is None:
                    self._logic.queue.schedule(analysis, pointID)
        nodes.writeTable(analysis)

    def onAnalysisChanged(self, analysis: Analysis) -> None:
        self._logic.onAnalysisChanged(analysis)

    def onSceneClosing(self) -> None:
        self._logic.queue.forget()
        self._lostTables.clear()
        self._logic.status = Status()

    def onSceneChanged(self) -> None:
        self._logic.notify()
