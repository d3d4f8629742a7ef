"""A further CT series that a fusion model reads: chosen in the panel, kept with the CT, followed as the CT is."""

import csv
import json
import shutil

import numpy as np
import pytest
import slicer
from MAEMCLib.__main__ import main
from MAEMCLib.cases.values import ClinicalField
from MAEMCLib.errors import UsageError

ASKED = (
    ClinicalField("age", "number", "years", 41, 88),
    ClinicalField("image_2", "series"),
    ClinicalField("image_3", "series", optional=True),
)
BRANCHES = ["axial", "image_2:coronal", "image_3"]
SHIFT = np.array([[1.0, 0, 0, 12], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


@pytest.fixture(scope="session")
def series_bundle(make_fusion_bundle):
    return make_fusion_bundle("phases", ASKED, BRANCHES)


@pytest.fixture
def phases(panel, models, series_bundle):
    """The panel with the model of several series chosen."""
    target = models / "models" / "phases.maemc"
    shutil.copy(series_bundle, target)
    panel.parameters.model = "phases@1.0"
    panel.settle()
    yield panel
    panel.parameters.model = ""
    target.unlink()


@pytest.fixture
def chest(phases, add_ct):
    """The CT with a nodule that waits, and its age."""
    volume = add_ct("Chest")
    phases.settle()
    phases.place((0, 0, 0))
    type_age(phases)
    phases.settle()
    return volume


@pytest.fixture
def add_phase(add_ct, lung_matrix):
    """Another series of the same chest: larger balls and other voxels, 1.25 x 1.25 x 2 mm."""

    def add(name="Venous", seed=7, balls=((0, 0, 0), (4, 2, 1))):
        return add_ct(name, balls=balls, seed=seed, matrix=lung_matrix((90, 110, 100), (1.25, 1.25, 2.0)))

    return add


def type_age(panel, age="70"):
    editor = panel.widget.clinicalForm._editors["age"]
    editor.text = age
    editor.emit("editingFinished()")


def picker(panel, name="image_2"):
    return panel.widget.clinicalForm._editors[name]


def listed(combo):
    return [combo.nodeFromIndex(index).GetName() for index in range(combo.nodeCount())]


def choose(panel, node, name="image_2"):
    """As a user does, in the list."""
    panel.run(0.1)
    combo = picker(panel, name)
    box = combo.findChild("QComboBox")
    row = 0 if node is None else listed(combo).index(node.GetName()) + 1
    box.currentIndex = row
    box.emit("activated(int)", row)


def score_files(folder, capsys, bundle, volume, point, **series):
    """``maemc score`` on the volumes as Slicer writes them, hardened."""
    words = ["--clinical", "age=70"]
    for name, node in {"ct": volume, **series}.items():
        if node.GetParentTransformNode() is not None:
            node.HardenTransform()
        assert slicer.util.saveNode(node, str(folder / f"{name}.nrrd"))
        words += [] if name == "ct" else ["--clinical", f"{name}={folder / f'{name}.nrrd'}"]
    place = ",".join(str(coordinate) for coordinate in point)
    capsys.readouterr()
    paths = [str(folder / "ct.nrrd"), "--point", place, "--ras", "--model", str(bundle)]
    code = main(["score", *paths, "--device", "cpu", "--json", *words])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)["nodules"][0]


def only(panel):
    (record,) = panel.records()
    return record


def test_the_picker_lists_the_other_volumes(chest, phases, add_phase, add_ct):
    panel = phases
    panel.widget.parent.show()
    venous = add_phase()
    panel.run(0.1)
    assert listed(picker(panel)) == ["Venous"], "the CT itself is no further series"
    assert picker(panel).enabled and picker(panel).visible
    assert "same patient" in picker(panel).toolTip and "cannot do without it" in picker(panel).toolTip
    assert "may be left empty" in picker(panel, "image_3").toolTip
    panel.parameters.inputVolume = venous
    panel.run(0.1)
    assert listed(picker(panel)) == ["Chest"]
    assert picker(panel).currentNode() is None, "nothing is chosen by itself"


def test_a_nodule_waits_for_its_series_and_scores_as_the_command_line_does(
    chest, phases, add_phase, linear, series_bundle, tmp_path, capsys
):
    panel = phases
    assert only(panel).state == "waiting"
    assert only(panel).message == "The model also asks for image_2 (a further series of this patient)."
    assert panel.ui.statusLabel.text == only(panel).message
    venous = add_phase()
    venous.SetAndObserveTransformNodeID(
        linear([[0.96, -0.28, 0, 3], [0.28, 0.96, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1]]).GetID()
    )
    choose(panel, venous)
    panel.settle()
    record = only(panel)
    assert record.state == "scored"
    assert record.result["clinical"] == {"age": 70.0, "image_2": "Venous", "image_3": None}
    assert "image_3 was not given; the model goes without it." in panel.ui.findingsLabel.text
    assert "age 70, image_2 Venous" in panel.ui.provenanceLabel.text
    panel.logic.exportResults(panel.logic.analyses()[0], tmp_path)
    with open(tmp_path / "results.csv", newline="") as stream:
        assert next(csv.DictReader(stream))["clinical"] == "age=70.000000; image_2=given"
    assert json.loads((tmp_path / "results.json").read_text())["nodules"][0]["clinical"]["image_2"] == "given"
    found = score_files(tmp_path, capsys, series_bundle, chest, (0, 0, 0), image_2=venous)
    assert record.result["class_probabilities"] == pytest.approx(found["class_probabilities"], abs=1e-5)


def test_another_series_is_another_score(chest, phases, add_phase, series_bundle, tmp_path, capsys):
    panel, venous, late = phases, add_phase(), add_phase("Late", seed=8, balls=((0, 0, 0), (0, 9, 0), (9, 0, 0)))
    choose(panel, venous)
    panel.settle()
    first = only(panel).result
    choose(panel, late)
    panel.run(0.05)
    assert only(panel).result is None, "what is not true any more is not shown"
    panel.settle()
    second = only(panel).result
    assert second["clinical"]["image_2"] == "Late"
    assert second["class_probabilities"] != pytest.approx(first["class_probabilities"], abs=1e-4)
    found = score_files(tmp_path, capsys, series_bundle, chest, (0, 0, 0), image_2=late)
    assert second["class_probabilities"] == pytest.approx(found["class_probabilities"], abs=1e-5)
    choose(panel, late)
    sent = panel.logic.worker.sent
    panel.settle()
    assert panel.logic.worker.sent == sent, "chosen again it is the same"
    choose(panel, venous, "image_3")
    panel.settle()
    assert only(panel).result["clinical"] == {"age": 70.0, "image_2": "Late", "image_3": "Venous"}
    assert "not given" not in panel.ui.findingsLabel.text
    choose(panel, None, "image_3")
    panel.settle()
    assert only(panel).result["class_probabilities"] == pytest.approx(second["class_probabilities"], abs=1e-6)
    choose(panel, None)
    panel.settle()
    assert only(panel).state == "waiting" and "asks for image_2" in only(panel).message


def test_a_series_that_moves_or_changes_is_scored_again(
    chest, phases, add_phase, linear, series_bundle, tmp_path, capsys
):
    panel, venous = phases, add_phase()
    transform = linear(np.eye(4))
    venous.SetAndObserveTransformNodeID(transform.GetID())
    choose(panel, venous)
    panel.settle()
    before = only(panel).result["class_probabilities"]
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(SHIFT))
    panel.run(0.05)
    assert only(panel).state == "waiting" and only(panel).result is None
    panel.settle()
    moved = only(panel).result["class_probabilities"]
    assert moved != pytest.approx(before, abs=1e-4)
    slicer.util.updateVolumeFromArray(venous, np.roll(slicer.util.arrayFromVolume(venous), 5, axis=0))
    panel.run(0.05)
    assert only(panel).result is None
    panel.settle()
    changed = only(panel).result["class_probabilities"]
    assert changed != pytest.approx(moved, abs=1e-4)
    found = score_files(tmp_path, capsys, series_bundle, chest, (0, 0, 0), image_2=venous)
    assert changed == pytest.approx(found["class_probabilities"], abs=1e-5)


