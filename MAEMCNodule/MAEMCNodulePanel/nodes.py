"""The nodes a result shows itself in: table rows, point labels, ROI frame, and their folder in the data tree."""

import re

import slicer
import vtk
from MAEMCLib.roi import SIDE
from slicer.i18n import tr as _

from .volumes import lpsFromRas

GATE_COLORS = {"green": (46, 139, 87), "amber": (214, 137, 16), "red": (192, 57, 43), "grey": (127, 127, 127)}
"""sRGB 0-255 of each gate, of like weight on light and dark panels."""

_FOLDER_MARK = "MAEMC.Folder"
_SCORE_IN_LABEL = re.compile(r": ([01]\.\d\d|\N{HORIZONTAL ELLIPSIS})$")


def columnTitles() -> dict:
    """{column name: title}: names are for scripts and never translated, titles are for people."""
    return {
        "nodule_id": _("Nodule"),
        "probability": _("Probability"),
        "interval": _("Interval"),
        "class": _("Class"),
        "gate": _("Gate"),
        "warnings": _("Notes"),
        "r_mm": _("R (mm)"),
        "a_mm": _("A (mm)"),
        "s_mm": _("S (mm)"),
        "model": _("Model"),
        "time": _("Time"),
    }


def writeTable(analysis) -> None:
    """Write the table's columns from the records: a row for each point; what was not computed is empty (NaN)."""
    rows = [_row(analysis, pointID, record) for pointID, record in analysis.records()]
    titles = columnTitles()
    table = vtk.vtkTable()
    for name in titles:
        numeric = name in ("probability", "r_mm", "a_mm", "s_mm")
        column = vtk.vtkDoubleArray() if numeric else vtk.vtkStringArray()
        column.SetName(name)
        for row in rows:
            column.InsertNextValue(row[name])
        table.AddColumn(column)
    tableNode = analysis.tableNode
    with slicer.util.NodeModify(tableNode):
        tableNode.SetAndObserveTable(table)
        tableNode.SetUseColumnTitleAsColumnHeader(True)
        for name, title in titles.items():
            tableNode.SetColumnTitle(name, title)


def intervalText(result: dict) -> str:
    """ "0.74 - 0.89", or empty where the model has one member and so no spread."""
    low, high = result.get("interval_low"), result.get("interval_high")
    return "" if low is None or high is None else f"{low:.2f} - {high:.2f}"


def notesText(record) -> str:
    """The findings behind the gate and, where it was not scored, why; one line, each once."""
    result = record.result or {}
    parts = [record.message, *(warning["message"] for warning in result.get("warnings") or [])]
    return " ".join(dict.fromkeys(part for part in parts if part))


def nameOfPoint(pointsNode, index: int) -> str:
    """The point's name without the probability that we wrote behind it; N and its number where it has none."""
    return _SCORE_IN_LABEL.sub("", pointsNode.GetNthControlPointLabel(index)) or f"N{index + 1}"


def writeLabel(analysis, pointID: str, record) -> None:
    """Let the point's label carry name and probability."""
    index = analysis.pointIndices().get(pointID)
    if index is None:
        return
    if record.state == "scored" and record.result and record.result.get("probability") is not None:
        text = f"{record.name}: {record.result['probability']:.2f}"
    elif record.state == "pending":
        text = f"{record.name}: \N{HORIZONTAL ELLIPSIS}"
    else:
        text = record.name
    if analysis.pointsNode.GetNthControlPointLabel(index) != text:
        analysis.pointsNode.SetNthControlPointLabel(index, text)


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
        name = _("{nodule} region, 50 mm").format(nodule=record.name)
        roiNode = analysis.tableNode.GetScene().AddNewNodeByClass("vtkMRMLMarkupsROINode", name)
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
        analysis.setRoiNode(pointID, roiNode)
        placeInHierarchy(analysis, roiNode)
    roiNode.SetSize(SIDE, SIDE, SIDE)
    roiNode.SetCenter(pointRas)
    color = [channel / 255 for channel in GATE_COLORS.get((record.result or {}).get("gate"), GATE_COLORS["grey"])]
    roiNode.GetDisplayNode().SetColor(color)
    roiNode.GetDisplayNode().SetSelectedColor(color)


def placeInHierarchy(analysis, node) -> None:
    """Put a node into the analysis' folder of the data tree, which lies beside the CT, under the same study.

    The application gives each node that it shows an item; a node without one is left out.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(analysis.tableNode.GetScene())
    item = hierarchy.GetItemByDataNode(node)
    tableItem = hierarchy.GetItemByDataNode(analysis.tableNode)
    volumeItem = hierarchy.GetItemByDataNode(analysis.volumeNode) if analysis.volumeNode else 0
    if not (item and tableItem):
        return
    folder = hierarchy.GetItemParent(tableItem)
    if hierarchy.GetItemAttribute(folder, _FOLDER_MARK) != "1":
        study = hierarchy.GetItemParent(volumeItem) if volumeItem else hierarchy.GetSceneItemID()
        folder = hierarchy.CreateFolderItem(study, analysis.tableNode.GetName())
        hierarchy.SetItemAttribute(folder, _FOLDER_MARK, "1")
        hierarchy.SetItemParent(tableItem, folder)
    hierarchy.SetItemParent(item, folder)


def removeFolder(analysis) -> None:
    """Remove an analysis' folder from the data tree; what is in it moves up."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(analysis.tableNode.GetScene())
    # Table or point list may have lost its item already: one of them is being removed.
    anchors = [hierarchy.GetItemByDataNode(node) for node in (analysis.tableNode, analysis.pointsNode) if node]
    parents = [hierarchy.GetItemParent(item) for item in anchors if item]
    folder = next((item for item in parents if hierarchy.GetItemAttribute(item, _FOLDER_MARK) == "1"), 0)
    if not folder:
        return
    children = vtk.vtkIdList()
    hierarchy.GetItemChildren(folder, children)
    for index in range(children.GetNumberOfIds()):
        hierarchy.SetItemParent(children.GetId(index), hierarchy.GetItemParent(folder))
    hierarchy.RemoveItem(folder, False, False)


def _row(analysis, pointID: str, record) -> dict:
    result = record.result or {}
    point = analysis.pointRas(pointID) or lpsFromRas(result.get("point_lps") or (float("nan"),) * 3)
    probability = result.get("probability")
    return {
        "nodule_id": record.name,
        "probability": float("nan") if probability is None else float(probability),
        "interval": intervalText(result),
        "class": result.get("class") or "",
        "gate": result.get("gate") or "",
        "warnings": notesText(record),
        "r_mm": point[0],
        "a_mm": point[1],
        "s_mm": point[2],
        "model": result.get("model_id") or "",
        "time": record.time,
    }
