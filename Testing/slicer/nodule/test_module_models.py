"""The menu of models: import, remove, what a model is for, the folder; what is disabled says why."""

import shutil

import pytest
import slicer


@pytest.fixture
def other_bundle(tmp_path, random_bundle, random_card, random_members):
    from MAEMCLib.models.bundle import save_bundle

    card = random_card | {"id": "other", "licence": "CC BY 3.0"}
    return save_bundle(tmp_path / "other.maemc", card, random_members).path


def entries(panel):
    panel.widget.modelsMenu.fill()
    return list(panel.widget.modelsMenu.menu.actions())


def named(panel, beginning):
    return next(action for action in entries(panel) if action.text.startswith(beginning))


def test_a_model_is_imported_chosen_described_and_removed(panel, models, other_bundle, caplog, monkeypatch):
    caplog.set_level("INFO")
    asked = []
    panel.widget.modelsMenu.importFile(str(other_bundle))
    panel.settle()
    try:
        assert panel.parameters.model == "other@1.0", panel.logic.status
        assert panel.ui.modelSelector.currentText.startswith("other 1.0")
        assert "unverified" in panel.ui.statusLabel.text or "reference case" in panel.ui.statusLabel.text
        named(panel, "Intended use").trigger()
        assert "CC BY 3.0" in caplog.text, "without a main window Slicer logs what it would show"
    finally:
        monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda *words: asked.append(words) or True)
        named(panel, "Remove other").trigger()
    panel.settle()
    assert len(asked) == 1 and "Its results stay." in asked[0][0]
    assert panel.parameters.model == "" and panel.ui.modelSelector.currentText.startswith("random 1.0")
    assert len(list((models / "models").iterdir())) == 1


def test_a_damaged_file_is_refused_with_the_reason(panel, tmp_path, other_bundle):
    broken = tmp_path / "broken.maemc"
    shutil.copy(other_bundle, broken)
    data = bytearray(broken.read_bytes())
    data[len(data) // 2] ^= 255
    broken.write_bytes(bytes(data))
    panel.widget.modelsMenu.importFile(str(broken))
    panel.settle()
    assert panel.logic.status.kind == "error" and panel.logic.status.text
    assert panel.parameters.model == ""


def test_what_cannot_be_done_says_why(panel, models):
    panel.parameters.model = "gone@1.0"
    panel.settle()
    remove = named(panel, "Remove")
    assert not remove.enabled and "No model is chosen" in remove.toolTip
    assert named(panel, "Import").enabled and named(panel, "Open the folder").enabled
