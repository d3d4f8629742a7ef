"""Bad input: a clear message, the panel lives on, and nothing that was there is lost."""

import os
import shutil
import sys

import numpy as np
import pytest
import slicer
from MAEMCLib.errors import InputError, ModelError


def other_volume(kind):
    """A node that a user might take for a CT, and what its refusal has to say."""
    import vtk

    rng = np.random.default_rng(0)
    if kind == "label map":
        labels = rng.integers(0, 5, (20, 20, 20)).astype(np.int16)
        return slicer.util.addVolumeFromArray(labels, name="L", nodeClassName="vtkMRMLLabelMapVolumeNode"), "LabelMap"
    if kind == "colors":
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "RGB")
        image = vtk.vtkImageData()
        image.SetDimensions(10, 10, 10)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
        node.SetAndObserveImageData(image)
        return node, "VectorVolume"
    if kind == "several components":
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Components")
        image = vtk.vtkImageData()
        image.SetDimensions(10, 10, 10)
        image.AllocateScalars(vtk.VTK_SHORT, 2)
        node.SetAndObserveImageData(image)
        return node, "2 values"
    if kind == "empty":
        return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty"), "no voxels"
    if kind == "MR":
        return slicer.util.addVolumeFromArray(rng.integers(0, 900, (20, 20, 20)).astype(np.int16), name="MR"), "CT"
    if kind == "NaN everywhere":
        return slicer.util.addVolumeFromArray(np.full((20, 20, 20), np.nan, np.float32), name="NaN"), "NaN"
    if kind == "absurd spacing":
        voxels = rng.integers(-1000, 400, (20, 20, 20)).astype(np.int16)
        return slicer.util.addVolumeFromArray(voxels, np.diag([0.001, 1, 1, 1]), "Thin"), "spacing"
    voxels = rng.integers(-1000, 400, (20, 20, 20)).astype(np.int16)
    proxy = slicer.util.addVolumeFromArray(voxels, name="Frame")
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    sequence.SetDataNodeAtValue(proxy, "0")
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.AddProxyNode(proxy, sequence, False)
    return proxy, "sequence"


