"""Clinical scores in the panel: asked for once, kept with patient and nodule, computed as the library does."""

import shutil

import pytest
import qt
import slicer
from MAEMCLib.cases.values import ClinicalField
from MAEMCLib.clinical.scores import SCORES
from MAEMCLib.errors import UsageError

PATIENT = {"age": "65", "sex": "female", "risk": "high"}
NODULE = {"type": "solid", "long_mm": "8.4", "short_mm": "7.2", "upper_lobe": "yes"}


@pytest.fixture
def panel(instant_panel, views):
    return instant_panel


@pytest.fixture
def scored(panel, add_ct):
    """Two nodules of one CT, the section open, the CT an incidental one."""
    panel.widget.parent.show()
    add_ct(balls=((0, 0, 0), (25, 5, 0)))
    panel.settle()
    panel.place((-25, -5, 0), panel.place((0, 0, 0)))
    panel.settle()
    panel.ui.clinicalScoresButton.collapsed = False
    panel.settle()
    choose_setting(panel, "incidental")
    select(panel, 0)
    return panel


def choose_setting(panel, setting):
    """As a user does."""
    selector = panel.ui.settingSelector
    selector.currentIndex = selector.findData(setting)
    selector.emit("activated(int)", selector.currentIndex)
    panel.settle()


def select(panel, row):
    panel.ui.resultTable.selectRow(row)
    panel.settle()


def editor(panel, name):
    return next(one for one in panel.ui.scoreValuesFrame.findChildren("QWidget") if one.objectName == f"score_{name}")


def asked(panel):
    found = panel.ui.scoreValuesFrame.findChildren("QWidget")
    return {one.objectName.removeprefix("score_") for one in found if one.visible and one.objectName[:6] == "score_"}


def give(panel, **values):
    """Fill in the form as a user does."""
    for name, text in values.items():
        one = editor(panel, name)
        assert one.visible, name
        if isinstance(one, qt.QCheckBox):
            one.click()
        elif isinstance(one, qt.QComboBox):
            one.currentIndex = one.findData(text)
            one.emit("activated(int)", one.currentIndex)
        else:
            one.text = text
            one.emit("editingFinished()")
        panel.settle()


def text_of(panel, name):
    labels = panel.ui.scoreLinesFrame.findChildren("QLabel")
    return next(label.text for label in labels if label.objectName == f"scoreText_{name}")


def test_folded_at_first_and_the_setting_is_asked_before_anything_else(panel, add_ct):
    ui = panel.ui
    panel.widget.parent.show()
    add_ct()
    panel.settle()
    assert not ui.clinicalScoresButton.visible, "no nodule is selected"
    panel.place((0, 0, 0))
    panel.settle()
    assert ui.clinicalScoresButton.visible and ui.clinicalScoresButton.collapsed
    ui.clinicalScoresButton.collapsed = False
    panel.settle()
    assert ui.settingSelector.visible and ui.settingHintLabel.visible
    assert not (ui.scoreLinesFrame.visible or ui.scoreValuesFrame.visible or ui.examinationFrame.visible)
    choose_setting(panel, "screening")
    assert ui.settingSelector.currentText == "Lung cancer screening"
    assert ui.scoreLinesFrame.visible and not ui.settingHintLabel.visible
    assert text_of(panel, "fleischner").startswith("not applicable: It is not for screening")
    assert "context" in asked(panel) and "risk" not in asked(panel)
    choose_setting(panel, "incidental")
    assert text_of(panel, "lung-rads").startswith("not applicable: It is for screening")
    assert not {"context", "finding"} & asked(panel)


def test_each_line_says_the_library_s_number_or_what_it_needs(scored):
    panel = scored
    assert text_of(panel, "brock") == "needs age, sex, long axis, nodule type"
    assert text_of(panel, "herder") == "needs age, long axis, FDG uptake"
    assert not panel.ui.copySentenceButton.enabled and panel.ui.copySentenceButton.toolTip.startswith("There is no")
    give(panel, **{name: PATIENT[name] for name in ("age", "sex")}, type="solid", long_mm="8.4", short_mm="7.2")
    give(panel, risk="high", upper_lobe="yes", smoker="yes", uptake="faint")
    given = {**PATIENT, **NODULE, "smoker": True, "count": 2, "number": "multiple", "diameter_mm": 8.4}
    brock, mayo = SCORES["brock"].evaluate(given), SCORES["mayo"].evaluate(given)
    herder = SCORES["herder"].evaluate({"pretest": mayo.probability, "uptake": "faint"})
    for name, result in {"brock": brock, "mayo": mayo, "herder": herder}.items():
        assert text_of(panel, name) == f"{100 * result.probability:.1f} %, {result.category}"
    bts = SCORES["bts"].evaluate({**given, "probability": herder.probability})
    assert text_of(panel, "bts") == bts.category
    assert text_of(panel, "fleischner") == "multiple solid, >= 6 mm, high risk"
    labels = panel.ui.scoreLinesFrame.findChildren("QLabel")
    tips = {label.objectName: label.toolTip for label in labels}
    assert all(SCORES[name].source in tips[f"scoreTitle_{name}"] for name in ("brock", "va", "lung-rads", "bts"))


