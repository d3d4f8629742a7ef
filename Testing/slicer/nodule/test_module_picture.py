"""The panel never sets a number beside the wrong picture: which CT, points, frames, overlays and labels are shown."""

import pytest
import slicer
from MAEMCLib.errors import InputError

KINDS = ("none", "reconstruction", "error", "attention", "original")


def composites():
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


def backgrounds():
    return {composite.GetBackgroundVolumeID() for composite in composites()}


def foregrounds():
    shown = [composite.GetForegroundVolumeID() for composite in composites()]
    return [slicer.mrmlScene.GetNodeByID(volumeID).GetAttribute("MAEMC.Overlay") for volumeID in shown if volumeID]


def opacities():
    return {composite.GetForegroundOpacity() for composite in composites() if composite.GetForegroundVolumeID()}


@pytest.fixture
def views(slice_view):
    return [slice_view(name) for name in ("Red", "Green", "Yellow")]


@pytest.fixture
def panel(instant_panel, views):
    return instant_panel


@pytest.fixture
def two(panel, add_ct):
    """(panel, first CT, its points, second CT, its points): a nodule on each, the second is chosen."""
    first, second = add_ct("Prior", seed=1), add_ct("Current", seed=2)
    chosen = []
    for volume, point in ((first, (0, 0, 0)), (second, (-20, 5, 0))):
        panel.parameters.inputVolume = volume
        panel.run(0.1)
        chosen += [volume, panel.place(point)]
        panel.settle()
    return panel, *chosen


def frames(panel):
    return {
        (analysis.volumeNode.GetName(), pointID): bool(analysis.roiNode(pointID).GetDisplayVisibility())
        for analysis in panel.logic.analyses()
        for pointID in analysis.recordIDs()
    }


def label(points, index=0):
    return points.GetNthControlPointLabel(index)


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
    panel.logic._follower.reconcile(panel.logic.analysisOf(volume, points))
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
    assert len(nodes) == 9
    assert all("RLL spiculated" in node.GetName() and "Thorax" in node.GetName() for node in nodes)
    assert not any(node.GetHideFromEditors() for node in nodes), "the Data module lists them"
    assert panel.ui.inputVolumeSelector.nodeCount() == 1, "but they are not offered as CTs"
    volume.SetName("Thorax, Müller")
    assert all("(Thorax, Müller)" in node.GetName() for node in nodes)
    nodes[1].SetName("My own name")
    points.SetNthControlPointLabel(0, "LLL")
    assert nodes[1].GetName() == "My own name"


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


def test_a_users_own_list_is_left_as_it_was(panel, add_ct):
    volume = add_ct()
    panel.settle()
    names = ["lesion one", "", "Ratio: 0.50", " spaced "]
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Mine")
    for number, name in enumerate(names):
        points.AddControlPoint([4.0 * number, 0, 0], name)
    before = [label(points, index) for index in range(4)]
    panel.ui.pointsSelector.setCurrentNode(points)
    panel.settle()
    assert [record.state for record in panel.records()] == ["scored"] * 4, "Score at once is on"
    assert all(label(points, index) != before[index] for index in range(4))
    panel.ui.pointsSelector.setCurrentNode(None)
    panel.settle()
    assert [label(points, index) for index in range(4)] == before
    assert not any(frames(panel).values()) and foregrounds() == []
    assert not [name for name in points.GetAttributeNames() or () if name.startswith("MAEMC.Label")]
    assert points.GetDisplayVisibility() == 1
    sent = panel.logic.worker.sent
    points.AddControlPoint([0, 10, 0], "lymph node station")
    points.SetNthControlPointPosition(0, 0, 4, 0)
    panel.settle()
    panel.run(0.6)
    assert panel.logic.worker.sent == sent, "it is followed no more"
    assert label(points, 4) == "lymph node station"
    # with another list chosen it stays aside, and chosen again it is what it has become since
    panel.place((0, 0, 0))
    panel.settle()
    assert panel.parameters.points is not points
    panel.ui.pointsSelector.setCurrentNode(points)
    panel.settle()
    assert [record.state for record in panel.records()] == ["scored"] * 5
    assert panel.logic.worker.sent == sent + 2 + 4, "the moved and the new one"
    assert volume.GetScene() is not None


def test_a_chosen_list_says_how_it_is_scored(panel, add_ct):
    add_ct()
    panel.settle()
    panel.ui.scoreAtOnceCheckBox.checked = False
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Mine")
    points.AddControlPoint([0, 0, 0])
    panel.ui.pointsSelector.setCurrentNode(points)
    panel.run(0.2)
    assert panel.ui.statusLabel.text == "Press Score to score the nodules of Mine."
    panel.ui.scoreButton.click()
    panel.settle()
    assert panel.records()[0].state == "scored"
    assert "Press Score" not in panel.ui.statusLabel.text


