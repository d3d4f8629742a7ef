"""Scenes and nodes are written and read by the real storage nodes."""

import numpy as np
import pytest


@pytest.fixture
def filled(scene):
    """A scene with an oblique volume, a list of points and a table, tied together by a parameter node."""
    import slicer

    matrix = np.diag([0.7, 0.8, 2.5, 1.0])
    turn = np.eye(4)
    angle = np.deg2rad(20)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix = turn @ matrix
    matrix[:3, 3] = (10, -20, 30)
    array = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    slicer.util.addVolumeFromArray(array, matrix, "CT")
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Nodules")
    points.CreateDefaultDisplayNodes()
    points.AddControlPoint(1.5, -2.5, 3.5, "N1")
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Results")
    slicer.util.updateTableFromArray(table, [np.array([0.83]), np.array([0.41])], ["probability", "threshold"])
    parameters = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Module")
    parameters.SetNodeReferenceID("table", table.GetID())
    return array, matrix


def check(array, matrix):
    import slicer
    import vtk

    volume = slicer.util.getFirstNodeByClassByName("vtkMRMLScalarVolumeNode", "CT")
    assert np.array_equal(slicer.util.arrayFromVolume(volume), array)
    loaded = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(loaded)
    assert np.allclose(slicer.util.arrayFromVTKMatrix(loaded), matrix, atol=1e-4)
    points = slicer.util.getFirstNodeByClassByName("vtkMRMLMarkupsFiducialNode", "Nodules")
    assert np.allclose(slicer.util.arrayFromMarkupsControlPoints(points), [[1.5, -2.5, 3.5]])
    assert points.GetNthControlPointLabel(0) == "N1"
    table = slicer.util.getFirstNodeByClassByName("vtkMRMLTableNode", "Results")
    assert table.GetTable().GetValueByName(0, "probability").ToDouble() == pytest.approx(0.83)
    parameters = slicer.util.getFirstNodeByClassByName("vtkMRMLScriptedModuleNode", "Module")
    assert parameters.GetNodeReference("table") is table


def test_bundle_round_trip(filled, tmp_path):
    import slicer

    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path, {})
    slicer.mrmlScene.Clear(0)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    slicer.util.loadScene(path, {})
    check(*filled)


def test_folder_round_trip(filled, tmp_path):
    import slicer

    assert slicer.util.saveScene(str(tmp_path / "scene"), {})
    slicer.mrmlScene.Clear(0)
    (mrml,) = (tmp_path / "scene").glob("*.mrml")
    slicer.util.loadScene(str(mrml), {})
    check(*filled)


@pytest.mark.parametrize("extension", ["nrrd", "nii.gz", "mha"])
def test_volume_files(filled, tmp_path, extension):
    import slicer

    array, _ = filled
    path = str(tmp_path / f"ct.{extension}")
    assert slicer.util.saveNode(slicer.util.getNode("CT"), path, {})
    loaded = slicer.util.loadVolume(path, {})
    assert loaded.GetName() == "ct"
    assert np.array_equal(slicer.util.arrayFromVolume(loaded), array)
    named = slicer.util.loadVolume(path, {"name": "other", "show": False})
    assert named.GetName() == "other"


def test_markups_and_table_files(filled, tmp_path):
    import slicer

    assert slicer.util.saveNode(slicer.util.getNode("Nodules"), str(tmp_path / "n.mrk.json"), {})
    points = slicer.util.loadMarkups(str(tmp_path / "n.mrk.json"))
    assert points.GetNumberOfControlPoints() == 1
    assert slicer.util.saveNode(slicer.util.getNode("Results"), str(tmp_path / "r.csv"), {})
    table = slicer.util.loadTable(str(tmp_path / "r.csv"))
    assert (table.GetNumberOfRows(), table.GetName()) == (1, "r")


def test_missing_file_raises(scene, tmp_path):
    import slicer

    with pytest.raises(RuntimeError, match="not found"):
        slicer.util.loadVolume(str(tmp_path / "absent.nrrd"), {})


def test_closing_the_scene_sends_its_events_and_keeps_singletons(filled, scene):
    import slicer

    seen = []
    tags = [
        scene.AddObserver(event, lambda caller, event, name=name: seen.append(name))
        for name, event in (("start", scene.StartCloseEvent), ("end", scene.EndCloseEvent))
    ]
    scene.Clear(0)
    assert seen == ["start", "end"]
    assert slicer.app.applicationLogic().GetInteractionNode().GetScene() is scene
    for tag in tags:
        scene.RemoveObserver(tag)


def test_subject_hierarchy_follows_the_scene(filled, scene):
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(slicer.util.getNode("CT"))
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Study")
    hierarchy.SetItemParent(item, folder)
    assert hierarchy.GetItemParent(item) == folder
