"""What tests of the core share: ``dicom_files``, a picture, a CT, small models of both, and the command."""

import sys
from pathlib import Path

import numpy as np
import pytest
from MAEMCLib.__main__ import main
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCLib.models.bundle import save_bundle
from PIL import Image

from Testing.core.picture_models import RESNET, VIT, card_of, members_of

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)


@pytest.fixture(scope="module")
def vit_bundle(tmp_path_factory, random_card):
    path = tmp_path_factory.mktemp("vit") / "vit.maemc"
    return save_bundle(path, card_of(random_card, VIT), members_of(VIT, 2)).path


@pytest.fixture(scope="module")
def resnet_bundle(tmp_path_factory, random_card):
    path = tmp_path_factory.mktemp("resnet") / "resnet.maemc"
    return save_bundle(path, card_of(random_card, RESNET), members_of(RESNET)).path


@pytest.fixture(scope="module")
def resnet_nodules(tmp_path_factory, random_card):
    """A model of nodules with a convolutional backbone and without an autoencoder."""
    encoder = {**RESNET, "image_size": 96}
    card = {**random_card, "architecture": {"encoder": encoder}}
    return save_bundle(tmp_path_factory.mktemp("nodules") / "n.maemc", card, members_of(encoder)).path


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "Bild ä 1.png"
    values = np.random.default_rng(0).integers(0, 255, (70, 90)).astype(np.uint8)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def ct(tmp_path):
    array = np.random.default_rng(0).integers(-1000, 300, (70, 70, 70)).astype(np.int16)
    write_volume(CTVolume(array, np.eye(4)), tmp_path / "ct.nrrd")
    return tmp_path / "ct.nrrd"


@pytest.fixture
def maemc(capfd):
    def run(*arguments):
        code = main([*(str(argument) for argument in arguments), "--device", "cpu"])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run
