"""Saving, loading, closing and reloading: at any moment, with nothing lost and nothing computed twice."""

import sys

import pytest
import slicer


def everything(panel):
    """What a reader sees of all results: for comparing a scene with what was reopened from it."""
    found = []
    for analysis in panel.logic.analyses():
        table = analysis.tableNode
        rows = [
            [table.GetCellText(row, column) for column in range(table.GetNumberOfColumns())]
            for row in range(table.GetNumberOfRows())
        ]
        overlays = [
            [
                slicer.util.arrayFromVolume(analysis.overlayNode(pointID, kind, plane)).tobytes()
                for kind in ("reconstruction", "error", "attention", "original")
                for plane in ("axial", "coronal")
                if analysis.overlayNode(pointID, kind, plane) is not None
            ]
            for pointID in analysis.recordIDs()
        ]
        records = [(pointID, record.toJson()) for pointID, record in analysis.records()]
        rois = [tuple(round(c, 3) for c in analysis.roiNode(p).GetCenterWorld()) for p in analysis.recordIDs()]
        labels = [analysis.pointsNode.GetNthControlPointLabel(i) for i in range(len(records))]
        found.append((rows, overlays, records, rois, labels, analysis.volumeNode.GetName()))
    return found


def seen(panel):
    """What the panel itself shows."""
    ui = panel.ui
    rows = [[ui.resultTable.item(row, c).text() for c in range(6)] for row in range(ui.resultTable.rowCount)]
    return rows, ui.headlineLabel.text, ui.overlaySelector.currentIndex, ui.opacitySlider.value, ui.findingsLabel.text


