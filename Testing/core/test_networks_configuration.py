"""The presets are the published sizes, and impossible shapes are refused with a message."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from MAEMCLib.errors import ModelError
from MAEMCLib.networks.configuration import PRESETS, DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.heads.linear import LinearHead
from MAEMCLib.networks.vit import Decoder


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_vit_large_has_the_published_size():
    encoder, decoder = PRESETS["vit-large"]
    assert (encoder.tokens, encoder.grid, encoder.patch_pixels) == (25, 5, 2500)
    with torch.device("meta"):
        classifier = LinearHead(encoder, classes=2)
        reconstruction = Decoder(encoder, decoder)
    assert all(parameter.is_meta for parameter in classifier.parameters())
    assert round(parameters(classifier) / 1e6, 1) == 304.9
    # 331.9 million of a masked autoencoder with this encoder, the 26 x (1024 + 512) position values counted or not.
    assert round((parameters(classifier.encoder) + parameters(reconstruction)) / 1e6, 1) == 331.9


def test_tiny_stays_small_enough_to_ship():
    encoder, decoder = PRESETS["tiny"]
    with torch.device("meta"):
        classifier = parameters(LinearHead(encoder))
        reconstruction = parameters(Decoder(encoder, decoder))
    # Five fold members, and encoder, momentum encoder and decoder for reconstructions, in float32.
    assert 4 * (5 * classifier + 2 * classifier + reconstruction) < 25e6


@pytest.mark.parametrize("preset", PRESETS)
def test_configurations_survive_json(preset):
    encoder, decoder = PRESETS[preset]
    assert EncoderConfiguration(**json.loads(json.dumps(dataclasses.asdict(encoder)))) == encoder
    assert DecoderConfiguration(**json.loads(json.dumps(dataclasses.asdict(decoder)))) == decoder


@pytest.mark.parametrize(
    "changes",
    [
        {"patch_size": 60},
        {"patch_size": 0},
        {"image_size": 250.0},
        {"width": 1000},
        {"width": "1024"},
        {"depth": True},
        {"mlp_ratio": 0},
        {"mlp_ratio": "4"},
        {"position": "learned"},
        {"width": 33, "heads": 3},
        {"width": 34, "heads": 17, "position": "2d"},
        {"width": 36, "heads": 6, "position": "3d"},
        {"patch_size": 125, "position": "3d"},
    ],
)
def test_impossible_encoders_are_refused(changes):
    with pytest.raises(ModelError) as refusal:
        EncoderConfiguration(**changes)
    assert refusal.value.code == "architecture"


@pytest.mark.parametrize("changes", [{"width": 500}, {"depth": -1}, {"heads": 0}, {"width": 34, "heads": 2}])
def test_impossible_decoders_are_refused(changes):
    with pytest.raises(ModelError):
        DecoderConfiguration(**changes)


def test_configuration_imports_without_torch():
    code = "import sys; import MAEMCLib.networks.configuration; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