def test_the_examination_has_the_category_of_its_worst_nodule_and_a_sentence_to_copy(scored):
    panel = scored
    give(panel, age="65", sex="female", type="solid", long_mm="5", short_mm="4", risk="low")
    assert "1 of them without a category yet" in panel.ui.sentenceLabel.text
    select(panel, 1)
    assert editor(panel, "age").text == "65" and editor(panel, "risk").currentData == "low", "asked once"
    assert editor(panel, "long_mm").text == "" and editor(panel, "type").currentData == "", "each nodule has its own"
    give(panel, type="solid", long_mm="9", short_mm="8")
    select(panel, 0)
    assert text_of(panel, "fleischner") == "multiple solid, < 6 mm, low risk"
    text = panel.ui.examinationLabel.text
    assert text.endswith("multiple solid, >= 6 mm, low risk, from N2; 2 nodules, marked so far.")
    sentence = panel.ui.sentenceLabel.text
    assert "mean diameter 9 mm (9.0 x 8.0 mm)" in sentence and "Worst of 2 nodules, marked so far." in sentence
    panel.ui.copySentenceButton.click()
    assert qt.QApplication.clipboard().text() == sentence


def test_the_count_is_marked_so_far_until_it_is_confirmed_for_these_nodules(scored):
    panel = scored
    assert editor(panel, "count").placeholderText == "2, marked so far"
    give(panel, type="solid", long_mm="8", short_mm="7", risk="low", count_confirmed="")
    assert "confirmed by the reader" in panel.ui.examinationLabel.text
    panel.place((5, 20, 5), panel.parameters.points)
    panel.settle()
    assert not editor(panel, "count_confirmed").checked, "there is one more than was confirmed"
    assert editor(panel, "count").placeholderText == "3, marked so far"
    assert "3 nodules, marked so far" in panel.ui.examinationLabel.text
    give(panel, count="2")
    assert "as you say, but 3 are marked" in panel.ui.scoreProblemLabel.text
    give(panel, count="5")
    assert not panel.ui.scoreProblemLabel.visible


def test_what_cannot_be_is_named_with_its_range_and_nothing_is_computed_from_it(scored):
    panel = scored
    give(panel, age="650", long_mm="7", short_mm="8")
    assert "from 0 to 120 years" in panel.ui.scoreProblemLabel.text
    assert "age" in text_of(panel, "mayo")
    give(panel, age="65", type="solid", risk="low")
    assert not panel.ui.scoreProblemLabel.visible
    assert "The short axis (8 mm) is longer" in text_of(panel, "fleischner")


def test_what_a_type_asks_for_comes_and_goes(scored):
    panel = scored
    assert not {"solid_mm", "risk", "persistent", "quit_years"} & asked(panel)
    give(panel, type="part-solid", solid_mm="4", smoker="")
    assert {"persistent", "quit_years"} < asked(panel) and "risk" not in asked(panel)
    give(panel, type="solid")
    assert "risk" in asked(panel) and not {"solid_mm", "persistent"} & asked(panel)
    give(panel, type="part-solid")
    assert editor(panel, "solid_mm").text == "4", "what was typed is not lost"
    assert all(editor(panel, name).toolTip for name in asked(panel))


def test_the_row_s_diameter_stands_for_the_one_that_is_not_given(scored):
    panel = scored
    analysis = panel.logic.shownAnalysis()
    record = analysis.record("1")
    measured = {"long_axis_mm": 8.21, "short_axis_mm": 7.04, "mean_diameter_mm": 7.63, "diameter_error_mm": 1.6}
    record.result = {**record.result, **measured, "volume_mm3": 230.0, "mean_hu": 20.0, "mask_status": "whole"}
    analysis.setRecord("1", record)
    give(panel, age="65")
    assert (editor(panel, "long_mm").text, editor(panel, "long_mm").placeholderText) == ("", "8.2")
    found = SCORES["mayo"].evaluate({"age": 65, "diameter_mm": 8.2})
    assert text_of(panel, "mayo").startswith(f"{100 * found.probability:.1f} %")


def test_the_setting_is_that_of_its_own_ct(scored, add_ct):
    panel = scored
    first = panel.parameters.inputVolume
    second = add_ct("Another patient", seed=3)
    panel.parameters.inputVolume = second
    panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    assert panel.ui.settingSelector.currentData == "" and panel.ui.settingHintLabel.visible
    choose_setting(panel, "screening")
    panel.parameters.inputVolume = first
    panel.settle()
    assert panel.ui.settingSelector.currentData == "incidental" and panel.ui.scoreLinesFrame.visible
    panel.logic.setScoreValue(panel.logic.shownAnalysis(), panel.parameters.selectedPoint, "setting", "a wish")
    panel.settle()
    assert panel.ui.settingSelector.currentData == "", "what is no setting counts as none"


