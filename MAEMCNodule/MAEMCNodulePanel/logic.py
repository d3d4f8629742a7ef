"""The module's logic: points in a scene become results in it. Works without any window; knows no Qt."""

import importlib
import threading
import time
from pathlib import Path

import slicer
from MAEMCLib.cases.values import parse_assignments
from MAEMCLib.errors import InputError, MAEMCError
from MAEMCLib.images.ct import check_ct
from MAEMCLib.models.bundle import read_card
from MAEMCLib.models.store import StoredModel, find_model, list_models
from MAEMCLib.report.tables import write_results
from MAEMCLib.results import NoduleResult
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from . import hierarchy, labels, nodes, showing, views
from .analysis import ASIDE, SHOWN, Analysis, NoduleRecord
from .clinicalvalues import setClinical
from .following import SceneFollower
from .given import givenPoints, givenVolume
from .installing import MACHINE_CODES
from .overlays import isOverlay
from .parameters import MAEMCNoduleParameterNode
from .scoringqueue import ScoringQueue, settle
from .status import Status
from .upkeep import SceneUpkeep
from .volumes import ctVolume
from .worker import ScoringWorker


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
        self._arranging = False
        self._upkeep = SceneUpkeep(self)
        self._follower = SceneFollower(self._upkeep)
        self.queue = ScoringQueue(self.worker, self._follower, self)

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
        self.queue.forget()
        self.worker.stop()

    # Analyses and their points

    def proposedVolume(self):
        """The CT to begin with: the only one loaded, else the one shown in the slice views, else None."""
        loaded = [
            node
            for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if node.GetClassName() == "vtkMRMLScalarVolumeNode"
            and not node.GetHideFromEditors()
            and not isOverlay(node)
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
        analysis = Analysis.find(volumeNode, None) if volumeNode else None
        return analysis.pointsNode if analysis else None

    def chooseVolume(self, volumeNode) -> None:
        """Take a CT, or None, for the one whose nodules are shown: in the views, and with its point list."""
        parameterNode = self.getParameterNode()
        if views.isPlacing(parameterNode.points):  # the next click would be on another picture
            views.stopPlacing(slicer.mrmlScene)
        parameterNode.inputVolume = volumeNode
        analysis = Analysis.find(volumeNode, None) if volumeNode else None
        parameterNode.points = analysis.pointsNode if analysis else None
        known = analysis.recordIDs() if analysis else []
        if parameterNode.selectedPoint not in known:
            parameterNode.selectedPoint = next(iter(known), "")
        self.forgetStatus()
        if volumeNode is not None:
            views.showBackground(volumeNode)
        self.arrange()

    def putAside(self, volumeNode, pointsNode) -> None:
        """Leave a point list as the user's own: labels without numbers, no frames, no overlays, points not followed.

        What was scored stays in the table, for when the list is chosen again.
        """
        analysis = self.analysisOf(volumeNode, pointsNode)
        if analysis is None or analysis.standing == ASIDE:
            return
        if views.isPlacing(pointsNode):
            views.stopPlacing(slicer.mrmlScene)
        self.queue.forget(analysis.id)
        for pointID, record in analysis.records():
            if record.state == "pending":
                settle(analysis, pointID, record, "")
        analysis.standing = ASIDE
        labels.restoreLabels(pointsNode)
        self.forgetStatus()
        self.arrange()

    def choosePoints(self, volumeNode, pointsNode) -> None:
        """Take a list's points for the nodules of a CT; what waits is scored, or the status line says how it is."""
        analysis = self.link(volumeNode, pointsNode)
        known = analysis.recordIDs()
        parameterNode = self.getParameterNode()
        if parameterNode.selectedPoint not in known:
            parameterNode.selectedPoint = next(iter(known), "")
        waiting = [pointID for pointID, record in analysis.records() if record.state == "waiting"]
        self.forgetStatus()
        if waiting and parameterNode.scoreAtOnce:
            for pointID in waiting:
                self.queue.schedule(analysis, pointID)
        elif waiting:
            text = _("Press Score to score the nodules of {points}.").format(points=pointsNode.GetName())
            self.setStatus(Status("idle", text))
        self.arrange()
        self.notify()

    def link(self, volumeNode, pointsNode) -> Analysis:
        """Make the point list belong to the CT: from now on its points are followed. Scores nothing by itself."""
        self.attach()
        analysis = Analysis.find(volumeNode, pointsNode)
        if analysis is None:
            name = _("{volume} nodule scores").format(volume=volumeNode.GetName())
            analysis = Analysis.create(volumeNode, pointsNode, name)
            for pointID, index in analysis.pointIndices().items():
                analysis.setRecord(pointID, NoduleRecord(labels.nameOfPoint(pointsNode, index)))
            self._follower.watch(analysis)
            nodes.writeTable(analysis)
            self.arrange()
        elif analysis.standing == ASIDE:
            analysis.standing = SHOWN
            labels.writeLabels(analysis)
            self.arrange()
            self._follower.reconcile(analysis)
        return analysis

    def startPlacing(self, volumeNode, pointsNode=None):
        """Let the next click in a view place a nodule on the CT. Returns its point list, made where there is none.

        Raises InputError where the volume cannot be scored, or the list takes no more points, before a point is placed
        in vain.
        """
        check_ct(ctVolume(volumeNode))
        known = pointsNode or self.pointsOf(volumeNode)
        _checkRoom(known)
        pointsNode = known or nodes.createPointsNode(volumeNode)
        analysis = self.link(volumeNode, pointsNode)
        if known is None:  # a list of the user's own stays where the user has put it
            hierarchy.placeInFolder(analysis, pointsNode)
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
        volumeNode, markupsNode: nodes, or their names. A point that cannot be scored has its reason in its row. Raises
        InputError or ModelError where nothing can be scored at all, and TimeoutError after ``timeout`` seconds.
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
        self.forgetStatus()
        self._follower.inputChanged(volumeNode)
        self.notify()

    def requestScore(self, volumeNode, markupsNode, pointIDs=None, pictures: bool = True) -> Analysis:
        """Have points (all of the list, or those given by ID) scored by the polls to come, and return at once.

        Raises InputError or ModelError where nothing can be scored at all.
        """
        volumeNode = givenVolume(volumeNode)
        check_ct(ctVolume(volumeNode))
        markupsNode = givenPoints(markupsNode)
        self.chosenModel()
        analysis = self.link(volumeNode, markupsNode)
        parameterNode = self.getParameterNode()
        if parameterNode.inputVolume is volumeNode and parameterNode.points is None:
            parameterNode.points = markupsNode  # a script's scores are seen in the panel as well
        placed = analysis.pointIndices()
        if not placed:
            raise InputError(_("The point list is empty. Place a nodule first."), "no-points")
        for pointID in placed if pointIDs is None else pointIDs:
            self.queue.schedule(analysis, pointID, pictures=pictures)
        self.notify()
        return analysis

    def isBusy(self, analysis: Analysis | None = None) -> bool:
        """Whether something is with the worker or waits its turn; of one analysis, where it is given."""
        return self.queue.isBusy(analysis) or (analysis is None and self._warming is not None)

    def poll(self) -> None:
        """Bring in what the worker has answered and send what is due. Quick; call it a few times a second."""
        if self._warming is not None and not self._warming.is_alive():
            self._warming = None
            self._askDevice()
        self._upkeep.restoreTables()
        self.queue.poll()
        if self.status.kind == "busy" and not self.isBusy():  # what it spoke of was called off
            self.setStatus(Status())

    def stop(self) -> None:
        """Stop at once: what was being scored waits again, results that are there stay."""
        self._warming = None
        self.queue.stop()
        self.setStatus(Status("idle", _("Stopped.")))

    @property
    def device(self) -> dict:
        """What the worker computes on, as far as it has told: name, title, torch, seconds, ..."""
        return self.queue.device

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
        """Show a nodule in the slice views: CT behind, chosen overlay in front; jump moves the views to it.

        Views that show another CT beside this one, for comparison, stay as they are.
        """
        if analysis.volumeNode is not None and analysis.volumeNode not in views.backgroundVolumes():
            views.showBackground(analysis.volumeNode)
        pointRas = analysis.pointRas(pointID)
        if jump and pointRas is not None:
            views.jumpTo(pointRas, centered)
        self.arrange()

    def arrange(self) -> None:
        """Show of the nodules what is chosen, over its own CT alone."""
        if not self._arranging and slicer.mrmlScene is not None and not slicer.mrmlScene.IsBatchProcessing():
            self._arranging = True
            try:
                showing.arrange(self.getParameterNode())
            finally:
                self._arranging = False

    def followViews(self) -> None:
        """The views show other volumes than before: where the chosen CT is in none of them, choose what is.

        So panel and views never speak of different CTs.
        """
        chosen, shown = self.getParameterNode().inputVolume, views.backgroundVolumes()
        if chosen is not None and shown and chosen not in shown:
            kind = "vtkMRMLScalarVolumeNode"
            others = [node for node in shown if node.GetClassName() == kind and not isOverlay(node)]
            if others:
                self.getParameterNode().inputVolume = others[0]
        self.arrange()

    # What becomes of the scene

    def onAnalysisChanged(self, analysis: Analysis) -> None:
        if analysis.tableNode.GetScene() is not None:
            nodes.writeTable(analysis)
        self.notify()

    # What the queue tells

    def onScored(self, analysis: Analysis, pointID: str) -> None:
        if self.isCurrent(analysis) and not self.getParameterNode().selectedPoint:
            self.getParameterNode().selectedPoint = pointID
        if self.isShown(analysis, pointID):
            self.show(analysis, pointID, centered=False)
        else:
            self.arrange()  # its frame is new

    def onExplained(self, analysis: Analysis, pointID: str) -> None:
        if self.isShown(analysis, pointID):
            self.show(analysis, pointID, jump=False)

    def setStatus(self, status: Status) -> None:
        """Say something in the status line."""
        self.status = status
        self.notify()

    def forgetStatus(self) -> None:
        """What the status line said of the input is no longer true: the input is another one."""
        if self.status.text and self.status.kind != "busy" and self.status.code not in MACHINE_CODES:
            self.setStatus(Status())

    def notify(self) -> None:
        if self.onChanged is not None:
            self.onChanged()

    def isCurrent(self, analysis: Analysis) -> bool:
        parameterNode = self.getParameterNode()
        return analysis.shown and (parameterNode.points is None or parameterNode.points is analysis.pointsNode)

    def isShown(self, analysis: Analysis, pointID: str) -> bool:
        return self.isCurrent(analysis) and self.getParameterNode().selectedPoint == pointID


def _checkRoom(pointsNode) -> None:
    """Raises InputError where a list takes no more points."""
    if pointsNode is None:
        return
    most, there = pointsNode.GetMaximumNumberOfControlPoints(), pointsNode.GetNumberOfDefinedControlPoints()
    if there == pointsNode.GetNumberOfControlPoints() and (
        pointsNode.GetFixedNumberOfControlPoints() or 0 <= most <= there
    ):
        text = _("{points} takes no more points: their number is fixed. Unlock it in Markups, or choose another list.")
        raise InputError(text.format(points=pointsNode.GetName()), "points-fixed")
