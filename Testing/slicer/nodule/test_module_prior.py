"""A nodule beside its prior: linked by the reader, measured alike, growth, both CTs in linked views."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import slicer
from MAEMCLib.errors import InputError, UsageError

from Testing.core.dicom_files import write_series

SHAPE, PLACE = (60, 80, 80), np.array([0.0, 0.0, 0.0])


@pytest.fixture
def add_outlined(scene, lung_matrix):
    """``add_outlined(name, radius)``: a CT with a ball of this radius (mm) at the origin, outlined as a segment."""

    def add(name, radius):
        k, j, i = np.meshgrid(*[np.arange(n) - n // 2 for n in SHAPE], indexing="ij")
        ball = i**2 + j**2 + k**2 <= radius**2
        voxels = np.where(ball, 30, -850).astype(np.int16)
        volume = slicer.util.addVolumeFromArray(voxels, lung_matrix(SHAPE), name)
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{name} outlines")
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        segment = segmentation.GetSegmentation().AddEmptySegment("N1")
        slicer.util.updateSegmentBinaryLabelmapFromArray(ball.astype(np.uint8), segmentation, segment, volume)
        return volume, int(ball.sum()), segmentation

    return add


@pytest.fixture
def pair(instant_panel, views, add_outlined):
    """The current CT is chosen, its nodule selected, the prior's nodule placed; section open; nothing is linked."""
    panel = instant_panel
    panel.widget.parent.show()
    before, smaller, _ = add_outlined("Prior", 5)
    now, larger, segmentation = add_outlined("Current", 7)
    for volume in (before, now):
        panel.parameters.inputVolume = volume
        panel.run(0.1)
        panel.place(PLACE)
        panel.settle()
    panel.ui.priorButton.collapsed = False
    panel.run(0.2)
    return SimpleNamespace(panel=panel, prior=before, current=now, volumes=(smaller, larger), segmentation=segmentation)


def part(panel, name):
    return next(one for one in panel.widget.parent.findChildren("QWidget") if one.objectName == name)


def choose_prior(panel, node):
    selector = part(panel, "priorSelector")
    selector.setCurrentNode(node)
    selector.emit("nodeActivated(vtkMRMLNode*)", node)
    panel.run(0.1)


def type_days(panel, text):
    part(panel, "daysEdit").text = text
    part(panel, "daysEdit").emit("editingFinished()")


def link(panel, row):
    selector = part(panel, "linkSelector")
    selector.currentIndex = row
    selector.emit("activated(int)", row)


def texts(panel):
    names = ("growthLabel", "growthSentenceLabel")
    return {name: part(panel, name).text for name in names}


def test_growth_is_measured_of_both_outlines(pair):
    panel = pair.panel
    assert not part(panel, "compareButton").enabled
    choose_prior(panel, pair.prior)
    assert part(panel, "daysEdit").placeholderText == "not dated: type them"
    link(panel, 1)
    part(panel, "compareButton").click()
    assert "Type the days between both CTs" in panel.logic.status.text
    type_days(panel, "soon")
    assert "'soon' is no number of days" in panel.logic.status.text
    type_days(panel, "180")
    part(panel, "compareButton").click()
    before, now = pair.volumes  # of voxels of 1 mm3
    change, doubling = 100 * (now / before - 1), 180 * math.log(2) / math.log(now / before)
    found = texts(panel)
    assert f"Volume {change:+.0f} %, doubling time {doubling:.0f} days" in found["growthLabel"]
    assert f"volume {before} to {now} mm3" in found["growthSentenceLabel"]
    assert part(panel, "copyGrowthButton").visible
    assert part(panel, "growthNotesLabel").text == "The files do not say whether both CTs are of one patient."
    picture = part(panel, "growthPictureLabel").pixmap
    assert picture.height() > picture.width() > 300, "two planes below each other, two CTs beside each other"
    # What was computed is not left beside another choice.
    link(panel, 0)
    assert not any(texts(panel).values()) and not part(panel, "compareButton").enabled


def test_a_small_change_is_within_measurement_error(pair, add_outlined):
    panel = pair.panel
    other, _count, _ = add_outlined("Other", 7)
    panel.parameters.inputVolume = other
    panel.run(0.1)
    panel.place(PLACE)
    panel.settle()
    choose_prior(panel, pair.current)
    link(panel, 1)
    type_days(panel, "90")
    part(panel, "compareButton").click()
    assert texts(panel)["growthLabel"] == "Volume +0 %: within measurement error (25 % of volume)"


def test_the_prior_the_days_and_the_link_are_in_the_saved_scene(pair, tmp_path):
    from MAEMCNodulePanel.priorlinks import trackingUIDOf

    panel = pair.panel
    choose_prior(panel, pair.prior)
    link(panel, 1)
    type_days(panel, "200")
    assert slicer.util.saveScene(str(tmp_path / "pair.mrb"))
    slicer.mrmlScene.Clear()
    slicer.util.loadScene(str(tmp_path / "pair.mrb"))
    panel.settle()
    assert part(panel, "priorSelector").currentNode().GetName() == "Prior"
    assert part(panel, "daysEdit").text == "200" and part(panel, "linkSelector").currentIndex == 1
    analyses = {one.volumeNode.GetName(): one for one in panel.logic.analyses()}
    uids = {name: trackingUIDOf(one, one.recordIDs()[0]) for name, one in analyses.items()}
    assert uids["Prior"] == uids["Current"], "tracked as one nodule"


