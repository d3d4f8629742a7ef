"""The network's outline is a segment that can be edited; sizes follow it, or any segment that a reader draws."""

import numpy as np
import pytest
import slicer
from MAEMCLib.measures.mask import NoduleMask
from MAEMCLib.measures.measures import measure

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def outlined(instant_panel, views, add_ct):
    """(panel, analysis): a nodule that the network has outlined as a ball of 14 mm."""
    panel = instant_panel
    panel.widget.parent.show()
    volume = add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    analysis = panel.logic.analysisOf(volume, points)
    outline(panel, analysis, ball(7))
    panel.settle()
    return panel, analysis


def ball(radius, middle=(0, 0, 0)):
    """A ball of 1 mm voxels, in LPS."""
    k, j, i = np.meshgrid(*[np.arange(-10, 11)] * 3, indexing="ij")
    affine = np.eye(4)
    affine[:3, 3] = np.array(middle) - 10
    return NoduleMask.at(i * i + j * j + k * k <= radius * radius, affine, middle)


def outline(panel, analysis, mask, pointID="1"):
    """As the worker's answer does."""
    panel.logic.queue.outlined.emit(analysis, pointID, mask, "network|1.0")


def segment_of(analysis, number=0):
    segmentation = analysis.outlines.GetSegmentation()
    return segmentation.GetSegment(segmentation.GetNthSegmentID(number))


def dilate(node, segment_id, volume):
    """What a reader's brush does: a layer more, written through the node."""
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume) != 0
    grown = array.copy()
    for axis in range(3):
        for step in (1, -1):
            grown |= np.roll(array, step, axis)
    slicer.util.updateSegmentBinaryLabelmapFromArray(grown.astype(np.uint8), node, segment_id, volume)


def measured(volume, mask):
    from MAEMCNodulePanel.volumes import ctVolume

    return measure(ctVolume(volume), mask)


def test_the_network_s_outline_is_a_segment_on_the_ct(outlined):
    panel, analysis = outlined
    assert segment_of(analysis).GetName() == "N1"
    node, volume = analysis.outlines, analysis.volumeNode
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, node.GetSegmentation().GetNthSegmentID(0), volume)
    assert array.sum() == ball(7).array.sum()
    middle = FLIP[:3, :3] @ [0, 0, 0]
    places = np.argwhere(array).mean(axis=0)[::-1]
    matrix = slicer.vtkMRMLScalarVolumeNode and slicer.util.arrayFromVTKMatrix(_to_ras(volume))
    assert np.allclose((matrix @ [*places, 1])[:3], middle, atol=1e-6)
    assert not node.GetDisplayNode().GetVisibility2DFill(), "the nodule stays to be seen"
    outline(panel, analysis, ball(5))
    assert node.GetSegmentation().GetNumberOfSegments() == 1, "in place of the one before"


def _to_ras(volume):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


def test_sizes_follow_an_edit_and_scoring_again_does_not_undo_it(outlined):
    panel, analysis = outlined
    node, volume = analysis.outlines, analysis.volumeNode
    dilate(node, node.GetSegmentation().GetNthSegmentID(0), volume)
    panel.settle()
    k, j, i = np.meshgrid(*[np.arange(-10, 11)] * 3, indexing="ij")
    inside = i * i + j * j + k * k <= 49
    grown = inside.copy()
    for axis in range(3):
        for step in (1, -1):
            grown |= np.roll(inside, step, axis)
    affine = np.eye(4)
    affine[:3, 3] = -10
    expected = measured(volume, NoduleMask.at(grown, affine, (0, 0, 0)))
    result = panel.records()[0].result
    assert result["volume_mm3"] == pytest.approx(expected.volume_mm3) == grown.sum()
    assert result["long_axis_mm"] == pytest.approx(expected.axes.long_mm)
    assert f"{expected.axes.long_mm:.1f} x" in panel.ui.measuresLabel.text
    assert f"{expected.mean_diameter_mm:.1f} mm" in panel.ui.resultTable.item(0, 4).text()
    outline(panel, analysis, ball(5))
    panel.settle()
    assert node.GetSegmentation().GetNumberOfSegments() == 1
    assert panel.records()[0].result["volume_mm3"] == grown.sum(), "it is the reader's now"


