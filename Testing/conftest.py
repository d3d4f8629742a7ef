"""Shared fixtures: where the real data lies, and a clean home for models."""

import gc
import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("MAEMC_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


def pytest_collection_modifyitems(items) -> None:
    """The tests that only ``make soak`` runs."""
    if not os.environ.get("MAEMC_SOAK"):
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.skip(reason="make soak runs it"))


def pytest_collection_finish() -> None:
    """What collecting has imported is no garbage: nobody has to look through it again and again."""
    gc.collect()
    gc.freeze()


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
def lidc_slabs() -> Path:
    """Folder of 2,020 real nodules, the native axial slices that meet each, with readers' masks and labels.csv."""
    return _data_folder("lidc-slabs")


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


def _card() -> dict:
    """The card of a model with random weights: everything that an exporter supplies."""
    return {
        "id": "random",
        "version": "1.0",
        "title": "Random weights",
        "architecture": {
            "encoder": {"patch_size": 50, "width": 32, "depth": 2, "heads": 4},
            "decoder": {"width": 16, "depth": 1, "heads": 4},
        },
        "preprocessing": {"mean": 0.25, "std": 0.3},
        "fusion": "mean",
        "classes": ["benign-like", "malignant-like"],
        "positive_class": "malignant-like",
        "thresholds": {"rule_out": 0.5, "balanced": 0.5, "rule_in": 0.5},
        "calibration": {"calibrated": False, "reason": "random weights", "slope": 1.0, "intercept": 0.0},
        "intended_use": "Tests only.",
    }


@pytest.fixture(scope="session")
def random_card() -> dict:
    return _card()


@pytest.fixture(scope="session")
def random_members():
    """Three classifiers and an autoencoder with seeded random weights, as members of a bundle."""
    from MAEMCLib.models.autoencoder import Autoencoder
    from MAEMCLib.models.bundle import Member
    from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
    from MAEMCLib.networks.heads.linear import LinearHead

    architecture = _card()["architecture"]
    encoder = EncoderConfiguration(**architecture["encoder"])
    members = [
        Member("classifier", f"classifier-{seed}", LinearHead(encoder, 2, seed=seed).state_dict()) for seed in range(3)
    ]
    autoencoder = Autoencoder(encoder, DecoderConfiguration(**architecture["decoder"]))
    return [*members, Member("decoder", "decoder", autoencoder.state_dict())]


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory, random_card, random_members) -> Path:
    """A sound ``.maemc`` file with random weights."""
    from MAEMCLib.models.bundle import save_bundle

    return save_bundle(tmp_path_factory.mktemp("models") / "random.maemc", random_card, random_members).path
