"""Keeps an eye on the scene: which points were placed, moved, renamed or removed, and what became of CT and table."""

import contextlib

import slicer
import vtk

from . import labels, nodes, segments
from .analysis import ASIDE, Analysis, NoduleRecord
from .clinicalvalues import seriesOf
from .status import Signal
from .volumes import inputFingerprint, sameInput, seriesRead

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
        voxels have changed, or the patient's clinical values have."""
        self.pointRemoved = Signal()
        """(analysis, point ID): a point is gone; its record and nodes are not yet."""
        self.volumeRemoved = Signal()
        """(analysis): the CT goes; what was scored on it stays true."""
        self.segmentationChanged = Signal()
        """(analysis, segmentation node): a segment has come, is gone, or has other voxels; None for the node: a whole
        segmentation goes."""
        self.analysisRemoved = Signal()
        """(analysis, node ID): the point list or the table goes; the ID says which of them."""
        self.analysisFound = Signal()
        """(analysis): it came with a loaded scene, or was there before."""
        self.analysisChanged = Signal()
        """(analysis): after one or several of the above, or when a record is another one: time to write the table."""
        self.pointsSeen = Signal()
        """(): points may have been hidden, shown or renamed, or have come or gone: time to look what is to be seen."""
        self.sceneClosing = Signal()
        """(): everything is about to go."""
        self.sceneChanged = Signal()
        """(): a scene was closed or loaded."""
        self._observers: list = []  # (node, event, method, tag)
        self._watched: list = []  # IDs of the followed analyses
        self._seen: dict = {}  # (analysis ID, control point ID) -> fingerprint of the input when last looked at
        self._dragged: set = set()  # IDs of point lists with a point under the mouse button
        self._reconciling = False

    def attach(self) -> None:
        """Follow the current scene and take up the analyses in it. May be called again at any time."""
        scene = slicer.mrmlScene
        self._observe(scene, self._onNodeAboutToBeRemoved, scene.NodeAboutToBeRemovedEvent)
        self._observe(scene, self._onSceneStartClose, scene.StartCloseEvent)
        self._observe(scene, self._onSceneChanged, scene.EndCloseEvent, scene.EndImportEvent, scene.EndRestoreEvent)
        self._observe(scene, self._onNodeAdded, scene.NodeAddedEvent)
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene):
            self._observeSegmentation(node)
        for analysis in Analysis.inScene(scene):
            if analysis.id not in self._watched:
                self.watch(analysis)
                self.analysisFound.emit(analysis)
            self.reconcile(analysis)

    def detach(self, exceptFor=None) -> None:
        """Follow nothing any more, except for one node."""
        for node in {entry[0] for entry in self._observers} - {exceptFor}:
            self._unobserve(node)
        self._watched.clear()
        self._seen.clear()
        self._dragged.clear()

    def watch(self, analysis: Analysis) -> None:
        """Follow one analysis."""
        volumeNode, pointsNode = analysis.volumeNode, analysis.pointsNode
        self._watched.append(analysis.id)
        if pointsNode is not None:
            placed, moved = pointsNode.PointPositionDefinedEvent, pointsNode.PointModifiedEvent
            self._observe(pointsNode, self._onPointsChanged, placed, moved, pointsNode.PointRemovedEvent)
            seen = pointsNode.TransformModifiedEvent, pointsNode.DisplayModifiedEvent
            self._observe(pointsNode, self._onPointsChanged, *seen)
            self._observe(pointsNode, self._onDragStarted, pointsNode.PointStartInteractionEvent)
            self._observe(pointsNode, self._onDragEnded, pointsNode.PointEndInteractionEvent)
        if volumeNode is not None:
            self._observeVolume(volumeNode)
            # The scene removes a reference when a further series is removed.
            self._observe(volumeNode, self._onVolumeChanged, volumeNode.ReferenceRemovedEvent)
            self._observe(volumeNode, self._onVolumeRenamed, vtk.vtkCommand.ModifiedEvent)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAdded(self, caller, event, node) -> None:
        if node is not None and node.IsA("vtkMRMLSegmentationNode"):
            self._observeSegmentation(node)

    def _observeSegmentation(self, node) -> None:
        kinds = slicer.vtkSegmentation
        events = kinds.SourceRepresentationModified, kinds.SegmentAdded, kinds.SegmentRemoved
        self._observe(node, self._onSegmentationChanged, *events)

    def _onSegmentationChanged(self, caller, event) -> None:
        scene = caller.GetScene()
        if self._reconciling or scene is None or scene.IsClosing() or scene.IsImporting():
            return
        for analysis in self._analyses():
            if analysis.volumeNode is not None:
                self.segmentationChanged.emit(analysis, caller)

    def analysis(self, analysisID: str):
        """The followed analysis with this ID, or None where it is gone."""
        if slicer.mrmlScene is None or analysisID not in self._watched:
            return None
        node = slicer.mrmlScene.GetNodeByID(analysisID)
        return Analysis(node) if node is not None else None

    def isDragged(self, analysis: Analysis) -> bool:
        return analysis.pointsNode is not None and analysis.pointsNode.GetID() in self._dragged

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
        with self.resting():
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
            segments.nameOutline(analysis, pointID, name)
        labels.writeLabel(analysis, pointID, record)  # whatever the user has typed there, the number is ours
        before = self._seen.get((analysis.id, pointID)) or record.fingerprint
        now = self.lookAt(analysis, pointID, seriesRead(before))
        if before is None or now is None or sameInput(before, now):
            return renamed
        self.inputChanged.emit(analysis, pointID, record)
        return True

    def _onPointsChanged(self, caller, event) -> None:
        for analysis in self._analyses():
            if analysis.pointsNode is caller:
                self.reconcile(analysis)
        if not self._reconciling:
            self.pointsSeen.emit()

    def _onVolumeChanged(self, caller, event) -> None:  # a CT, or what is a further series of any of them
        for analysis in self._analyses():
            self.reconcile(analysis)

    def _onVolumeRenamed(self, caller, event) -> None:  # or otherwise modified
        for analysis in self._analyses():
            for pointID, record in analysis.records() if analysis.volumeNode is caller else ():
                nodes.nameNodes(analysis, pointID, record.name)

    def noteInputChanged(self, volumeNode, event: str = "") -> None:
        """What nodules are scored by has changed: the voxels of their CT or of a further series, as the node's event
        says, or the clinical values of the CT's patient."""
        for analysis in self._analyses():
            changed = [entry for entry in analysis.records() if _reads(analysis, entry[1], volumeNode)]
            with self.resting():
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
        if node.IsA("vtkMRMLSegmentationNode"):
            for analysis in self._analyses():
                self.segmentationChanged.emit(analysis, None)
        for analysis in self._analyses():
            if node in (analysis.tableNode, analysis.pointsNode):
                self._watched = [analysisID for analysisID in self._watched if analysisID != analysis.id]
                self._seen = {key: fingerprint for key, fingerprint in self._seen.items() if key[0] != analysis.id}
                self.analysisRemoved.emit(analysis, node.GetID())
            elif node is analysis.volumeNode:
                self.volumeRemoved.emit(analysis)
                self.analysisChanged.emit(analysis)

    def _onSceneStartClose(self, caller, event) -> None:
        self.detach(exceptFor=caller)
        self.sceneClosing.emit()

    def _onSceneChanged(self, caller, event) -> None:
        self.attach()
        self.sceneChanged.emit()

    def _analyses(self) -> list:
        """The followed analyses that are in the scene."""
        return [analysis for analysis in map(self.analysis, self._watched) if analysis is not None]

    @contextlib.contextmanager
    def resting(self):
        """Labels that are written meanwhile are changes of the points, too, but none to react to."""
        self._reconciling = True
        try:
            yield
        finally:
            self._reconciling = False

    def _observeVolume(self, volumeNode) -> None:
        self._observe(volumeNode, self._onVolumeChanged, volumeNode.TransformModifiedEvent)
        self._observe(volumeNode, self.noteInputChanged, volumeNode.ImageDataModifiedEvent)

    def _observe(self, node, method, *events) -> None:
        observed = {entry[:3] for entry in self._observers}
        for event in events:
            if (node, event, method) not in observed:
                priority = _BEFORE_SELECTORS if method == self._onNodeAboutToBeRemoved else 0.0
                self._observers.append((node, event, method, node.AddObserver(event, method, priority)))

    def _unobserve(self, node) -> None:
        for entry in [entry for entry in self._observers if entry[0] is node]:
            node.RemoveObserver(entry[3])
            self._observers.remove(entry)


def _separateIDs(pointsNode) -> None:
    """Give a point whose ID another one has already an ID of its own.

    After an undo Slicer counts IDs from 1 again: a new point would have the results of the one that is there.
    """
    taken = set()
    for index in range(pointsNode.GetNumberOfControlPoints()):
        while pointsNode.GetNthControlPointID(index) in taken and pointsNode.ResetNthControlPointID(index):
            pass  # the next number, until it is free
        taken.add(pointsNode.GetNthControlPointID(index))


def _reads(analysis: Analysis, record: NoduleRecord, volumeNode) -> bool:
    """Whether a nodule is scored on this volume: its CT, or a further series that was read beside it."""
    if analysis.volumeNode is volumeNode:
        return True
    return volumeNode in seriesOf(analysis.volumeNode, seriesRead(record.fingerprint)).values()
