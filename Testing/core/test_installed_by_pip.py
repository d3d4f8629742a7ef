"""What pip installs holds the shipped model, wherever it puts the library: a real wheel, in a folder of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def target(tmp_path_factory) -> Path:
    """The folder that ``pip install --target`` filled from a wheel of this checkout; nothing is fetched."""
    pytest.importorskip("setuptools", minversion="77")
    place = tmp_path_factory.mktemp("pip")
    source = place / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    for name in ("MAEMCNodule", "MAEMCTraining", "Resources/Models"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--version"], capture_output=True).returncode:
        pytest.skip("this Python has no pip")
    run([*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(place), str(source)])
    (wheel,) = place.glob("*.whl")
    run([*pip, "install", "-q", "--no-deps", "--no-index", "--target", str(place / "target"), str(wheel)])
    return place / "target"


def run(command, **options) -> str:
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_shipped_model_is_found_and_is_the_one_that_was_released(target, tmp_path):
    code = "from MAEMCLib.models.bundle import ModelBundle; from MAEMCLib.models.store import SHIPPED, find_model; "
    code += "b = ModelBundle.open(find_model()); print(b.path, b.card.sha256 in SHIPPED.values())"
    environment = {**os.environ, "PYTHONPATH": str(target), "MAEMC_HOME": str(tmp_path)}
    said = run([sys.executable, "-c", code], env=environment, cwd=tmp_path)
    assert said.split() == [str(target / "MAEMCLib" / "shipped" / "lidc-rating.maemc"), "True"]


def test_there_is_one_copy_of_it(target):
    assert len(list(target.rglob("*.maemc"))) == 1
    assert not (target / "share").exists()
