"""The module's logic: points in a scene become results in it. Works without any window; knows no Qt."""

import dataclasses
import importlib
import threading
import time
from pathlib import Path

import slicer
from MAEMCLib.bundle import read_card
from MAEMCLib.clinical import parse_assignments
from MAEMCLib.ct import check_ct
from MAEMCLib.errors import InputError, MAEMCError
from MAEMCLib.model_store import StoredModel, find_model, list_models
from MAEMCLib.report.tables import write_results
from MAEMCLib.results import NoduleResult
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from . import nodes, views
from .analysis import PLANES, Analysis, NoduleRecord
from .clinicalvalues import setClinical
from .following import SceneFollower
from .parameters import MAEMCNoduleParameterNode, OverlayKind
from .scoringqueue import ScoringQueue, setRecord, settle
from .status import Status
from .volumes import ctVolume
from .worker import ScoringWorker

DEBOUNCE_SECONDS = 0.4
"""A moved point is scored this long after it came to rest."""


class MAEMCNoduleLogic(ScriptedLoadableModuleLogic):
    """Scores the points of a point list on a CT, in a worker process, and keeps the scene in step with the points.

    For scripts: ``score`` waits for the results. For windows: ``requestScore`` returns at once and ``poll``, called
    a few times a second, brings the results in; ``onChanged`` (a function without arguments) is called when there
    is something new to show or to poll for. The panel's own logic is ``slicer.util.getModuleLogic("MAEMCNodule")``;
    whoever makes another one ends it with ``cleanup``, since two would share the points of a scene.
    """

    def __init__(self, python: str | None = None) -> None:
        super().__init__()
        self.worker = ScoringWorker(python)
        self.onChanged = None
        self.status = Status()
        self.deviceRequest = "auto"
        self._warming: threading.Thread | None = None
        self._follower = SceneFollower(self)
        self._queue = ScoringQueue(self.worker, self._follower, self)

    def getParameterNode(self) -> MAEMCNoduleParameterNode:
        return MAEMCNoduleParameterNode(super().getParameterNode())

    def attach(self) -> None:
        """Follow the scene: the analyses in it, and those that are loaded later. Results that are there stay."""
        self._follower.attach()

    def cleanup(self) -> None:
        """Stop following the scene and end the worker."""
        self.onChanged = None
        self._follower.detach()
        self._warming = None
        self._queue.forget()
        self.worker.stop()

    # Analyses and their points

    def proposedVolume(self):
        """The CT to begin with: the only one loaded, else the one shown in the slice views, else None."""
        loaded = [
            node
            for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()
        ]
        shown = views.backgroundVolume()
        return loaded[0] if len(loaded) == 1 else (shown if shown in loaded else None)

    def analyses(self) -> list:
        return Analysis.inScene(slicer.mrmlScene)

    def analysisOf(self, volumeNode, pointsNode):
        """The analysis of a point list on a CT, or None."""
        return Analysis.find(volumeNode, pointsNode) if volumeNode and pointsNode else None

    def pointsOf(self, volumeNode):
        """The point list that belongs to a CT, or None."""
        analysis = Analysis.find(volumeNode, None)
        return analysis.pointsNode if analysis else None

    def link(self, volumeNode, pointsNode) -> Analysis:
        """Make the point list belong to the CT: from now on its points are followed. Scores nothing by itself."""
        self.attach()
        analysis = Analysis.find(volumeNode, pointsNode)
        if analysis is None:
            name = _("{volume} nodule scores").format(volume=volumeNode.GetName())
            analysis = Analysis.create(volumeNode, pointsNode, name)
            for pointID, index in analysis.pointIndices().items():
                analysis.setRecord(pointID, NoduleRecord(nodes.nameOfPoint(pointsNode, index)))
            self._follower.watch(analysis)
            nodes.writeTable(analysis)
        return analysis

    def startPlacing(self, volumeNode, pointsNode=None):
        """Let the next click in a view place a nodule on the CT. Returns its point list, made where there is none.

        Raises InputError where the volume cannot be scored, before a point is placed in vain.
        """
        check_ct(ctVolume(volumeNode))
        known = pointsNode or self.pointsOf(volumeNode)
        pointsNode = known or nodes.createPointsNode(volumeNode)
        analysis = self.link(volumeNode, pointsNode)
        if known is None:  # a list of the user's own stays where the user has put it
            nodes.placeInHierarchy(analysis, pointsNode)
        views.showBackground(volumeNode)
        views.startPlacing(pointsNode)
        return pointsNode

    def removeNodule(self, analysis: Analysis, pointID: str) -> None:
        """Delete a point and everything of it."""
        index = analysis.pointIndices().get(pointID)
        if index is not None:
            analysis.pointsNode.RemoveNthControlPoint(index)

    # Models and device

    def models(self) -> list:
        """Every model on this machine (``StoredModel``: path, card, problem)."""
        return list_models()

    def chosenModel(self) -> StoredModel:
        """The model of the parameter node, or the shipped one; its weights are verified by the worker.

        Raises ModelError naming what is wrong with it.
        """
        path = find_model(self.getParameterNode().model or None)
        return StoredModel(path, False, read_card(path))

    def requestDevice(self) -> None:
        """Start the worker in the background and have it tell what it computes on."""
        # Cutting the first region needs a library of 100 MB. It is loaded beside the window, and before the worker
        # begins to load its own: both at once would keep the window waiting for longer.
        self._warming = threading.Thread(target=importlib.import_module, args=("SimpleITK",), daemon=True)
        self._warming.start()
        self.setStatus(Status("busy", _("Starting the scoring process ...")))

    def _askDevice(self) -> None:
        try:
            self.worker.askDevice(self.deviceRequest)
        except MAEMCError as error:
            self.setStatus(Status("error", str(error), error.code))

    # Scoring

    def score(self, volumeNode, markupsNode, timeout: float | None = None, pictures: bool = True):
        """Score every point of a list on a CT, wait for the results and return their table node.

        pictures: False leaves out reconstruction, error and attention, which take longer than the number.
        A point that cannot be scored has its reason in its row. Raises InputError or ModelError where nothing can be
        scored at all, and TimeoutError after ``timeout`` seconds.
        """
        analysis = self.requestScore(volumeNode, markupsNode, pictures=pictures)
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.isBusy(analysis):
            self.poll()
            slicer.app.processEvents()
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"not scored within {timeout:g} s")
            time.sleep(0.005)
        return analysis.tableNode

    def setClinical(self, volumeNode, values: dict) -> None:
        """Keep what the chosen model asks for beside a CT with the CT; its nodules are scored anew.

        values: {name: text or number, of a further series its volume node}; what is left out is forgotten.
        Raises UsageError where the model does not ask for one of the names, or a series is no other volume.
        """
        card = self.chosenModel().card
        texts = {name: v.GetID() if isinstance(v, slicer.vtkMRMLNode) else v for name, v in values.items()}
        given = parse_assignments([f"{name}={text}" for name, text in texts.items()], card.clinical, card.id)
        setClinical(volumeNode, given, card.clinical)
        self._follower.inputChanged(volumeNode)
        self._notify()

    def requestScore(self, volumeNode, markupsNode, pointIDs=None, pictures: bool = True) -> Analysis:
        """Have points (all of the list, or those given by ID) scored by the polls to come, and return at once.

        Raises InputError or ModelError where nothing can be scored at all.
        """
        check_ct(ctVolume(volumeNode))
        if markupsNode is None or markupsNode.GetScene() is None:
            raise InputError(_("No point list is given. Place a nodule first."), "no-points")
        self.chosenModel()
        analysis = self.link(volumeNode, markupsNode)
        placed = analysis.pointIndices()
        if not placed:
            raise InputError(_("The point list is empty. Place a nodule first."), "no-points")
        for pointID in placed if pointIDs is None else pointIDs:
            self._queue.schedule(analysis, pointID, pictures=pictures)
        self._notify()
        return analysis

    def isBusy(self, analysis: Analysis | None = None) -> bool:
        """Whether something is with the worker or waits its turn; of one analysis, where it is given."""
        return self._queue.isBusy(analysis) or (analysis is None and self._warming is not None)

    def poll(self) -> None:
        """Bring in what the worker has answered and send what is due. Quick; call it a few times a second."""
        if self._warming is not None and not self._warming.is_alive():
            self._warming = None
            self._askDevice()
        self._queue.poll()

    def stop(self) -> None:
        """Stop at once: what was being scored waits again, results that are there stay."""
        self._warming = None
        self._queue.stop()
        self.setStatus(Status("idle", _("Stopped.")))

    @property
    def device(self) -> dict:
        """What the worker computes on, as far as it has told: name, title, torch, seconds, ..."""
        return self._queue.device

    def exportResults(self, analysis: Analysis, folder) -> list:
        """Write results.csv and results.json of an analysis to a folder; returns their paths.

        Raises InputError (nothing to write, folder not writable) or ModelError.
        """
        rows = [
            NoduleResult.from_json({**record.result, "nodule_id": record.name})
            for _pointID, record in analysis.records()
            if record.result
        ]
        if not rows:
            raise InputError(_("There is no result to export yet. Score a nodule first."), "no-results")
        write_results(Path(folder), rows, self.chosenModel().card, self.device.get("name"))
        return [Path(folder) / "results.csv", Path(folder) / "results.json"]

    # What is shown

    def show(self, analysis: Analysis, pointID: str, jump: bool = True, centered: bool = True) -> None:
        """Show a nodule in the slice views: CT behind, chosen overlay in front; jump moves the views to it."""
        parameterNode = self.getParameterNode()
        if analysis.volumeNode is not None:
            views.showBackground(analysis.volumeNode)
        pointRas = analysis.pointRas(pointID)
        if jump and pointRas is not None:
            views.jumpTo(pointRas, centered)
        kind = parameterNode.overlay
        record = analysis.record(pointID)
        found = {plane: analysis.overlayNode(pointID, kind.value, plane) for plane in PLANES}
        if kind is OverlayKind.NONE or record is None or not record.explained or not any(found.values()):
            views.clearOverlay()
        else:
            views.showOverlay(found, parameterNode.overlayOpacity)

    # What the follower tells

    def onPointPlaced(self, analysis: Analysis, pointID: str) -> None:
        if self.getParameterNode().scoreAtOnce:
            self._queue.schedule(analysis, pointID)
        if self._isCurrent(analysis):
            self.getParameterNode().selectedPoint = pointID
            self.show(analysis, pointID, centered=False)

    def onInputChanged(self, analysis: Analysis, pointID: str, record: NoduleRecord) -> None:
        """The result is no longer true and goes; the nodule is scored again when it has come to rest."""
        self._queue.forget(analysis.id, pointID)
        if record.state != "waiting":
            record = dataclasses.replace(record, result=None, fingerprint=None, explained=False, time="")
            setRecord(analysis, pointID, record, "waiting")
            if self._isCurrent(analysis):
                self.getParameterNode().selectedPoint = pointID
                views.clearOverlay()
        if analysis.roiNode(pointID) is not None:
            nodes.showRoi(analysis, pointID, record)  # the frame follows the point, the pictures wait for the score
        if self.getParameterNode().scoreAtOnce:
            self._queue.schedule(analysis, pointID, DEBOUNCE_SECONDS)

    def onPointRemoved(self, analysis: Analysis, pointID: str) -> None:
        self._queue.forget(analysis.id, pointID)
        analysis.setRecord(pointID, None)
        if self._isShown(analysis, pointID):
            views.clearOverlay()
            self.getParameterNode().selectedPoint = next(iter(analysis.recordIDs()), "")
        analysis.removeNodesOf(pointID)

    def onVolumeRemoved(self, analysis: Analysis) -> None:
        self._queue.forget(analysis.id)
        for pointID, record in analysis.records():
            if record.state in ("pending", "waiting"):
                settle(analysis, pointID, record, _("The CT was removed."))

    def onAnalysisRemoved(self, analysis: Analysis, removedID: str) -> None:
        self._queue.forget(analysis.id)
        views.clearOverlay()
        parameterNode = self.getParameterNode()
        if parameterNode.points is analysis.pointsNode:
            parameterNode.points = None  # the next nodule begins a list of its own
        if views.isPlacing(analysis.pointsNode):
            views.stopPlacing(slicer.mrmlScene)
        for pointID, record in analysis.records():
            analysis.removeNodesOf(pointID)
            nodes.writeLabel(analysis, pointID, NoduleRecord(record.name))
        nodes.removeFolder(analysis)
        if removedID != analysis.id:
            slicer.mrmlScene.RemoveNode(analysis.tableNode)
        self._notify()

    def onAnalysisFound(self, analysis: Analysis) -> None:
        for pointID, record in analysis.records():
            if record.state == "pending":  # saved while it was being scored
                settle(analysis, pointID, record, "")
                if record.result is None:
                    self._queue.schedule(analysis, pointID)
        nodes.writeTable(analysis)

    def onAnalysisChanged(self, analysis: Analysis) -> None:
        if analysis.tableNode.GetScene() is not None:
            nodes.writeTable(analysis)
        self._notify()

    def onSceneClosing(self) -> None:
        self._queue.forget()
        self.status = Status()

    def onSceneChanged(self) -> None:
        self._notify()

    # What the queue tells

    def onScored(self, analysis: Analysis, pointID: str) -> None:
        if self._isCurrent(analysis) and not self.getParameterNode().selectedPoint:
            self.getParameterNode().selectedPoint = pointID
        if self._isShown(analysis, pointID):
            self.show(analysis, pointID, centered=False)

    def onExplained(self, analysis: Analysis, pointID: str) -> None:
        if self._isShown(analysis, pointID):
            self.show(analysis, pointID, jump=False)

    def setStatus(self, status: Status) -> None:
        """Say something in the status line."""
        self.status = status
        self._notify()

    def _notify(self) -> None:
        if self.onChanged is not None:
            self.onChanged()

    def _isCurrent(self, analysis: Analysis) -> bool:
        parameterNode = self.getParameterNode()
        return parameterNode.points is None or parameterNode.points is analysis.pointsNode

    def _isShown(self, analysis: Analysis, pointID: str) -> bool:
        return self._isCurrent(analysis) and self.getParameterNode().selectedPoint == pointID
