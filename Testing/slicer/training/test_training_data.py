"""The panel and its data: what it offers for which, what it says of bad ones, and what an import makes of others."""

from pathlib import Path

import pytest
import slicer
from MAEMCLib.cases.manifest import read_manifest, write_manifest


def items(selector):
    return [selector.itemText(index) for index in range(selector.count)]


def with_labels(manifest, path, labels):
    """A copy of a manifest with other labels."""
    import dataclasses

    rows = read_manifest(manifest).rows
    changed = [dataclasses.replace(row, label=label) for row, label in zip(rows, labels, strict=True)]
    return write_manifest(path, changed)


def test_counts_and_what_fits(panel, phantom):
    panel.choose(phantom)
    assert panel.ui.countsLabel.text.splitlines() == [
        "Nodules in CT: 6 cases of 6 patients, 3 benign, 3 malignant",
        "modality: CT 6; anatomy: CHEST 6",
    ]
    assert items(panel.ui.kindSelector) == ["Pre-train", "Fine-tune and evaluate"]
    assert panel.ui.startButton.enabled
    panel.ui.kindSelector.currentIndex = 1
    assert "Only 3 cases of one class" in panel.ui.countsLabel.text
    assert not panel.ui.startButton.enabled, "five folds of three cases"
    assert "fewer than 5 folds" in panel.ui.startButton.toolTip
    panel.ui.foldsSpinBox.value = 3
    assert panel.ui.startButton.enabled
    assert panel.ui.startFromSelector.isHidden() is False
    assert panel.ui.methodSelector.isHidden()


@pytest.mark.parametrize("labels", [[None] * 6, [1] * 6, [0] * 5 + [None]])
def test_without_two_classes_only_pretraining_is_offered(panel, phantom, labels):
    manifest = with_labels(phantom, phantom.parent / "other.csv", labels)
    panel.ui.kindSelector.currentIndex = 1
    panel.choose(manifest)
    assert items(panel.ui.kindSelector) == ["Pre-train"]
    assert panel.ui.startButton.enabled
    panel.choose(phantom)
    assert items(panel.ui.kindSelector) == ["Pre-train", "Fine-tune and evaluate"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no manifest"),
        ("", "empty"),
        ("case_id,image\nA,b.nrrd\n", "patient_id"),
        ("case_id,patient_id,image,l_mm,p_mm,s_mm\nA,P,gone.nrrd,0,0,0\n", "not there"),
        ("case_id,patient_id,image,l_mm,p_mm,s_mm,label\nA,P,gone.nrrd,0,0,0,maybe\n", "maybe"),
        ("case_id,patient_id,image,l_mm,p_mm,s_mm\nA,P,x,zero,0,0\n", "no number in the column l_mm"),
    ],
)
def test_bad_manifest_is_named_in_the_panel(panel, tmp_path, content, words):
    path = tmp_path / "manifest.csv"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    panel.choose(path)
    assert words in panel.ui.countsLabel.text
    assert not panel.ui.startButton.enabled
    assert panel.ui.startButton.toolTip == panel.ui.countsLabel.text


def test_series_without_points_mixtures_and_folders_are_refused(panel, tmp_path):
    (tmp_path / "series").mkdir()
    (tmp_path / "a.nrrd").touch()
    path = tmp_path / "manifest.csv"
    path.write_text("case_id,patient_id,image,kind\nA,P,series,image\n", encoding="utf-8")
    panel.choose(path)
    assert "CT series without a point" in panel.ui.countsLabel.text
    assert not panel.ui.startButton.enabled
    header = "case_id,patient_id,image,kind,l_mm,p_mm,s_mm\n"
    mixed = tmp_path / "mixed.csv"
    mixed.write_text(header + "A,P,a.nrrd,nodule,0,0,0\nB,Q,a.nrrd,image,,,\n", encoding="utf-8")
    panel.choose(mixed)
    assert "nodules in CT and 2-D pictures" in panel.ui.countsLabel.text
    panel.choose(tmp_path)
    assert "without a cache" in panel.ui.countsLabel.text


