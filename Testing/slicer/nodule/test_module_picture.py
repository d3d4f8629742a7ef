"""The panel never sets a number beside the wrong picture: which CT, points, frames and overlays are shown."""

import pytest
import slicer

from Testing.slicer.nodule.seen import backgrounds, composites, foregrounds, frames, label, opacities

KINDS = ("none", "reconstruction", "error", "attention", "original")


@pytest.fixture
def panel(instant_panel, views):
    return instant_panel


def test_the_chosen_ct_is_the_one_in_the_views_and_hides_what_is_of_another(two, instant_probability):
    panel, first, prior, second, current = two
    numbers = {volume: f"{instant_probability(volume, ras):.2f}" for volume, ras in ((first, (0, 0, 0)),)}
    assert backgrounds() == {second.GetID()}
    assert (prior.GetDisplayVisibility(), current.GetDisplayVisibility()) == (0, 1)
    assert frames(panel) == {("Prior", "1"): False, ("Current", "1"): True}
    assert label(prior) == "N1", "no number where its CT is not shown, even if somebody shows the points"
    panel.ui.inputVolumeSelector.setCurrentNode(first)
    assert backgrounds() == {first.GetID()}
    assert (prior.GetDisplayVisibility(), current.GetDisplayVisibility()) == (1, 0)
    assert frames(panel) == {("Prior", "1"): True, ("Current", "1"): False}
    assert label(prior) == f"N1: {numbers[first]}" and label(current) == "N1"
    overlay = slicer.mrmlScene.GetNodeByID(composites()[0].GetForegroundVolumeID())
    assert "(Prior)" in overlay.GetName()
    panel.settle()
    assert panel.ui.resultTable.item(0, 1).text() == numbers[first]


def test_what_the_user_has_hidden_stays_hidden(two):
    panel, first, prior, second, current = two
    current.GetDisplayNode().SetVisibility(0)
    for volume in (first, second):
        panel.parameters.inputVolume = volume
        panel.run(0.1)
    assert (prior.GetDisplayVisibility(), current.GetDisplayVisibility()) == (0, 0)
    assert not any(frames(panel).values()) and foregrounds() == []
    current.GetDisplayNode().SetVisibility(1)
    panel.run(0.1)
    assert frames(panel)[("Current", "1")] and foregrounds()


def test_switching_while_scoring_leaves_panel_and_views_together(two):
    panel, first, prior, _second, _current = two
    panel.parameters.inputVolume = first
    panel.run(0.1)
    panel.place((10, 0, 5), prior)
    panel.logic.poll()
    third = slicer.util.addVolumeFromArray(slicer.util.arrayFromVolume(first).copy(), name="Third")
    panel.parameters.inputVolume = third
    panel.settle()
    assert panel.parameters.inputVolume is third and panel.parameters.points is None
    assert backgrounds() == {third.GetID()}
    assert not any(frames(panel).values()) and foregrounds() == []
    analysis = panel.logic.analysisOf(first, prior)
    assert [record.state for _pointID, record in analysis.records()] == ["scored", "scored"]


def test_a_ct_that_the_views_show_becomes_the_chosen_one(two, add_ct):
    """As Slicer does when a CT is loaded: every view shows it, and the panel is not left with another."""
    panel, first, _prior, second, _current = two
    third = add_ct("Third", seed=3)
    for composite in composites():
        assert panel.parameters.inputVolume is second
        composite.SetBackgroundVolumeID(third.GetID())
    assert panel.parameters.inputVolume is third
    assert not any(frames(panel).values())
    panel.run(0.1)
    assert panel.ui.resultTable.rowCount == 0
    composites()[0].SetBackgroundVolumeID(first.GetID())
    assert panel.parameters.inputVolume is third, "it is still shown in the others"


