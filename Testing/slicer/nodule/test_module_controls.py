"""Every control that cannot be used says why, in each state that the panel is in."""

import pytest
import qt

KINDS = ("QAbstractButton", "QComboBox", "QLineEdit", "QAbstractSpinBox", "QSlider")


def mute(parent):
    """Names of the controls that are disabled and do not say why, themselves or what they are disabled with."""
    found = []
    for kind in KINDS:
        for one in parent.findChildren(kind):
            reasons, widget = [], one
            while widget is not None and not widget.enabled:
                reasons.append(widget.toolTip)
                widget = widget.parent()
            if reasons and one.visible and not any(text.endswith(".") for text in reasons):
                found.append(one.objectName or one.className())
    return found


@pytest.fixture
def panel(instant_panel, views):
    instant_panel.widget.parent.show()
    for name in ("clinicalScoresButton", "priorButton", "operatingPointsButton", "explanationButton", "moreButton"):
        getattr(instant_panel.ui, name).collapsed = False
    instant_panel.settle()
    return instant_panel


def test_without_a_ct_with_one_and_with_a_nodule(panel, add_ct):
    assert not panel.ui.placeButton.enabled and not panel.ui.exportButton.enabled
    assert mute(panel.widget.parent) == []
    add_ct()
    panel.settle()
    assert panel.ui.placeButton.enabled and mute(panel.widget.parent) == []
    panel.place((0, 0, 0))
    panel.settle()
    assert panel.ui.exportButton.enabled and mute(panel.widget.parent) == []
    panel.logic.edits.setLocked(panel.logic.shownAnalysis(), panel.parameters.selectedPoint, True)
    panel.settle()
    assert not panel.ui.removeButton.enabled and mute(panel.widget.parent) == []
    panel.ui.exportButton.click()
    panel.settle()
    assert mute(panel.widget.exportDialog.dialog) == []


def test_without_a_model(panel, monkeypatch, tmp_path):
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path))
    from MAEMCNodulePanel import controls

    controls.fillModels(panel.ui.modelSelector)
    assert not panel.ui.modelSelector.enabled and mute(panel.widget.parent) == []


def test_a_correction_of_nothing(panel):
    from MAEMCNodulePanel.correctiondialog import CorrectionDialog

    asked = CorrectionDialog()
    asked.dialog.show()
    assert mute(asked.dialog) == []
    assert not asked.ui.buttonBox.button(qt.QDialogButtonBox.Ok).enabled
    asked.boxes["probability"].checked = True
    assert asked.ui.percentSpinBox.enabled and asked.ui.buttonBox.button(qt.QDialogButtonBox.Ok).enabled
    asked.dialog.close()
