"""The pre-training methods in the panel: grouped by what somebody has, none that does not fit, each with its paper."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCTrainingLib.pretraining.registry import METHODS

ANY_IMAGES = sorted(["mae", "cmae", "simclr", "moco-v1", "moco-v2", "swav", "spark", "resmae", "fcmae"])
OWN = ["maemc", "maemc-contrastive", "maemc-generative"]
SHORT = "epochs=1 batch=8"


def without(manifest: Path, name: str, *columns: str, **values) -> Path:
    """A copy of a manifest that lacks columns, and has other values."""
    rows = []
    for row in read_manifest(manifest).rows:
        extra = {key: value for key, value in row.values.items() if key not in columns}
        rows.append(dataclasses.replace(row, values=extra, **values))
    return write_manifest(manifest.with_name(name), rows)


def offered(panel) -> dict:
    """{heading: [method ...]} as the list has them."""
    selector, found = panel.ui.methodSelector, {}
    for index in range(selector.count):
        if selector.model().item(index).isEnabled():
            found[list(found)[-1]].append(selector.itemData(index))
        else:
            found[selector.itemText(index)] = []
    return found


def pick(panel, method):
    panel.ui.methodSelector.currentIndex = panel.ui.methodSelector.findData(method)
    panel.run(0.02)


# What fits


def test_all_are_listed_before_there_are_data(panel):
    assert offered(panel) == {
        "CT, no labels needed": OWN,
        "CT or 2-D pictures, no labels needed": ANY_IMAGES,
        "Labeled nodules or pictures": ["supervised"],
        "Metadata only (modality, anatomy)": ["modan-mulsupcon"],
    }
    assert panel.ui.methodSelector.currentData == "maemc"


def test_what_does_not_fit_is_hidden(panel, phantom, stacks):
    panel.choose(phantom)
    assert offered(panel) == {"CT, no labels needed": OWN + ANY_IMAGES, "Labeled nodules": ["supervised"]}
    panel.choose(without(phantom, "unlabeled.csv", label=None))
    assert offered(panel) == {"CT, no labels needed": OWN + ANY_IMAGES}
    panel.choose(stacks)
    assert offered(panel) == {
        "2-D pictures, no labels needed": ANY_IMAGES,
        "Labeled 2-D pictures": ["supervised"],
        "Metadata only (modality, anatomy)": ["modan-mulsupcon"],
    }
    panel.choose(without(stacks, "metadata-only.csv", label=None))
    assert list(offered(panel)) == ["2-D pictures, no labels needed", "Metadata only (modality, anatomy)"]
    panel.choose(without(stacks, "no-anatomy.csv", "anatomy"))
    assert "Metadata only (modality, anatomy)" not in offered(panel), "the method needs both columns"


def test_metadata_that_say_the_same_of_all_are_no_metadata(panel, stacks):
    same = stacks.with_name("same.csv")
    same.write_text(stacks.read_text("utf-8").replace("US,breast", "CT,chest"), encoding="utf-8")
    panel.choose(same)
    assert list(offered(panel)) == ["2-D pictures, no labels needed", "Labeled 2-D pictures"]
    assert "modality: CT 16; anatomy: chest 16" in panel.ui.countsLabel.text


def test_choice_stays_where_it_fits_and_is_never_a_heading(panel, phantom, stacks):
    pick(panel, "spark")
    panel.choose(stacks)
    assert panel.ui.methodSelector.currentData == "spark"
    panel.choose(phantom)
    assert panel.ui.methodSelector.currentData == "spark"
    pick(panel, "maemc-generative")
    panel.choose(stacks)
    assert panel.ui.methodSelector.currentData == "cmae", "the first that fits"
    assert panel.ui.nameEdit.placeholderText == "cmae-tiny-1"
    assert panel.ui.startButton.enabled


def test_cache_of_pictures_is_counted_and_keeps_its_columns(panel, stacks, home, tmp_path):
    from MAEMCTrainingLib.data.sources import Source

    Source(stacks).build(tmp_path / "cache", home)
    panel.choose(tmp_path / "cache")
    assert panel.ui.countsLabel.text == "2-D pictures: 48 of 16 cases, 16 patients, 8 benign, 8 malignant"
    fitting = offered(panel)
    panel.choose(stacks)
    assert offered(panel) == fitting


def test_pictures_are_counted_in_one_line_and_metadata_in_another(panel, stacks):
    panel.choose(stacks)
    assert panel.ui.countsLabel.text.splitlines() == [
        "2-D pictures: 48 of 16 cases, 16 patients, 8 benign, 8 malignant",
        "modality: CT 12, US 4; anatomy: chest 12, breast 4",
    ]
    panel.choose(without(stacks, "plain.csv", "modality", "anatomy", label=None))
    assert panel.ui.countsLabel.text == "2-D pictures: 48 of 16 cases, 16 patients, no labels"


# What is said of each


def test_every_method_has_a_title_a_sentence_and_its_paper(panel):

    for name, entry in METHODS.items():
        pick(panel, name)
        text = panel.ui.methodTextLabel.text
        assert entry.sentence in text
        assert panel.ui.methodSelector.currentText == entry.title
        links = re.findall(r'href="(https://[^"]+)"', text)
        known = "arXiv:" in entry.source or "10." in entry.source
        assert bool(links) == known, name
        assert all(re.fullmatch(r"https://(arxiv\.org/abs/\d{4}\.\d{5}|doi\.org/10\.\S+\w)", link) for link in links)
    pick(panel, "simclr")
    assert 'href="https://arxiv.org/abs/2002.05709"' in panel.ui.methodTextLabel.text
    assert panel.ui.methodTextLabel.openExternalLinks


TRUTH = """
import dataclasses, json
from MAEMCLib.errors import UsageError
from MAEMCTrainingLib.pretraining.presets import pretraining_preset
from MAEMCTrainingLib.pretraining.registry import METHODS, default_settings
from MAEMCTrainingLib.pretraining.run import build_method

