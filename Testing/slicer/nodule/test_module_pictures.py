"""2-D pictures in Slicer: a loaded image, or the axial slice of a CT, is scored as the command line scores its file."""

import shutil

import numpy as np
import pytest
import slicer
from MAEMCLib.errors import InputError, UsageError
from PIL import Image


@pytest.fixture(scope="session")
def picture_bundle(tmp_path_factory, random_card, random_members):
    """A model of 2-D pictures with random weights, which sees the middle half of a picture."""
    import torch
    from MAEMCLib.models.bundle import Member, save_bundle
    from MAEMCLib.networks.configuration import EncoderConfiguration
    from MAEMCLib.networks.heads.linear import LinearHead

    encoder = {"image_size": 64, "patch_size": 16, "width": 16, "depth": 2, "heads": 2, "position": "2d"}
    card = random_card | {
        "id": "pictures",
        "input": "picture",
        "architecture": {"encoder": encoder},
        "preprocessing": {"image_size": 64, "mean": 0.4, "std": 0.3, "view_share": 0.5},
    }
    network = LinearHead(EncoderConfiguration(**encoder), 2, seed=3)
    with torch.no_grad():
        network.head.weight.mul_(30)
    path = tmp_path_factory.mktemp("pictures") / "pictures.maemc"
    return save_bundle(path, card, [Member("classifier", "classifier-0", network.state_dict())]).path


@pytest.fixture
def pictures(panel, models, picture_bundle):
    """The panel with the model of pictures chosen."""
    target = models / "models" / "pictures.maemc"
    shutil.copy(picture_bundle, target)
    panel.parameters.model = "pictures@1.0"
    panel.settle()
    yield panel
    panel.parameters.model = ""
    target.unlink()


def pixels(seed=0, shape=(90, 120)):
    rows, columns = np.indices(shape)
    image = 90 + 60 * np.sin(rows / (5 + seed)) + 50 * np.cos(columns / (7 + seed))
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture
def add_picture(scene):
    """``add_picture(name, array)`` adds an image of one slice to the scene, as Slicer does when it loads a PNG."""

    def add(name="Picture", array=None):
        array = pixels() if array is None else array
        kind = "vtkMRMLVectorVolumeNode" if array.ndim == 3 else "vtkMRMLScalarVolumeNode"
        return slicer.util.addVolumeFromArray(array[None], np.diag([-1.0, -1.0, 1.0, 1.0]), name, kind)

    return add


@pytest.fixture
def score_file(picture_bundle, tmp_path, capsys):
    """``score_file(array)``: the row that the command line gives for a PNG with these pixels."""
    import json

    from MAEMCLib.__main__ import main

    def score(array):
        Image.fromarray(array).save(tmp_path / "picture.png")
        capsys.readouterr()
        words = ["score", str(tmp_path / "picture.png"), "--model", str(picture_bundle), "--device", "cpu", "--json"]
        assert main(words) == 0
        return json.loads(capsys.readouterr().out)["nodules"][0]

    return score


def shown(panel):
    table = panel.ui.resultTable
    return [tuple(table.item(row, column).text() for column in (0, 1)) for row in range(table.rowCount)]


def map_nodes():
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node for node in nodes if node.GetAttribute("MAEMC.Overlay")]


@pytest.mark.parametrize("colored", [False, True], ids=["gray", "color"])
def test_a_loaded_image_is_scored_as_its_file_is(pictures, add_picture, score_file, colored):
    panel, array = pictures, pixels()
    if colored:
        array = np.stack([array, array[::-1], 255 - array], axis=-1)
    found = score_file(array)
    volume = add_picture("Sonogram", array)
    panel.settle()
    assert panel.parameters.inputVolume is volume
    assert (panel.ui.inputVolumeLabel.text, panel.ui.scoreButton.text) == ("Picture:", "Score picture")
    assert panel.ui.placeButton.isHidden() and panel.ui.scoreButton.enabled
    assert panel.ui.modelSelector.currentText == "pictures 1.0 - 2-D pictures, research only"
    panel.ui.scoreButton.click()
    panel.settle()
    assert shown(panel) == [("Picture", f"{found['probability']:.2f}")]
    record = panel.logic.shownAnalysis().record("picture")
    assert record.result["probability"] == pytest.approx(found["probability"], abs=1e-5)
    assert (record.result["gate"], record.result["warnings"]) == (found["gate"], found["warnings"])
    assert panel.ui.headlineLabel.text.startswith("Picture: ")


def test_its_map_lies_over_what_the_model_sees(pictures, add_picture):
    panel = pictures
    volume = add_picture("Picture", pixels())
    panel.settle()
    panel.ui.scoreButton.click()
    panel.settle()
    (node,) = map_nodes()
    assert node.GetAttribute("MAEMC.Overlay") == "attention" and "Picture" in node.GetName()
    values = slicer.util.arrayFromVolume(node)
    assert values.shape == (1, 64, 64) and values.min() >= 0 and values.max() <= 1.0
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    # the middle half of the square of 120 about an image of 120 x 90 pixels of 1 mm
    assert bounds[:4] == pytest.approx([-89.5, -29.5, -74.5, -14.5], abs=0.01)
    assert panel.parameters.overlay.value == "attention", "the one that there is"
    shownOver = {c.GetForegroundVolumeID() for c in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}
    assert node.GetID() in shownOver or not slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert volume.GetScene() is not None


