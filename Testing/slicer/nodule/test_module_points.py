"""Point lists: a user's own, fixed, deleted and undone ones, and where the next point goes."""

import pytest
import slicer
from MAEMCLib.errors import InputError

from Testing.slicer.nodule.seen import foregrounds, frames, label


@pytest.fixture
def panel(instant_panel, views):
    return instant_panel


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