def test_what_did_not_read_the_series_stays(chest, phases, add_phase, linear):
    panel, venous = phases, add_phase()
    transform = linear(np.eye(4))
    venous.SetAndObserveTransformNodeID(transform.GetID())
    choose(panel, venous)
    panel.settle()
    panel.parameters.model = "random@1.0"
    panel.logic.requestScore(chest, panel.parameters.points)
    panel.settle()
    record, sent = only(panel), panel.logic.worker.sent
    assert record.result["model_id"] == "random"
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(SHIFT))
    slicer.util.updateVolumeFromArray(venous, np.roll(slicer.util.arrayFromVolume(venous), 5, axis=0))
    slicer.mrmlScene.RemoveNode(venous)
    panel.settle()
    panel.run(0.6)
    assert only(panel) == record and panel.logic.worker.sent == sent


@pytest.mark.parametrize("moment", ["pending", "scored"])
def test_a_removed_series_is_missing(chest, phases, add_phase, moment):
    panel, venous, other = phases, add_phase(), add_phase("Other", seed=9)
    choose(panel, venous)
    panel.logic.poll()
    if moment == "scored":
        panel.settle()
    else:
        panel.wait(lambda: only(panel).state == "pending", "sent")
    slicer.mrmlScene.RemoveNode(venous)
    assert only(panel).result is None
    type_age(panel, "71")  # before the panel has shown itself anew
    panel.settle()
    assert only(panel).state == "waiting" and "asks for image_2" in only(panel).message
    assert picker(panel).currentNode() is None, "what the list moves on to was chosen by nobody"
    choose(panel, other)
    panel.settle()
    assert only(panel).result["clinical"] == {"age": 71.0, "image_2": "Other", "image_3": None}


