"""The house as it stands: what lies where, what pip packages, where the documents' links lead."""

import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
DOCUMENTS = [path for path in REPOSITORY.rglob("*.md") if ".venv" not in path.parts and "build" not in path.parts]


@pytest.mark.parametrize("name", ["CMakeLists.txt", "LICENSE", "README.md", "pyproject.toml", "Makefile", ".ci/run"])
def test_a_newcomer_finds(name):
    assert (REPOSITORY / name).is_file()


@pytest.mark.parametrize("module", ["MAEMCNodule", "MAEMCTraining"])
def test_each_python_file_in_a_module_path_is_a_module(module):
    """Slicer takes every Python file of the folder for a module and asks it for a class of its own name."""
    files = list((REPOSITORY / module).glob("*.py"))
    assert [file.name for file in files] == [f"{module}.py"]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert file.stem in [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
        assert len(text.splitlines()) < 150, f"{file.name} is for metadata; the rest belongs into the panel's package"


def test_pip_packages_every_package():
    """A package that is not listed works in a development install and is missing from every other."""
    listed = PROJECT["tool"]["setuptools"]["packages"]
    found = []
    for name, folder in PROJECT["tool"]["setuptools"]["package-dir"].items():
        root = REPOSITORY / folder
        for file in root.rglob("*.py"):
            found.append(".".join([name, *file.parent.relative_to(root).parts]))
            assert (file.parent / "__init__.py").is_file(), f"{file.parent} has no __init__.py"
    data = list(PROJECT["tool"]["setuptools"]["package-data"])
    assert sorted(listed) == sorted({*found, *data})


@pytest.mark.parametrize(("name", "target"), PROJECT["project"]["scripts"].items())
def test_console_scripts_lead_to_functions(name, target):
    module, function = target.split(":")
    assert callable(getattr(importlib.import_module(module), function)), name


def test_version_is_told_once():
    import MAEMCLib

    assert PROJECT["project"]["version"] == MAEMCLib.__version__


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_of_documents_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text))
    local = [link.split("#")[0] for link in links if not re.match(r"[a-z]+:", link)]
    missing = [link for link in local if link and not (document.parent / link).exists()]
    assert missing == []


def test_readme_names_every_method_and_backbone():
    from MAEMCLib.networks.configuration import BACKBONES
    from MAEMCTrainingLib.experiments.registry import experiments
    from MAEMCTrainingLib.pretraining.registry import METHODS

    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    table = readme[readme.index("## The methods") :]
    assert not [name for name in (*METHODS, *BACKBONES) if f"`{name}`" not in table]
    guide = (REPOSITORY / "MAEMCTraining" / "README.md").read_text(encoding="utf-8")
    assert not [name for name in experiments() if f"`{name}`" not in guide]
