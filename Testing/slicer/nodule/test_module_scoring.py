"""From a point to a row, a label, a frame and an overlay: the module's main journey, on the real worker."""

import numpy as np
import pytest
import slicer


def foregrounds():
    scene = slicer.mrmlScene
    orientation = {n.GetLayoutName(): n.GetOrientation() for n in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return {
        orientation[c.GetLayoutName()]: scene.GetNodeByID(c.GetForegroundVolumeID())
        for c in composites
        if c.GetForegroundVolumeID()
    }


def test_clicking_in_a_slice_view_scores_the_nodule(panel, add_ct, slice_view, expected, lung_voxels, lung_matrix):
    red, green = slice_view("Red"), slice_view("Green")
    volume = add_ct(balls=((20, 10, 0),))
    panel.settle()
    assert panel.parameters.inputVolume is volume, "the only CT is picked already"
    panel.ui.placeButton.click()
    assert panel.ui.placeButton.checked
    red.fit()
    red.click((-20, -10, 0))
    panel.run(0.1)
    assert not panel.ui.placeButton.checked, "one click, one point"
    panel.settle()

    analysis = panel.logic.analyses()[0]
    table = analysis.tableNode
    assert table.GetNumberOfRows() == 1
    point = panel.parameters.points.GetNthControlPointPositionVector(0)
    assert np.allclose(point, (-20, -10, 0), atol=1.0)
    voxels = lung_voxels(((20, 10, 0),))
    probability = expected(voxels, lung_matrix(voxels.shape), point)
    column = table.GetTable().GetColumnByName("probability")
    assert column.GetValue(0) == pytest.approx(probability, abs=1e-5)
    assert panel.ui.resultTable.rowCount == 1
    assert panel.ui.resultTable.item(0, 1).text() == f"{probability:.2f}"
    assert panel.parameters.points.GetNthControlPointLabel(0) == f"N1: {probability:.2f}"
    assert foregrounds()["Axial"].GetName() == "N1 reconstruction, axial (Chest)"
    assert foregrounds()["Coronal"].GetName() == "N1 reconstruction, coronal (Chest)"
    # the other views have moved to the point
    assert green.node.GetSliceToRAS().GetElement(1, 3) == pytest.approx(point[1], abs=0.5)


def test_row_label_frame_and_overlays_belong_to_the_point(panel, add_ct):
    volume = add_ct("Thorax 1 mm")
    panel.settle()
    points = panel.place((3, -2, 1))
    panel.settle()
    analysis = panel.logic.analysisOf(volume, points)
    (pointID, record), *rest = analysis.records()
    assert not rest
    assert record.state == "scored", record.message
    result = record.result
    assert result["status"] == "scored"
    assert result["model_id"] == "random"
    assert len(result["model_sha256"]) == 64
    assert result["interval_low"] <= result["probability"] <= result["interval_high"]
    assert result["point_lps"] == [-3, 2, 1]
    table = analysis.tableNode
    texts = {table.GetColumnName(c): table.GetCellText(0, c) for c in range(table.GetNumberOfColumns())}
    assert texts["nodule_id"] == "N1"
    assert texts["class"] in ("benign-like", "malignant-like")
    assert texts["gate"] == result["gate"]
    assert texts["model"] == "random"
    assert texts["time"] == record.result["time"] != ""
    findings = [warning["message"] for warning in result["warnings"]]
    assert texts["warnings"] == " ".join(findings)
    assert [float(texts[name]) for name in ("r_mm", "a_mm", "s_mm")] == [3, -2, 1]

    assert panel.ui.findingsLabel.text.endswith(" ".join(findings)), "as it is, without markup"
    reasons = ", ".join(code.replace("-", " ") for code in result["gate_reasons"])
    cell = panel.ui.resultTable.item(0, 5)
    assert cell.text() == (f"{result['gate']}: {reasons}" if reasons else result["gate"])
    assert cell.toolTip() == panel.ui.findingsLabel.text
    assert float(texts["mean_diameter_mm"]) == pytest.approx(result["mean_diameter_mm"])
    assert panel.ui.resultTable.item(0, 4).text() == f"{result['mean_diameter_mm']:.1f} mm"

    roi = analysis.roiNode(pointID)
    assert np.allclose(roi.GetSize(), 50)
    assert np.allclose(roi.GetCenterWorld(), (3, -2, 1))
    assert roi.GetLocked()
    assert not roi.GetDisplayNode().GetHandlesInteractive()
    assert not roi.GetDisplayNode().GetFillVisibility()

    for plane in ("axial", "coronal"):
        node = analysis.overlayNode(pointID, "reconstruction", plane)
        assert slicer.util.arrayFromVolume(node).shape == (25, 50, 50)
        assert not node.GetHideFromEditors(), "the Data module lists it"
    assert len(analysis.nodesOf(pointID)) == 3, "its frame, and the overlay that is chosen"
    assert panel.ui.inputVolumeSelector.nodeCount() == 1, "overlays are not offered as CTs"


def test_overlay_lies_on_the_anatomy_it_shows(panel, add_ct):
    """The overlay "original" holds, at each of its voxels, what the CT holds at the same place of the patient."""
    oblique = np.array([[-0.9, 0.2, 0.1, 40], [0.1, -0.8, 0.3, 45], [0.05, 0.25, 1.1, -60], [0, 0, 0, 1.0]])
    volume = add_ct(matrix=oblique)
    panel.settle()
    center = oblique[:3, :3] @ (50, 55, 45) + oblique[:3, 3]
    points = panel.place(center)
    panel.settle()
    panel.ui.overlaySelector.currentIndex = 4
    analysis = panel.logic.analysisOf(volume, points)
    ct = slicer.util.arrayFromVolume(volume).astype(float)
    to_index = np.linalg.inv(oblique)
    rng = np.random.default_rng(1)
    for plane in ("axial", "coronal"):
        node = analysis.overlayNode(points.GetNthControlPointID(0), "original", plane)
        matrix = np.eye(4)
        ijk_to_ras = slicer.vtkMRMLTransformNode and slicer.util.arrayFromVTKMatrix(_matrix(node))
        assert matrix.shape == ijk_to_ras.shape
        overlay = slicer.util.arrayFromVolume(node)
        for i, j, k in rng.integers((10, 10, 5), (40, 40, 20), (40, 3)):
            index = to_index @ ijk_to_ras @ (i, j, k, 1)
            assert overlay[k, j, i] == pytest.approx(_trilinear(ct, index[:3]), abs=0.5)


def _matrix(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def _trilinear(array, index):
    low = np.floor(index).astype(int)
    part = np.asarray(index) - low
    total = 0.0
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod([part[a] if corner[a] else 1 - part[a] for a in range(3)])
        i, j, k = low + corner
        total += weight * array[k, j, i]
    return total


def test_moved_point_is_scored_again_once_it_rests(panel, add_ct, expected, lung_voxels, lung_matrix):
    volume = add_ct(balls=((0, 0, 0), (25, 10, 5)))
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    before = panel.records()[0]
    sent = panel.logic.worker.sent
    for step in range(1, 11):  # a drag: many changes, one score
        points.SetNthControlPointPosition(0, -2.5 * step, -step, 0.5 * step)
        panel.run(0.02)
        assert panel.logic.worker.sent == sent
    assert panel.records()[0].state == "waiting"
    assert panel.records()[0].result is None, "the old number is not shown for the new place"
    panel.settle()
    after = panel.records()[0]
    assert panel.logic.worker.sent == sent + 2, "one prediction, one explanation"
    voxels = lung_voxels(((0, 0, 0), (25, 10, 5)))
    assert after.result["probability"] == pytest.approx(
        expected(voxels, lung_matrix(voxels.shape), (-25, -10, 5)), abs=1e-5
    )
    assert after.result["probability"] != before.result["probability"]
    analysis = panel.logic.analysisOf(volume, points)
    assert np.allclose(analysis.roiNode(points.GetNthControlPointID(0)).GetCenterWorld(), (-25, -10, 5))
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 1


def test_dragging_with_the_mouse_scores_once_it_is_let_go(panel, add_ct, slice_view):
    red = slice_view("Red")
    add_ct(balls=((0, 0, 0), (20, 10, 0)))
    panel.settle()
    panel.ui.placeButton.click()
    red.fit()
    red.click((0, 0, 0))
    panel.settle()
    before = panel.records()[0]
    sent = panel.logic.worker.sent
    red.drag((0, 0, 0), (-20, -10, 0))
    panel.settle()
    point = panel.parameters.points.GetNthControlPointPositionVector(0)
    assert np.allclose(point, (-20, -10, 0), atol=2.0)
    after = panel.records()[0]
    assert after.state == "scored"
    assert after.result["point_lps"] == pytest.approx([-point[0], -point[1], point[2]])
    assert after.result["probability"] != before.result["probability"]
    assert panel.logic.worker.sent == sent + 2, "scored once, explained once"


def test_nothing_is_scored_while_the_mouse_holds_the_point(panel, add_ct):
    add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    sent = panel.logic.worker.sent
    points.InvokeEvent(points.PointStartInteractionEvent)
    points.SetNthControlPointPosition(0, 4, 0, 0)
    panel.run(0.7)
    assert panel.logic.worker.sent == sent
    points.InvokeEvent(points.PointEndInteractionEvent)
    panel.settle()
    assert panel.logic.worker.sent == sent + 2


def test_deleted_point_takes_everything_with_it(panel, add_ct):
    volume = add_ct()
    panel.settle()
    nodes_before = {n.GetID() for n in slicer.util.getNodesByClass("vtkMRMLVolumeNode")}
    points = panel.place((0, 0, 0))
    panel.place((5, 5, 0), points)
    panel.settle()
    analysis = panel.logic.analysisOf(volume, points)
    points.RemoveNthControlPoint(0)
    panel.settle()
    assert [record.name for record in panel.records()] == ["N2"]
    assert analysis.tableNode.GetNumberOfRows() == 1
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 1
    panel.ui.removeButton.click()
    panel.settle()
    assert panel.records() == []
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 0
    assert {n.GetID() for n in slicer.util.getNodesByClass("vtkMRMLVolumeNode")} == nodes_before
    assert foregrounds() == {}
    assert not panel.ui.noduleFrame.visible
    assert panel.ui.resultTable.rowCount == 0


def test_removed_point_list_takes_table_and_nodes_with_it(panel, add_ct):
    add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    slicer.mrmlScene.RemoveNode(points)
    panel.settle()
    assert panel.logic.analyses() == []
    for kind in ("vtkMRMLMarkupsROINode", "vtkMRMLTableNode"):
        assert slicer.mrmlScene.GetNumberOfNodesByClass(kind) == 0
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


def test_several_points_and_several_cts(panel, add_ct, expected, lung_voxels, lung_matrix):
    first, second = add_ct("First", seed=1), add_ct("Second", seed=2)
    matrix = lung_matrix(lung_voxels().shape)
    panel.parameters.inputVolume = first
    points = panel.place((0, 0, 0))
    panel.place((10, 0, 5), points)
    panel.parameters.inputVolume = second
    panel.run(0.1)
    assert panel.parameters.points is None, "each CT has its own points"
    others = panel.place((0, 0, 0))
    assert others is not points
    panel.settle()
    assert [record.name for record in panel.records()] == ["N1"]
    probability = panel.records()[0].result["probability"]
    assert probability == pytest.approx(expected(lung_voxels(seed=2), matrix, (0, 0, 0)), abs=1e-5)
    panel.parameters.inputVolume = first
    panel.settle()
    assert panel.parameters.points is points
    found = [record.result["probability"] for record in panel.records()]
    wanted = [expected(lung_voxels(seed=1), matrix, point) for point in ((0, 0, 0), (10, 0, 5))]
    assert found == pytest.approx(wanted, abs=1e-5)
    assert len(panel.logic.analyses()) == 2


def test_one_list_scored_on_two_cts_keeps_both_tables(panel, add_ct, expected, lung_voxels, lung_matrix):
    first, second = add_ct("First", seed=1), add_ct("Second", seed=2)
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Mine")
    points.AddControlPoint([0, 0, 0], "Apex: left")
    logic = slicer.util.getModuleLogic("MAEMCNodule")
    tables = [logic.score(volume, points, timeout=300) for volume in (first, second)]
    assert tables[0] is not tables[1]
    matrix = lung_matrix(lung_voxels().shape)
    for seed, table in enumerate(tables, start=1):
        probability = table.GetTable().GetColumnByName("probability").GetValue(0)
        assert probability == pytest.approx(expected(lung_voxels(seed=seed), matrix, (0, 0, 0)), abs=1e-5)
        assert table.GetCellText(0, 0) == "Apex: left"


def test_score_at_once_can_be_switched_off(panel, add_ct):
    add_ct()
    panel.settle()
    panel.ui.scoreAtOnceCheckBox.checked = False
    assert panel.parameters.scoreAtOnce is False
    sent = panel.logic.worker.sent
    panel.place((0, 0, 0))
    panel.run(0.3)
    assert panel.logic.worker.sent == sent
    assert panel.records()[0].state == "waiting"
    assert panel.ui.resultTable.item(0, 3).text() == "not scored"
    panel.ui.scoreButton.click()
    panel.settle()
    assert panel.records()[0].state == "scored"


def test_renamed_point_keeps_its_score_under_its_new_name(panel, add_ct):
    volume = add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    sent = panel.logic.worker.sent
    points.SetNthControlPointLabel(0, "right upper lobe")
    panel.settle()
    record = panel.records()[0]
    assert (record.name, record.state) == ("right upper lobe", "scored")
    assert points.GetNthControlPointLabel(0) == f"right upper lobe: {record.result['probability']:.2f}"
    assert panel.logic.analysisOf(volume, points).tableNode.GetCellText(0, 0) == "right upper lobe"
    assert panel.logic.worker.sent == sent


def test_changed_voxels_are_scored_again(panel, add_ct):
    volume = add_ct()
    panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    before = panel.records()[0].result["probability"]
    slicer.util.updateVolumeFromArray(volume, np.roll(slicer.util.arrayFromVolume(volume), 4, axis=2))
    panel.settle()
    assert panel.records()[0].state == "scored"
    assert panel.records()[0].result["probability"] != before


def test_overlay_switch_and_opacity_reach_the_views(panel, add_ct, slice_view):
    slice_view("Red"), slice_view("Green"), slice_view("Yellow")
    add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    for index, kind in enumerate(("none", "reconstruction", "error", "attention", "original")):
        panel.ui.overlaySelector.currentIndex = index
        panel.run(0.1)
        shown = foregrounds()
        if kind == "none":
            assert shown == {}
        else:
            assert set(shown) == {"Axial", "Coronal"}, "a sagittal view shows the CT alone"
            assert shown["Axial"].GetAttribute("MAEMC.Overlay") == kind
    panel.ui.opacitySlider.value = 0.25
    panel.run(0.1)
    assert panel.parameters.overlayOpacity == 0.25
    assert {c.GetForegroundOpacity() for c in composites if c.GetForegroundVolumeID()} == {0.25}
    assert points.GetNumberOfControlPoints() == 1


def test_foreground_of_the_user_comes_back(panel, add_ct, slice_view):
    slice_view("Red")
    volume, pet = add_ct("CT"), add_ct("PET")
    panel.parameters.inputVolume = volume
    composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
    composite.SetForegroundVolumeID(pet.GetID())
    composite.SetForegroundOpacity(0.4)
    points = panel.place((0, 0, 0))
    panel.settle()
    assert composite.GetForegroundVolumeID() != pet.GetID()
    points.RemoveAllControlPoints()
    panel.settle()
    assert composite.GetForegroundVolumeID() == pet.GetID()
    assert composite.GetForegroundOpacity() == 0.4


def test_selecting_a_row_goes_to_its_nodule(panel, add_ct, slice_view):
    red = slice_view("Red")
    add_ct(balls=((0, 0, 0), (20, 0, 15)))
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.place((-20, 0, 15), points)
    panel.settle()
    panel.ui.resultTable.selectRow(0)
    panel.run(0.1)
    assert red.node.GetSliceOffset() == pytest.approx(0, abs=0.6)
    assert panel.ui.headlineLabel.text.startswith("N1")
    panel.ui.resultTable.selectRow(1)
    panel.run(0.1)
    assert red.node.GetSliceOffset() == pytest.approx(15, abs=0.6)
    assert panel.ui.headlineLabel.text.startswith("N2")
    assert foregrounds()["Axial"].GetName().startswith("N2")


def test_results_are_exported_with_the_disclaimer(panel, add_ct, tmp_path):
    import json

    volume = add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    folder = tmp_path / "Ergebnisse für Müller"
    folder.mkdir()
    table, document = panel.logic.exportResults(panel.logic.analysisOf(volume, points), folder)
    assert table.read_text("utf-8").splitlines()[0].startswith("case_id,nodule_id,image")
    document = json.loads(document.read_text("utf-8"))
    assert "not for clinical use" in document["disclaimer"]
    assert document["nodules"][0]["probability"] == panel.records()[0].result["probability"]