def test_saved_and_reopened_scene_shows_the_same_and_computes_nothing(panel, add_ct, linear, tmp_path):
    import numpy as np

    first, second = add_ct("Thorax Müller", seed=1), add_ct("Second", seed=2)
    second.SetAndObserveTransformNodeID(
        linear([[0.8, -0.6, 0, 5], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).GetID()
    )
    panel.parameters.inputVolume = second
    panel.place((1 / 3, 2.123456789, 0))
    panel.settle()
    panel.parameters.inputVolume = first
    points = panel.place((0.1, 0, 0))
    panel.place((10, 5.7, 5), points)
    panel.settle()
    panel.ui.overlaySelector.currentIndex = 2
    panel.ui.opacitySlider.value = 0.35
    panel.ui.resultTable.selectRow(0)
    panel.settle()
    before, shown = everything(panel), seen(panel)
    assert np.shape(shown[0]) == (2, 6)
    sent = panel.logic.worker.sent
    path = tmp_path / "fälle und mehr.mrb"
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear()
    panel.settle()
    assert panel.logic.analyses() == []
    assert panel.ui.resultTable.rowCount == 0
    slicer.util.loadScene(str(path))
    panel.settle()
    panel.run(0.6)
    assert everything(panel) == before
    assert seen(panel) == shown
    assert panel.parameters.inputVolume.GetName() == "Thorax Müller"
    assert panel.logic.worker.sent == sent, "nothing was computed again"
    # and it is alive: a moved point is scored again
    panel.parameters.points.SetNthControlPointPosition(0, 2, 2, 2)
    panel.settle()
    assert panel.logic.worker.sent == sent + 2


def test_scene_saved_while_scoring_finishes_after_reopening(panel, add_ct, tmp_path):
    add_ct()
    panel.settle()
    panel.place((0, 0, 0))
    panel.logic.poll()
    assert panel.records()[0].state == "pending"
    assert slicer.util.saveScene(str(tmp_path / "half.mrb"))
    slicer.mrmlScene.Clear()
    slicer.util.loadScene(str(tmp_path / "half.mrb"))
    panel.settle()
    assert panel.records()[0].state == "scored"


def test_scene_is_closed_while_scoring(panel, add_ct):
    add_ct()
    panel.settle()
    for _ in range(3):
        panel.place((0, 0, 0))
        panel.logic.poll()
        assert panel.logic.isBusy()
        slicer.mrmlScene.Clear()
        panel.run(0.3)
        assert not panel.logic.isBusy()
        assert panel.logic.analyses() == []
        add_ct()
        panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    assert panel.records()[0].state == "scored"


@pytest.mark.parametrize(
    ("kind", "moment"),
    [(kind, moment) for kind in ("volume", "points", "table", "parameters") for moment in ("pending", "scored")]
    + [("roi", "scored"), ("overlay", "scored")],
)
def test_any_node_may_be_removed_at_any_moment(panel, add_ct, kind, moment):
    volume = add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.logic.poll()
    if moment == "scored":
        panel.settle()
    analysis = panel.logic.analysisOf(volume, points)
    pointID = points.GetNthControlPointID(0)
    node = {
        "volume": volume,
        "points": points,
        "table": analysis.tableNode,
        "roi": analysis.roiNode(pointID),
        "overlay": analysis.overlayNode(pointID, "reconstruction", "axial"),
        "parameters": panel.parameters.parameterNode,
    }[kind]
    sent = panel.logic.worker.sent
    slicer.mrmlScene.RemoveNode(node)
    panel.settle()
    if kind == "points":
        assert panel.logic.analyses() == []
        assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 0
    if kind == "table":
        assert panel.records()[0].state == "scored", "the table is made again, with the number of the same point"
        assert panel.logic.worker.sent == sent + (2 if moment == "pending" else 0)
    if kind == "volume":
        record = panel.logic.analyses()[0].records()[0][1]
        assert (record.state, record.message) == (
            ("scored", "") if moment == "scored" else ("waiting", "The CT was removed.")
        )
    # the module still works
    if kind == "volume":
        volume = add_ct()
    if kind == "parameters":
        panel.widget.initializeParameterNode()
        panel.parameters.inputVolume = volume
    panel.settle()
    panel.place((5, 0, 0))
    panel.settle()
    assert panel.records()[-1].state == "scored"


@pytest.fixture
def same_modules_afterwards():
    """A reload imports the libraries anew; the tests that follow hold classes of the old ones."""

    def ours():
        return {name for name in sys.modules if name.split(".")[0] in ("MAEMCLib", "MAEMCNodulePanel")}

    before = {name: sys.modules[name] for name in ours()}
    yield
    for name in ours():
        del sys.modules[name]
    sys.modules.update(before)


def test_module_is_reloaded_while_scoring(same_modules_afterwards, panel, add_ct):
    add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.logic.poll()
    old = panel.widget
    old_class = type(old)
    old.onReload()
    panel.widget = panel.module.widgetRepresentation().self()
    assert type(panel.widget) is not old_class, "the code was read anew"
    assert sys.modules["MAEMCNodulePanel.widget"].MAEMCNoduleWidget is type(panel.widget)
    panel.widget.enter()
    panel.settle()
    assert panel.parameters.points is points
    assert panel.records()[0].state == "scored"
    assert old.logic._observer._observers == []
    panel.logic.cleanup()


def test_reload_keeps_results_and_computes_nothing(same_modules_afterwards, panel, add_ct):
    add_ct()
    panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    before = everything(panel)
    panel.widget.onReload()
    panel.widget = panel.module.widgetRepresentation().self()
    panel.widget.enter()
    panel.settle()
    assert everything(panel) == before
    assert panel.logic.worker.sent == 1, "only the device was asked for"


def test_panel_and_parameter_node_follow_each_other(panel, add_ct):
    volume = add_ct("A")
    add_ct("B")
    panel.ui.inputVolumeSelector.setCurrentNode(volume)
    assert panel.parameters.inputVolume is volume
    panel.parameters.overlayOpacity = 0.15
    assert panel.ui.opacitySlider.value == 0.15
    panel.parameters.scoreAtOnce = False
    assert not panel.ui.scoreAtOnceCheckBox.checked
    panel.ui.overlaySelector.currentIndex = 0
    assert panel.parameters.overlay.name == "NONE"
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Mine")
    points.AddControlPoint([0, 0, 0])
    panel.ui.pointsSelector.setCurrentNode(points)
    panel.run(0.2)
    assert panel.parameters.points is points
    assert [record.state for record in panel.records()] == ["waiting"], "a chosen list is scored when asked for"


def test_two_scenes_one_after_the_other(panel, add_ct, tmp_path):
    """Importing a second saved scene into the first keeps both analyses apart."""
    add_ct("One")
    panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    assert slicer.util.saveScene(str(tmp_path / "one.mrb"))
    sent = panel.logic.worker.sent
    slicer.util.loadScene(str(tmp_path / "one.mrb"))
    panel.settle()
    analyses = panel.logic.analyses()
    assert len(analyses) == 2
    assert analyses[0].pointsNode is not analyses[1].pointsNode
    assert {a.records()[0][1].state for a in analyses} == {"scored"}
    assert panel.logic.worker.sent == sent


@pytest.fixture
def data_tree(scene):
    """The application's side of the data tree: an item for each node that is shown, gone with its node."""
    import vtk

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def added(caller, event, node):
        kinds = ("vtkMRMLVolumeNode", "vtkMRMLMarkupsNode", "vtkMRMLTableNode")
        if any(node.IsA(kind) for kind in kinds) and not node.GetHideFromEditors():
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def removed(caller, event, node):
        if hierarchy.GetItemByDataNode(node):
            hierarchy.RemoveItem(hierarchy.GetItemByDataNode(node), False, False)

    tags = [
        scene.AddObserver(scene.NodeAddedEvent, added),
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, removed, 1.0),
    ]
    yield hierarchy
    scene.Clear()
    for tag in tags:
        scene.RemoveObserver(tag)