def test_side_by_side_a_point_is_seen_on_its_own_ct_alone(two):
    panel, first, _prior, second, current = two
    red, green = composites()[:2]
    views = {view.GetLayoutName(): view.GetID() for view in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
    red.SetBackgroundVolumeID(first.GetID())
    roi = panel.logic.analysisOf(second, current).roiNode("1")
    for node in (current, roi):
        shown = node.GetDisplayNode().GetViewNodeIDs()
        assert views[red.GetLayoutName()] not in shown and views[green.GetLayoutName()] in shown
    assert red.GetForegroundVolumeID() is None, "nor an overlay of the other"
    assert green.GetForegroundVolumeID()
    red.SetBackgroundVolumeID(second.GetID())
    assert current.GetDisplayNode().GetViewNodeIDs() == roi.GetDisplayNode().GetViewNodeIDs() == ()


def test_overlay_and_opacity_obey_at_the_first_change(two, tmp_path):
    from slicerhost import module_factory

    panel, *_rest = two
    for changed in ("entered anew", "scene reopened"):
        if changed == "entered anew":
            module_factory.select(None)
            module_factory.select("MAEMCNodule")
        else:
            assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
            slicer.mrmlScene.Clear()
            slicer.util.loadScene(str(tmp_path / "scene.mrb"))
        panel.settle()
        before = round(panel.parameters.overlayOpacity - 0.1, 2)
        panel.ui.opacitySlider.value = before
        assert opacities() == {before}, changed
        panel.ui.overlaySelector.currentIndex = KINDS.index("none")
        assert foregrounds() == [], changed
        panel.ui.overlaySelector.currentIndex = KINDS.index("error")
        panel.settle()  # of a reopened scene it is made by the worker
        assert foregrounds() == ["error", "error"], changed


def test_a_click_on_the_selected_row_goes_to_the_nodule(panel, views, add_ct):
    add_ct()
    panel.settle()
    panel.place((0, 0, 10))
    panel.settle()
    views[0].node.SetSliceOffset(-30)
    table = panel.ui.resultTable
    table.itemClicked.emit(table.item(0, 0))
    assert views[0].node.GetSliceOffset() == pytest.approx(10, abs=0.6)


def test_a_stale_error_disappears_with_its_cause(panel, add_ct):
    import numpy as np

    mask = slicer.util.addVolumeFromArray(np.ones((20, 20, 20), np.int16), name="Mask")
    volume = add_ct()
    panel.parameters.inputVolume = mask
    panel.run(0.1)
    panel.ui.placeButton.click()
    panel.run(0.1)
    assert panel.logic.status.kind == "error" and panel.ui.statusLabel.text.startswith("Mask")
    panel.parameters.inputVolume = volume
    panel.settle()
    assert panel.logic.status.kind == "idle" and "Mask" not in panel.ui.statusLabel.text
    panel.parameters.model = "gone@2.0"
    panel.place((0, 0, 0))
    panel.settle()
    assert "gone@2.0" in panel.ui.statusLabel.text
    panel.parameters.model = ""
    panel.run(0.1)
    assert "gone@2.0" not in panel.ui.statusLabel.text
    points = panel.parameters.points
    panel.place((500, 0, 0), points)
    panel.settle()
    assert "R 500.0, A 0.0, S 0.0" in panel.ui.statusLabel.text, "in Slicer's own coordinates"
    assert "LPS" not in panel.ui.statusLabel.text
    points.RemoveNthControlPoint(1)
    panel.settle()
    assert panel.logic.status.kind == "idle" and "500" not in panel.ui.statusLabel.text


def test_a_ct_can_be_deselected(two, add_ct):
    panel, first, prior, _second, current = two
    panel.ui.inputVolumeSelector.setCurrentNode(None)
    panel.run(0.3)
    assert panel.parameters.inputVolume is None
    assert panel.ui.inputVolumeSelector.currentNode() is None
    assert panel.ui.resultTable.rowCount == 0
    assert (prior.GetDisplayVisibility(), current.GetDisplayVisibility()) == (0, 1), "by what the views show"
    panel.ui.inputVolumeSelector.setCurrentNode(first)
    panel.run(0.1)
    assert panel.ui.resultTable.rowCount == 1 and backgrounds() == {first.GetID()}


def test_what_a_model_does_not_show_is_not_left_over_from_another(panel, add_ct):
    """An axial-only model has no coronal attention; what an earlier model had drawn there goes."""
    volume = add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    panel.ui.overlaySelector.currentIndex = KINDS.index("attention")
    analysis = panel.logic.analysisOf(volume, points)
    assert analysis.overlayNode("1", "attention", "coronal") is not None
    answer = panel.logic.worker.send

    def axial_only(request, tag=None, **fields):
        number = answer(request, tag, **fields)
        panel.logic.worker._messages[-1].get("attention", {}).pop("coronal", None)
        return number

    panel.logic.worker.send = axial_only
    panel.ui.scoreButton.click()
    panel.settle()
    assert analysis.overlayNode("1", "attention", "axial") is not None
    assert analysis.overlayNode("1", "attention", "coronal") is None
    assert foregrounds() == ["attention"]
    panel.ui.overlaySelector.currentIndex = KINDS.index("error")
    assert foregrounds() == ["error", "error"]
