"""The curve of one job as plot nodes of the scene, where Slicer's plot views show it. They are not saved with it."""

import numpy as np
import slicer
from slicer.i18n import tr as _

_MARK = "MAEMC.TrainingCurve"
_COLORS = {"loss": (0.0, 0.45, 0.70), "loss_mse": (0.84, 0.37, 0.0), "loss_info_nce": (0.0, 0.62, 0.45)}
_FOLD_COLORS = ((0.80, 0.47, 0.65), (0.90, 0.62, 0.0), (0.34, 0.71, 0.91), (0.0, 0.62, 0.45), (0.5, 0.5, 0.5))


def showCurves(title: str, curves) -> None:
    """Draw these curves in the one chart, made where there is none; nodes that are no longer needed go."""
    chartNode = _chartNode() or _create("vtkMRMLPlotChartNode", _("Training curve"), hidden=False)
    with slicer.util.NodeModify(chartNode):
        chartNode.SetTitle(title)
        chartNode.SetXAxisTitle(_("Step"))
        chartNode.SetYAxisTitle(_("Loss"))
        chartNode.SetGridVisibility(True)
        seriesNodes = _seriesNodes(chartNode)
        for index, curve in enumerate(curves):
            if index == len(seriesNodes):
                seriesNodes.append(_createSeries(chartNode))
            _write(seriesNodes[index], curve)
        for seriesNode in seriesNodes[len(curves) :]:
            chartNode.RemovePlotSeriesNodeID(seriesNode.GetID())
            for node in filter(None, (seriesNode.GetTableNode(), seriesNode)):
                slicer.mrmlScene.RemoveNode(node)


def isInScene() -> bool:
    """Whether there is a chart to keep up to date."""
    return _chartNode() is not None


def showInLayout() -> int | None:
    """Let a plot view show the chart, in a layout that has one. Returns the layout before, None where it stays."""
    manager = slicer.app.layoutManager()
    before = manager.layout if manager is not None else None
    slicer.modules.plots.logic().ShowChartInLayout(_chartNode())
    return before if manager is not None and manager.layout != before else None


def leaveLayout(before: int | None) -> None:
    """Bring a layout back, unless one without a plot view has been chosen meanwhile."""
    manager = slicer.app.layoutManager()
    if manager is None or before is None:
        return
    if slicer.modules.plots.logic().GetLayoutWithPlot(manager.layout) == manager.layout:
        manager.setLayout(before)


def remove() -> None:
    """Take chart, series and tables out of the scene."""
    for node in [node for node in slicer.mrmlScene.GetNodes() if node.GetAttribute(_MARK) == "1"]:
        slicer.mrmlScene.RemoveNode(node)


def figureTitle(curve) -> str:
    """The legend's text."""
    names = {
        "loss": _("Loss") if curve.fold is None else _("Training"),
        "loss_mse": _("Reconstruction (MSE)"),
        "loss_info_nce": _("Contrast (InfoNCE)"),
        "loss_cross_entropy": _("Cross-entropy"),
        "validation": _("Validation"),
    }
    name = names.get(curve.figure, curve.figure)
    if curve.fold is None:
        return name
    return _("{name}, fold {fold}").format(name=name, fold=curve.fold + 1)


def _chartNode():
    nodes = slicer.mrmlScene.GetNodesByClass("vtkMRMLPlotChartNode")
    return next((node for node in nodes if node.GetAttribute(_MARK) == "1"), None)


def _seriesNodes(chartNode) -> list:
    nodes = [chartNode.GetNthPlotSeriesNode(index) for index in range(chartNode.GetNumberOfPlotSeriesNodes())]
    return [node for node in nodes if node is not None]  # a series may have been deleted by hand


def _create(kind: str, name: str, hidden: bool = True):
    node = slicer.mrmlScene.CreateNodeByClass(kind)
    node.UnRegister(None)
    node.SetName(slicer.mrmlScene.GetUniqueNameByString(name))
    node.SetAttribute(_MARK, "1")
    node.SetSaveWithScene(False)
    node.SetHideFromEditors(hidden)
    return slicer.mrmlScene.AddNode(node)


def _createSeries(chartNode):
    seriesNode = _create("vtkMRMLPlotSeriesNode", _("Loss"))
    seriesNode.SetPlotType(seriesNode.PlotTypeScatter)
    seriesNode.SetXColumnName("step")
    seriesNode.SetYColumnName("value")
    chartNode.AddAndObservePlotSeriesNodeID(seriesNode.GetID())
    return seriesNode


def _write(seriesNode, curve) -> None:
    validation = curve.figure == "validation"
    with slicer.util.NodeModify(seriesNode):
        seriesNode.SetName(figureTitle(curve))
        color = _FOLD_COLORS[(curve.fold or 0) % len(_FOLD_COLORS)] if validation else _COLORS.get(curve.figure)
        seriesNode.SetColor(color or _FOLD_COLORS[-1])
        few = len(curve.steps) < 30  # a few points make a line that is hard to see
        seriesNode.SetMarkerStyle(seriesNode.MarkerStyleCircle if few else seriesNode.MarkerStyleNone)
        seriesNode.SetMarkerSize(5)
        seriesNode.SetLineWidth(2)
    tableNode = seriesNode.GetTableNode()
    if tableNode is None:  # the series is new, or its table was deleted by hand
        tableNode = _create("vtkMRMLTableNode", _("Training curve data"))
        seriesNode.SetAndObserveTableNodeID(tableNode.GetID())
    columns = [np.array(curve.steps, float), np.array(curve.values, float)]
    with slicer.util.NodeModify(tableNode):
        slicer.util.updateTableFromArray(tableNode, columns, ["step", "value"])
