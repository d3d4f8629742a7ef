"""The nodes a result shows itself in: ROI frame, overlay volumes, the list of points; their names, and their place in
the data tree: a folder beside the CT, and in it a folder for each nodule.

Overlays are what the model reconstructed, where it errs and what it attended to, over the CT at their place.
"""

from collections.abc import Iterator

import numpy as np
import slicer
import vtk
from MAEMCLib.inputs.region import SIDE
from slicer.i18n import tr as _

from .analysis import KINDS, OVERLAY, PLANES, batch
from .explanations import Explained
from .overlaychoice import OverlayKind

GATE_COLORS = {"green": (46, 139, 87), "amber": (214, 137, 16), "red": (192, 57, 43), "grey": (127, 127, 127)}
"""sRGB 0-255 of each gate, of like weight on light and dark panels."""

PLANE = "MAEMC.Plane"
"""Attribute of an overlay volume: the plane of its slices."""
ERROR_SHOWN_FROM_HU = 60.0
ERROR_SHOWN_TO_HU = 600.0
ATTENTION_SHOWN_FROM = 0.25
_GIVEN_NAME = "MAEMC.Name"
_FOLDER_MARK = "MAEMC.Folder"
_NODULE_MARK = "MAEMC.NoduleFolder"


def nameNodes(analysis, pointID: str, name: str) -> None:
    """Name frame, overlays and folder of a nodule after it and its CT; a name that the user has given stays."""
    for node in analysis.nodesOf(pointID):
        nameNode(analysis, name, node)
    AnalysisFolder(analysis).nameNodule(pointID, name)


def removeNodesOf(analysis, pointID: str) -> None:
    """Remove frame, overlays and folder of a nodule."""
    analysis.removeNodesOf(pointID)
    AnalysisFolder(analysis).removeNodule(pointID)


def nameNode(analysis, nodule: str, node) -> None:
    """Give a frame or an overlay its name, unless somebody has changed the one it was given before."""
    given = node.GetAttribute(_GIVEN_NAME)
    if given is not None and node.GetName() != given:
        return
    kind, planes = node.GetAttribute(OVERLAY), {"axial": _("axial"), "coronal": _("coronal")}
    if kind and node.GetAttribute(PLANE) is None:  # of a scene from before planes were kept: its name stays
        return
    text = _("{nodule} {kind}, {plane} ({volume})") if kind else _("{nodule} region, 50 mm ({volume})")
    volume = analysis.volumeNode.GetName() if analysis.volumeNode else _("CT removed")
    label, plane = OverlayKind(kind or "none").label().lower(), planes.get(node.GetAttribute(PLANE))
    name = text.format(nodule=nodule, kind=label, plane=plane, volume=volume)
    node.SetAttribute(_GIVEN_NAME, name)
    node.SetName(name)


def createPointsNode(volumeNode):
    """An empty point list for a CT, named after it, whose points are called N1, N2, ..."""
    name = _("{volume} nodules").format(volume=volumeNode.GetName())
    pointsNode = volumeNode.GetScene().AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    pointsNode.SetControlPointLabelFormat("N%d")
    pointsNode.CreateDefaultDisplayNodes()
    display = pointsNode.GetDisplayNode()
    display.SetTextScale(3.5)
    display.SetGlyphTypeFromString("CrossDot2D")
    display.SetSelectedColor(1.0, 0.85, 0.2)
    display.SetColor(1.0, 0.85, 0.2)
    return pointsNode