def test_the_axial_slice_of_a_ct_is_scored(pictures, add_ct, slice_view, score_file):
    from MAEMCLib.images.ct import axial_slices
    from MAEMCNodulePanel.volumes import ctVolume

    red, panel = slice_view("Red"), pictures
    volume = add_ct("Chest")
    panel.settle()
    stack = axial_slices(ctVolume(volume))
    numbers = []
    for offset in (-12.0, 20.0):
        red.node.SetSliceOffset(offset)
        panel.ui.scoreButton.click()
        panel.settle()
        numbers.append(round(offset) + 45)
    found = [f"{score_file(stack[number])['probability']:.2f}" for number in numbers]
    assert sorted(shown(panel)) == sorted(zip(("Slice I 12.0 mm", "Slice S 20.0 mm"), found, strict=True))
    panel.ui.resultTable.selectRow([name for name, _number in shown(panel)].index("Slice I 12.0 mm"))
    assert red.node.GetSliceOffset() == pytest.approx(-12.0, abs=0.6), "its row goes to it"


def test_the_number_goes_with_its_pixels(pictures, add_picture, score_file):
    """Never beside another picture than the one that was scored."""
    panel = pictures
    first = add_picture("First", pixels())
    panel.settle()
    panel.ui.scoreButton.click()
    panel.settle()
    number = shown(panel)[0][1]
    second = add_picture("Second", pixels(2))
    panel.parameters.inputVolume = second
    panel.settle()
    assert shown(panel) == []
    panel.parameters.inputVolume = first
    panel.settle()
    assert shown(panel) == [("Picture", number)] and panel.ui.headlineLabel.text.startswith(f"Picture: {number}")
    panel.ui.scoreAtOnceCheckBox.checked = False
    slicer.util.updateVolumeFromArray(first, pixels(3)[None])
    panel.settle()
    assert shown(panel) == [("Picture", "")] and panel.logic.shownAnalysis().record("picture").result is None
    panel.ui.scoreButton.click()
    panel.settle()
    assert shown(panel) == [("Picture", f"{score_file(pixels(3))['probability']:.2f}")]
    panel.ui.removeButton.click()
    panel.settle()
    assert shown(panel) == [] and map_nodes() == []


def test_a_saved_scene_reopens_with_it_and_computes_nothing(pictures, add_picture, tmp_path):
    panel = pictures
    add_picture()
    panel.settle()
    panel.ui.scoreButton.click()
    panel.settle()
    before, sent = shown(panel), panel.logic.worker.sent
    assert slicer.util.saveScene(str(tmp_path / "picture.mrb"))
    slicer.mrmlScene.Clear()
    panel.settle()
    slicer.util.loadScene(str(tmp_path / "picture.mrb"))
    panel.settle()
    assert shown(panel) == before and panel.logic.worker.sent == sent


def test_what_cannot_be_scored_is_said(pictures, add_picture, add_ct, picture_bundle):
    panel = pictures
    flat = add_picture("Empty page", np.full((40, 40), 7, np.uint8))
    panel.settle()
    panel.ui.scoreButton.click()
    panel.settle()
    assert "one gray value only" in panel.logic.shownAnalysis().record("picture").message
    mr = slicer.util.addVolumeFromArray(np.random.default_rng(0).integers(0, 900, (20, 30, 30)).astype(np.int16))
    with pytest.raises(InputError, match="does not look like a chest CT"):
        panel.logic.scorePicture(mr)
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    points.AddControlPoint([0, 0, 0])
    with pytest.raises(UsageError, match="scores 2-D pictures, not nodules"):
        panel.logic.score(add_ct(), points)
    panel.parameters.model = "random@1.0"
    with pytest.raises(UsageError, match="scores nodules in a CT"):
        panel.logic.scorePicture(flat)


def test_nodules_and_pictures_of_one_ct_keep_their_rows(pictures, add_ct):
    panel = pictures
    volume = add_ct()
    panel.settle()
    panel.ui.scoreButton.click()
    panel.settle()
    pictured = shown(panel)
    panel.parameters.model = "random@1.0"
    panel.settle()
    assert shown(panel) == [] and panel.ui.scoreButton.text == "Score"
    panel.place((0, 0, 0))
    panel.settle()
    noduled = shown(panel)
    assert noduled[0][0] == "N1" and volume.GetScene() is not None
    panel.parameters.model = "pictures@1.0"
    panel.settle()
    assert shown(panel) == pictured
    panel.parameters.model = "random@1.0"
    panel.settle()
    assert shown(panel) == noduled