def test_a_segment_that_the_reader_brings_goes_before_the_network_s(outlined):
    panel, analysis = outlined
    volume = analysis.volumeNode
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "My own")
    own.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    own.GetSegmentation().AddEmptySegment("mine", "lesion")
    array = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    array[42:49, 52:59, 47:54] = 1  # 7 voxels each way about the middle
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, own, "mine", volume)
    panel.settle()
    assert panel.records()[0].result["volume_mm3"] == pytest.approx(343)
    slicer.mrmlScene.RemoveNode(own)
    panel.settle()
    assert panel.records()[0].result["volume_mm3"] == ball(7).array.sum(), "the network's again"
    dilate(analysis.outlines, analysis.outlines.GetSegmentation().GetNthSegmentID(0), volume)
    panel.settle()
    assert panel.records()[0].result["volume_mm3"] > 343


@pytest.fixture
def own_segment(outlined):
    """Draws a reader's segment, a box of voxels about the middle of the CT, in place of the one before."""
    _panel, analysis = outlined
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "My own")
    node.SetReferenceImageGeometryParameterFromVolumeNode(analysis.volumeNode)
    node.GetSegmentation().AddEmptySegment("mine", "lesion")

    def draw(half):
        array = np.zeros(slicer.util.arrayFromVolume(analysis.volumeNode).shape, np.uint8)
        middle = tuple(slice(n // 2 - half, n // 2 + half + 1) for n in array.shape)
        array[middle] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, "mine", analysis.volumeNode)
        return node

    return draw


def test_the_gate_follows_another_outline_and_the_number_stays(outlined, own_segment):
    panel, analysis = outlined
    before = panel.records()[0].result
    node = own_segment(3)  # 7 mm of tissue: solid, as the model knows it
    panel.settle()
    small = panel.records()[0].result
    assert not {"large", "subsolid", "size-unknown"} & {one["code"] for one in small["warnings"]}
    own_segment(17)  # 35 mm across, most of it lung
    panel.settle()
    result = panel.records()[0].result
    assert result["gate"] == "red" and {"large", "subsolid"} <= set(result["gate_reasons"])
    assert result["composition"] != "solid" and result["probability"] == before["probability"]
    assert "Red" in panel.ui.findingsLabel.text and "large" in panel.ui.resultTable.item(0, 5).text()
    color = analysis.roiNode("1").GetDisplayNode().GetSelectedColor()
    assert color[0] > color[1], "the frame is red"
    slicer.mrmlScene.RemoveNode(node)
    panel.settle()
    again = panel.records()[0].result
    assert not {"large", "subsolid"} & {one["code"] for one in again["warnings"]}
    assert again["volume_mm3"] == ball(7).array.sum(), "the network's again"
    assert again["diameter_error_mm"] != small["diameter_error_mm"], "and its error"


def test_without_an_outline_the_size_is_not_known(outlined):
    panel, analysis = outlined
    panel.logic.measuring._onSegmentationChanged(analysis, None)
    panel.settle()
    assert "size-unknown" not in panel.records()[0].result["gate_reasons"]
    segments = analysis.outlines.GetSegmentation()
    segments.RemoveSegment(segments.GetNthSegmentID(0))
    panel.settle()
    result = panel.records()[0].result
    assert "size-unknown" in {one["code"] for one in result["warnings"]} and result["gate"] != "green"
    assert result["long_axis_mm"] is None


def test_it_goes_with_its_nodule_and_comes_back(outlined):
    panel, analysis = outlined
    panel.ui.removeButton.click()
    panel.settle()
    assert analysis.outlines.GetSegmentation().GetNumberOfSegments() == 0
    panel.ui.undoButton.click()
    panel.settle()
    assert analysis.outlines.GetSegmentation().GetNumberOfSegments() == 1
    analysis.pointsNode.SetNthControlPointLabel(0, "RUL")
    assert segment_of(analysis).GetName() == "RUL"
    slicer.mrmlScene.RemoveNode(analysis.pointsNode)
    panel.settle()
    assert panel.logic.analyses() == []
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_a_reopened_scene_has_it_and_measures_nothing(outlined, tmp_path):
    panel, _analysis = outlined
    before = panel.records()[0].result
    assert slicer.util.saveScene(str(tmp_path / "outlined.mrb"))
    slicer.mrmlScene.Clear()
    slicer.util.loadScene(str(tmp_path / "outlined.mrb"))
    panel.settle()
    (analysis,) = panel.logic.analyses()
    assert segment_of(analysis).GetName() == "N1" and panel.records()[0].result == before


def test_it_is_seen_over_its_own_ct_alone(outlined, add_ct):
    panel, analysis = outlined
    other = add_ct("Other", seed=3)
    seen = []
    for volume in (other, analysis.volumeNode):
        panel.parameters.inputVolume = volume
        panel.settle()
        seen.append(bool(analysis.outlines.GetDisplayVisibility()))
    assert seen == [False, True]
