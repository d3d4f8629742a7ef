"""A fine-tuning that starts from ImageNet's weights: a file that the user brings, named in the panel or in a script."""

import json
import subprocess
import sys

import pytest
from MAEMCLib.errors import UsageError


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A file as timm's of resnet18 is; its values are drawn."""
    path = tmp_path_factory.mktemp("weights Ü") / "model.safetensors"
    code = (
        "import sys, timm, torch; from safetensors.torch import save_file; torch.manual_seed(5);"
        "save_file(timm.create_model('resnet18', pretrained=False).state_dict(), sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    return path


def start_from(panel, words):
    selector = panel.ui.startFromSelector
    selector.currentIndex = selector.findData(words)
    selector.activated.emit(selector.currentIndex)


def finetuning(panel, data):
    panel.choose(data)
    panel.ui.kindSelector.currentIndex = 1
    panel.ui.foldsSpinBox.value = 2
    panel.run(0.02)


def backbones(panel):
    return [panel.ui.backboneSelector.itemText(index) for index in range(panel.ui.backboneSelector.count)]


def test_file_is_asked_for_where_it_is_needed_and_nowhere_else(panel, stacks, weights, tmp_path):
    ui = panel.ui
    row = (ui.weightsLabel, ui.weightsPathEdit, ui.weightsTextLabel)
    panel.choose(stacks)
    assert all(widget.isHidden() for widget in row), "a pre-training"
    finetuning(panel, stacks)
    assert all(widget.isHidden() for widget in row), "random weights"
    assert "vit-large" in backbones(panel) and panel.ui.startButton.enabled
    start_from(panel, "imagenet")
    assert ui.startFromSelector.currentText == "ImageNet weights ..."
    assert not any(widget.isHidden() for widget in row)
    assert backbones(panel)[0] == "resnet18" and not {"The usual one", "vit-large", "tiny"} & set(backbones(panel))
    assert 'href="https://huggingface.co/timm/resnet18.a1_in1k"' in ui.weightsTextLabel.text
    assert not ui.startButton.enabled
    assert "model.safetensors of https://huggingface.co/timm/resnet18.a1_in1k" in ui.startButton.toolTip
    ui.backboneSelector.currentIndex = ui.backboneSelector.findData("convnextv2-atto")
    assert "timm/convnextv2_atto.fcmae_ft_in1k" in ui.weightsTextLabel.text
    assert "timm/convnextv2_atto.fcmae_ft_in1k" in ui.startButton.toolTip
    ui.weightsPathEdit.currentPath = str(tmp_path / "gone.safetensors")
    assert not ui.startButton.enabled and "There is no file" in ui.startButton.toolTip
    ui.weightsPathEdit.currentPath = str(weights)
    assert ui.startButton.enabled
    start_from(panel, "scratch")
    assert all(widget.isHidden() for widget in row) and ui.startButton.enabled
    assert "--weights" not in panel.widget.newTraining.request().command()[1]
    start_from(panel, "imagenet")
    ui.kindSelector.currentIndex = 0
    assert all(widget.isHidden() for widget in row)


def test_what_is_said_of_the_presets_is_true_of_a_backbone(panel, phantom):
    finetuning(panel, phantom)
    panel.ui.presetSelector.currentIndex = panel.ui.presetSelector.findData("default")
    assert "ViT-L" in panel.ui.sentenceLabel.text
    start_from(panel, "imagenet")
    assert "ViT-L" not in panel.ui.sentenceLabel.text


TRUTH = """
import json
from MAEMCLib.networks.backbones import imagenet_file
from MAEMCLib.networks.configuration import BACKBONES, BackboneConfiguration

backbones = [BackboneConfiguration(name, facts.nearest_side(224)) for name, facts in BACKBONES.items()]
print(json.dumps({one.backbone: imagenet_file(one) for one in backbones}))
"""


def test_pages_are_those_of_the_library(panel):
    """Slicer's process imports no timm, which knows them."""
    from MAEMCTrainingPanel import methods

    done = subprocess.run([sys.executable, "-c", TRUTH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    truth = json.loads(done.stdout)
    assert set(methods.IMAGENET_BACKBONES) == set(truth)
    for name, said in truth.items():
        assert f"model.safetensors of {methods.imagenetPage(name)} ({name} trained" in said


def test_request_is_understood_by_the_command_line(panel, weights, tmp_path, monkeypatch):
    from MAEMCTrainingLib.__main__ import _parser
    from MAEMCTrainingPanel.request import JobRequest

    monkeypatch.chdir(weights.parent)
    for backbone in ("", "resnet18"):
        request = JobRequest("finetune", "m.csv", backbone=backbone, startFrom="imagenet", weights=weights.name)
        options, rest = _parser().parse_known_args(request.command()[1])
        assert rest == []
        assert (options.start, options.weights, options.backbone) == ("imagenet", weights, backbone or None)


@pytest.mark.parametrize(
    ("backbone", "file", "words"),
    [
        ("resnet50", "", "model.safetensors of https://huggingface.co/timm/resnet50.a1_in1k. Nothing is fetched"),
        ("", "", "timm/resnet18.a1_in1k"),
        ("resnet18", "gone.safetensors", "There is no file gone.safetensors"),
        ("vit-large", "w", "There are no ImageNet weights of vit-large. Choose one of resnet18, resnet50"),
    ],
)
def test_script_that_names_no_file_is_refused(panel, stacks, tmp_path, backbone, file, words):
    with pytest.raises(UsageError, match=words):
        panel.logic.start("finetune", stacks, tmp_path / "job", startFrom="imagenet", backbone=backbone, weights=file)
    assert not (tmp_path / "job").exists()


@pytest.mark.soak
def test_a_real_job_from_the_panel_and_one_from_a_script(panel, stacks, weights, tmp_path):
    finetuning(panel, stacks)
    start_from(panel, "imagenet")
    panel.ui.weightsPathEdit.currentPath = str(weights)
    panel.ui.linearProbeCheckBox.checked = True
    panel.ui.deviceSelector.currentIndex = panel.ui.deviceSelector.findData("cpu")
    panel.ui.settingsEdit.text = "epochs=1 batch=8"
    panel.ui.startButton.click()
    panel.wait(lambda: panel.logic.selected is not None, f"the job; {panel.logic.status}")
    jobs = [panel.waitForStatus(panel.logic.selected, "finished", "failed")]
    choices = {"backbone": "resnet18", "weights": weights, "folds": 2, "linearProbe": True, "device": "cpu"}
    folder = panel.logic.start(
        "finetune", stacks, tmp_path / "job", startFrom="imagenet", **choices, settings="epochs=1"
    )
    jobs.append(panel.logic.wait(folder, 90))
    for job in jobs:
        assert job.status == "finished", job.message
        settings = json.loads((job.folder / "job.json").read_text("utf-8"))
        assert settings["from"] == "imagenet"
        assert settings["configuration"]["encoder"]["backbone"] == "resnet18"


def test_weights_of_another_network_fail_with_the_file_to_bring(panel, stacks, weights):
    finetuning(panel, stacks)
    start_from(panel, "imagenet")
    panel.ui.backboneSelector.currentIndex = panel.ui.backboneSelector.findData("resnet50")
    panel.ui.weightsPathEdit.currentPath = str(weights)
    panel.ui.startButton.click()
    panel.wait(lambda: panel.logic.selected is not None, "the job")
    job = panel.waitForStatus(panel.logic.selected, "failed")
    assert "does not hold the weights of timm's resnet50" in job.message
    assert "timm/resnet50.a1_in1k" in job.message
