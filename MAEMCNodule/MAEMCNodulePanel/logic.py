"""The module's logic: points in a scene become results in it. Works without any window; knows no Qt."""

import dataclasses
import time
from pathlib import Path

import slicer
from MAEMCLib import scoring
from MAEMCLib.bundle import read_card
from MAEMCLib.errors import InputError, MAEMCError
from MAEMCLib.model_store import StoredModel, find_model, list_models
from MAEMCLib.report.tables import write_results
from MAEMCLib.results import NoduleResult
from MAEMCLib.worker import decode_array
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from . import nodes, overlays, views
from .analysis import PLANES, Analysis, NoduleRecord
from .following import SceneFollower
from .parameters import MAEMCNoduleParameterNode, OverlayKind
from .volumes import ctVolume, lpsFromRas, sameInput
from .worker import ScoringWorker

DEBOUNCE_SECONDS = 0.4
"""A moved point is scored this long after it came to rest."""


@dataclasses.dataclass(frozen=True)
class Status:
    """What the status line says. kind: "idle", "busy" or "error"; code names an error in a word, for programs."""

    kind: str = "idle"
    text: str = ""
    code: str = ""


class MAEMCNoduleLogic(ScriptedLoadableModuleLogic):
    """Scores the points of a point list on a CT, in a worker process, and keeps the scene in step with the points.

    For scripts: ``score`` waits for the results. For windows: ``requestScore`` returns at once and ``poll``, called
    a few times a second, brings the results in; ``onChanged`` (a function without arguments) is called when there
    is something new to show or to poll for.
    """

    def __init__(self, python: str | None = None) -> None:
        super().__init__()
        self.worker = ScoringWorker(python)
        self.onChanged = None
        self.status = Status()
        self.deviceRequest = "auto"
        self.device: dict = {}
        self._follower = SceneFollower(self)
        self._due: dict = {}  # (analysis ID, control point ID) -> monotonic time at which to score it

    def getParameterNode(self) -> MAEMCNoduleParameterNode:
        return MAEMCNoduleParameterNode(super().getParameterNode())

    def attach(self) -> None:
        """Follow the scene: the analyses in it, and those that are loaded later. Results that are there stay."""
        self._follower.attach()

    def cleanup(self) -> None:
        """Stop following the scene and end the worker."""
        self.onChanged = None
        self._follower.detach()
        self._due.clear()
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
            nodes.placeInHierarchy(analysis, pointsNode)
            nodes.writeTable(analysis)
        return analysis

    def startPlacing(self, volumeNode, pointsNode=None):
        """Let the next click in a view place a nodule on the CT. Returns its point list, made where there is none.

        Raises InputError where the volume cannot be scored, before a point is placed in vain.
        """
        scoring.check_ct(ctVolume(volumeNode))
        pointsNode = pointsNode or self.pointsOf(volumeNode) or nodes.createPointsNode(volumeNode)
        self.link(volumeNode, pointsNode)
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
        """Ask the worker, in the background, what it computes on; this also starts it."""
        try:
            self.worker.askDevice(self.deviceRequest)
        except MAEMCError as error:
            self.setStatus(Status("error", str(error), error.code))
        else:
            self.setStatus(Status("busy", _("Starting the scoring process ...")))

    # Scoring

    def score(self, volumeNode, markupsNode, timeout: float | None = None):
        """Score every point of a list on a CT, wait for the results and return their table node.

        A point that cannot be scored has its reason in its row. Raises InputError or ModelError where nothing can be
        scored at all, and TimeoutError after ``timeout`` seconds.
        """
        analysis = self.requestScore(volumeNode, markupsNode)
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.isBusy(analysis):
            self.poll()
            slicer.app.processEvents()
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"not scored within {timeout:g} s")
            time.sleep(0.005)
        return analysis.tableNode

    def requestScore(self, volumeNode, markupsNode, pointIDs=None) -> Analysis:
        """Send points (all of the list, or those given by ID) to the worker and return at once.

        Raises InputError or ModelError where nothing can be scored at all.
        """
        scoring.check_ct(ctVolume(volumeNode))
        if markupsNode is None or markupsNode.GetScene() is None:
            raise InputError(_("No point list is given. Place a nodule first."), "no-points")
        self.chosenModel()
        analysis = self.link(volumeNode, markupsNode)
        placed = analysis.pointIndices()
        if not placed:
            raise InputError(_("The point list is empty. Place a nodule first."), "no-points")
        for pointID in placed if pointIDs is None else pointIDs:
            self._dispatch(analysis, pointID)
        self.onAnalysisChanged(analysis)
        return analysis

    def isBusy(self, analysis: Analysis | None = None) -> bool:
        """Whether something is with the worker or waits its turn; of one analysis, where it is given."""
        keys = {*self.worker.keys(), *self._due}
        return any(analysis is None or key[0] == analysis.id for key in keys)

    def poll(self) -> None:
        """Bring in what the worker has answered and send what is due. Quick; call it a few times a second."""
        for request, message in self.worker.poll():
            if message["kind"] != "progress":
                self._onAnswer(request, message)
        now = time.monotonic()
        for key in [key for key, due in self._due.items() if due <= now]:
            analysis = self._follower.analysis(key[0])
            if analysis is None:
                del self._due[key]
            elif not self._follower.isDragged(analysis):
                self._dispatch(analysis, key[1])
                self.onAnalysisChanged(analysis)

    def stop(self) -> None:
        """Stop at once: what was being scored waits again, results that are there stay."""
        self.worker.cancel()
        self._due.clear()
        for analysis in self.analyses():
            for pointID, record in analysis.records():
                if record.state == "pending":
                    self._settle(analysis, pointID, record, _("Stopped."))
            self.onAnalysisChanged(analysis)
        self.setStatus(Status("idle", _("Stopped.")))

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
        found = {plane: analysis.overlayNode(pointID, kind.value, plane) for plane in PLANES}
        if kind is OverlayKind.NONE or not any(found.values()):
            views.clearOverlay()
        else:
            views.showOverlay(found, parameterNode.overlayOpacity)

    # What the follower tells

    def onPointPlaced(self, analysis: Analysis, pointID: str) -> None:
        if self.getParameterNode().scoreAtOnce:
            self._due[(analysis.id, pointID)] = time.monotonic()

    def onInputChanged(self, analysis: Analysis, pointID: str, record: NoduleRecord) -> None:
        """The result is no longer true and goes; the nodule is scored again when it has come to rest."""
        self.worker.forget(analysis.id, pointID)
        if record.state != "waiting":
            record = dataclasses.replace(record, result=None, fingerprint=None, time="")
            self._setRecord(analysis, pointID, record, "waiting", "")
            analysis.removeNodesOf(pointID)
        if self.getParameterNode().scoreAtOnce:
            self._due[(analysis.id, pointID)] = time.monotonic() + DEBOUNCE_SECONDS

    def onPointRemoved(self, analysis: Analysis, pointID: str) -> None:
        self.worker.forget(analysis.id, pointID)
        self._due.pop((analysis.id, pointID), None)
        analysis.setRecord(pointID, None)
        parameterNode = self.getParameterNode()
        if parameterNode.selectedPoint == pointID and self._isCurrent(analysis):
            views.clearOverlay()
            parameterNode.selectedPoint = next(iter(analysis.recordIDs()), "")
        analysis.removeNodesOf(pointID)

    def onVolumeRemoved(self, analysis: Analysis) -> None:
        self._forget(analysis.id)
        for pointID, record in analysis.records():
            if record.state in ("pending", "waiting"):
                self._settle(analysis, pointID, record, _("The CT was removed."))

    def onAnalysisRemoved(self, analysis: Analysis, removedID: str) -> None:
        self._forget(analysis.id)
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
                self._settle(analysis, pointID, record, "")
                if record.result is None:
                    self._due[(analysis.id, pointID)] = time.monotonic()
        nodes.writeTable(analysis)

    def onAnalysisChanged(self, analysis: Analysis) -> None:
        if analysis.tableNode.GetScene() is not None:
            nodes.writeTable(analysis)
        self._notify()

    def onSceneClosing(self) -> None:
        self.worker.forget()
        self._due.clear()
        self.status = Status()

    def onSceneChanged(self) -> None:
        self._notify()

    # The way of one nodule through the worker

    def _dispatch(self, analysis: Analysis, pointID: str) -> None:
        self._due.pop((analysis.id, pointID), None)
        fingerprint = self._follower.lookAt(analysis, pointID)
        record = analysis.record(pointID)
        pointRas = analysis.pointRas(pointID)
        if record is None or pointRas is None:
            return
        if fingerprint is not None and not sameInput(record.fingerprint, fingerprint):
            record = dataclasses.replace(record, result=None, time="", fingerprint=fingerprint)
        model = None
        try:
            model = self.chosenModel()
            volume = ctVolume(analysis.volumeNode)
            prepared = scoring.prepare(volume, record.name, lpsFromRas(pointRas), model.card)
            self.worker.predict(analysis.id, pointID, prepared, model, self.deviceRequest)
        except MAEMCError as error:
            self._fail(analysis, pointID, record, error, model)
            return
        window = (model.card.preprocessing.window_lower, model.card.preprocessing.window_upper)
        self._setRecord(analysis, pointID, dataclasses.replace(record, window=window), "pending", "")
        self.setStatus(Status("busy", _("Scoring {nodule} ...").format(nodule=record.name)))

    def _onAnswer(self, request, message: dict) -> None:
        if request.kind == "device":
            self._onDeviceAnswer(message)
            return
        analysis = self._follower.analysis(request.analysisID)
        record = analysis.record(request.pointID) if analysis else None
        if record is None:
            return
        if message["kind"] == "error":
            self._onError(analysis, request, record, MAEMCError(message["message"], message["code"]))
        elif request.kind == "predict":
            self._onPrediction(analysis, request, record, message)
        else:
            self._onExplanation(analysis, request, record, message)
        self.onAnalysisChanged(analysis)

    def _onPrediction(self, analysis: Analysis, request, record: NoduleRecord, message: dict) -> None:
        result = scoring.scored(request.prepared, message["predictions"][0], request.model.card)
        result = dataclasses.replace(result, nodule_id=record.name, image=analysis.volumeNode.GetName())
        record = dataclasses.replace(record, result=result.to_json(), time=result.time)
        self._setRecord(analysis, request.pointID, record, "scored", "")
        nodes.showRoi(analysis, request.pointID, record)
        self.device = {**self.device, "name": result.device, "seconds": result.seconds}
        if self._isCurrent(analysis):
            self.getParameterNode().selectedPoint = request.pointID
            self.show(analysis, request.pointID, centered=False)
        self.setStatus(Status())
        self.worker.explain(request, self.deviceRequest)

    def _onExplanation(self, analysis: Analysis, request, record: NoduleRecord, message: dict) -> None:
        kinds = ("reconstruction", "error", "attention")
        pictures = {plane: {kind: decode_array(message[kind][plane]) for kind in kinds} for plane in PLANES}
        self._showPictures(analysis, request, record, pictures)

    def _showPictures(self, analysis: Analysis, request, record: NoduleRecord, pictures: dict) -> None:
        roi = request.prepared.roi
        stacks = {plane: {**pictures[plane], "original": getattr(roi, plane)} for plane in PLANES}
        overlays.createOverlays(analysis, request.pointID, record, roi, stacks)
        if self._isCurrent(analysis) and self.getParameterNode().selectedPoint == request.pointID:
            self.show(analysis, request.pointID, jump=False)

    def _onError(self, analysis: Analysis, request, record: NoduleRecord, error: MAEMCError) -> None:
        if request.kind == "predict":
            self._fail(analysis, request.pointID, record, error, request.model)
        elif error.code == "no-decoder":  # such a model has no reconstruction to show, which is no failure
            self._showPictures(analysis, request, record, {plane: {} for plane in PLANES})
        else:
            self.setStatus(Status("error", f"{record.name}: {error}", error.code))

    def _onDeviceAnswer(self, message: dict) -> None:
        if message["kind"] == "error":
            self.setStatus(Status("error", message["message"], message["code"]))
            return
        self.device = {**self.device, **message["device"]}
        if self.status.kind == "busy" and not self.isBusy():
            self.setStatus(Status())
        self._notify()

    def _fail(self, analysis: Analysis, pointID: str, record: NoduleRecord, error: MAEMCError, model) -> None:
        if record.result is None or record.result["status"] != "scored":
            point = record.fingerprint["point_lps"] if record.fingerprint else None
            result = scoring.failed(record.name, point, error, model.card if model else None)
            record = dataclasses.replace(record, result=result.to_json(), time=result.time)
            self._setRecord(analysis, pointID, record, "failed", str(error))
        else:  # scored again on request and without success: the earlier result is as true as it was
            self._setRecord(analysis, pointID, record, "scored", "")
        self.setStatus(Status("error", f"{record.name}: {error}", error.code))

    # Bookkeeping

    def _isCurrent(self, analysis: Analysis) -> bool:
        parameterNode = self.getParameterNode()
        return parameterNode.points is None or parameterNode.points is analysis.pointsNode

    def _settle(self, analysis: Analysis, pointID: str, record: NoduleRecord, message: str) -> None:
        """Out of the worker's hands without an answer: back to the earlier result, where there is one."""
        scored = record.result is not None and record.result["status"] == "scored"
        self._setRecord(analysis, pointID, record, "scored" if scored else "waiting", "" if scored else message)

    def _setRecord(self, analysis: Analysis, pointID: str, record: NoduleRecord, state: str, message: str) -> None:
        record = dataclasses.replace(record, state=state, message=message)
        analysis.setRecord(pointID, record)
        nodes.writeLabel(analysis, pointID, record)

    def _forget(self, analysisID: str) -> None:
        self.worker.forget(analysisID)
        for key in [key for key in self._due if key[0] == analysisID]:
            del self._due[key]

    def setStatus(self, status: Status) -> None:
        """Say something in the status line."""
        self.status = status
        self._notify()

    def _notify(self) -> None:
        if self.onChanged is not None:
            self.onChanged()
