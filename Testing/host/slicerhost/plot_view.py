"""A real plot view, offscreen: draws the chart that the view's node shows, with VTK's own charts. Needs OpenGL."""

import numpy as np

from . import opengl

MARKERS = {"none": 0, "cross": 1, "plus": 2, "square": 3, "circle": 4, "diamond": 5}


class PlotView:
    """One plot view: ``PlotView("PlotView1", (width, height))``. The layout manager knows it until ``close()``."""

    def __init__(self, name: str = "PlotView1", size: tuple[int, int] = (500, 300)):
        import slicer
        import vtk

        self.name, self.size = name, size
        self._closed = False
        # View nodes are singletons: they stay when a scene is closed, so one may be there already.
        self.node = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLPlotViewNode")
        if self.node is None:
            self.node = slicer.vtkMRMLPlotViewNode()
            self.node.SetName(name)
            self.node.SetSingletonTag(name)
            self.node.SetLayoutName(name)
            self.node = slicer.mrmlScene.AddNode(self.node)
        self.view = vtk.vtkContextView()
        self.view.GetRenderer().SetBackground(1.0, 1.0, 1.0)
        self.window = self.view.GetRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self._chart = vtk.vtkChartXY()
        self.view.GetScene().AddItem(self._chart)
        slicer.app.standin_layout_manager().standin_add_plot(self)

    @property
    def chart_node(self):
        """The chart that is shown, or None."""
        return self.node.GetPlotChartNode()

    def resize(self, size: tuple[int, int]) -> None:
        """Change the view's width and height."""
        self.size = size
        self.window.SetSize(*size)

    def render(self) -> None:
        """Draw the chart as it is now."""
        self._chart.ClearPlots()
        node = self.chart_node
        self._chart.SetVisible(node is not None)
        if node is not None:
            self._draw(node)
        self.window.Render()

    def _draw(self, node) -> None:
        import vtk

        self._chart.SetTitle((node.GetTitle() or "") if node.GetTitleVisibility() else "")
        self._chart.GetTitleProperties().SetFontSize(node.GetTitleFontSize())
        self._chart.SetShowLegend(bool(node.GetLegendVisibility()))
        for place, title, log in (
            (vtk.vtkAxis.BOTTOM, node.GetXAxisTitle(), node.GetXAxisLogScale()),
            (vtk.vtkAxis.LEFT, node.GetYAxisTitle(), node.GetYAxisLogScale()),
        ):
            axis = self._chart.GetAxis(place)
            axis.SetTitle(title or "")
            axis.SetLogScale(bool(log))
            axis.SetGridVisible(bool(node.GetGridVisibility()))
        for index in range(node.GetNumberOfPlotSeriesNodes()):
            self._draw_series(node.GetNthPlotSeriesNode(index))
        self._chart.RecalculateBounds()

    def _draw_series(self, series) -> None:
        import vtk

        table = series.GetTableNode().GetTable() if series is not None and series.GetTableNode() else None
        if table is None or table.GetNumberOfRows() == 0:
            return
        if not (table.GetColumnByName(series.GetXColumnName()) and table.GetColumnByName(series.GetYColumnName())):
            return
        lines = series.GetPlotType() in (series.PlotTypeLine, series.PlotTypeScatter)
        plot = self._chart.AddPlot(vtk.vtkChart.LINE if lines else vtk.vtkChart.BAR)
        plot.SetInputData(table, series.GetXColumnName(), series.GetYColumnName())
        plot.SetLabel(series.GetName())
        plot.SetColorF(*series.GetColor(), series.GetOpacity())
        plot.SetWidth(series.GetLineWidth())
        if lines:
            plot.SetMarkerStyle(MARKERS[series.GetMarkerStyleAsString(series.GetMarkerStyle())])
            plot.SetMarkerSize(series.GetMarkerSize())

    def screenshot(self) -> np.ndarray:
        """What is drawn: (height, width, 3) uint8, first row at the top."""
        self.render()
        return opengl.pixels(self.window)

    def close(self) -> None:
        """Take the view down; its node goes when the scene is closed."""
        import slicer

        if self._closed:
            return
        self._closed = True
        slicer.app.standin_layout_manager().standin_remove_plot(self.name)
        self.window.Finalize()
