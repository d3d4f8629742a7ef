"""The fold "Alike": words, pictures and ratings of the training nodules most alike, with a real worker."""

import json
import shutil

import numpy as np
import pytest
from MAEMCLib.models.beside import training_nodules
from MAEMCLib.models.bundle import ModelBundle, save_bundle

from Testing.core.beside_bundles import beside_card, beside_members


@pytest.fixture
def models(tmp_path, random_card, random_members, random_bundle, monkeypatch):
    """A home with a model that tells something beside its number, and one that does not."""
    from MAEMCLib.models import store as model_store

    (tmp_path / "models").mkdir()
    card = beside_card(random_card, id="beside")
    save_bundle(tmp_path / "models" / "beside.maemc", card, beside_members(random_members))
    shutil.copy(random_bundle, tmp_path / "models" / "random.maemc")
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path))
    monkeypatch.setattr(model_store, "shipped_folder", lambda: None)
    return tmp_path


@pytest.fixture
def scored(panel, add_ct):
    """The panel with a nodule that the model "beside" has scored; the fold is closed."""
    panel.widget.parent.show()
    panel.parameters.model = "beside@1.0"
    add_ct(balls=((20, 10, 0),))
    panel.settle()
    panel.place((-20, -10, 0))
    panel.settle()
    return panel


def texts(panel):
    return [panel.ui.alikeFrame.findChild("QLabel", f"alikeText_{number}") for number in range(3)]


def pictures(panel):
    labels = [panel.ui.alikeFrame.findChild("QLabel", f"alikePicture_{number}") for number in range(3)]
    return [label.pixmap for label in labels]


def gray(pixmap):
    image = pixmap.toImage().scaled(50, 50)
    return np.array([[image.pixelColor(x, y).red() for x in range(50)] for y in range(50)], float)


def shown(pixmap):
    return pixmap is not None and not pixmap.isNull()


def test_the_fold_is_closed_and_asks_for_nothing_until_it_is_opened(scored):
    assert scored.ui.alikeButton.visible and scored.ui.alikeButton.collapsed
    sent = scored.logic.worker.sent
    scored.run(0.2)
    assert scored.logic.worker.sent == sent
    scored.ui.alikeButton.collapsed = False
    scored.settle()
    assert scored.logic.worker.sent == sent + 1, "asked once"
    scored.ui.alikeButton.collapsed = True
    scored.ui.alikeButton.collapsed = False
    scored.settle()
    assert scored.logic.worker.sent == sent + 1


def test_words_pictures_and_ratings_are_those_of_the_row(scored, models):
    scored.ui.alikeButton.collapsed = False
    scored.settle()
    (record,) = scored.records()
    result = record.result
    assert result["characteristics"]["lobulation"]["word"] in scored.ui.alikeWordsLabel.text
    assert "texture" not in scored.ui.alikeWordsLabel.text
    assert "Whose pictures: ours." in scored.ui.alikeNoteLabel.text and "no diagnosis" in scored.ui.alikeNoteLabel.text
    nodules = training_nodules(ModelBundle.open(models / "models" / "beside.maemc"))
    assert len(result["alike"]) == 3
    for one, label, picture in zip(result["alike"], texts(scored), pictures(scored), strict=True):
        assert f"alike {one['similarity']:.2f}" in label.text
        for name, given in one["ratings"].items():
            assert f"{name} {' '.join(map(str, given))}" in label.text
        expected = nodules.picture(one["number"]).astype(float)
        assert np.corrcoef(gray(picture).ravel(), expected.ravel())[0, 1] > 0.8


def test_another_model_tells_nothing_and_the_fold_is_gone(scored):
    scored.ui.alikeButton.collapsed = False
    scored.settle()
    scored.parameters.model = "random@1.0"
    scored.settle()
    scored.ui.scoreButton.click()
    scored.settle()
    (record,) = scored.records()
    assert record.result["model_id"] == "random" and not record.result["alike"]
    assert not scored.ui.alikeButton.visible


def test_what_is_told_is_hidden_with_the_number(panel, add_ct, tmp_path):
    panel.widget.parent.show()
    panel.parameters.model = "beside@1.0"
    boxes = panel.widget.parent.findChildren("QCheckBox")
    next(box for box in boxes if box.objectName == "readerFirstCheckBox").click()
    add_ct(balls=((20, 10, 0),))
    panel.settle()
    panel.place((-20, -10, 0))
    panel.settle()
    (record,) = panel.records()
    assert record.result["alike"] and not panel.ui.alikeButton.visible
    _csv, document = panel.logic.exportResults(panel.logic.analyses()[0], tmp_path)
    (row,) = json.loads(document.read_text())["nodules"]
    assert row["alike"] == [] and row["characteristics"] is None


def test_a_saved_row_still_has_its_nodules(scored):
    (record,) = scored.records()
    again = json.loads(json.dumps(record.result))
    assert again["alike"] == record.result["alike"]
