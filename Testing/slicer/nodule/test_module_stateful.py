"""The panel's list through any sequence of what users do, with one oracle: what is shown is true, or it is not shown.

``PANEL_EXAMPLES`` sets the number of sequences, where somebody has more time than a test run.
"""

import inspect
import os

import slicer
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

PLACES = [(0.0, 0.0, 0.0), (10.0, 0.0, 5.0), (-20.0, 5.0, 0.0), (0.0, 20.0, -10.0), (500.0, 0.0, 0.0)]
LABELS = ["N1", "RUL", "Ratio: 0.50", "N1: 0.05", "", "a: 1.00 b", "N2: \N{HORIZONTAL ELLIPSIS}"]
ACTIONS = [
    *["choose", "add", "move", "rename"] * 4,
    *["delete", "show_a_ct_in_the_views", "hide_or_show_a_point", "hide_or_show_the_list", "change_and_undo"] * 2,
    *["deselect", "put_the_list_aside_and_take_it_again", "delete_table_in_data", "delete_list_in_data"],
    "close_the_scene",
]
NEED_A_POINT = {
    *["move", "rename", "delete", "hide_or_show_a_point", "hide_or_show_the_list", "change_and_undo"],
    *["put_the_list_aside_and_take_it_again", "delete_table_in_data", "delete_list_in_data"],
}
EXAMPLES = int(os.environ.get("PANEL_EXAMPLES", "5"))
STEPS = 20


