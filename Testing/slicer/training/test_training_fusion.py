"""A fusion of images and clinical values, put together in the panel: offered where it fits, run by the real command."""

import csv
import json

import pytest


@pytest.fixture(scope="module")
def clinical(phantom):
    """The synthetic cases with an age, a sex, a subtype of three classes, a further series and a free text."""
    with open(phantom, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    path = phantom.with_name("clinical.csv")
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*rows[0], "age", "sex", "subtype", "image_2"])
        writer.writeheader()
        for number, row in enumerate(rows):
            more = {"age": 50 + number, "sex": ("female", "male")[number // 2 % 2], "subtype": "abc"[number % 3]}
            writer.writerow(row | more | {"image_2": row["image"]})
    return path


def kinds(panel):
    selector = panel.ui.kindSelector
    return [selector.itemData(index) for index in range(selector.count)]


def rows_of(panel):
    ui = panel.ui
    labels = (ui.targetLabel, ui.clinicalLabel, ui.branchesLabel, ui.fusionTextLabel)
    return (*labels, ui.targetSelector, ui.clinicalEdit, ui.branchesEdit)


def choose_fusion(panel, data):
    panel.choose(data)
    panel.ui.kindSelector.currentIndex = panel.ui.kindSelector.findData("fuse")
    panel.ui.foldsSpinBox.value = 2
    panel.run(0.02)


def test_it_is_offered_where_it_fits(panel, clinical, phantom, stacks):
    panel.choose(stacks)
    assert kinds(panel) == ["pretrain", "finetune"], "2-D pictures"
    panel.choose(clinical)
    assert kinds(panel) == ["pretrain", "finetune", "fuse"]
    assert all(widget.isHidden() for widget in rows_of(panel))
    choose_fusion(panel, clinical)
    assert not any(widget.isHidden() for widget in rows_of(panel))
    ui = panel.ui
    assert ui.methodSelector.isHidden() and not ui.linearProbeCheckBox.enabled
    assert "graph" in ui.fusionTextLabel.text and 'href="https://doi.org/' in ui.fusionTextLabel.text
    assert "age, sex, subtype, image_2" in ui.fusionTextLabel.text
    targets = [ui.targetSelector.itemText(index) for index in range(ui.targetSelector.count)]
    assert targets[0] == "label (benign or malignant)" and "subtype (3 classes)" in targets
    assert [ui.presetSelector.itemData(index) for index in range(ui.presetSelector.count)] == ["tiny", "default"]
    assert "ViT-L" not in ui.sentenceLabel.text
    ui.kindSelector.currentIndex = 1
    assert all(widget.isHidden() for widget in rows_of(panel)) and ui.linearProbeCheckBox.enabled


def test_what_is_typed_has_to_be_there(panel, clinical):
    choose_fusion(panel, clinical)
    ui = panel.ui
    assert ui.startButton.enabled  # images alone
    ui.clinicalEdit.text = "agee:years, sex"
    assert not ui.startButton.enabled
    assert "There is no column agee." in ui.startButton.toolTip and "age, sex" in ui.startButton.toolTip
    ui.clinicalEdit.text = "age:years, sex,"
    assert ui.startButton.enabled
    ui.branchesEdit.text = "axial, image_3:coronal"
    assert not ui.startButton.enabled and "image_3" in ui.startButton.toolTip
    ui.branchesEdit.text = "axial, image_2:coronal"
    assert ui.startButton.enabled
    ui.targetSelector.currentIndex = ui.targetSelector.findData("sex")
    assert not ui.startButton.enabled and "cannot be read as well" in ui.startButton.toolTip
    ui.targetSelector.currentIndex = ui.targetSelector.findData("subtype")
    _folder, words = panel.widget.newTraining.request().command()
    assert words[0] == "fuse" and "--linear-probe" not in words
    named = {name: words[words.index(name) + 1] for name in ("--target", "--clinical", "--branches", "--from")}
    assert named["--target"] == "subtype" and named["--clinical"] == "age:years,sex"
    assert named["--branches"] == "axial,image_2:coronal" and named["--from"] == "scratch"
    ui.branchesEdit.text = ui.clinicalEdit.text = ""
    _folder, words = panel.widget.newTraining.request().command()
    assert words[words.index("--branches") + 1] == "axial,coronal" and "--clinical" not in words


def test_a_fusion_runs_from_the_panel_to_its_report(panel, clinical, tmp_path):
    choose_fusion(panel, clinical)
    ui = panel.ui
    ui.targetSelector.currentIndex = ui.targetSelector.findData("label")
    ui.clinicalEdit.text = "age:years, sex"
    ui.folderPathEdit.currentPath = str(tmp_path / "jobs Ü")
    ui.nameEdit.text = "fused"
    ui.settingsEdit.text = "epochs=1 batch=4 encoder.image_size=64 validation_fraction=0.4"
    assert ui.startButton.enabled, ui.startButton.toolTip
    ui.startButton.click()
    folder = tmp_path / "jobs Ü" / "fused"

    def finished():
        path = folder / "state.json"
        state = json.loads(path.read_text()) if path.is_file() else {}
        assert state.get("status") != "failed", state
        return state.get("status") == "finished"

    panel.wait(finished, "the fusion")
    report = json.loads((folder / "metrics.json").read_text())
    assert list(report["classes"].values()) == [3, 3]
    assert set(report["given"]) == {"age", "sex"} and set(report["branches"]) >= {"axial", "coronal"}
    panel.wait(lambda: ui.reportButton.enabled, "the report")
    assert not ui.modelButton.isHidden()