def test_a_table_deleted_in_data_is_made_again(panel, add_ct):
    volume = add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    before, sent = panel.records()[0], panel.logic.worker.sent
    slicer.mrmlScene.RemoveNode(panel.logic.analysisOf(volume, points).tableNode)
    panel.settle()
    assert panel.records() == [before] and panel.logic.worker.sent == sent
    panel.place((5, 0, 0))
    panel.settle()
    assert panel.parameters.points is points
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 1, "no second list"
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 2
    # deleted together with its points it is gone, with all that belongs to it
    slicer.mrmlScene.RemoveNode(panel.logic.analysisOf(volume, points).tableNode)
    slicer.mrmlScene.RemoveNode(points)
    panel.settle()
    assert panel.logic.analyses() == []
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 0
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


def test_deleting_the_list_of_one_ct_takes_no_other_list_for_it(two):
    """A panel's lists of nodes choose a neighbor of what is removed; that is nobody's choice."""
    panel, first, _prior, second, current = two
    slicer.mrmlScene.RemoveNode(current)
    panel.settle()
    assert panel.parameters.inputVolume is second and panel.parameters.points is None
    assert [analysis.volumeNode for analysis in panel.logic.analyses()] == [first]
    assert panel.ui.resultTable.rowCount == 0


def test_place_says_why_it_does_nothing_and_keeps_the_users_mode(panel, add_ct):
    add_ct()
    panel.settle()
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    interaction.SetPlaceModePersistence(1)
    panel.ui.placeButton.click()
    assert interaction.GetPlaceModePersistence() == 1
    panel.ui.placeButton.click()
    interaction.SetPlaceModePersistence(0)
    points = panel.place((0, 0, 0))
    panel.settle()
    points.SetFixedNumberOfControlPoints(True)
    panel.ui.placeButton.click()
    panel.run(0.1)
    assert "takes no more points" in panel.ui.statusLabel.text
    assert not panel.ui.placeButton.checked


def test_choosing_another_ct_ends_placing(two):
    """Else the next click would place a nodule of the one CT on a picture of the other."""
    panel, first, _prior, _second, _current = two
    panel.run(0.1)
    panel.ui.placeButton.click()
    assert panel.ui.placeButton.checked
    panel.parameters.inputVolume = first
    panel.run(0.1)
    assert not panel.ui.placeButton.checked


def test_scripts_may_give_names(panel, add_ct):
    volume = add_ct("CT A")
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F")
    points.AddControlPoint([0, 0, 0])
    table = panel.logic.score("CT A", "F", timeout=60)
    assert panel.logic.analysisOf(volume, points).tableNode is table
    line = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "L")
    line.AddControlPoint([0, 0, 0])
    line.AddControlPoint([5, 0, 0])
    for wrong, words in (
        (("CT B", "F"), "no volume called CT B"),
        (("CT A", "G"), "no point list called G"),
        (("CT A", line), "no point list but a Line"),
        (("CT A", 7), "not by an? int"),
        ((volume, None), "Place a nodule"),
    ):
        with pytest.raises(InputError, match=words):
            panel.logic.score(*wrong)


def test_what_a_model_does_not_show_is_not_left_over_from_another(panel, add_ct):
    """An axial-only model has no coronal attention; what an earlier model had drawn there goes."""
    from MAEMCNodulePanel import overlays

    volume = add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    analysis = panel.logic.analysisOf(volume, points)
    answer = panel.logic.worker._client.send

    def axial_only(request, **fields):
        number = answer(request, **fields)
        panel.logic.worker._client._messages[-1].get("attention", {}).pop("coronal", None)
        return number

    panel.logic.worker._client.send = axial_only
    panel.ui.scoreButton.click()
    panel.settle()
    assert analysis.overlayNode("1", "attention", "axial") is not None
    assert analysis.overlayNode("1", "attention", "coronal") is None
    assert set(overlays.stacksOf(analysis, "1", "coronal")) == {"reconstruction", "error", "original"}
    panel.ui.overlaySelector.currentIndex = KINDS.index("attention")
    assert foregrounds() == ["attention"]


def test_after_an_undo_a_new_point_has_a_row_of_its_own(panel, add_ct, instant_probability):
    """Slicer then counts the IDs of points from 1 again, and gives one twice."""
    volume, scene = add_ct(), slicer.mrmlScene
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    scene.SetUndoOn()
    points.SetUndoEnabled(True)
    scene.SaveStateForUndo()
    points.SetNthControlPointPosition(0, 4, 0, 0)
    scene.Undo()
    scene.ClearUndoStack()
    scene.ClearRedoStack()
    points.SetUndoEnabled(False)
    scene.SetUndoOff()
    points.AddControlPoint([10, 0, 5])
    panel.settle()
    wanted = [f"{instant_probability(volume, place):.2f}" for place in ((0, 0, 0), (10, 0, 5))]
    assert [panel.ui.resultTable.item(row, 1).text() for row in range(panel.ui.resultTable.rowCount)] == wanted