def showRoi(analysis, pointID: str, record) -> None:
    """Frame the region that the model sees: a cube of 50 mm about the point, in the world, which nobody can drag."""
    pointRas = analysis.pointRas(pointID)
    if pointRas is None:
        return
    roiNode = analysis.roiNode(pointID)
    if roiNode is None:
        roiNode = analysis.tableNode.GetScene().AddNewNodeByClass("vtkMRMLMarkupsROINode")
        nameNode(analysis, record.name, roiNode)
        roiNode.SetSaveWithScene(True)
        roiNode.CreateDefaultDisplayNodes()
        roiNode.SetLocked(True)
        roiNode.SetSelectable(False)
        display = roiNode.GetDisplayNode()
        display.SetHandlesInteractive(False)
        display.SetTranslationHandleVisibility(False)
        display.SetRotationHandleVisibility(False)
        display.SetScaleHandleVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        display.SetPointLabelsVisibility(False)
        display.SetFillVisibility(False)
        display.SetOutlineVisibility(True)
        display.SetGlyphScale(0.01)
        analysis.addNode(pointID, "roi", roiNode)
        AnalysisFolder(analysis).placeOfNodule(pointID, record.name, roiNode)
    roiNode.SetSize(SIDE, SIDE, SIDE)
    roiNode.SetCenter(pointRas)
    color = [channel / 255 for channel in GATE_COLORS.get((record.result or {}).get("gate"), GATE_COLORS["grey"])]
    roiNode.GetDisplayNode().SetColor(color)
    roiNode.GetDisplayNode().SetSelectedColor(color)


def createOverlays(analysis, pointID: str, record, explained: Explained, kind: str) -> None:
    """Write the overlay volumes of one kind of a nodule, and remove those of the others: two a nodule at most.

    Of a plane for which there is nothing there is no volume; where no plane has this kind, the others stay.
    """
    stacks, affines = explained.stacks(), explained.affines(analysis, pointID)
    if not any(kind in stacks.get(plane, {}) for plane in PLANES):
        return
    with batch(analysis.tableNode.GetScene()) as scene:
        for plane in PLANES:
            for other in KINDS:
                node = analysis.overlayNode(pointID, other, plane)
                if node is not None and (other != kind or kind not in stacks.get(plane, {})):
                    scene.RemoveNode(node)
            stack = stacks.get(plane, {}).get(kind)
            if stack is None:
                continue
            node = analysis.overlayNode(pointID, kind, plane) or _createVolume(analysis, pointID, record, kind, plane)
            node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affines[plane]))
            slicer.util.updateVolumeFromArray(node, np.asarray(stack, np.float32))
            _setDisplay(node, kind, record, stack)


def overlayKinds(analysis, pointID: str) -> set:
    """The kinds of overlay volume that a nodule has in the scene."""
    return {kind for kind in KINDS for plane in PLANES if analysis.overlayNode(pointID, kind, plane) is not None}


def isOverlay(node) -> bool:
    return bool(node.GetAttribute(OVERLAY))


def overlayIDs(scene) -> list:
    """IDs of all overlay volumes: two a nodule would bury the CTs in a list of volumes to choose from."""
    return [node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene) if isOverlay(node)]


def _createVolume(analysis, pointID: str, record, kind: str, plane: str):
    node = slicer.vtkMRMLScalarVolumeNode()
    # Before it is added: whoever looks for CTs when a volume comes must see that it is none.
    node.SetAttribute(OVERLAY, kind)
    node.SetAttribute(PLANE, plane)
    nameNode(analysis, record.name, node)
    node = analysis.tableNode.GetScene().AddNode(node)
    node.CreateDefaultDisplayNodes()
    analysis.addNode(pointID, f"{kind}.{plane}", node)
    AnalysisFolder(analysis).placeOfNodule(pointID, record.name, node)
    return node


def _setDisplay(node, kind: str, record, stack) -> None:
    display = node.GetDisplayNode()
    with slicer.util.NodeModify(display):
        display.SetAutoWindowLevel(False)
        display.SetInterpolate(True)
        if kind in ("reconstruction", "original"):
            lower, upper = record.window or (-1200.0, 200.0)
            display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
            display.SetWindowLevelMinMax(lower, upper)
            display.SetApplyThreshold(False)
            return
        # Where nothing is to be told, the CT shines through: small errors and weak attention are not drawn at all.
        highest = ERROR_SHOWN_TO_HU if kind == "error" else float(np.max(stack)) or 1.0
        lowest = ERROR_SHOWN_FROM_HU if kind == "error" else ATTENTION_SHOWN_FROM * highest
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeIron")
        display.SetWindowLevelMinMax(0.0, highest)
        display.SetThreshold(lowest, max(float(np.max(stack)), lowest) + 1.0)
        display.SetApplyThreshold(True)