def test_without_an_outline_it_says_where_to_draw_one(pair):
    panel = pair.panel
    choose_prior(panel, pair.prior)
    link(panel, 1)
    type_days(panel, "100")
    slicer.mrmlScene.RemoveNode(pair.segmentation)
    part(panel, "compareButton").click()
    assert "N1 has no outline in this CT" in panel.logic.status.text


def test_segments_of_other_volumes_of_lungs_and_empty_ones_are_no_outline(pair):
    from MAEMCNodulePanel.outlines import outlineOf

    analysis = next(one for one in pair.panel.logic.analyses() if one.volumeNode is pair.current)
    pointID = analysis.recordIDs()[0]
    assert outlineOf(analysis, pointID).mask.array.sum() == pair.volumes[1], "and not the prior's, at the same place"
    segments = pair.segmentation.GetSegmentation()
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        np.ones(SHAPE, np.uint8), pair.segmentation, segments.AddEmptySegment("lung"), pair.current
    )
    segments.AddEmptySegment("empty")
    assert outlineOf(analysis, pointID).mask.array.sum() == pair.volumes[1]


def test_the_views_show_both_at_their_nodules(pair):
    panel = pair.panel
    choose_prior(panel, pair.prior)
    link(panel, 1)
    box = part(panel, "linkViewsCheckBox")
    box.click()
    composites = {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}
    nodes = {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
    assert composites["Red"].GetBackgroundVolumeID() == pair.current.GetID()
    assert composites["Yellow"].GetBackgroundVolumeID() == pair.prior.GetID()
    assert nodes["Yellow"].GetOrientation() == "Axial"
    assert panel.parameters.inputVolume is pair.current, "the panel stays with the current CT"
    assert not composites["Red"].GetLinkedControl(), "nothing says that a place here is the same place there"
    box.click()
    assert nodes["Yellow"].GetOrientation() == "Sagittal"
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    pair.prior.SetAndObserveTransformNodeID(transform.GetID())
    box.click()
    assert composites["Red"].GetLinkedControl() and composites["Yellow"].GetLinkedControl(), "registered"


# By DICOM


@pytest.fixture
def load_series(tmp_path):
    """``load_series(name, patient, frame, date)``: the volume node of a small DICOM series."""

    def load(name, patient="0", frame="1.2.3", date="20260101"):
        def change(item, k):
            item.StudyDate = date

        def in_order(item, path):
            item.save_as(path.with_name(f"{int(item.InstanceNumber):03d}.dcm"), enforce_file_format=True)

        write_series(tmp_path / name, patient=patient, frame=frame, change=change, save=in_order)
        first = sorted((tmp_path / name).iterdir())[0]
        return slicer.util.loadVolume(str(first), properties={"name": name, "singleFile": False})

    return load


def test_of_one_frame_of_reference_the_nodule_is_proposed(instant_panel, load_series):
    from MAEMCNodulePanel.priorlinks import intervalOf, linkOf, proposedOf, setPrior

    panel = instant_panel
    before, now = load_series("before", date="20250101"), load_series("now", date="20260101")
    bounds = [0.0] * 6
    now.GetRASBounds(bounds)
    middle = np.array(bounds).reshape(3, 2).mean(axis=1)
    for volume, shift in ((before, (1.0, 2.0, 0.0)), (now, (0.0, 0.0, 0.0))):
        panel.parameters.inputVolume = volume
        panel.run(0.1)
        panel.place(middle + shift)
        panel.settle()
    analysis = next(one for one in panel.logic.analyses() if one.volumeNode is now)
    setPrior(now, before)
    assert proposedOf(analysis, analysis.recordIDs()[0]).distance_mm == pytest.approx(math.sqrt(5), abs=1e-3)
    assert intervalOf(now).days == 365
    assert linkOf(analysis, analysis.recordIDs()[0]) == "", "nothing is linked before the reader has chosen the prior"
    with pytest.raises(InputError, match="365 days later"):
        setPrior(before, now)


def test_a_prior_of_another_patient_is_refused_unless_confirmed(instant_panel, load_series, monkeypatch):
    from MAEMCNodulePanel.priorlinks import intervalOf, priorOf

    panel = instant_panel
    panel.widget.parent.show()
    other, now = load_series("other", patient="1", date="20250101"), load_series("now", date="20260101")
    panel.parameters.inputVolume = now
    panel.run(0.1)
    panel.place((0, 0, 0))
    panel.settle()
    panel.ui.priorButton.collapsed = False
    panel.run(0.2)
    asked = []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text, *title: asked.append(text))
    choose_prior(panel, other)
    assert "different patients" in asked[0] and "other" not in asked[0], "it is logged by Slicer"
    assert priorOf(now) is None and "another patient" in panel.logic.status.text
    assert part(panel, "priorSelector").currentNode() is None
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text, *title: True)
    choose_prior(panel, other)
    assert priorOf(now) is other
    assert "the reader has confirmed" in " ".join(intervalOf(now).notes)


def test_a_ct_is_no_prior_of_itself_and_days_are_days(pair):
    from MAEMCNodulePanel.priorlinks import setDays, setPrior

    with pytest.raises(InputError, match="no prior of itself"):
        setPrior(pair.current, pair.current)
    for text in ("-3", "0", "nan", "1e9", "ten"):
        with pytest.raises(UsageError, match="no number of days"):
            setDays(pair.current, text)
