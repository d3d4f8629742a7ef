"""The panel asks for what a fusion model reads beside the CT, keeps it with the CT, and scores with it."""

import shutil

import pytest
import slicer
from MAEMCLib.cases.values import ClinicalField, read_values
from MAEMCLib.errors import UsageError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.region import cut_roi
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.models.reference_case import open_predictor

ASKED = (
    ClinicalField("age", "number", "years", 41, 88),
    ClinicalField("sex", "choice", choices=("female", "male")),
    ClinicalField("packs", "number", low=0, high=60, optional=True),
    ClinicalField("second", "series", optional=True),
)


@pytest.fixture(scope="session")
def fusion_bundle(make_fusion_bundle):
    return make_fusion_bundle("fused", ASKED, ["axial", "second"])


@pytest.fixture
def fused(panel, models, fusion_bundle):
    """The panel with the fusion model chosen."""
    target = models / "models" / "fused.maemc"
    shutil.copy(fusion_bundle, target)
    panel.parameters.model = "fused@1.0"
    panel.settle()
    yield panel
    panel.parameters.model = ""
    target.unlink()


def fill(panel, age, sex):
    form = panel.widget.clinicalForm
    form._editors["age"].text = age
    form._editors["age"].emit("editingFinished()")
    combo = form._editors["sex"]
    combo.currentIndex = combo.findData(sex)
    combo.emit("activated(int)", combo.currentIndex)


def expected(fusion_bundle, lung_voxels, lung_matrix, **given):
    import numpy as np

    voxels, flip = lung_voxels(), np.diag([-1.0, -1.0, 1.0, 1.0])
    roi = cut_roi(CTVolume(voxels, flip @ lung_matrix(voxels.shape)), (0, 0, 0))
    case = Prepared(roi, read_values(given, ASKED, "m"))
    return open_predictor(ModelBundle.open(fusion_bundle), "cpu").predict([case])[0]


def test_the_form_is_there_for_models_that_ask(fused, add_ct):
    panel = fused
    panel.widget.parent.show()
    add_ct()
    panel.settle()
    form = panel.widget.clinicalForm
    assert panel.ui.clinicalFrame.visible and panel.ui.clinicalFrame.enabled
    assert list(form._editors) == ["age", "sex", "packs", "second"]
    assert form._editors["age"].placeholderText == "41 to 88"
    assert all(editor.toolTip for editor in form._editors.values())
    panel.parameters.model = "random@1.0"
    panel.settle()
    assert not panel.ui.clinicalFrame.visible and form._editors == {}


def test_a_nodule_waits_for_what_is_missing_and_is_scored_when_it_is_there(
    fused, add_ct, fusion_bundle, lung_voxels, lung_matrix
):
    panel = fused
    add_ct()
    panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    (record,) = panel.records()
    assert record.state == "waiting"
    assert record.message == "The model also asks for age (years, 41 to 88), sex (female or male)."
    fill(panel, "70", "male")
    panel.settle()
    (record,) = panel.records()
    found = expected(fusion_bundle, lung_voxels, lung_matrix, age=70, sex="male")
    assert record.state == "scored"
    assert record.result["class_probabilities"] == pytest.approx(found.class_probabilities, abs=1e-4)
    assert record.result["class"] == max(found.class_probabilities, key=found.class_probabilities.get)
    assert record.result["clinical"] == {"age": 70.0, "sex": "male", "packs": None, "second": None}
    assert "packs was not given" in panel.ui.findingsLabel.text
    every = record.result["class_probabilities"]
    assert all(f"{name} {every[name]:.2f}" in panel.ui.headlineLabel.text for name in every)
    # Another age: the number is not true any more, and a new one comes.
    fill(panel, "45", "male")
    panel.settle()
    (record,) = panel.records()
    assert record.result["clinical"]["age"] == 45.0
    assert record.result["probability"] != pytest.approx(found.probability, abs=1e-6)


def test_what_is_wrong_is_said_in_the_row(fused, add_ct):
    panel = fused
    add_ct()
    panel.settle()
    fill(panel, "old", "male")
    panel.place((0, 0, 0))
    panel.settle()
    (record,) = panel.records()
    assert record.state == "failed" and "age is 'old', but it has to be a number in years" in record.message
    fill(panel, "99", "male")
    panel.settle()
    (record,) = panel.records()
    assert record.state == "scored" and record.result["gate"] == "amber"
    assert "age is 99 years; the model knows 41 to 88." in panel.ui.findingsLabel.text


def test_values_belong_to_their_ct(fused, add_ct, clinical_texts):
    panel = fused
    one, other = add_ct("one"), add_ct("other", seed=3)
    panel.parameters.inputVolume = one
    panel.settle()
    fill(panel, "70", "female")
    panel.settle()
    form = panel.widget.clinicalForm
    assert clinical_texts(form) == {"age": "70", "sex": "female"}
    panel.parameters.inputVolume = other
    panel.settle()
    assert clinical_texts(form) == {}, "another patient's values never stand beside a CT"
    panel.parameters.inputVolume = one
    panel.settle()
    assert clinical_texts(form) == {"age": "70", "sex": "female"}
    assert form._editors["sex"].currentText == "female"


def test_scripts_give_the_values_by_name(fused, add_ct, fusion_bundle, lung_voxels, lung_matrix):
    import slicer

    panel, volume = fused, add_ct()
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    points.AddControlPoint([0, 0, 0])
    panel.logic.setClinical(volume, {"age": 55, "sex": "female"})
    table = panel.logic.score(volume, points, timeout=300)
    found = expected(fusion_bundle, lung_voxels, lung_matrix, age=55, sex="female")
    assert table.GetTable().GetColumnByName("probability").GetValue(0) == pytest.approx(found.probability, abs=1e-4)
    with pytest.raises(UsageError, match="Did you mean age"):
        panel.logic.setClinical(volume, {"agee": 55})


def test_any_name_that_a_column_may_have_is_kept(add_ct, tmp_path):
    """A scene file writes roles in one line, with marks between them."""
    from MAEMCNodulePanel.clinicalvalues import clinicalOf, seriesOf, setClinical

    names = ["image 2; 5 mm", 'späte "Phase" <3>', "a%20b"]
    asked = [ClinicalField(name, "series") for name in names]
    volume, series = add_ct("Chest"), [add_ct(f"Series {number}") for number in range(3)]
    setClinical(volume, dict(zip(names, (node.GetID() for node in series), strict=True)), asked)
    assert seriesOf(volume, ["IMAGE 2; 5 mm"]) == {"IMAGE 2; 5 mm": series[0]}, "names are told apart without case"
    assert slicer.util.saveScene(str(tmp_path / "names.mrb"))
    slicer.mrmlScene.Clear()
    slicer.util.loadScene(str(tmp_path / "names.mrb"))
    volume = slicer.util.getNode("Chest")
    found = {name: slicer.mrmlScene.GetNodeByID(i).GetName() for name, i in clinicalOf(volume, asked).items()}
    assert found == {name: f"Series {number}" for number, name in enumerate(names)}
    setClinical(volume, {"age": "63"}, ASKED[:1])
    setClinical(volume, {}, asked[:1])
    assert list(clinicalOf(volume, asked)) == names[1:], "what other models ask for stays"
    assert clinicalOf(volume, ASKED) == {"age": "63"}
