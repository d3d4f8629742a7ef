"""A right-click on a row, keys, and what they do: nothing is lost that cannot be taken back."""

import pytest
import qt
import slicer

from Testing.slicer.nodule.seen import foregrounds, frames, label


@pytest.fixture
def panel(instant_panel, views):
    return instant_panel


@pytest.fixture
def two_nodules(panel, add_ct):
    panel.widget.parent.show()
    add_ct()
    panel.settle()
    points = panel.place((10, 0, 5), panel.place((0, 0, 0)))
    panel.settle()
    return panel, points


def rows(panel):
    table = panel.ui.resultTable
    return [[table.item(row, column).text() for column in range(2)] for row in range(table.rowCount)]


def entries(panel):
    """{text: action} of the menu of the selected row."""
    panel.widget.rowMenu.fill()
    return {action.text: action for action in panel.widget.rowMenu.menu.actions() if action.text}


def test_a_removed_nodule_comes_back_as_it_was_and_is_not_scored_again(two_nodules):
    panel, points = two_nodules
    points.SetNthControlPointDescription(0, "seen in 2024")
    points.SetNthControlPointLocked(1, True)
    analysis = panel.logic.shownAnalysis()
    panel.logic.setScoreValue(analysis, "1", "type", "solid")
    panel.ui.resultTable.selectRow(0)
    panel.settle()
    before, result = rows(panel), panel.records()[0].result
    assert not panel.ui.undoButton.visible
    entries(panel)["Delete"].trigger()
    panel.settle()
    assert rows(panel) == before[1:] and panel.ui.undoButton.visible
    assert "removal of N1" in panel.ui.undoButton.toolTip
    sent = panel.logic.worker.sent
    panel.ui.undoButton.click()
    panel.settle()
    assert rows(panel) == before and panel.records()[0].result == result
    pointID = points.GetNthControlPointID(0)
    assert analysis.given(pointID) == {"type": "solid"}
    assert points.GetNthControlPointDescription(0) == "seen in 2024" and points.GetNthControlPointLocked(1)
    assert panel.parameters.selectedPoint == pointID and frames(panel)[("Chest", pointID)]
    assert panel.logic.worker.sent <= sent + 1, "its overlay is made again, its score is not"
    assert foregrounds() == ["reconstruction", "reconstruction"]
    assert not panel.ui.undoButton.visible


def test_undo_goes_step_by_step_and_forgets_a_closed_scene(two_nodules):
    panel, points = two_nodules
    before = rows(panel)
    panel.ui.resultTable.selectRow(1)
    panel.settle()
    panel.ui.removeButton.click()
    panel.settle()
    panel.ui.removeButton.click()
    panel.settle()
    assert rows(panel) == []
    panel.widget.logic.edits.undo()
    panel.widget.logic.edits.undo()
    panel.settle()
    assert sorted(rows(panel)) == sorted(before)
    panel.widget.logic.edits.undo()
    panel.ui.removeButton.click()
    slicer.mrmlScene.RemoveNode(points)
    panel.settle()
    panel.widget.logic.edits.undo()
    panel.settle()
    assert rows(panel) == [], "its list is gone"
    slicer.mrmlScene.Clear()
    panel.settle()
    assert panel.logic.edits.undoText == "" and not panel.ui.undoButton.visible


def test_the_menu_renames_hides_locks_and_says_why_it_does_not_delete(two_nodules, views):
    panel, points = two_nodules
    table = panel.ui.resultTable
    table.selectRow(0)
    panel.settle()
    views[0].node.SetSliceOffset(-30)
    entries(panel)["Jump to"].trigger()
    assert views[0].node.GetSliceOffset() == pytest.approx(0, abs=0.6)
    entries(panel)["Hide"].trigger()
    assert not points.GetNthControlPointVisibility(0) and foregrounds() == []
    entries(panel)["Show"].trigger()
    assert points.GetNthControlPointVisibility(0)
    entries(panel)["Lock"].trigger()
    panel.settle()
    assert points.GetNthControlPointLocked(0)
    delete = entries(panel)["Delete"]
    assert not delete.enabled and "locked" in delete.toolTip
    assert not panel.ui.removeButton.enabled and "locked" in panel.ui.removeButton.toolTip
    panel.widget.rowMenu.remove()
    assert points.GetNumberOfControlPoints() == 2
    entries(panel)["Unlock"].trigger()
    number = table.item(0, 1).text()
    table.item(0, 0).setText("RUL spiculated")  # as the editor in the cell does
    panel.settle()
    assert label(points) == f"RUL spiculated: {number}" and panel.records()[0].name == "RUL spiculated"
    table.item(0, 0).setText("  ")
    panel.settle()
    assert table.item(0, 0).text() == "RUL spiculated", "a nodule keeps its name"


