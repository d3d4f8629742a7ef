"""The module's form: what reviewers of the Extensions Index and translators look at."""

import ast
import dataclasses
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import slicer

FOLDER = Path(__file__).resolve().parents[3] / "MAEMCNodule"
SOURCES = sorted([FOLDER / "MAEMCNodule.py", *(FOLDER / "MAEMCNodulePanel").glob("*.py")])
WITH_QT = ("MAEMCNodule", "widget", "details", "drawing")
UI = FOLDER / "Resources" / "UI" / "MAEMCNodule.ui"
CALIBRATED = {"slope": 1.2, "intercept": 0.1, "calibrated": True}


def test_module_file_is_thin():
    assert len((FOLDER / "MAEMCNodule.py").read_text("utf-8").splitlines()) < 150
    assert all(len(source.read_text("utf-8").splitlines()) < 420 for source in SOURCES)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_texts_can_be_translated(source):
    """_() gets one literal string with named placeholders: neither an f-string nor a sum, which no translator sees."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
            assert len(node.args) == 1
            text = node.args[0]
            assert isinstance(text, ast.Constant) and isinstance(text.value, str), f"{source.name}:{node.lineno}"
            assert not re.search(r"\{\d*\}", text.value), f"{source.name}:{node.lineno}: placeholders have names"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_imports_at_file_scope(source):
    allowed = {"slicer", "qt", "ctk", "vtk", "numpy", "MAEMCLib", "MAEMCNodulePanel"}
    import sys

    for node in ast.parse(source.read_text("utf-8")).body:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        for name in names:
            top = name.split(".")[0]
            assert top in allowed or top in sys.stdlib_module_names, f"{source.name} imports {name}"
    if source.name in (
        "logic.py",
        "scoringqueue.py",
        "sceneobserver.py",
        "upkeep.py",
        "showing.py",
        "status.py",
        "modelchoice.py",
        "analysis.py",
        "nodes.py",
        "volumes.py",
        "clinicalvalues.py",
        "views.py",
    ):
        assert "import qt" not in source.read_text("utf-8"), "the logic knows no Qt"


def test_every_control_has_a_tooltip():
    controls = (
        "QPushButton",
        "QToolButton",
        "QCheckBox",
        "QComboBox",
        "QTableWidget",
        "qMRMLNodeComboBox",
        "ctkSliderWidget",
    )
    for path in UI.parent.glob("*.ui"):
        for widget in ElementTree.parse(path).iter("widget"):
            if widget.get("class") in controls:
                names = {prop.get("name") for prop in widget.findall("property")}
                assert "toolTip" in names, (path.name, widget.get("name"))


def test_disclaimer_is_always_there(panel):
    panel.widget.parent.show()
    panel.run(0.05)
    assert panel.ui.disclaimerLabel.visible
    assert panel.ui.disclaimerLabel.text == "Research only, not for clinical use."


def test_metadata(panel):
    assert panel.module.title == "MAEMC Nodule"
    assert panel.module.categories == ("Quantification",)
    assert "not for clinical use" in panel.module.helpText


def test_sample_data_is_offered_and_can_be_scored(panel):
    import hashlib
    import sys

    import SampleData

    module = sys.modules["MAEMCNodule"]
    module.registerSampleData()
    (source,) = slicer.modules.sampleDataSources.pop("MAEMC")
    algorithm, checksum = source.checksums[0].split(":")
    file = FOLDER / "Resources" / "SampleData" / source.fileNames[0]
    assert (algorithm, checksum) == ("SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    slicer.modules.sampleDataSources["MAEMC"] = [source]
    try:
        volume = SampleData.SampleDataLogic().downloadSample(module.SAMPLE_NAME)
    finally:
        del slicer.modules.sampleDataSources["MAEMC"]
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    points.AddControlPoint([103.2, -31.8, -74.5])  # as the registration's docstring says
    table = panel.logic.score(volume, points, timeout=300)
    assert table.GetTable().GetColumnByName("probability").GetValue(0) > 0
    voxels = slicer.util.arrayFromVolume(volume)
    assert voxels.shape == (76, 135, 135)
    assert "air" not in table.GetCellText(0, 5), "the point lies in the nodule"


def test_self_test_runs(panel):
    slicer.selfTests["MAEMCNodule"]()


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({}, "Malignancy probability as readers rate it, not calibrated"),
        ({"label_type": "rating"}, "Malignancy probability as readers rate it, not calibrated"),
        ({"label_type": "diagnosis"}, "Malignancy probability, not calibrated"),
        ({"calibration": CALIBRATED}, "Malignancy probability as readers rate it, calibrated"),
        ({"positive_class": "cyst"}, "Probability of cyst, not calibrated"),
        ({"classes": ["cyst", "myeloma", "metastasis"]}, "Probability of myeloma, not calibrated"),
    ],
)
def test_the_number_is_called_by_what_the_model_has_learned_from(scene, random_bundle, card, words):
    from MAEMCLib.models.bundle import read_card
    from MAEMCNodulePanel.resultwords import probabilityName

    known = read_card(random_bundle)
    stated = {name: value for name, value in card.items() if name != "calibration"}
    known = dataclasses.replace(known, values={**known.values, **card}, **stated)
    result = {"model_sha256": known.sha256, "class": "myeloma"}
    assert probabilityName(result, known) == words
    assert (
        probabilityName(result | {"model_sha256": "another"}, known) == probabilityName(result, None) == "Probability"
    )


def test_a_card_says_ratings_or_diagnoses_and_nothing_else(random_bundle):
    from MAEMCLib.models.bundle import read_card
    from MAEMCLib.models.card_contents import contents_problems

    values = read_card(random_bundle).values
    assert not list(contents_problems({**values, "label_type": "diagnosis"}))
    assert "label type" in next(contents_problems({**values, "label_type": "opinion"}))
