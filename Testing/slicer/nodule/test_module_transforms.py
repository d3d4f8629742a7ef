"""Volumes and points under transforms: what is scored is what lies at that place of the world."""

import numpy as np
import pytest
import slicer
import vtk

TILT = np.array([[0.96, -0.28, 0, 12.0], [0.28, 0.96, 0, -7.0], [0, 0, 1, 30.0], [0, 0, 0, 1]])


def test_volume_under_a_linear_transform(panel, add_ct, expected, lung_voxels, lung_matrix, linear):
    volume = add_ct(balls=((15, 5, 0),))
    volume.SetAndObserveTransformNodeID(linear(TILT).GetID())
    panel.settle()
    world = (TILT @ (-15, -5, 0, 1))[:3]
    points = panel.place(world)
    panel.settle()
    voxels = lung_voxels(((15, 5, 0),))
    wanted = expected(voxels, TILT @ lung_matrix(voxels.shape), world)
    record = panel.records()[0]
    assert record.result["probability"] == pytest.approx(wanted, abs=1e-5)
    assert record.result["probability"] != pytest.approx(
        expected(voxels, lung_matrix(voxels.shape), (-15, -5, 0)), abs=1e-5
    ), "a tilted patient is sampled along the world's axes, not the volume's"
    analysis = panel.logic.analysisOf(volume, points)
    assert np.allclose(analysis.roiNode(points.GetNthControlPointID(0)).GetCenterWorld(), world)


def test_points_under_a_linear_transform(panel, add_ct, expected, lung_voxels, lung_matrix, linear):
    balls = ((-14, 2, 10),)  # where the point lies
    volume = add_ct(balls=balls)
    panel.settle()
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    points.SetAndObserveTransformNodeID(linear(TILT).GetID())
    points.AddControlPoint([3, 4, -20])
    world = (TILT @ (3, 4, -20, 1))[:3]
    table = panel.logic.score(volume, points, timeout=300)
    voxels = lung_voxels(balls)
    wanted = expected(voxels, lung_matrix(voxels.shape), world)
    column = table.GetTable().GetColumnByName
    assert column("probability").GetValue(0) == pytest.approx(wanted, abs=1e-5)
    assert [column(name).GetValue(0) for name in ("r_mm", "a_mm", "s_mm")] == pytest.approx(world.tolist())


def test_volume_and_points_under_the_same_shift_score_as_without(panel, add_ct, linear):
    volume = add_ct()
    panel.settle()
    points = panel.place((2, 1, 0))
    panel.settle()
    before = panel.records()[0].result["probability"]
    shift = np.eye(4)
    shift[:3, 3] = (100, -50, 25)
    transform = linear(shift)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    points.SetAndObserveTransformNodeID(transform.GetID())
    panel.settle()
    after = panel.records()[0].result
    assert after["point_lps"] == pytest.approx([-102, 49, 25])
    assert after["probability"] == pytest.approx(before, abs=1e-5)


def test_a_changed_transform_scores_again(panel, add_ct, expected, lung_voxels, lung_matrix, linear):
    volume = add_ct()
    transform = linear(np.eye(4))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    shift = np.eye(4)
    shift[:3, 3] = (6, 0, 0)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    panel.run(0.1)
    assert panel.records()[0].state == "waiting"
    panel.settle()
    voxels = lung_voxels()
    wanted = expected(voxels, shift @ lung_matrix(voxels.shape), (0, 0, 0))
    assert panel.records()[0].result["probability"] == pytest.approx(wanted, abs=1e-5)


def test_a_bending_transform_on_the_volume_is_refused(panel, add_ct, bend):
    volume = add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    volume.SetAndObserveTransformNodeID(bend().GetID())
    panel.settle()
    record = panel.records()[0]
    assert record.state == "failed"
    assert "Bend" in record.message
    assert "Harden" in record.message
    assert panel.ui.statusLabel.text.endswith(record.message)
    volume.SetAndObserveTransformNodeID(None)
    panel.settle()
    assert panel.records()[0].state == "scored", "and is scored again without it"
    assert points.GetNumberOfControlPoints() == 1


def test_points_under_a_bending_transform_use_their_world_position(panel, add_ct, expected, lung_voxels, lung_matrix):
    balls = ((-6, -6, 6),)  # where the point is bent to
    volume = add_ct(balls=balls)
    panel.settle()
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    points.AddControlPoint([4, 4, 4])
    bend = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    spline = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for corner in ((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50), (50, 50, 50)):
        source.InsertNextPoint(corner)
        target.InsertNextPoint([c + 2 + (5 if sum(corner) > 60 else 0) for c in corner])
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    bend.SetAndObserveTransformToParent(spline)
    points.SetAndObserveTransformNodeID(bend.GetID())
    world = spline.TransformPoint((4, 4, 4))
    table = panel.logic.score(volume, points, timeout=300)
    voxels = lung_voxels(balls)
    wanted = expected(voxels, lung_matrix(voxels.shape), world)
    assert table.GetTable().GetColumnByName("probability").GetValue(0) == pytest.approx(wanted, abs=1e-5)