def takes(name, backbone):
    try:
        run = pretraining_preset("tiny", name, METHODS[name].inputs[-1], backbone)
        if run.settings.columns:
            run = dataclasses.replace(run, settings=dataclasses.replace(run.settings, classes=("a", "b")))
        build_method(run)
        return True
    except UsageError:
        return False

families = ("tiny", "resnet18", "convnextv2-atto")
print(json.dumps({
    "columns": default_settings("modan-mulsupcon").columns,
    "backbones": {name: [backbone for backbone in families if takes(name, backbone)] for name in METHODS},
}))
"""


def test_tables_of_the_panel_are_those_of_the_library(panel):
    """Slicer's process imports no torch: what the methods' files say is what their classes do."""
    from MAEMCTrainingPanel import dataset, methods

    done = subprocess.run([sys.executable, "-c", TRUTH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    truth = json.loads(done.stdout)
    assert tuple(truth["columns"]) == dataset.METADATA_COLUMNS
    one_of_each = ("tiny", "resnet18", "convnextv2-atto")
    offered = {name: [one for one in one_of_each if one in methods.backbones(name)] for name in METHODS}
    assert offered == truth["backbones"]


def test_backbones_follow_the_method_and_the_start(panel, phantom, stacks):
    def names():
        return [panel.ui.backboneSelector.itemText(index) for index in range(panel.ui.backboneSelector.count)]

    panel.choose(stacks)
    pick(panel, "spark")
    assert names() == ["The usual one", "resnet18", "resnet50"]
    panel.ui.backboneSelector.currentIndex = 2
    assert panel.widget.newTraining.request().backbone == "resnet50"
    pick(panel, "mae")
    assert names() == ["The usual one", "vit-large", "vit-base", "tiny", "slices"]
    assert panel.widget.newTraining.request().backbone == "", "what was chosen for another method is not kept"
    panel.ui.kindSelector.currentIndex = 1
    panel.run(0.02)
    assert {"resnet50", "swin", "vit-base"} < set(names())


def test_presets_say_what_is_true_of_the_method(panel):
    def presets():
        return [panel.ui.presetSelector.itemData(index) for index in range(panel.ui.presetSelector.count)]

    assert "paper-schedule" in presets()
    pick(panel, "swav")
    assert "paper-schedule" not in presets(), "its paper has one reading"
    assert "ViT-L" not in panel.ui.sentenceLabel.text
    pick(panel, "maemc")
    assert "paper-schedule" in presets()


# Real jobs on 2-D pictures


def started(panel, settings=SHORT):
    """Start what is chosen; the job's folder once it is finished."""
    before = panel.logic.selected
    panel.ui.settingsEdit.text = settings
    panel.ui.deviceSelector.currentIndex = panel.ui.deviceSelector.findData("cpu")
    panel.ui.startButton.click()
    panel.wait(lambda: panel.logic.selected != before, f"the job; {panel.logic.status}")
    job = panel.waitForStatus(panel.logic.selected, "finished", "failed")
    assert job.status == "finished", job.message
    return job


