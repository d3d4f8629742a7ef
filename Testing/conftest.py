"""Shared fixtures: where the real data lies, and a clean home for models."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("MAEMC_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


def _data_folder(name: str) -> Path:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"real data not found: {folder} (set MAEMC_TEST_DATA to the folder that holds {name})")
    return folder


@pytest.fixture(scope="session")
def lidc_cubes() -> Path:
    """Folder of 90 real nodules, 51 mm cubes at 1 mm, with masks and labels.csv."""
    return _data_folder("lidc-cubes")


@pytest.fixture(scope="session")
def lidc_slices() -> Path:
    """Folder of real axial nodule slices (8-bit PNG in a tar) with labels.csv."""
    return _data_folder("lidc-slices")


@pytest.fixture(autouse=True)
def maemc_home(tmp_path_factory, monkeypatch) -> Path:
    """Every test has its own MAEMC_HOME, so that no test reads or writes the user's models."""
    home = tmp_path_factory.mktemp("maemc-home")
    monkeypatch.setenv("MAEMC_HOME", str(home))
    return home