def test_results_lie_in_a_folder_beside_the_ct(panel, data_tree, add_ct):
    volume = add_ct("Thorax")
    study = data_tree.CreateStudyItem(data_tree.GetSceneItemID(), "Study")
    data_tree.SetItemParent(data_tree.GetItemByDataNode(volume), study)
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    analysis = panel.logic.analysisOf(volume, points)
    folder = data_tree.GetItemChildWithName(study, "Thorax nodule scores")
    assert folder
    for node in (points, analysis.tableNode):
        assert data_tree.GetItemParent(data_tree.GetItemByDataNode(node)) == folder
    nodule = data_tree.GetItemChildWithName(folder, "N1")
    pointID = points.GetNthControlPointID(0)
    assert len(analysis.nodesOf(pointID)) == 3
    for node in analysis.nodesOf(pointID):
        assert data_tree.GetItemParent(data_tree.GetItemByDataNode(node)) == nodule
        assert "N1" in node.GetName() and "Thorax" in node.GetName()
    slicer.mrmlScene.RemoveNode(analysis.tableNode)
    panel.settle()
    table = panel.logic.analysisOf(volume, points).tableNode
    assert data_tree.GetItemParent(data_tree.GetItemByDataNode(table)) == folder, "made again at its place"
    points.RemoveAllControlPoints()
    assert not data_tree.GetItemChildWithName(folder, "N1")
    slicer.mrmlScene.RemoveNode(points)
    assert not data_tree.GetItemChildWithName(study, "Thorax nodule scores")


def test_a_removed_ct_leaves_memory(panel, add_ct):
    """An observer that is left behind would keep the voxels of a CT that the user has deleted."""
    import gc

    volume = add_ct()
    panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    deleted = []
    volume.AddObserver("DeleteEvent", lambda caller, event: deleted.append(True))
    slicer.mrmlScene.RemoveNode(volume)
    del volume
    panel.settle()
    gc.collect()
    assert deleted
