"""The module MAEMC Nodule in a real Slicer: place, score, move, save, reopen, delete, and refuse what is no CT.

Slicer --no-splash --no-main-window --python-script scripted_tests/test_nodule_module.py
"""

import tempfile
from pathlib import Path

import numpy as np
import session
import slicer

FIRST, SECOND, MOVED = (10.0, -5.0, 3.0), (-20.0, 12.0, -8.0), (-18.0, 10.0, -8.0)
KINDS, PLANES = ("reconstruction", "error", "attention", "original"), ("axial", "coronal")


def points_are_scored() -> None:
    with panel() as widget:
        analysis, points = score_two(widget)
        table = analysis.tableNode
        assert table.GetNumberOfRows() == 2
        for row, point in enumerate((FIRST, SECOND)):
            probability = cell(table, row, "probability")
            assert 0 <= float(probability) <= 1, probability
            position = [float(cell(table, row, name)) for name in ("r_mm", "a_mm", "s_mm")]
            assert np.allclose(position, point, atol=1e-3), position
            assert cell(table, row, "class"), "no class"
            assert cell(table, row, "model"), "no model"
            assert points.GetNthControlPointLabel(row).endswith(f"{float(probability):.2f}")
            point_id = points.GetNthControlPointID(row)
            frame = analysis.roiNode(point_id)
            assert np.allclose(frame.GetCenterWorld(), point, atol=1e-3)
            assert np.allclose(frame.GetSize(), 50)
            overlay = analysis.overlayNode(point_id, "reconstruction", "axial")
            assert overlay.GetImageData().GetDimensions() == (50, 50, 25)
        assert widget.ui.resultTable.rowCount == 2


def moved_point_is_scored_again() -> None:
    with panel() as widget:
        analysis, points = score_two(widget)
        before = [record.toJson() for _point_id, record in analysis.records()]
        points.SetNthControlPointPosition(1, *MOVED)
        session.wait(lambda: widget.logic.isBusy(), "the moved point to be noticed")
        settle(widget)
        after = [record.toJson() for _point_id, record in analysis.records()]
        assert after[0] == before[0], "the other point was touched"
        assert after[1] != before[1], "the moved point kept its result"
        frame = analysis.roiNode(points.GetNthControlPointID(1))
        assert np.allclose(frame.GetCenterWorld(), MOVED, atol=1e-3)


def deleted_point_takes_everything_of_it_along() -> None:
    with panel() as widget:
        analysis, points = score_two(widget)
        before = count_nodes()
        points.RemoveNthControlPoint(0)
        settle(widget)
        assert analysis.tableNode.GetNumberOfRows() == 1
        assert count_nodes() == (before[0] - 1, before[1] - len(PLANES))
        points.RemoveAllControlPoints()
        settle(widget)
        assert analysis.tableNode.GetNumberOfRows() == 0
        assert count_nodes() == (0, 1), "only the CT is left"


def points_of_another_ct_are_hidden() -> None:
    with panel() as widget:
        analysis, points = score_two(widget)
        label = points.GetNthControlPointLabel(0)
        for volume, shown in ((session.balls_in_lung([FIRST], "Other CT"), False), (analysis.volumeNode, True)):
            widget.logic.getParameterNode().inputVolume = volume
            session.run_events(0.5)
            assert bool(points.GetDisplayVisibility()) == shown
            assert (points.GetNthControlPointLabel(0) == label) == shown, "a number beside another CT"
            for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
                assert composite.GetBackgroundVolumeID() == volume.GetID()


def saved_scene_reopens_without_computing() -> None:
    with panel() as widget, tempfile.TemporaryDirectory() as folder:
        analysis, _points = score_two(widget)
        before, sent = everything(analysis), widget.logic.worker.sent
        path = Path(folder) / "scored scene.mrb"
        assert slicer.util.saveScene(str(path)), "the scene was not saved"
        slicer.mrmlScene.Clear()
        settle(widget)
        assert widget.logic.analyses() == []
        slicer.util.loadScene(str(path))
        session.run_events(1)
        settle(widget)
        (reopened,) = widget.logic.analyses()
        assert everything(reopened) == before
        assert widget.logic.worker.sent == sent, "something was computed again"


