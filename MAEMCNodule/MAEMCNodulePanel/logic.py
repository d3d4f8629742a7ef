"""The module's logic: points in a scene become results in it. Works without any window; knows no Qt."""

import importlib
import sys
import threading
import time

import slicer
from MAEMCLib.cases.values import named
from MAEMCLib.clinical.together import FIELDS
from MAEMCLib.errors import InputError, ModelError, UsageError
from MAEMCLib.images.ct import check_ct
from MAEMCLib.models.store import StoredModel
from MAEMCLib.worker.client import WorkerClient
from slicer.i18n import tr as _

from . import labels, nodes, views
from .analysis import ASIDE, SHOWN, Analysis, NoduleRecord
from .clinicalvalues import setClinical
from .edits import NoduleEdits
from .exporting import exportTables
from .interpreter import slicerPython
from .measuring import Measuring
from .modelchoice import chosenModel
from .parameters import MAEMCNoduleParameterNode, parameterNode
from .pictures import nameOf, recordIDOf
from .resulttable import writeTable
from .reviewing import Reviewing
from .scenenodes import pointsFrom, volumeFrom
from .sceneobserver import SceneObserver
from .scorevalues import setValue
from .scoringqueue import ScoringQueue, settle
from .showing import NoduleDisplay, scoresPictures, selectAmong
from .status import PanelLogic, Status
from .upkeep import SceneUpkeep
from .volumes import ctVolume


