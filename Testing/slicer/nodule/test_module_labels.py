"""Names and labels: a number in a view is the one that was computed, whatever is typed beside it."""

import pytest
import slicer

from Testing.slicer.nodule.seen import foregrounds, frames, label


@pytest.fixture
def panel(instant_panel, views):
    return instant_panel


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("N1: 0.05", "N1"),
        ("N1", "N1"),
        ("N1: ", "N1"),
        ("N1: 0.05 left", "N1 left"),
        ("RUL", "RUL"),
        ("Ratio: 0.50", "Ratio: 0.50"),
        ("", "N1"),
    ],
)
def test_an_edited_label_is_a_name_and_never_a_number(panel, add_ct, instant_probability, typed, name):
    volume = add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    number = f"{instant_probability(volume, (0, 0, 0)):.2f}"
    points.SetNthControlPointLabel(0, typed)
    panel.settle()
    assert label(points) == f"{name}: {number}"
    assert [panel.ui.resultTable.item(0, column).text() for column in (0, 1)] == [name, number]
    points.SetNthControlPointLabel(0, f"{name}: {number} left")
    panel.settle()
    assert label(points) == f"{name} left: {number}"
    points.SetNthControlPointPosition(0, 8, 0, 0)
    panel.settle()
    assert label(points) == f"{name} left: {instant_probability(volume, (8, 0, 0)):.2f}"


def test_a_name_that_looks_like_a_score_stays_whole(panel, add_ct, instant_probability):
    volume = add_ct()
    panel.settle()
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Mine")
    points.AddControlPoint([0, 0, 0], "Ratio: 0.50")
    panel.ui.pointsSelector.setCurrentNode(points)
    panel.settle()
    assert panel.records()[0].name == "Ratio: 0.50"
    assert label(points) == f"Ratio: 0.50: {instant_probability(volume, (0, 0, 0)):.2f}"


def test_labels_of_a_scene_of_an_older_version_are_understood(panel, add_ct, instant_probability, tmp_path):
    volume = add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    points.RemoveAttribute("MAEMC.Label.1")
    text = label(points)
    panel.logic._observer.reconcile(panel.logic.analysisOf(volume, points))
    assert (panel.records()[0].name, label(points)) == ("N1", text)


def test_hiding_and_renaming_carry_frame_and_overlay_along(panel, add_ct):
    volume = add_ct("Thorax")
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.place((10, 0, 5), points)
    panel.settle()
    analysis = panel.logic.analysisOf(volume, points)
    assert frames(panel) == {("Thorax", "1"): False, ("Thorax", "2"): True}, "of the selected nodule alone"
    panel.ui.resultTable.selectRow(0)
    assert frames(panel) == {("Thorax", "1"): True, ("Thorax", "2"): False}
    assert foregrounds() == ["reconstruction", "reconstruction"]
    points.SetNthControlPointVisibility(0, False)
    assert not any(frames(panel).values()) and foregrounds() == []
    points.SetNthControlPointVisibility(0, True)
    assert frames(panel)[("Thorax", "1")] and foregrounds()
    points.GetDisplayNode().SetVisibility(0)
    assert not any(frames(panel).values()) and foregrounds() == []
    points.GetDisplayNode().SetVisibility(1)
    assert frames(panel)[("Thorax", "1")] and foregrounds()
    points.SetNthControlPointLabel(0, "RLL spiculated")
    nodes = analysis.nodesOf("1")
    assert len(nodes) == 3
    assert all("RLL spiculated" in node.GetName() and "Thorax" in node.GetName() for node in nodes)
    assert not any(node.GetHideFromEditors() for node in nodes), "the Data module lists them"
    assert panel.ui.inputVolumeSelector.nodeCount() == 1, "but they are not offered as CTs"
    volume.SetName("Thorax, Müller")
    assert all("(Thorax, Müller)" in node.GetName() for node in nodes)
    nodes[1].SetName("My own name")
    points.SetNthControlPointLabel(0, "LLL")
    assert nodes[1].GetName() == "My own name"
