"""The stand-in's plot view draws what Slicer's shows: the chart chosen by the real logic of the module Plots."""

import numpy as np
import pytest


@pytest.fixture
def chart(scene):
    """A chart with one red line from (0, 0) to (10, 10)."""
    import slicer
    import vtk

    table = vtk.vtkTable()
    for name in ("x", "y"):
        column = vtk.vtkDoubleArray()
        column.SetName(name)
        for value in (0, 10):
            column.InsertNextValue(value)
        table.AddColumn(column)
    table_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    table_node.SetAndObserveTable(table)
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "Line")
    series.SetAndObserveTableNodeID(table_node.GetID())
    series.SetXColumnName("x")
    series.SetYColumnName("y")
    series.SetPlotType(series.PlotTypeScatter)
    series.SetMarkerStyle(series.MarkerStyleNone)
    series.SetColor(1, 0, 0)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "Chart")
    node.AddAndObservePlotSeriesNodeID(series.GetID())
    return node


def red(image):
    return int(((image[..., 0] > 200) & (image[..., 1] < 90) & (image[..., 2] < 90)).sum())


def test_chart_is_shown_in_a_layout_with_plot_and_drawn(chart, plot_view, slicer_app):
    import slicer

    view = plot_view()
    assert slicer_app.layoutManager().plotViewCount == 1
    before = slicer_app.layoutManager().layout
    assert red(view.screenshot()) == 0
    slicer.modules.plots.logic().ShowChartInLayout(chart)
    assert view.chart_node is chart
    assert slicer_app.layoutManager().layout != before, "the layout of before has no plot"
    drawn = view.screenshot()
    assert red(drawn) > 200
    # and follows its data
    table = chart.GetNthPlotSeriesNode(0).GetTableNode()
    table.GetTable().GetColumnByName("y").SetValue(1, 0)
    assert np.abs(view.screenshot().astype(int) - drawn).max() > 100
    slicer.mrmlScene.RemoveNode(chart)
    assert red(view.screenshot()) == 0


def test_without_views_there_is_no_layout_manager(scene, slicer_app):
    assert slicer_app.layoutManager() is None
