"""The module's form: what reviewers of the Extensions Index and translators look at, and which way its arrows point."""

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = REPOSITORY / "MAEMCTraining"
SOURCES = sorted([FOLDER / "MAEMCTraining.py", *(FOLDER / "MAEMCTrainingPanel").glob("*.py")])
WITH_QT = ("widget.py", "jobview.py", "newtraining.py", "reductiondialog.py")
IN_A_THREAD = ("commands.py", "reducing.py", "watching.py")
FORMS = sorted((FOLDER / "Resources" / "UI").glob("*.ui"))


def imports(source):
    """(node, top-level name) of everything that a file imports anywhere; relative imports left out."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node, node.module.split(".")[0]


def test_module_file_is_thin():
    assert len((FOLDER / "MAEMCTraining.py").read_text("utf-8").splitlines()) < 150
    assert [path.name for path in FOLDER.glob("*.py")] == ["MAEMCTraining.py"], "Slicer takes each for a module"
    assert all(len(source.read_text("utf-8").splitlines()) < 400 for source in SOURCES)


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
def test_imports(source):
    ours = {"MAEMCLib", "MAEMCNodulePanel", "MAEMCTrainingLib", "MAEMCTrainingPanel"}
    slicers = {"slicer", "qt", "ctk", "vtk", "numpy"}
    for node, name in imports(source):
        assert name in ours | slicers or name in sys.stdlib_module_names, f"{source.name}:{node.lineno} {name}"
        assert name != "qt" or source.name in WITH_QT, f"{source.name}: only what is seen knows Qt"
        assert name not in slicers or source.name not in IN_A_THREAD, f"{source.name} runs beside the window"


def test_arrows_point_one_way():
    below = [*(REPOSITORY / "MAEMCNodule").rglob("*.py"), *(FOLDER / "MAEMCTrainingLib").rglob("*.py")]
    wrong = [path.name for path in below for _node, name in imports(path) if name == "MAEMCTrainingPanel"]
    wrong += [
        path.name
        for path in (REPOSITORY / "MAEMCNodule").rglob("*.py")
        for _node, name in imports(path)
        if name.startswith("MAEMCTraining")
    ]
    assert wrong == []


def test_every_control_has_a_tooltip():
    controls = ("QPushButton", "QCheckBox", "QComboBox", "QLineEdit", "QSpinBox", "QDoubleSpinBox", "QTableWidget")
    controls += ("ctkPathLineEdit",)
    widgets = [widget for form in FORMS for widget in ElementTree.parse(form).iter("widget")]
    widgets = [widget for widget in widgets if widget.get("class") in controls]
    assert len(widgets) > 25
    for widget in widgets:
        names = {prop.get("name") for prop in widget.findall("property")}
        assert "toolTip" in names, widget.get("name")


def test_disclaimer_is_always_there(panel):
    panel.widget.parent.show()
    panel.run(0.05)
    assert panel.ui.disclaimerLabel.visible
    assert panel.ui.disclaimerLabel.text == "Research only, not for clinical use."


def test_metadata(panel):
    assert panel.module.title == "MAEMC Training"
    assert panel.module.categories == ("Quantification",)
    assert panel.module.dependencies == ("MAEMCNodule",)
    assert "not for clinical use" in panel.module.helpText
    assert not panel.module.icon.isNull()


def test_texts_have_the_height_that_they_need_and_no_more(panel, phantom):
    label = panel.ui.countsLabel
    panel.widget.parent.show()
    panel.run(0.3)
    before = label.height
    panel.choose(phantom)
    panel.run(0.3)
    assert label.text.count("\n") == 1
    assert 2 * label.fontMetrics().height() - 4 <= label.height < before


def test_panel_is_as_narrow_as_slicers(panel, tmp_path):
    """Slicer's module panel is some 400 pixels wide; a long path or a long name may not ask for more."""
    panel.ui.dataPathEdit.currentPath = str(tmp_path / ("long" * 30) / "manifest.csv")
    panel.ui.moreButton.collapsed = False
    panel.widget.parent.show()
    panel.run(0.2)
    assert panel.widget.parent.minimumSizeHint.width() <= 420


def test_requirements_hold_all_that_training_imports():
    """Whatever a method, a report or an importer needs, *Install* installs; else a job would end in its midst."""
    lines = (FOLDER / "Resources" / "training-requirements.txt").read_text("utf-8").splitlines()
    listed = {re.match(r"[\w-]+", line)[0] for line in lines if line and not line.startswith("#")}
    names = {"sklearn": "scikit-learn", "PIL": "pillow"}
    of_slicer = {"numpy", "SimpleITK", "pydicom"}
    of_the_pytorch_extension = {"torch", "torchvision"}
    of_the_terminal = {"highdicom"}  # the extra `dicom`: no training writes DICOM results
    ours = {"MAEMCLib", "MAEMCTrainingLib"}
    libraries = (REPOSITORY / "MAEMCNodule" / "MAEMCLib", FOLDER / "MAEMCTrainingLib")
    sources = [source for library in libraries for source in library.rglob("*.py")]
    imported = {name for source in sources for _node, name in imports(source)}
    outside = imported - set(sys.stdlib_module_names) - ours - of_slicer - of_the_pytorch_extension - of_the_terminal
    assert {"timm", "sklearn", "scipy"} <= outside
    assert {names.get(name, name) for name in outside} <= listed