KINDS = ["label map", "colors", "several components", "empty", "MR", "NaN everywhere", "absurd spacing", "4-D frame"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_ct_is_refused_with_what_to_do(panel, kind):
    volume, words = other_volume(kind)
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    points.AddControlPoint([0, 0, 0])
    sent = panel.logic.worker.sent
    for call in (panel.logic.score, panel.logic.requestScore):
        with pytest.raises(InputError, match=words):
            call(volume, points)
    with pytest.raises(InputError, match=words):
        panel.logic.startPlacing(volume)
    assert panel.logic.worker.sent == sent
    assert panel.logic.analyses() == []


def test_panel_says_why_a_volume_is_refused(panel):
    volume, words = other_volume("MR")
    panel.parameters.inputVolume = volume
    panel.run(0.1)
    panel.ui.placeButton.click()
    panel.run(0.2)
    assert words in panel.ui.statusLabel.text
    assert panel.logic.status.kind == "error"
    assert not panel.ui.placeButton.checked, "no point is placed in vain"
    assert not panel.ui.detailsButton.isHidden()


def test_no_volume_and_no_points(panel, add_ct):
    with pytest.raises(InputError, match="No CT is selected"):
        panel.logic.score(None, None)
    volume = add_ct()
    with pytest.raises(InputError, match="Place a nodule"):
        panel.logic.score(volume, None)
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    with pytest.raises(InputError, match="empty"):
        panel.logic.score(volume, empty)


def test_points_that_cannot_be_scored_have_their_reason_in_their_row(panel, add_ct):
    volume = add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    points.AddControlPoint([500, 0, 0])
    points.AddControlPoint([float("nan"), 0, 0])
    panel.settle()
    records = panel.records()
    assert [record.state for record in records] == ["scored", "failed", "failed"]
    assert "outside the volume" in records[1].message
    assert "no finite position" in records[2].message
    table = panel.logic.analysisOf(volume, points).tableNode
    probabilities = [table.GetTable().GetColumnByName("probability").GetValue(row) for row in range(3)]
    assert np.isfinite(probabilities[0])
    assert np.isnan(probabilities[1:]).all(), "what was not computed is empty, never 0"
    assert "outside the volume" in table.GetCellText(1, 5)
    assert panel.ui.resultTable.item(1, 3).text() == "failed"
    # dragged back inside, it is scored
    points.SetNthControlPointPosition(1, 10, 0, 0)
    panel.settle()
    assert panel.records()[1].state == "scored"


def test_nan_near_the_point(panel, add_ct):
    volume = add_ct()
    voxels = slicer.util.arrayFromVolume(volume).astype(np.float32)
    voxels[45:48, 55:58, 50:53] = np.nan
    slicer.util.updateVolumeFromArray(volume, voxels)
    panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    assert panel.records()[0].state == "failed"
    assert "NaN" in panel.records()[0].message


def test_model_is_missing_or_corrupt(panel, add_ct, models, tmp_path, monkeypatch):
    volume = add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    result = panel.records()[0].result
    panel.parameters.model = "gone@2.0"
    with pytest.raises(ModelError, match=r"gone@2\.0"):
        panel.logic.score(volume, points)
    panel.ui.scoreButton.click()
    panel.run(0.2)
    assert "gone@2.0" in panel.ui.statusLabel.text
    assert panel.ui.modelSelector.currentText == "gone@2.0 - not on this machine"
    assert panel.records()[0].result == result, "the earlier result stays"

    home = tmp_path / "home with spaces"
    shutil.copytree(models / "models", home / "models")
    bundle = home / "models" / "random.maemc"
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 255  # weights that no longer match their hash
    bundle.write_bytes(data)
    (home / "models" / "text.maemc").write_text("not a model")
    monkeypatch.setenv("MAEMC_HOME", str(home))
    panel.parameters.model = str(bundle)
    panel.ui.scoreButton.click()
    panel.settle()
    assert "cannot be trusted" in panel.ui.statusLabel.text
    assert panel.records()[0].result == result
    panel.widget.enter()
    texts = [panel.ui.modelSelector.itemText(i) for i in range(panel.ui.modelSelector.count)]
    assert "text.maemc - cannot be used" in texts


def test_no_model_at_all(panel, add_ct, tmp_path, monkeypatch):
    from MAEMCLib.models import store as model_store

    monkeypatch.setenv("MAEMC_HOME", str(tmp_path))
    monkeypatch.setattr(model_store, "shipped_folder", lambda: None)
    add_ct()
    panel.settle()
    panel.widget.enter()
    assert panel.ui.modelSelector.currentText == "No model is installed"
    panel.place((0, 0, 0))
    panel.settle()
    assert panel.records()[0].state == "failed"
    assert "No model is installed" in panel.records()[0].message


def test_python_of_the_worker_is_not_found(slicer_app, load_module, models, add_ct, monkeypatch):
    from pathlib import Path

    import MAEMCNodulePanel.interpreter as interpreter
    from slicerhost import module_factory

    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(interpreter.shutil, "which", lambda name: None)
    path = Path(interpreter.__file__).parent.parent / "MAEMCNodule.py"
    module = load_module(path)
    module_factory.select("MAEMCNodule")
    widget = module.widgetRepresentation().self()
    while widget.logic.isBusy():
        slicer_app.processEvents()
    widget.refresh()
    assert "PythonSlicer" in widget.ui.statusLabel.text
    volume = add_ct()
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    points.AddControlPoint([0, 0, 0])
    table = widget.logic.score(volume, points)
    assert "PythonSlicer" in table.GetCellText(0, 5)


def test_program_that_is_no_python(slicer_app, scene, models, add_ct, tmp_path):
    from MAEMCNodulePanel.logic import MAEMCNoduleLogic

    broken = tmp_path / "python kaputt"
    broken.write_text("#!/bin/sh\nexit 3\n")
    os.chmod(broken, 0o755)
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    points.AddControlPoint([0, 0, 0])
    volume = add_ct()
    for python in (str(broken), str(tmp_path / "missing")):
        logic = MAEMCNoduleLogic(python)
        try:
            table = logic.score(volume, points, timeout=300)
            assert table.GetCellText(0, 4) == ""
            assert "scoring process" in table.GetCellText(0, 5)
        finally:
            logic.cleanup()


def test_unicode_and_spaces(panel, add_ct):
    volume = add_ct('Übergröße 日本 "x" <&>; a=b|c')
    panel.settle()
    points = panel.place((0, 0, 0))
    points.SetNthControlPointLabel(0, "Knoten ß; 'x': \"y\"")
    panel.settle()
    record = panel.records()[0]
    assert (record.name, record.state) == ("Knoten ß; 'x': \"y\"", "scored")
    assert record.result["image"] == volume.GetName()