def test_scores_are_computed_once_for_a_nodule(scored, monkeypatch):
    from MAEMCLib.clinical.score import Score

    panel, asked, evaluate = scored, [], Score.evaluate
    panel.settle()

    def counted(score, given, edges=True):
        asked.append((score.name, given.get("long_mm")))
        return evaluate(score, given, edges)

    monkeypatch.setattr(Score, "evaluate", counted)
    give(panel, long_mm="8.4")
    own = [name for name, long in asked if long == "8.4"]
    assert sorted(own) == sorted(set(own)) and "fleischner" in own
    assert [name for name, long in asked if long is None] == ["fleischner"], "of the other nodule the guideline alone"


def test_values_are_saved_with_the_scene_and_go_with_their_nodule(scored, tmp_path):
    panel = scored
    give(panel, age="65", sex="female", type="solid", long_mm="8.4", short_mm="7.2", risk="high")
    before = text_of(panel, "brock"), panel.ui.sentenceLabel.text
    assert slicer.util.saveScene(str(tmp_path / "scores.mrb"))
    slicer.mrmlScene.Clear()
    panel.settle()
    assert not panel.ui.clinicalScoresButton.visible
    slicer.util.loadScene(str(tmp_path / "scores.mrb"))
    panel.settle()
    select(panel, 0)
    assert panel.ui.settingSelector.currentData == "incidental"
    assert (text_of(panel, "brock"), panel.ui.sentenceLabel.text) == before
    points, analysis = panel.parameters.points, panel.logic.shownAnalysis()
    table = analysis.tableNode
    given = [name for name in table.GetAttributeNames() if name.startswith("MAEMC.Given.")]
    assert len(given) == 1
    panel.ui.removeButton.click()
    panel.settle()
    assert points.GetNumberOfControlPoints() == 1 and not table.GetAttribute(given[0])
    assert editor(panel, "type").currentData == "" and editor(panel, "age").text == "65", "the patient is the same"
    assert editor(panel, "count").placeholderText == "1, marked so far"


def test_a_nodule_that_an_undo_brings_back_is_asked_for_anew(scored):
    panel = scored
    points, scene = panel.parameters.points, slicer.mrmlScene
    points.UndoEnabledOn()
    scene.SetUndoOn()
    give(panel, age="65", long_mm="8.4")
    try:
        scene.SaveStateForUndo()
        points.RemoveNthControlPoint(0)
        panel.settle()
        assert editor(panel, "count").placeholderText == "1, marked so far"
        scene.Undo()
        panel.settle()
    finally:
        scene.SetUndoOff()
        points.UndoEnabledOff()
    assert points.GetNumberOfControlPoints() == 2
    select(panel, 0)
    assert editor(panel, "count").placeholderText == "2, marked so far"
    assert editor(panel, "long_mm").text == "" and editor(panel, "age").text == "65"


def test_a_patient_s_values_never_stand_beside_another_ct(scored, add_ct):
    panel, one = scored, scored.parameters.inputVolume
    give(panel, age="65")
    panel.parameters.inputVolume = add_ct("Other", seed=3)
    panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    choose_setting(panel, "incidental")
    assert editor(panel, "age").text == "" and "age" in text_of(panel, "mayo")
    panel.parameters.inputVolume = one
    panel.settle()
    assert editor(panel, "age").text == "65"


def test_a_model_that_reads_the_same_value_scores_anew(scored, models, make_fusion_bundle):
    panel, target = scored, models / "models" / "aged.maemc"
    shutil.copy(make_fusion_bundle("aged", (ClinicalField("age", "number", "years", 41, 88),), ["axial"]), target)
    panel.parameters.scoreAtOnce = False
    panel.parameters.model = "aged@1.0"
    panel.settle()
    give(panel, sex="female")
    assert [record.state for record in panel.records()] == ["scored"] * 2, "the model does not read it"
    give(panel, age="65")
    assert [record.state for record in panel.records()] == ["waiting"] * 2
    assert panel.widget.clinicalForm._editors["age"].text == "65", "asked once"
    panel.parameters.model = ""
    target.unlink()


def test_scripts_give_values_by_the_fields_names(scored):
    panel, analysis = scored, scored.logic.shownAnalysis()
    panel.logic.setScoreValue(analysis, "1", "age", "70")
    panel.settle()
    assert editor(panel, "age").text == "70"
    with pytest.raises(UsageError, match=r"No clinical score asks for agee. They ask for .*age"):
        panel.logic.setScoreValue(analysis, "1", "agee", "70")