def test_a_removed_optional_series_is_gone_without(chest, phases, add_phase):
    panel, venous, late = phases, add_phase(), add_phase("Late", seed=9)
    choose(panel, venous)
    panel.settle()
    without = only(panel).result["class_probabilities"]
    choose(panel, late, "image_3")
    panel.settle()
    assert only(panel).result["class_probabilities"] != pytest.approx(without, abs=1e-4)
    slicer.mrmlScene.RemoveNode(late)
    panel.settle()
    assert only(panel).result["class_probabilities"] == pytest.approx(without, abs=1e-6)
    assert "image_3 was not given" in panel.ui.findingsLabel.text


def test_a_saved_scene_reopens_with_its_series_and_computes_nothing(
    chest, phases, add_phase, linear, tmp_path, clinical_texts
):
    panel, venous = phases, add_phase("Venöse Phase")
    choose(panel, venous)
    panel.settle()
    before, sent = only(panel), panel.logic.worker.sent
    assert slicer.util.saveScene(str(tmp_path / "phases.mrb"))
    slicer.mrmlScene.Clear()
    panel.settle()
    slicer.util.loadScene(str(tmp_path / "phases.mrb"))
    panel.settle()
    panel.run(0.6)
    assert only(panel) == before and panel.logic.worker.sent == sent
    assert picker(panel).currentNode().GetName() == "Venöse Phase"
    assert clinical_texts(panel.widget.clinicalForm) == {"age": "70", "image_2": picker(panel).currentNodeID}
    # Read a second time beside the first, the references are to the second's own nodes.
    slicer.util.loadScene(str(tmp_path / "phases.mrb"))
    panel.settle()
    panel.run(0.6)
    assert panel.logic.worker.sent == sent
    first, second = panel.logic.analyses()
    nodes = [analysis.volumeNode.GetNodeReference("MAEMC.Series.image_2") for analysis in (first, second)]
    assert nodes[0] is not nodes[1] and None not in nodes
    # And it is followed: moved, it is scored again, and only what has read it.
    nodes[1].SetAndObserveTransformNodeID(linear(SHIFT).GetID())
    panel.settle()
    assert first.records()[0][1] == before
    assert second.records()[0][1].result["class_probabilities"] != before.result["class_probabilities"]
    slicer.mrmlScene.RemoveNode(nodes[1])
    panel.settle()
    assert second.records()[0][1].state == "waiting" and first.records()[0][1] == before


