"""The previews of a pre-training, read back from their pixels."""

import numpy as np
import pytest
import torch
from MAEMCLib.errors import InputError
from MAEMCLib.inputs.nodule import Preprocessing
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCTrainingLib.pretraining.methods.maemc import MAEMC, Configuration
from MAEMCTrainingLib.pretraining.preview import MASK_COLOR, reconstruct_pair, write_preview
from PIL import Image

PREPROCESSING = Preprocessing(mean=0.3, std=0.2)
COLOR = np.array([int(MASK_COLOR[i : i + 2], 16) for i in (1, 3, 5)])


@pytest.fixture(scope="module")
def module():
    encoder = EncoderConfiguration(patch_size=25, width=16, depth=1, heads=2, position="3d")
    return MAEMC(Configuration(queue_size=4), encoder, DecoderConfiguration(width=16, depth=1, heads=2), 0)


@pytest.fixture(scope="module")
def pair():
    """Gray values within the window and off its ends: white and the border of the picture are not to be confused."""
    draws = np.random.default_rng(0)
    waves = np.sin(np.arange(250) / 7)[:, None] * np.sin(np.arange(250) / 11)
    return (1.0 + waves + draws.normal(0, 0.1, (2, 250, 250))).astype(np.float32)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(1).random((2, 100), dtype=np.float32)


def panels(path):
    """[plane][column] the pixels of each montage, found between the white gaps."""
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    inside = (picture < 250).any(axis=2)

    def runs(share):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], share > 0.5, [0]]).astype(int)))
        return [(a, b) for a, b in edges.reshape(-1, 2) if b - a > 200]

    rows, columns = runs(inside.mean(axis=1)), runs(inside.mean(axis=0))
    assert len(rows) == 2 and len(columns) == 3
    return [[picture[a:b, c:d] for c, d in columns] for a, b in rows]


def test_preview(module, pair, noise, tmp_path):
    path = tmp_path / "epoch-0010.png"
    module.train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = torch.random.get_rng_state()
    write_preview(module, pair, noise, PREPROCESSING, path)
    assert module.training and torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert path.stat().st_size < 300_000
    width, height = Image.open(path).size
    assert 850 <= width <= 950 and 500 <= height <= 700
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    for plane, (target, masked, rebuilt) in enumerate(panels(path)):
        assert target.shape == masked.shape == rebuilt.shape
        covered = np.abs(masked - COLOR).max(axis=2) <= 6
        # Which patches are covered: the half with the larger noise.
        side = target.shape[0]
        for token in range(100):
            row, column = (int((n + 0.5) * side / 10) for n in divmod(token, 10))
            inner = slice(row - 8, row + 8), slice(column - 8, column + 8)
            hidden = noise[plane, token] > np.sort(noise[plane])[49]
            assert covered[inner].mean() == pytest.approx(float(hidden), abs=0.1)
            close = np.abs(target[inner] - rebuilt[inner]).mean()
            assert close < 4 if not hidden else close > 8
        for gray in (target, rebuilt):
            assert not (np.abs(gray - COLOR).max(axis=2) <= 6).any()


def test_each_plane_goes_its_own_way(module, pair, noise):
    module.eval()
    with torch.no_grad():
        for parameter in module.momentum_encoder.parameters():
            parameter.add_(0.05)
    rebuilt, hidden = reconstruct_pair(module, pair, noise)
    assert not module.training
    assert hidden.mean(axis=(1, 2)).tolist() == [0.5, 0.5]
    assert not np.array_equal(hidden[0], hidden[1])
    swapped, _ = reconstruct_pair(module, pair[::-1], noise[::-1])
    assert not np.allclose(rebuilt[0], swapped[1], atol=1e-3)


def test_a_preview_that_cannot_be_written_says_so(module, pair, noise, tmp_path):
    with pytest.raises(InputError, match="could not be written"):
        write_preview(module, pair, noise, PREPROCESSING, tmp_path / "missing" / "preview.png")