def test_keys_go_round_the_nodules_and_toggle_the_overlay(two_nodules):
    from MAEMCNodulePanel.shortcuts import KEYS
    from slicerhost import module_factory, qt_modal

    panel, _points = two_nodules
    module_factory.select(None)
    module_factory.select("MAEMCNodule")  # with views, which the stand-in has not from the start
    keys = panel.widget.shortcuts._made
    assert {shortcut.key.toString() for shortcut in keys} == {qt.QKeySequence(key).toString() for key in KEYS.values()}
    assert all(shortcut.context == qt.Qt.WidgetWithChildrenShortcut for shortcut in keys)
    assert {shortcut.parent() for shortcut in keys} == {
        panel.widget.parent,
        slicer.app.layoutManager().viewport(),
    }, "in the panel, and in the views"
    press = panel.widget._keys()
    selected = [panel.parameters.selectedPoint]
    for name in ("next", "next", "previous"):
        press[name]()
        selected.append(panel.parameters.selectedPoint)
    assert selected == ["2", "1", "2", "1"]
    panel.parameters.overlay = type(panel.parameters.overlay).ERROR
    panel.settle()
    shown = [foregrounds()]
    for _ in range(2):
        press["toggleOverlay"]()
        shown.append(foregrounds())
    assert shown == [["error", "error"], [], ["error", "error"]]
    press["place"]()
    assert panel.ui.placeButton.checked
    press["place"]()
    with qt_modal.answers(exec_=0) as asked:
        press["accept"]()
    assert len(asked) == 1, "who accepts is asked once"
    press["undo"]()  # with nothing to take back
    module_factory.select(None)
    assert panel.widget.shortcuts._made == []


def test_the_overlay_begins_half_opaque_and_with_what_was_chosen_last(panel, add_ct):
    add_ct()
    panel.settle()
    assert panel.parameters.overlayOpacity == 0.5 and panel.parameters.overlay.value == "reconstruction"
    panel.ui.overlaySelector.currentIndex = 0
    panel.ui.opacitySlider.value = 0.3
    panel.settle()
    slicer.mrmlScene.Clear()
    panel.settle()
    add_ct()
    panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    assert panel.parameters.overlay.value == "none" and panel.parameters.overlayOpacity == 0.3
    assert foregrounds() == []
    panel.widget.onToggleOverlay()
    panel.settle()
    assert foregrounds() == ["reconstruction", "reconstruction"]


def test_a_nodule_has_three_nodes_at_most_whatever_is_looked_at(two_nodules):
    panel, _points = two_nodules
    analysis = panel.logic.shownAnalysis()
    for index in (1, 2, 3, 4, 0, 1):
        panel.ui.overlaySelector.currentIndex = index
        for row in (0, 1):
            panel.ui.resultTable.selectRow(row)
            panel.settle()
        assert all(len(analysis.nodesOf(pointID)) <= 3 for pointID in analysis.recordIDs())


def test_a_lung_window_is_offered_once(panel, add_ct):
    panel.widget.parent.show()
    first, second = add_ct("First"), add_ct("Second")
    for volume in (first, second):
        volume.GetDisplayNode().SetAutoWindowLevel(False)
        volume.GetDisplayNode().SetWindowLevel(400, 40)
    panel.parameters.inputVolume = first
    panel.settle()
    assert panel.ui.lungWindowFrame.visible and "400/40" in panel.ui.lungWindowLabel.text
    panel.ui.lungWindowButton.click()
    display = first.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (1500, -600) and not panel.ui.lungWindowFrame.visible
    display.SetWindowLevel(400, 40)
    panel.settle()
    assert not panel.ui.lungWindowFrame.visible, "asked once"
    panel.parameters.inputVolume = second
    panel.settle()
    panel.ui.keepWindowButton.click()
    panel.settle()
    assert second.GetDisplayNode().GetWindow() == 400 and not panel.ui.lungWindowFrame.visible