def volume_that_is_no_ct_is_refused() -> None:
    with panel() as widget:
        values = np.arange(8000, dtype=np.int16).reshape(20, 20, 20)
        widget.logic.getParameterNode().inputVolume = slicer.util.addVolumeFromArray(values, name="MR")
        session.run_events(0.5)
        widget.ui.placeButton.click()
        session.run_events(0.2)
        assert widget.logic.status.kind == "error"
        assert widget.ui.statusLabel.text == widget.logic.status.text != ""
        assert widget.logic.analyses() == []


def reloaded_module_works() -> None:
    with panel() as widget:
        score_two(widget)
    slicer.util.reloadScriptedModule("MAEMCNodule")
    with panel() as widget:
        session.run_events(0.5)
        (analysis,) = widget.logic.analyses()
        assert analysis.tableNode.GetNumberOfRows() == 2
        analysis.pointsNode.AddControlPoint([0, 0, 0])
        settle(widget)
        assert [record.state for _point_id, record in analysis.records()] == ["scored"] * 3


class panel:
    """The module's panel, entered; without a main window no module selector does this."""

    def __enter__(self):
        self._widget = slicer.util.getModuleWidget("MAEMCNodule")
        self._widget.enter()
        return self._widget

    def __exit__(self, *_error) -> None:
        self._widget.logic.stop()
        self._widget.exit()


def score_two(widget):
    """Place two points by way of the panel and wait for all of their results: (analysis, point list)."""
    volume = session.balls_in_lung([FIRST, SECOND])
    parameters = widget.logic.getParameterNode()
    parameters.inputVolume = volume
    session.run_events(0.5)
    widget.ui.placeButton.click()
    points = parameters.points
    assert points is not None, widget.logic.status
    for point in (FIRST, SECOND):
        points.AddControlPoint(list(point))
    settle(widget)
    analysis = widget.logic.analysisOf(volume, points)
    for _point_id, record in analysis.records():
        assert record.state == "scored", f"{record.state}: {record.message} {widget.logic.status}"
    return analysis, points


def settle(widget) -> None:
    """Until nothing is under way and the panel shows it."""
    session.run_events(0.2)
    session.wait(lambda: not widget.logic.isBusy(), f"the results ({widget.logic.status})")
    session.run_events(0.2)


def cell(table, row: int, name: str) -> str:
    return table.GetTable().GetColumnByName(name).GetVariantValue(row).ToString()


def count_nodes() -> tuple:
    """(ROI nodes, scalar volume nodes) in the scene."""
    return tuple(
        slicer.mrmlScene.GetNumberOfNodesByClass(name) for name in ("vtkMRMLMarkupsROINode", "vtkMRMLScalarVolumeNode")
    )


def everything(analysis) -> list:
    """What a reader sees of an analysis, to be compared with what was reopened."""
    table = analysis.tableNode
    cells = [
        table.GetCellText(row, column)
        for row in range(table.GetNumberOfRows())
        for column in range(table.GetNumberOfColumns())
    ]
    voxels = [
        slicer.util.arrayFromVolume(analysis.overlayNode(point_id, kind, plane)).tobytes()
        for point_id in analysis.recordIDs()
        for kind in KINDS
        for plane in PLANES
        if analysis.overlayNode(point_id, kind, plane) is not None
    ]
    return [cells, voxels, [record.toJson() for _point_id, record in analysis.records()]]


if __name__ == "__main__":
    session.run(
        points_are_scored,
        moved_point_is_scored_again,
        deleted_point_takes_everything_of_it_along,
        points_of_another_ct_are_hidden,
        saved_scene_reopens_without_computing,
        volume_that_is_no_ct_is_refused,
        reloaded_module_works,
    )