def test_a_series_removed_from_a_scene_before_it_is_reopened(chest, phases, add_phase, tmp_path):
    """By somebody without the module."""
    panel, venous = phases, add_phase()
    choose(panel, venous)
    panel.settle()
    panel.logic._observer.detach()
    slicer.mrmlScene.RemoveNode(venous)
    assert only(panel).state == "scored"
    assert slicer.util.saveScene(str(tmp_path / "without.mrb"))
    slicer.mrmlScene.Clear()
    panel.logic.attach()
    slicer.util.loadScene(str(tmp_path / "without.mrb"))
    panel.settle()
    assert only(panel).state == "waiting" and "asks for image_2" in only(panel).message


def test_a_point_outside_the_series_is_said(chest, phases, add_phase, linear):
    panel, venous = phases, add_phase()
    transform = linear([[1, 0, 0, 400], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    venous.SetAndObserveTransformNodeID(transform.GetID())
    choose(panel, venous)
    panel.settle()
    assert only(panel).state == "failed"
    assert only(panel).message.startswith("The series image_2 cannot be used: The point")
    assert "outside the volume" in only(panel).message
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.eye(4)))
    panel.settle()
    assert only(panel).state == "scored", "moved to its place it is scored"


def test_a_series_that_is_no_ct_is_said(chest, phases, add_phase):
    panel = phases
    values = np.random.default_rng(0).integers(0, 900, (90, 90, 90)).astype(np.int16)
    mr = slicer.util.addVolumeFromArray(values, np.diag([1.0, 1, 1, 1]), "MR")
    choose(panel, mr)
    panel.settle()
    assert only(panel).state == "failed"
    assert "The series image_2 cannot be used: MR does not look like a chest CT" in only(panel).message
    assert picker(panel).currentNode() is mr, "it stays visible what was chosen"
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    choose(panel, empty)
    panel.settle()
    assert "The series image_2 cannot be used: Empty has no voxels" in only(panel).message
    choose(panel, add_phase())
    panel.settle()
    assert only(panel).state == "scored"


def test_a_bending_transform_on_the_series_is_said(chest, phases, add_phase, bend):
    panel, venous = phases, add_phase()
    choose(panel, venous)
    panel.settle()
    venous.SetAndObserveTransformNodeID(bend().GetID())
    panel.settle()
    assert only(panel).state == "failed"
    assert "The series image_2 cannot be used: Venous is under a transform that bends it" in only(panel).message
    venous.SetAndObserveTransformNodeID(None)
    panel.settle()
    assert only(panel).state == "scored"


def test_series_belong_to_their_ct(chest, phases, add_phase, add_ct, clinical_texts):
    panel, venous, other = phases, add_phase(), add_ct("Other patient", seed=3)
    choose(panel, venous)
    panel.settle()
    panel.parameters.inputVolume = other
    panel.settle()
    assert clinical_texts(panel.widget.clinicalForm) == {} and picker(panel).currentNode() is None
    assert listed(picker(panel)) == ["Chest", "Venous"]
    panel.parameters.inputVolume = chest
    panel.settle()
    assert picker(panel).currentNode() is venous
    panel.parameters.inputVolume = venous  # the roles change: what was a series is the CT
    panel.settle()
    assert listed(picker(panel)) == ["Chest", "Other patient"] and picker(panel).currentNode() is None


def test_scripts_give_a_series_by_its_node(phases, add_ct, add_phase, series_bundle, tmp_path, capsys):
    panel, volume, venous = phases, add_ct(), add_phase()
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    points.AddControlPoint([3, -2, 1])
    panel.logic.setClinical(volume, {"age": 70, "image_2": venous})
    table = panel.logic.score(volume, points, timeout=300)
    found = score_files(tmp_path, capsys, series_bundle, volume, (3, -2, 1), image_2=venous)
    assert table.GetTable().GetColumnByName("probability").GetValue(0) == pytest.approx(found["probability"], abs=1e-5)
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    for wrong in (volume, model, str(tmp_path / "image_2.nrrd"), "Venous"):
        with pytest.raises(UsageError, match="image_2 is a further series: give its volume node"):
            panel.logic.setClinical(volume, {"age": 70, "image_2": wrong})
    with pytest.raises(UsageError, match="Did you mean image_2"):
        panel.logic.setClinical(volume, {"image_22": venous})
    assert volume.GetNodeReference("MAEMC.Series.image_2") is venous, "what is refused changes nothing"