def test_cache_is_taken_by_its_folder_or_its_index(panel, phantom, home, tmp_path):
    from MAEMCTrainingLib.data.sources import Source

    cache = tmp_path / "cache"
    Source(phantom).build(cache, home, processes=1)
    panel.choose(cache)
    assert panel.ui.countsLabel.text.startswith("Nodules in CT: 6 cases of 6 patients")
    panel.ui.dataPathEdit.currentPath = str(cache / "index.json")
    panel.run(0.5)
    panel.wait(lambda: panel.logic.data is not None, "the data")
    assert panel.logic.data.path == cache
    assert panel.logic.data.malignant == 3


def test_of_two_choices_in_a_row_the_last_counts(panel, phantom, tmp_path):
    panel.logic.requestData(tmp_path / "gone.csv")
    panel.logic.requestData(phantom)
    panel.wait(lambda: not panel.logic.isBusy(), "both")
    assert panel.logic.data.path == phantom
    panel.logic.requestData(None)
    assert panel.logic.data is None
    panel.widget.refresh()
    assert panel.ui.startButton.toolTip == "The data are being read." or not panel.ui.startButton.enabled


def test_import_menu_offers_importers_that_there_are(panel):
    from MAEMCTrainingLib.data.importers.formats import importers as known
    from MAEMCTrainingPanel.widget import importers

    actions = panel.ui.importButton.menu().actions()
    titles = [action.text for action in actions]
    assert titles == [*importers(), "", "Leave out similar slices ..."]
    assert not actions[-1].enabled, "there are no data yet"
    assert {kind for kind, _asked in importers().values()} <= set(known())


def test_scene_that_is_not_saved_is_not_imported(panel, tmp_path):
    (action, *_others) = panel.ui.importButton.menu().actions()
    action.trigger()
    assert "Save the scene first" in panel.ui.statusLabel.text
    assert not panel.logic.isBusy()


def test_this_scene_becomes_a_manifest(panel, phantom, tmp_path, home):
    row = read_manifest(phantom).rows[0]
    slicer.util.loadVolume(str(row.image))
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Nodules")
    left, posterior, superior = row.point_lps
    points.AddControlPoint([-left, -posterior, superior], "malignant")
    slicer.util.saveNode(points, str(tmp_path / "Nodules.mrk.json"))
    assert slicer.util.saveScene(str(tmp_path / "case.mrml"))
    panel.ui.importButton.menu().actions()[0].trigger()
    assert "Importing case.mrml" in panel.ui.statusLabel.text
    panel.wait(lambda: panel.logic.data is not None, "the manifest")
    panel.run(0.5)
    counts = "Nodules in CT: 1 cases of 1 patients, 0 benign, 1 malignant"
    assert panel.ui.countsLabel.text.startswith(counts), panel.logic.status
    assert Path(panel.ui.dataPathEdit.currentPath) == home / "manifests" / "case" / "manifest.csv"
    # changed since: the file would not be what is seen
    points.AddControlPoint([0, 0, 0], "benign")
    panel.ui.importButton.menu().actions()[0].trigger()
    assert "Nodules has changed" in panel.ui.statusLabel.text


def test_import_says_what_went_wrong(panel, tmp_path):
    from slicerhost import qt_modal

    with qt_modal.answers(getExistingDirectory=str(tmp_path)):
        panel.ui.importButton.menu().actions()[2].trigger()
    panel.wait(lambda: panel.logic.status.kind == "error", "the refusal")
    assert "no Slicer scene" in panel.ui.statusLabel.text
    with qt_modal.answers(getExistingDirectory=""):
        panel.ui.importButton.menu().actions()[3].trigger()
    assert not panel.logic.isBusy(), "a dialog that was closed asks for nothing"
