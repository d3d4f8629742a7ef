"""The nodes a result shows itself in: table rows, ROI frame, the list of points; and what they are called."""

import slicer
import vtk
from MAEMCLib.inputs.region import SIDE
from slicer.i18n import tr as _

from .analysis import OVERLAY
from .hierarchy import AnalysisFolder
from .parameters import OverlayKind
from .volumes import lpsFromRas

GATE_COLORS = {"green": (46, 139, 87), "amber": (214, 137, 16), "red": (192, 57, 43), "grey": (127, 127, 127)}
"""sRGB 0-255 of each gate, of like weight on light and dark panels."""

PLANE = "MAEMC.Plane"
"""Attribute of an overlay volume: the plane of its slices."""
_GIVEN_NAME = "MAEMC.Name"


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
