"""The nodes a result shows itself in: table rows, ROI frame, overlay volumes, the list of points; their names, and
their place in the data tree: a folder beside the CT, and in it a folder for each nodule.

Overlays are what the model reconstructed, where it errs and what it attended to, over the CT at their place.
"""

import numpy as np
import slicer
import vtk
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.region import SIDE
from MAEMCLib.inputs.view import View
from MAEMCLib.models.card import ModelCard
from slicer.i18n import tr as _

from . import pictures
from .analysis import OVERLAY, PLANES, Analysis, batch
from .parameters import OverlayKind
from .volumes import RAS_TO_LPS, lpsFromRas

GATE_COLORS = {"green": (46, 139, 87), "amber": (214, 137, 16), "red": (192, 57, 43), "grey": (127, 127, 127)}
"""sRGB 0-255 of each gate, of like weight on light and dark panels."""

PLANE = "MAEMC.Plane"
"""Attribute of an overlay volume: the plane of its slices."""
KINDS = ("reconstruction", "error", "attention", "original")
ERROR_SHOWN_FROM_HU = 60.0
ERROR_SHOWN_TO_HU = 600.0
ATTENTION_SHOWN_FROM = 0.25
_GIVEN_NAME = "MAEMC.Name"
_FOLDER_MARK = "MAEMC.Folder"
_NODULE_MARK = "MAEMC.NoduleFolder"


def writeTable(analysis) -> None:
    """Write the table's columns from the records: a row for each point; what was not computed is empty (NaN).

    Names of columns are for scripts and never translated, titles are for people.
    """
    records, nan = analysis.records(), float("nan")
    results = [record.result or {} for _pointID, record in records]
    probabilities = [result.get("probability") for result in results]
    points = [
        analysis.pointRas(pointID) or lpsFromRas(result.get("point_lps") or (nan,) * 3)
        for (pointID, _record), result in zip(records, results, strict=True)
    ]
    columns = {
        "nodule_id": (_("Nodule"), [record.name for _pointID, record in records]),
        "probability": (_("Probability"), [nan if value is None else float(value) for value in probabilities]),
        "interval": (_("Range"), [intervalText(result) for result in results]),
        "class": (_("Class"), [result.get("class") or "" for result in results]),
        "gate": (_("Gate"), [result.get("gate") or "" for result in results]),
        "warnings": (_("Notes"), [notesText(record) for _pointID, record in records]),
        "r_mm": (_("R (mm)"), [point[0] for point in points]),
        "a_mm": (_("A (mm)"), [point[1] for point in points]),
        "s_mm": (_("S (mm)"), [point[2] for point in points]),
        "model": (_("Model"), [result.get("model_id") or "" for result in results]),
        "time": (_("Time"), [result.get("time") or "" for result in results]),
    }
    table, tableNode = vtk.vtkTable(), analysis.tableNode
    for name, (_title, values) in columns.items():
        column = vtk.vtkDoubleArray() if name == "probability" or name.endswith("_mm") else vtk.vtkStringArray()
        column.SetName(name)
        for value in values:
            column.InsertNextValue(value)
        table.AddColumn(column)
    with slicer.util.NodeModify(tableNode):
        tableNode.SetAndObserveTable(table)
        tableNode.SetUseColumnTitleAsColumnHeader(True)
        for name, (title, _values) in columns.items():
            tableNode.SetColumnTitle(name, title)


def intervalText(result: dict) -> str:
    """ "0.74 - 0.89", or empty where the model has one member and so no range."""
    low, high = result.get("interval_low"), result.get("interval_high")
    return "" if low is None or high is None else f"{low:.2f} - {high:.2f}"


def notesText(record) -> str:
    """The findings behind the gate and, where it was not scored, why; one line, each once."""
    result = record.result or {}
    parts = [record.message, *(warning["message"] for warning in result.get("warnings") or [])]
    return " ".join(dict.fromkeys(part for part in parts if part))


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


def createOverlays(analysis, pointID: str, record, prepared: Prepared, card: ModelCard, parts: dict) -> None:
    """Write the overlay volumes of a nodule: make those that are not there yet, remove those there is nothing for.

    parts: what explains its result, {kind: {branch: array}} as the worker sends it, that of a picture over the square
    that the model sees; reconstruction, error and original in HU, attention 0 to 1.
    """
    affines, stacks = _placed(analysis, pointID, prepared, card, parts)
    with batch(analysis.tableNode.GetScene()):
        for plane, lps in affines.items():
            for kind in KINDS:
                node, stack = analysis.overlayNode(pointID, kind, plane), stacks[plane].get(kind)
                if stack is None:
                    if node is not None:  # made by a model that had it, before this one scored
                        node.GetScene().RemoveNode(node)
                    continue
                node = node or _createVolume(analysis, pointID, record, kind, plane)
                node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(RAS_TO_LPS @ lps))
                slicer.util.updateVolumeFromArray(node, np.asarray(stack, np.float32))
                _setDisplay(node, kind, record, stack)


def _placed(analysis: Analysis, pointID: str, prepared: Prepared, card: ModelCard, parts: dict) -> tuple:
    """({plane: (4, 4) index (column, row, slice) to world LPS mm}, {plane: {kind: (slices, rows, columns) array}}) of
    what explains a result."""
    region = prepared.region
    if analysis.located:
        affines = {plane: region.affine(plane) for plane in PLANES}
        stacks = {plane: {"original": getattr(region, plane)} for plane in PLANES}
        for kind, branches in parts.items():
            for plane in set(PLANES) & set(branches):
                stacks[plane][kind] = branches[plane]
        return affines, stacks
    attention = parts["attention"]["picture"]
    view, side = View.of(region.gray, card.preprocessing), len(attention)
    square = np.diag([view.width / side, view.width / side, 1.0, 1.0])
    square[:2, 3] = np.array([view.left, view.top]) + view.width / side / 2 - 0.5
    affine = pictures.affineOf(analysis.volumeNode, pointID) @ square
    return {"axial": affine}, {"axial": {"attention": attention[None]}}


def isOverlay(node) -> bool:
    return bool(node.GetAttribute(OVERLAY))


def overlayIDs(scene) -> list:
    """IDs of all overlay volumes: eight a nodule would bury the CTs in a list of volumes to choose from."""
    return [node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene) if isOverlay(node)]


def stacksOf(analysis, pointID: str, plane: str) -> dict:
    """{kind: (25, 50, 50) array} of the overlay volumes of a nodule that are in the scene."""
    nodes = {kind: analysis.overlayNode(pointID, kind, plane) for kind in KINDS}
    return {kind: slicer.util.arrayFromVolume(node) for kind, node in nodes.items() if node and node.GetImageData()}


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
        # Table or point list may have lost its item already: one of them is being removed.
        inside = [self._tree.GetItemByDataNode(node) for node in (analysis.tableNode, analysis.pointsNode) if node]
        inside += [self._parent(self._tree.GetItemByDataNode(node)) for node in analysis.nodesOf()]
        parents = [item for item in map(self._parent, inside) if item]
        self._folder = next((item for item in parents if self._tree.GetItemAttribute(item, _FOLDER_MARK) == "1"), 0)

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
        """Remove the folder; what is in it moves up."""
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
