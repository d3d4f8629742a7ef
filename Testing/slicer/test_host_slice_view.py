"""The stand-in's slice views draw and take the mouse as Slicer's do."""

import numpy as np
import pytest


@pytest.fixture
def ct(scene):
    """A 100 mm cube of 2 mm voxels centered at (10, -20, 30), air with a bright ball, off center."""
    import slicer

    k, j, i = np.indices((50, 50, 50)) * 2.0
    array = np.full((50, 50, 50), -800, np.int16)
    array[(i - 30) ** 2 + (j - 50) ** 2 + (k - 50) ** 2 < 12**2] = 100
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = np.array([10, -20, 30]) - 49
    node = slicer.util.addVolumeFromArray(array, matrix, "CT")
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevel(1400, -500)
    return node


BALL = np.array([30.0, 50.0, 50.0]) + np.array([10, -20, 30]) - 49


def test_axial_view_has_patient_right_on_screen_left(scene, slice_view):
    view = slice_view("Red")
    x_right, _ = view.to_display((30, 0, 0))
    x_left, _ = view.to_display((-30, 0, 0))
    _, y_anterior = view.to_display((0, 30, 0))
    _, y_posterior = view.to_display((0, -30, 0))
    assert x_right < x_left
    assert y_anterior > y_posterior


@pytest.mark.parametrize("name", ["Red", "Green", "Yellow"])
def test_volume_is_drawn_where_it_is(ct, slice_view, name):
    view = slice_view(name)
    view.show(ct)
    view.jump(BALL)
    image = view.screenshot()
    x, y = view.to_display(BALL)
    row, column = view.size[1] - 1 - round(y), round(x)
    assert image[row, column].min() > 150
    x, y = view.to_display(BALL + np.array([0, 20, 0] if name != "Yellow" else [0, 0, 20]))
    if name == "Green":
        x, y = view.to_display(BALL + np.array([20, 0, 0]))
    assert 0 < image[view.size[1] - 1 - round(y), round(x)].max() < 100


@pytest.mark.parametrize("name", ["Red", "Green", "Yellow"])
def test_click_places_a_point_within_a_tenth_of_a_millimeter(ct, slice_view, name):
    import slicer

    view = slice_view(name)
    view.show(ct)
    view.jump(BALL)
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "N")
    points.CreateDefaultDisplayNodes()
    view.place(points)
    expected = view.click(BALL)
    assert points.GetNumberOfDefinedControlPoints() == 1
    placed = slicer.util.arrayFromMarkupsControlPoints(points)[0]
    assert np.abs(placed - expected).max() < 0.1
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    assert interaction.GetCurrentInteractionMode() != slicer.vtkMRMLInteractionNode.Place


def test_dragging_a_point_moves_it(ct, slice_view):
    import slicer

    view = slice_view("Red")
    view.show(ct)
    view.jump(BALL)
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "N")
    points.CreateDefaultDisplayNodes()
    points.AddControlPoint(*BALL)
    moved = []
    points.AddObserver(points.PointEndInteractionEvent, lambda *_: moved.append(True))
    expected = view.drag(BALL, BALL + np.array([15, -10, 0]))
    placed = slicer.util.arrayFromMarkupsControlPoints(points)[0]
    assert moved
    assert np.abs(placed - expected).max() < 0.5


def test_foreground_and_markups_change_the_picture(ct, slice_view):
    import slicer

    view = slice_view("Red")
    view.show(ct)
    view.jump(BALL)
    plain = view.screenshot()
    overlay = slicer.util.addVolumeFromArray(
        np.full((50, 50, 50), 5, np.float32), slicer.util.arrayFromVTKMatrix(ijk_to_ras(ct)), "error"
    )
    overlay.CreateDefaultDisplayNodes()
    overlay.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeFileHotToColdRainbow.txt")
    overlay.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeRainbow")
    overlay.GetDisplayNode().SetWindowLevel(10, 5)
    view.show(ct, overlay, 0.5)
    colored = view.screenshot()
    assert np.abs(colored.astype(int) - plain).max() > 60
    assert np.ptp(colored.astype(int), axis=2).max() > 40
    view.show(ct)
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "ROI")
    roi.CreateDefaultDisplayNodes()
    roi.SetCenter(*BALL)
    roi.SetSize(40, 40, 40)
    framed = view.screenshot()
    assert np.abs(framed.astype(int) - plain).max() > 60


def ijk_to_ras(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_screenshot_is_what_is_drawn(ct, slice_view):
    view = slice_view("Red", (120, 90))
    empty = view.screenshot()
    view.show(ct)
    image = view.screenshot()
    assert image.shape == empty.shape == (90, 120, 3) and image.dtype == "uint8"
    assert len(set(image.reshape(-1, 3)[:, 0].tolist())) > len(set(empty.reshape(-1, 3)[:, 0].tolist()))


def test_layout_manager_is_absent_until_there_is_a_view(scene, slice_view):
    import slicer

    assert slicer.app.layoutManager() is None
    view = slice_view("Green")
    manager = slicer.app.layoutManager()
    assert manager.sliceViewNames() == ("Green",)
    widget = manager.sliceWidget("Green")
    assert widget.sliceLogic() is view.logic
    assert widget.mrmlSliceCompositeNode().IsA("vtkMRMLSliceCompositeNode")
    assert manager.sliceWidget("Red") is None


def test_slice_views_follow_slicer_util(ct, slice_view):
    import slicer

    view = slice_view("Red")
    slicer.util.setSliceViewerLayers(background=ct, fit=True)
    assert view.logic.GetSliceCompositeNode().GetBackgroundVolumeID() == ct.GetID()


def test_view_survives_closing_the_scene(ct, slice_view):
    import slicer

    view = slice_view("Red")
    view.show(ct)
    view.screenshot()
    slicer.mrmlScene.Clear(0)
    assert view.screenshot().shape == (400, 400, 3)