def test_pictures_are_learned_from_without_labels_then_classified(panel, stacks, phantom):
    panel.choose(stacks)
    pick(panel, "mae")
    first = started(panel)
    assert (first.folder.name, first.method, first.input) == ("mae-tiny-1", "mae", "picture")
    panel.wait(lambda: not panel.ui.previewLabel.isHidden(), "the preview")
    assert panel.ui.previewLabel.pixmap.width() > 100
    assert panel.ui.noPreviewLabel.isHidden()
    panel.ui.kindSelector.currentIndex = 1
    panel.wait(lambda: panel.ui.startFromSelector.findData(str(first.folder)) >= 0, "its encoder")
    assert not panel.ui.backboneSelector.enabled
    assert panel.ui.backboneSelector.currentText == "That of what it starts from"
    panel.ui.foldsSpinBox.value = 2
    panel.ui.protocolSelector.currentIndex = panel.ui.protocolSelector.findData("paper")
    second = started(panel)
    assert (second.kind, second.input) == ("finetune", "picture")
    panel.wait(lambda: panel.ui.metricsLabel.text.startswith("AUC"), "the metrics")
    assert "not for clinical use" in panel.ui.metricsLabel.text
    assert panel.ui.modelButton.text == "Use in MAEMC Nodule"
    assert panel.ui.noPreviewLabel.isHidden()
    # nodules in CT cannot go on from what pictures taught
    panel.choose(phantom)
    panel.ui.kindSelector.currentIndex = 1
    panel.run(0.05)
    assert panel.ui.startFromSelector.findData(str(first.folder)) < 0


@pytest.mark.parametrize(
    ("method", "status", "words"),
    [
        ("moco-v2", "finished", "MoCo v2 reconstructs no images, so there is no preview"),
        ("a method of tomorrow", "finished", ""),
        ("mae", "finished", ""),
    ],
)
def test_job_without_a_preview_says_why(panel, written_job, method, status, words):
    folder = written_job("job", status)
    settings = json.loads((folder / "job.json").read_text("utf-8"))
    settings |= {"configuration": {"method": method}, "preprocessing": {"view_share": 1.0}}
    (folder / "job.json").write_text(json.dumps(settings), encoding="utf-8")
    panel.wait(lambda: panel.job(folder) is not None and panel.job(folder).method == method, "the list")
    panel.run(0.1)
    assert panel.job(folder).input == "picture"
    assert panel.ui.noPreviewLabel.text.startswith(words)
    assert panel.ui.noPreviewLabel.isHidden() is not bool(words)
    assert panel.ui.previewLabel.isHidden()


def test_first_preview_is_announced(panel):
    from MAEMCTrainingPanel import jobview
    from MAEMCTrainingPanel.watching import JobEntry

    job = JobEntry(Path("job"), "pretrain", "running", 0.0, {}, method="spark")
    assert jobview.noPreviewText(job) == "The first preview comes after the first epoch."
    assert jobview.noPreviewText(dataclasses.replace(job, kind="finetune")) == ""