class AnalysisFolder:
    """The folder of an analysis, which lies beside the CT, under the same study; made when something is put into it."""

    def __init__(self, analysis) -> None:
        self._analysis = analysis
        self._tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(analysis.tableNode.GetScene())
        parents = (self._parent(item) for item in self._inside())
        self._folder = next((item for item in parents if self._tree.GetItemAttribute(item, _FOLDER_MARK) == "1"), 0)

    def _inside(self) -> Iterator[int]:
        """Items that lie in the folder, if there is one. Table or point list may have lost its item already: one of
        them is being removed; then what belongs to the nodules is asked."""
        analysis, tree = self._analysis, self._tree
        yield from (tree.GetItemByDataNode(node) for node in (analysis.tableNode, analysis.pointsNode) if node)
        yield from (self._parent(tree.GetItemByDataNode(node)) for node in analysis.nodesOf())

    def place(self, node) -> None:
        """Put a node into it."""
        self._place(node, self._made())

    def placeOfNodule(self, pointID: str, name: str, node) -> None:
        """Put a node that belongs to one nodule into the nodule's own folder."""
        parent = self._made()
        folder = self._noduleFolder(pointID)
        if not folder:
            folder = self._tree.CreateFolderItem(parent, name)
            self._tree.SetItemAttribute(folder, _NODULE_MARK, pointID)
        self._place(node, folder)

    def nameNodule(self, pointID: str, name: str) -> None:
        """A nodule's folder has the nodule's name."""
        folder = self._noduleFolder(pointID)
        if folder and self._tree.GetItemName(folder) != name:
            self._tree.SetItemName(folder, name)

    def removeNodule(self, pointID: str) -> None:
        """Remove a nodule's folder, when what was in it is gone; what a user has put there moves up."""
        self._dissolve(self._noduleFolder(pointID))

    def remove(self) -> None:
        """Remove the folder and those of the nodules; what is in them moves up."""
        for item in self._children(self._folder):
            if self._tree.GetItemAttribute(item, _NODULE_MARK):
                self._dissolve(item)
        self._dissolve(self._folder)

    def _made(self) -> int:
        if not self._folder:
            study = self._parent(self._tree.GetItemByDataNode(self._analysis.volumeNode or self._analysis.tableNode))
            name = self._analysis.tableNode.GetName()
            self._folder = self._tree.CreateFolderItem(study or self._tree.GetSceneItemID(), name)
            self._tree.SetItemAttribute(self._folder, _FOLDER_MARK, "1")
            self._place(self._analysis.tableNode, self._folder)
        return self._folder

    def _place(self, node, folder: int) -> None:
        # During batch processing the application has not made the node's item yet.
        item = self._tree.GetItemByDataNode(node) or self._tree.CreateItem(folder, node)
        self._tree.SetItemParent(item, folder)

    def _noduleFolder(self, pointID: str) -> int:
        children = self._children(self._folder)
        return next((item for item in children if self._tree.GetItemAttribute(item, _NODULE_MARK) == pointID), 0)

    def _dissolve(self, folder: int) -> None:
        for item in self._children(folder):
            self._tree.SetItemParent(item, self._parent(folder))
        if folder:
            self._tree.RemoveItem(folder, False, False)

    def _children(self, folder: int) -> list:
        children = vtk.vtkIdList()
        if folder:
            self._tree.GetItemChildren(folder, children)
        return [children.GetId(index) for index in range(children.GetNumberOfIds())]

    def _parent(self, item: int) -> int:
        return self._tree.GetItemParent(item) if item else 0
