"""Keeps an eye on the scene: which points were placed, moved, renamed or removed, and what became of CT and table."""

import contextlib

import slicer
import vtk

from . import labels, nodes
from .analysis import ASIDE, Analysis, NoduleRecord
from .clinicalvalues import seriesOf
from .signals import Signal
from .volumes import inputFingerprint, sameInput

_BEFORE_SELECTORS = 10.0
"""Priority with which removals are heard: before the lists of nodes in panels, which hear of them with -10 and then
choose a neighbor of what is gone."""


class SceneObserver:
    """Observes the scene and the nodes of its analyses, and tells what has changed by signals, in the module's terms.

    Keeps its observers itself: VTKObservationMixin holds on to each node it ever observed, and a CT is large.
    """

    def __init__(self) -> None:
        self.pointPlaced = Signal()
        """(analysis, point ID): a new point, which has a record from now on."""
        self.inputChanged = Signal()
        """(analysis, point ID, record): the point, the CT, a further series or a transform above them has moved, the
        voxels have changed, or what is known of the patient has."""
        self.pointRemoved = Signal()
        """(analysis, point ID): a point is gone; its record and nodes are not yet."""
        self.volumeRemoved = Signal()
        """(analysis): the CT goes; what was scored on it stays true."""
        self.analysisRemoved = Signal()
        """(analysis, node ID): the point list or the table goes; the ID says which of them."""
        self.analysisFound = Signal()
        """(analysis): it came with a loaded scene, or was there before."""
        self.analysisChanged = Signal()
        """(analysis): after one or several of the above: time to write the table."""
        self.pointsSeen = Signal()
        """(): points may have been hidden, shown or renamed, or have come or gone: time to look what is to be seen."""
        self.sceneClosing = Signal()
        """(): everything is about to go."""
        self.sceneChanged = Signal()
        """(): a scene was closed or loaded."""
        self._observers: list = []  # (node, event, method, tag)
        self._watched: dict = {}  # analysis ID -> (volume node ID, points node ID), known also when those are gone
        self._seen: dict = {}  # (analysis ID, control point ID) -> fingerprint of the input when last looked at
        self._volumeNames: dict = {}  # volume node ID -> the name that frames and overlays carry
        self._dragged: set = set()  # IDs of point lists with a point under the mouse button
        self._reconciling = False

    def attach(self) -> None:
        """Follow the current scene and take up the analyses in it. May be called again at any time."""
        scene = slicer.mrmlScene
        events = {
            scene.NodeAboutToBeRemovedEvent: self._onNodeAboutToBeRemoved,
            scene.StartCloseEvent: self._onSceneStartClose,
            scene.EndCloseEvent: self._onSceneChanged,
            scene.EndImportEvent: self._onSceneChanged,
            scene.EndRestoreEvent: self._onSceneChanged,
        }
        self._observe((scene, event, method) for event, method in events.items())
        for analysis in Analysis.inScene(scene):
            if analysis.id not in self._watched:
                self.watch(analysis)
                self.analysisFound.emit(analysis)
            self.reconcile(analysis)

    def detach(self) -> None:
        """Follow nothing any more."""
        for node in {entry[0] for entry in self._observers}:
            self._unobserve(node)
        self._watched.clear()
        self._seen.clear()
        self._dragged.clear()

    def watch(self, analysis: Analysis) -> None:
        """Follow one analysis."""
        volumeNode, pointsNode = analysis.volumeNode, analysis.pointsNode
        self._watched[analysis.id] = (
            volumeNode.GetID() if volumeNode else "",
            pointsNode.GetID() if pointsNode else "",
        )
        if pointsNode is not None:
            changes = (
                pointsNode.PointPositionDefinedEvent,
                pointsNode.PointModifiedEvent,
                pointsNode.PointRemovedEvent,
                pointsNode.TransformModifiedEvent,
                pointsNode.DisplayModifiedEvent,
            )
            self._observe((pointsNode, event, self._onPointsChanged) for event in changes)
            self._observe([(pointsNode, pointsNode.PointStartInteractionEvent, self._onDragStarted)])
            self._observe([(pointsNode, pointsNode.PointEndInteractionEvent, self._onDragEnded)])
        if volumeNode is not None:
            self._observeVolume(volumeNode)
            self._observe([(volumeNode, volumeNode.ReferenceRemovedEvent, self._onReferenceRemoved)])
            self._observe([(volumeNode, vtk.vtkCommand.ModifiedEvent, self._onVolumeRenamed)])
            self._volumeNames[volumeNode.GetID()] = volumeNode.GetName()

    def analysis(self, analysisID: str):
        """The followed analysis with this ID, or None where it is gone."""
        if slicer.mrmlScene is None or analysisID not in self._watched:
            return None
        node = slicer.mrmlScene.GetNodeByID(analysisID)
        return Analysis(node) if node is not None else None

    def isDragged(self, analysis: Analysis) -> bool:
        return self._watched.get(analysis.id, ("", ""))[1] in self._dragged

    def lookAt(self, analysis: Analysis, pointID: str, series=()):
        """Fingerprint of a nodule's input as it is now; changes are told from here on. None where it is gone.

        series: names of the further series that are read beside the CT, where they are chosen.
        """
        pointRas = analysis.pointRas(pointID)
        if analysis.volumeNode is None or pointRas is None:
            return None
        chosen = seriesOf(analysis.volumeNode, series)
        for node in chosen.values():
            self._observeVolume(node)
        fingerprint = inputFingerprint(analysis.volumeNode, pointRas, chosen)
        self._seen[(analysis.id, pointID)] = fingerprint
        return fingerprint

    def reconcile(self, analysis: Analysis) -> None:
        """Compare records with points and tell what has changed."""
        scene = analysis.tableNode.GetScene()
        # While a scene is read or closed, nodes come and go one by one and references do not hold yet.
        if self._reconciling or scene is None or scene.IsClosing() or scene.IsImporting():
            return
        if analysis.pointsNode is None or analysis.standing == ASIDE:
            return
        with self._resting():
            _separateIDs(analysis.pointsNode)
            placed = analysis.pointIndices()
            gone = [pointID for pointID in analysis.recordIDs() if pointID not in placed]
            for pointID in gone:
                self._seen.pop((analysis.id, pointID), None)
                self.pointRemoved.emit(analysis, pointID)
            changed = [self._reconcilePoint(analysis, pointID, index) for pointID, index in placed.items()]
        if gone or any(changed):
            self.analysisChanged.emit(analysis)

    def _reconcilePoint(self, analysis: Analysis, pointID: str, index: int) -> bool:
        record = analysis.record(pointID)
        name = labels.nameOfPoint(analysis.pointsNode, index, record)
        if record is None:
            self.lookAt(analysis, pointID)
            analysis.setRecord(pointID, NoduleRecord(name))
            self.pointPlaced.emit(analysis, pointID)
            return True
        renamed = name != record.name
        if renamed:
            record.name = name
            analysis.setRecord(pointID, record)
            nodes.nameNodes(analysis, pointID, name)
        labels.writeLabel(analysis, pointID, record)  # whatever the user has typed there, the number is ours
        before = self._seen.get((analysis.id, pointID)) or record.fingerprint
        now = self.lookAt(analysis, pointID, _seriesRead(before))
        if before is None or now is None or sameInput(before, now):
            return renamed
        self.inputChanged.emit(analysis, pointID, record)
        return True

    def _onPointsChanged(self, caller, event) -> None:
        self._reconcileEach(lambda volumeID, pointsID: pointsID == caller.GetID())
        if not self._reconciling:
            self.pointsSeen.emit()

    def _onVolumeMoved(self, caller, event) -> None:  # a CT, or what is a further series of any of them
        self._reconcileEach(lambda volumeID, pointsID: True)

    def _onVolumeRenamed(self, caller, event) -> None:  # or otherwise modified
        if self._volumeNames.get(caller.GetID()) == caller.GetName():
            return
        self._volumeNames[caller.GetID()] = caller.GetName()
        for analysis in self._analysesWhere(lambda volumeID, pointsID: volumeID == caller.GetID()):
            for pointID, record in analysis.records():
                nodes.nameNodes(analysis, pointID, record.name)

    def _onReferenceRemoved(self, caller, event) -> None:  # the scene does so when a further series is removed
        self._reconcileEach(lambda volumeID, pointsID: volumeID == caller.GetID())

    def _onVoxelsChanged(self, caller, event) -> None:
        self.noteInputChanged(caller)

    def noteInputChanged(self, volumeNode) -> None:
        """What nodules are scored by has changed: the voxels of their CT or of a further series, or what is known of
        the CT's patient."""
        for analysis in self._analysesWhere(lambda volumeID, pointsID: True):
            changed = [entry for entry in analysis.records() if _reads(analysis, entry[1], volumeNode)]
            with self._resting():
                for pointID, record in changed:
                    self.inputChanged.emit(analysis, pointID, record)
            if changed:
                self.analysisChanged.emit(analysis)

    def _onDragStarted(self, caller, event) -> None:
        self._dragged.add(caller.GetID())

    def _onDragEnded(self, caller, event) -> None:
        self._dragged.discard(caller.GetID())
        self._onPointsChanged(caller, event)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAboutToBeRemoved(self, caller, event, node) -> None:
        # Before and not after: a table that has left its scene no longer finds the nodes that belong to it.
        if node is None or caller.IsClosing():
            return
        self._unobserve(node)
        nodeID = node.GetID()
        for analysisID, (volumeID, pointsID) in list(self._watched.items()):
            analysis = self.analysis(analysisID)
            if analysis is None:
                continue
            if nodeID in (analysisID, pointsID):
                self._unwatch(analysisID)
                self.analysisRemoved.emit(analysis, nodeID)
            elif nodeID == volumeID:
                self.volumeRemoved.emit(analysis)
                self.analysisChanged.emit(analysis)

    def _onSceneStartClose(self, caller, event) -> None:
        for node in {entry[0] for entry in self._observers} - {caller}:
            self._unobserve(node)
        self._watched.clear()
        self._seen.clear()
        self._dragged.clear()
        self.sceneClosing.emit()

    def _onSceneChanged(self, caller, event) -> None:
        self.attach()
        self.sceneChanged.emit()

    def _unwatch(self, analysisID: str) -> None:
        self._watched.pop(analysisID, None)
        for key in [key for key in self._seen if key[0] == analysisID]:
            del self._seen[key]

    def _analysesWhere(self, condition) -> list:
        found = [self.analysis(analysisID) for analysisID, watched in self._watched.items() if condition(*watched)]
        return [analysis for analysis in found if analysis is not None]

    def _reconcileEach(self, condition) -> None:
        for analysis in self._analysesWhere(condition):
            self.reconcile(analysis)

    @contextlib.contextmanager
    def _resting(self):
        """Labels that are written meanwhile are changes of the points, too, but none to react to."""
        self._reconciling = True
        try:
            yield
        finally:
            self._reconciling = False

    def _observeVolume(self, volumeNode) -> None:
        self._observe([(volumeNode, volumeNode.TransformModifiedEvent, self._onVolumeMoved)])
        self._observe([(volumeNode, volumeNode.ImageDataModifiedEvent, self._onVoxelsChanged)])

    def _observe(self, observations) -> None:
        known = {entry[:3] for entry in self._observers}
        for node, event, method in observations:
            if (node, event, method) not in known:
                removal = node is slicer.mrmlScene and event == node.NodeAboutToBeRemovedEvent
                priority = _BEFORE_SELECTORS if removal else 0.0
                self._observers.append((node, event, method, node.AddObserver(event, method, priority)))

    def _unobserve(self, node) -> None:
        for entry in [entry for entry in self._observers if entry[0] is node]:
            node.RemoveObserver(entry[3])
            self._observers.remove(entry)


def _separateIDs(pointsNode) -> None:
    """Give a point whose ID another one has already an ID of its own.

    After an undo Slicer counts IDs from 1 again: a new point would have the results of the one that is there.
    """
    known = set()
    for index in range(pointsNode.GetNumberOfControlPoints()):
        while pointsNode.GetNthControlPointID(index) in known and pointsNode.ResetNthControlPointID(index):
            pass  # the next number, until it is free
        known.add(pointsNode.GetNthControlPointID(index))


def _seriesRead(fingerprint) -> tuple:
    """Names of the further series that a result with this fingerprint has read."""
    return tuple((fingerprint or {}).get("series", ()))


def _reads(analysis: Analysis, record: NoduleRecord, volumeNode) -> bool:
    """Whether a nodule is scored on this volume: its CT, or a further series that was read beside it."""
    if analysis.volumeNode is volumeNode:
        return True
    return volumeNode in seriesOf(analysis.volumeNode, _seriesRead(record.fingerprint)).values()