class MAEMCNoduleLogic(PanelLogic):
    """Scores the points of a point list on a CT, in a worker process, and keeps the scene in step with the points.

    For scripts: ``score`` waits for the results. For windows: ``requestScore`` returns at once and ``poll``, called
    a few times a second, brings the results in; ``changed`` (a Signal) tells when there is something new to show or to
    poll for. The panel's own logic is ``slicer.util.getModuleLogic("MAEMCNodule")``; whoever makes another one ends it
    with ``cleanup``, since two would share the points of a scene.
    """

    def __init__(self, python: str | None = None) -> None:
        super().__init__()
        self.display = NoduleDisplay()
        self._observer = SceneObserver()
        self.queue = ScoringQueue(WorkerClient(python or slicerPython), self._observer, self.statusLine)
        self._upkeep = SceneUpkeep(self._observer, self.queue, self.display, self.statusLine)
        self.measuring = Measuring(self._observer, self.queue, self.statusLine)
        self.edits = NoduleEdits(self._observer, self.queue, self.measuring, self.display, self.statusLine)
        self.reviewing = Reviewing(self._observer, self.queue, self.display, self.statusLine)
        self._warming: threading.Thread | None = None

    def getParameterNode(self) -> MAEMCNoduleParameterNode:
        return parameterNode()

    @property
    def worker(self) -> WorkerClient:
        """The process that scores."""
        return self.queue.worker

    @property
    def device(self) -> dict:
        """What the worker computes on, as far as it has told: name, title, torch, seconds, ..."""
        return self.queue.device

    @property
    def isWarm(self) -> bool:
        """Whether what cuts planes out of a CT is loaded, which takes long."""
        return self._warming is None and "SimpleITK" in sys.modules

    def attach(self) -> None:
        """Follow the scene: the analyses in it, and those that are loaded later. Results that are there stay."""
        self._observer.attach()

    def cleanup(self) -> None:
        """Stop following the scene and end the worker."""
        self.changed.disconnectAll()
        self._observer.detach()
        self._warming = None
        self.queue.forget()
        self.worker.stop()

    # Analyses and their points

    def analyses(self) -> list:
        return Analysis.inScene(slicer.mrmlScene)

    def analysisOf(self, volumeNode, pointsNode):
        """The analysis of a point list on a CT, or None."""
        return Analysis.find(volumeNode, pointsNode) if volumeNode and pointsNode else None

    def shownAnalysis(self):
        """The analysis whose rows the panel lists: of the chosen CT and list, or of the volume's pictures where the
        chosen model scores those. None where there is none."""
        chosen = self.getParameterNode()
        if scoresPictures(self.chosenCard()):
            return Analysis.ofPictures(chosen.inputVolume)
        return self.analysisOf(chosen.inputVolume, chosen.points)

    def pointsOf(self, volumeNode):
        """The point list that belongs to a CT, or None."""
        analysis = Analysis.find(volumeNode, None)
        return analysis.pointsNode if analysis else None

    def chooseVolume(self, volumeNode) -> None:
        """Take a CT, or None, for the one whose nodules are shown: in the views, and with its point list."""
        parameterNode = self.getParameterNode()
        views.stopPlacing(parameterNode.points)  # the next click would be on another image
        parameterNode.inputVolume = volumeNode
        parameterNode.points = self.pointsOf(volumeNode)
        selectAmong(self.shownAnalysis())
        self.statusLine.forgetInput()
        if volumeNode is not None:
            views.showBackground(volumeNode)
        self.display.arrange()

    def putAside(self, volumeNode, pointsNode) -> None:
        """Leave a point list as the user's own: labels without numbers, no frames, no overlays, points not followed.

        What was scored stays in the table, for when the list is chosen again.
        """
        analysis = self.analysisOf(volumeNode, pointsNode)
        if analysis is None or analysis.standing == ASIDE:
            return
        views.stopPlacing(pointsNode)
        self.queue.forget(analysis.id)
        for pointID, record in analysis.records():
            if record.state == "pending":
                settle(analysis, pointID, record, "")
        analysis.standing = ASIDE
        labels.restoreLabels(pointsNode)
        self.statusLine.forgetInput()
        self.display.arrange()

    def choosePoints(self, volumeNode, pointsNode) -> None:
        """Take a list's points for the nodules of a CT; what waits is scored, or the status line says how it is."""
        analysis = self.link(volumeNode, pointsNode)
        selectAmong(analysis)
        waiting = [pointID for pointID, record in analysis.records() if record.state == "waiting"]
        self.statusLine.forgetInput()
        if waiting and self.getParameterNode().scoreAtOnce:
            for pointID in waiting:
                self.queue.schedule(analysis, pointID)
        elif waiting:
            text = _("Press Score to score the nodules of {points}.").format(points=pointsNode.GetName())
            self.statusLine.set(Status("idle", text))
        self.display.arrange()
        self.changed.emit()

    def link(self, volumeNode, pointsNode) -> Analysis:
        """Make the point list belong to the CT: from now on its points are followed. Scores nothing by itself.

        pointsNode: None for the analysis of the volume's pictures.
        """
        self.attach()
        analysis = Analysis.find(volumeNode, pointsNode) if pointsNode else Analysis.ofPictures(volumeNode)
        if analysis is None:
            text = _("{volume} nodule scores") if pointsNode else _("{volume} picture scores")
            analysis = Analysis.create(volumeNode, pointsNode, text.format(volume=volumeNode.GetName()))
            for pointID, index in analysis.pointIndices().items():
                analysis.setRecord(pointID, NoduleRecord(labels.nameOfPoint(pointsNode, index)))
            self._observer.watch(analysis)
            writeTable(analysis)
            self.display.arrange()
        elif analysis.standing == ASIDE:
            analysis.standing = SHOWN
            labels.writeLabels(analysis)
            self.display.arrange()
            self._observer.reconcile(analysis)
        return analysis

    def startPlacing(self, volumeNode, pointsNode=None):
        """Let the next click in a view place a nodule on the CT. Returns its point list, made where there is none.

        Raises InputError where the volume cannot be scored, or the list takes no more points, before a point is placed
        in vain.
        """
        check_ct(ctVolume(volumeNode))
        pointsNode = pointsNode or self.pointsOf(volumeNode)
        if pointsNode is not None:
            _checkRoom(pointsNode)
            self.link(volumeNode, pointsNode)
        else:  # a list of the user's own stays where the user has put it
            pointsNode = nodes.createPointsNode(volumeNode)
            nodes.AnalysisFolder(self.link(volumeNode, pointsNode)).place(pointsNode)
        views.showBackground(volumeNode)
        views.startPlacing(pointsNode)
        return pointsNode

    def removeNodule(self, analysis: Analysis, pointID: str) -> None:
        """Delete a point, or the score of a picture, and everything of it; ``edits.undo`` takes it back."""
        self.edits.remove(analysis, pointID)

    def showOverlay(self, analysis: Analysis, pointID: str) -> None:
        """Have the chosen overlay of a nodule in the scene: at once where its explanation is known, else later."""
        if not self._upkeep.makeOverlays(analysis, pointID):
            self.queue.explain(analysis, pointID, self.getParameterNode().model)

    # Models and device

    def chosenModel(self) -> StoredModel:
        """The model of the parameter node, or the shipped one; its weights are verified by the worker.

        Raises ModelError naming what is wrong with it.
        """
        return chosenModel(self.getParameterNode().model)

    def chosenCard(self):
        """The card of the chosen model, or None where it cannot be used."""
        try:
            return self.chosenModel().card
        except ModelError:
            return None

    def requestDevice(self, name: str | None = None) -> None:
        """Start the worker in the background and have it tell what it computes on. name: of another device ("auto",
        "cpu", "cuda", "mps") from now on."""
        self.queue.deviceRequest = name or self.queue.deviceRequest
        # Cutting the first region needs a library of 100 MB. It is loaded beside the window, and before the worker
        # begins to load its own: both at once would keep the window waiting for longer.
        self._warming = threading.Thread(target=importlib.import_module, args=("SimpleITK",), daemon=True)
        self._warming.start()
        self.statusLine.set(Status("busy", _("Starting the scoring process ...")))

    # Scoring

    def score(self, volumeNode, markupsNode, timeout: float | None = None, pictures: bool = True):
        """Score every point of a list on a CT, wait for the results and return their table node.

        pictures: False leaves out reconstruction, error and attention, which take longer than the number.
        volumeNode, markupsNode: nodes, or their names. A point that cannot be scored has its reason in its row. Raises
        InputError or ModelError where nothing can be scored at all, and TimeoutError after ``timeout`` seconds.
        """
        return self._awaited(self.requestScore(volumeNode, markupsNode, pictures=pictures), timeout)

    def scorePicture(self, volumeNode, timeout: float | None = None, pictures: bool = True):
        """Score a 2-D image, or of a CT the axial slice that the views look at, with a model of 2-D pictures; wait for
        the result and return the table node of the volume's pictures.

        Arguments and errors as of ``score``; pictures: False leaves out the map of where the model looks.
        """
        return self._awaited(self.requestPicture(volumeNode, pictures=pictures), timeout)

    def _awaited(self, analysis: Analysis, timeout: float | None):
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
        setClinical(volumeNode, named(values.items(), card.clinical, card.id), card.clinical)
        self.statusLine.forgetInput()
        self._observer.noteInputChanged(volumeNode)
        self.changed.emit()

    def setScoreValue(self, analysis: Analysis, pointID: str, name: str, text: str) -> None:
        """Keep a value that clinical scores ask for, by its field's name; an empty text forgets it. Of the patient for
        all nodules of the CT: where the chosen model reads it as well, they are scored anew.

        Raises UsageError where no score asks for it.
        """
        setValue(analysis, pointID, name, text)
        card = self.chosenCard()
        if FIELDS[name].per_patient and card and name in {one.name.lower() for one in card.clinical}:
            self.statusLine.forgetInput()
            self._observer.noteInputChanged(analysis.volumeNode)
        self.changed.emit()

    def requestScore(self, volumeNode, markupsNode, pointIDs=None, pictures: bool = True) -> Analysis:
        """Have points (all of the list, or those given by ID) scored by the polls to come, and return at once.

        Raises InputError or ModelError where nothing can be scored at all.
        """
        volumeNode = volumeFrom(volumeNode)
        check_ct(ctVolume(volumeNode))
        markupsNode = pointsFrom(markupsNode)
        model = self.chosenModel()
        if not model.card.kind.located:
            text = _("The model {model} scores 2-D pictures, not nodules: choose another, or press Score picture.")
            raise UsageError(text.format(model=model.name), "input-kind")
        analysis = self.link(volumeNode, markupsNode)
        parameterNode = self.getParameterNode()
        if parameterNode.inputVolume is volumeNode and parameterNode.points is None:
            parameterNode.points = markupsNode  # a script's scores are seen in the panel as well
        placed = analysis.pointIndices()
        if not placed:
            raise InputError(_("The point list is empty. Place a nodule first."), "no-points")
        for pointID in placed if pointIDs is None else pointIDs:
            self.queue.schedule(analysis, pointID, pictures=pictures)
        self.changed.emit()
        return analysis

    def requestPicture(self, volumeNode, pictures: bool = True) -> Analysis:
        """Have a 2-D image, or of a CT the axial slice that the views look at, scored by the polls to come; return at
        once. Raises InputError, ModelError or UsageError where it cannot be scored at all.
        """
        volumeNode = volumeFrom(volumeNode)
        if volumeNode is None:
            raise InputError(_("No picture is selected. Load one and choose it under Picture."), "no-volume")
        recordID = recordIDOf(volumeNode)
        model = self.chosenModel()
        if model.card.kind.located:
            text = _("The model {model} scores nodules in a CT, not 2-D pictures. Choose another model.")
            raise UsageError(text.format(model=model.name), "input-kind")
        analysis = self.link(volumeNode, None)
        if analysis.record(recordID) is None:
            analysis.setRecord(recordID, NoduleRecord(nameOf(volumeNode, recordID)))
        if self.getParameterNode().inputVolume is volumeNode:
            self.getParameterNode().selectedPoint = recordID
        self.queue.schedule(analysis, recordID, pictures=pictures)
        writeTable(analysis)
        self.display.arrange()
        self.changed.emit()
        return analysis

    def isBusy(self, analysis: Analysis | None = None) -> bool:
        """Whether something is with the worker or waits its turn; of one analysis, where it is given."""
        beside = analysis is None and (self._warming is not None or self.measuring.isBusy())
        return self.queue.isBusy(analysis) or beside

    def poll(self) -> None:
        """Bring in what the worker has answered and send what is due. Quick; call it a few times a second."""
        if self._warming is not None and not self._warming.is_alive():
            self._warming = None
            self.queue.askDevice()
        self._upkeep.restoreTables()
        self.measuring.poll()
        self.queue.poll(self.getParameterNode().model)
        if self.status.kind == "busy" and not self.isBusy():  # what it spoke of was called off
            self.statusLine.set(Status())

    def stop(self) -> None:
        """Stop at once: what was being scored waits again, results that are there stay."""
        self._warming = None
        self.queue.stop()
        self.statusLine.set(Status("idle", _("Stopped.")))

    def exportResults(self, analysis: Analysis, folder, named: bool = False) -> list:
        """Write results.csv and results.json of an analysis to a folder; returns their paths.

        named: with the names of CT and nodules instead of pseudonyms. Raises InputError (nothing to write, folder not
        writable) or ModelError.
        """
        return exportTables(analysis, folder, self.chosenModel().card, self.device.get("name"), named)


def _checkRoom(pointsNode) -> None:
    """Raises InputError where a list takes no more points."""
    most, placed = pointsNode.GetMaximumNumberOfControlPoints(), pointsNode.GetNumberOfDefinedControlPoints()
    if placed == pointsNode.GetNumberOfControlPoints() and (
        pointsNode.GetFixedNumberOfControlPoints() or 0 <= most <= placed
    ):
        text = _("{points} takes no more points: their number is fixed. Unlock it in Markups, or choose another list.")
        raise InputError(text.format(points=pointsNode.GetName()), "points-fixed")