class PanelMachine(RuleBasedStateMachine):
    """Two CTs, lists, points. ``panel``, ``add_ct`` and ``probability`` are set by the test."""

    panel = add_ct = probability = None

    @initialize()
    def start(self):
        slicer.mrmlScene.Clear()
        self.settle()
        self.volumes = [self.add_ct("A", seed=1), self.add_ct("B", seed=2)]
        self.hidden = set()  # IDs of lists that the user has hidden
        self.settle()
        for number, place in ((0, PLACES[0]), (1, PLACES[1]), (1, PLACES[2])):
            self.choose(number)
            self.add(place)

    def settle(self):
        """Until nothing is under way and the panel shows it."""
        logic = self.panel.logic
        for _ in range(400):
            self.panel.application.processEvents()
            logic.poll()
            if not logic.isBusy():
                break
        self.panel.widget.refresh()

    @property
    def parameters(self):
        return self.panel.parameters

    @property
    def points(self):
        points = self.parameters.points
        return points if points is not None and points.GetNumberOfControlPoints() else None

    def index(self, number):
        return number % self.points.GetNumberOfControlPoints()

    # What users do

    @rule(
        what=st.sampled_from(ACTIONS),
        number=st.integers(0, 9),
        place=st.sampled_from(PLACES),
        label=st.sampled_from(LABELS),
    )
    def act(self, what, number, place, label):
        """One rule for all, since hypothesis leaves out rules at random: in a few sequences most would be missing."""
        given = {"number": number, "place": place, "label": label}
        names = inspect.signature(getattr(self, what)).parameters
        if what in NEED_A_POINT and self.points is None:
            what, names = "choose", ("number",)
        getattr(self, what)(**{name: given[name] for name in names})

    def choose(self, number):
        self.parameters.inputVolume = self.volumes[number % 2]
        self.settle()

    def deselect(self):
        self.panel.ui.inputVolumeSelector.setCurrentNode(None)
        self.settle()

    def show_a_ct_in_the_views(self, number):
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            composite.SetBackgroundVolumeID(self.volumes[number % 2].GetID())
        self.settle()

    def add(self, place):
        if self.parameters.inputVolume is None:
            return
        if not self.panel.ui.placeButton.checked:
            self.panel.ui.placeButton.click()
        self.parameters.points.AddControlPoint(list(place))
        self.settle()

    def move(self, number, place):
        self.points.SetNthControlPointPosition(self.index(number), *place)
        self.settle()

    def rename(self, number, label):
        self.points.SetNthControlPointLabel(self.index(number), label)
        self.settle()

    def hide_or_show_a_point(self, number):
        index = self.index(number)
        self.points.SetNthControlPointVisibility(index, not self.points.GetNthControlPointVisibility(index))
        self.settle()

    def hide_or_show_the_list(self):
        display = self.points.GetDisplayNode()
        display.SetVisibility(not display.GetVisibility())
        key = self.points.GetID()
        self.hidden.symmetric_difference_update({key})
        self.settle()

    def delete(self, number):
        self.points.RemoveNthControlPoint(self.index(number))
        self.settle()

    def change_and_undo(self, number, place):
        """Slicer's own undo, where it is switched on: of a moved or a deleted point."""
        scene, points, index = slicer.mrmlScene, self.points, self.index(number)
        before = points.GetNumberOfControlPoints()
        scene.SetUndoOn()
        points.SetUndoEnabled(True)
        scene.SaveStateForUndo()
        if number % 2:
            points.RemoveNthControlPoint(index)
        else:
            points.SetNthControlPointPosition(index, *place)
        self.settle()
        scene.Undo()
        scene.ClearUndoStack()
        scene.ClearRedoStack()
        points.SetUndoEnabled(False)
        scene.SetUndoOff()
        self.settle()
        assert points.GetNumberOfControlPoints() == before

    def put_the_list_aside_and_take_it_again(self):
        points = self.parameters.points
        self.panel.ui.pointsSelector.setCurrentNode(None)
        self.settle()
        for index in range(points.GetNumberOfControlPoints()):
            assert points.GetAttribute(f"MAEMC.Label.{points.GetNthControlPointID(index)}") is None
        assert self.panel.records() == []
        self.panel.ui.pointsSelector.setCurrentNode(points)
        self.settle()

    def delete_table_in_data(self):
        self.delete_in_data("table")

    def delete_list_in_data(self):
        self.delete_in_data("list")

    def delete_in_data(self, what):
        analysis = self.panel.logic.analysisOf(self.parameters.inputVolume, self.parameters.points)
        if analysis is not None:
            slicer.mrmlScene.RemoveNode(analysis.tableNode if what == "table" else analysis.pointsNode)
        self.settle()

    def close_the_scene(self):
        slicer.mrmlScene.Clear()
        self.settle()
        assert self.panel.logic.analyses() == []
        self.start()

    # What is true of all that is shown

    @invariant()
    def panel_and_views_show_one_ct(self):
        chosen = self.parameters.inputVolume
        shown = {c.GetBackgroundVolumeID() for c in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}
        assert chosen is None or shown == {chosen.GetID()}

    @invariant()
    def rows_are_the_points_and_their_numbers_are_true(self):
        volume, points, table = self.parameters.inputVolume, self.parameters.points, self.panel.ui.resultTable
        if volume is None or points is None:
            assert table.rowCount == 0
            return
        assert table.rowCount == points.GetNumberOfControlPoints()
        records = dict(self.panel.logic.analysisOf(volume, points).records())
        for row in range(table.rowCount):
            record = records[points.GetNthControlPointID(row)]
            place = points.GetNthControlPointPositionWorld(row)
            label = points.GetNthControlPointLabel(row)
            assert table.item(row, 0).text() == record.name
            if max(map(abs, place)) > 100:
                assert record.state == "failed" and label == record.name
                continue
            assert record.state == "scored", record
            number = f"{self.probability(volume, place):.2f}"
            assert table.item(row, 1).text() == number
            assert label == f"{record.name}: {number}"

    @invariant()
    def nothing_of_another_ct_is_seen(self):
        volume, selected = self.parameters.inputVolume, self.parameters.selectedPoint
        for analysis in self.panel.logic.analyses():
            points = analysis.pointsNode
            here = volume is None or analysis.volumeNode is volume
            if here and volume is not None:
                assert bool(points.GetDisplayVisibility()) == (points.GetID() not in self.hidden)
            elif not here:
                assert not points.GetDisplayVisibility()
                for index in range(points.GetNumberOfControlPoints()):
                    assert points.GetAttribute(f"MAEMC.Label.{points.GetNthControlPointID(index)}") is None
            for pointID, index in analysis.pointIndices().items():
                roi = analysis.roiNode(pointID)
                if roi is not None and roi.GetDisplayVisibility():
                    assert analysis.shown and pointID == selected and points.GetDisplayVisibility()
                    assert points.GetNthControlPointVisibility(index)

    @invariant()
    def overlays_are_of_the_selected_nodule_of_this_ct(self):
        volume, points = self.parameters.inputVolume, self.parameters.points
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if composite.GetForegroundVolumeID() is None or volume is None:
                continue
            overlay = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
            analysis = self.panel.logic.analysisOf(volume, points)
            assert overlay in analysis.nodesOf(self.parameters.selectedPoint)

    @invariant()
    def nothing_is_left_over(self):
        """Frames, overlays and tables are those of points that are there."""
        analyses = self.panel.logic.analyses()
        known = {node.GetID() for analysis in analyses for p in analysis.pointIndices() for node in analysis.nodesOf(p)}
        rois = slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")
        overlays = [
            n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n.GetAttribute("MAEMC.Overlay")
        ]
        assert {node.GetID() for node in [*rois, *overlays]} == known
        assert len({analysis.pointsNode.GetID() for analysis in analyses}) == len(analyses)


def test_whatever_is_done_what_is_shown_is_true(instant_panel, slice_view, add_ct, instant_probability, monkeypatch):
    from MAEMCNodulePanel import upkeep

    for name in ("Red", "Green", "Yellow"):
        slice_view(name)
    monkeypatch.setattr(upkeep, "DEBOUNCE_SECONDS", 0.0)
    chests, places = {}, {}

    def chest(name, seed):
        node = add_ct(name, seed=seed, shape=(40, 50, 50)) if seed not in chests else None
        if node is None:
            node = slicer.util.addVolumeFromArray(chests[seed][0], chests[seed][1], name)
        else:
            import vtk

            matrix = vtk.vtkMatrix4x4()
            node.GetIJKToRASMatrix(matrix)
            chests[seed] = (slicer.util.arrayFromVolume(node).copy(), slicer.util.arrayFromVTKMatrix(matrix))
        return node

    def probability(volume, place):
        key = (volume.GetName(), tuple(round(value, 3) for value in place))
        if key not in places:
            places[key] = instant_probability(volume, place)
        return places[key]

    class Machine(PanelMachine):
        panel = instant_panel

    Machine.add_ct, Machine.probability = staticmethod(chest), staticmethod(probability)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            phases=[Phase.generate],  # to make a failing sequence shorter would take many minutes
            print_blob=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    slicer.mrmlScene.Clear()
