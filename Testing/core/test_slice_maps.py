"""What explains a network whose tokens are slices: the bar over them, Grad-CAM inside one, occlusion, their worth."""

import json

import numpy as np
import pytest
import torch
from MAEMCLib.explain.attention import GRAD_CAM, ExplainedImage, PlaceMap, enlarged, grown, place_maps, rollout
from MAEMCLib.explain.explanation import explain
from MAEMCLib.explain.grad_cam import grad_cam
from MAEMCLib.explain.occlusion import CELLS, COVERED, occlusion
from MAEMCLib.explain.sanity import check_maps, displaced, shown_cells
from MAEMCLib.figures.explained_nodule import nodule_figure, seen_figure
from MAEMCLib.figures.words import sentences
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.nodule import to_montage
from MAEMCLib.inputs.region import NoduleROI
from MAEMCLib.models.bundle import Member, save_bundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.networks.configuration import EncoderConfiguration
from MAEMCLib.networks.heads.linear import LinearHead

SHOWN = {"patch_size": 50, "width": 16, "depth": 1, "heads": 2, "embedding": "convolutional", "offsets": [-1, 0, 1]}
SETTINGS = {"mean": 0.4, "std": 0.3, "skip_unobserved": True}


def montage_of(seed=0, missing=()):
    """Normalized slices as the network is given them, (250, 250)."""
    stack = np.random.default_rng(seed).normal(size=(25, 50, 50)).astype(np.float32)
    stack[list(missing)] = np.nan
    return to_montage(stack)


@pytest.fixture(scope="module")
def network():
    made = LinearHead(EncoderConfiguration(**SHOWN), 2, seed=3)
    with torch.no_grad():
        made.head.weight.mul_(30)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def predictor(network, tmp_path_factory, random_card):
    return bundled(network, tmp_path_factory.mktemp("b"), random_card)


def bundled(network, folder, random_card):
    card = random_card | {"fusion": "axial", "architecture": {"encoder": SHOWN}, "preprocessing": SETTINGS}
    return Predictor(save_bundle(folder / "m.maemc", card, [Member("classifier", "c", network.state_dict())]), "cpu")


@pytest.mark.parametrize("missing", [(), (13,)])
@pytest.mark.parametrize("target", [0, 1])
def test_grad_cam_inside_slices_against_loops_and_differences(network, missing, target):
    """Of each slice the maps of the last stage, each weighted by how the score changes with the map's mean, which is
    found here by moving it a little."""
    network = network.double()
    image = torch.from_numpy(montage_of(1, missing)).double()[None, None]
    embedding, shown = network.encoder.patch_embed, [n for n in (11, 12, 13) if n not in missing]
    slices = image[0, 0].reshape(5, 50, 5, 50).transpose(1, 2).reshape(25, 2500)[shown]
    maps = embedding.maps(slices)
    moved = torch.zeros(len(shown), maps.shape[1], dtype=torch.float64)

    def score():
        hook = embedding.body.register_forward_hook(lambda m, g, out: out + moved[:, :, None, None])
        logits = network.logits(image)[0]
        hook.remove()
        return float(logits[target] - logits[1 - target])

    expected = np.zeros((25, 7, 7))
    for place, number in enumerate(shown):
        total = np.zeros((7, 7))
        for channel in range(maps.shape[1]):
            moved[place, channel] = 1e-5
            above = score()
            moved[place, channel] = -1e-5
            slope = (above - score()) / 2e-5 / 49  # the gradient of one place, by that of all 49 together
            moved[place, channel] = 0
            total += slope * maps[place, channel].numpy()
        expected[number] = np.maximum(total, 0)
    found = grad_cam(network, image, target)[0].reshape(5, 7, 5, 7).transpose(1, 2).reshape(25, 7, 7)
    network.float()
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


def test_the_bar_is_rollout_over_the_shown_slices(network, predictor):
    image = montage_of(2)
    kinds = {one.kind: one.grid for one in place_maps(ExplainedImage(predictor, image, 1, "axial"))}
    assert set(kinds) == {"attention", "rollout", "grad-cam"} and kinds["grad-cam"].shape == (35, 35)
    expected = rollout(network.encoder, torch.from_numpy(image)[None, None])[0].numpy()
    np.testing.assert_allclose(kinds["rollout"], expected, atol=1e-6)
    assert np.flatnonzero(kinds["rollout"].ravel()).tolist() == [11, 12, 13]


class Planted(torch.nn.Module):
    """A classifier of one place: it counts how bright the middle slice's upper left corner is."""

    def __init__(self, predictor):
        super().__init__()
        self.predictor, self.card, self.side, self.members = predictor, predictor.card, 250, predictor.members

    def alone(self, images, branch, values):
        return images

    def probabilities(self, images):
        corner = np.nan_to_num(images[:, 100:150, 100:150][:, 10:20, 10:20]).mean(axis=(1, 2))
        positive = 1 / (1 + np.exp(-corner))
        return np.stack([1 - positive, positive], axis=1)


@pytest.fixture
def planted(predictor):
    stack = np.zeros((25, 50, 50), np.float32)
    stack[12, 10:20, 10:20] = 4.0
    return ExplainedImage(Planted(predictor), to_montage(stack), 1, "axial")


def test_occlusion_finds_what_was_planted(planted):
    grid = occlusion(planted, tiled=True).grid
    assert grid.shape == (50, 50)
    np.testing.assert_array_equal(grid[:10, :10], grid[20:30, 40:50])  # every slice alike
    whole = planted.probabilities(planted.image[None])[0]
    falls = np.zeros((10, 10))
    counts = np.zeros((10, 10))
    for row in range(CELLS - COVERED + 1):
        for column in range(CELLS - COVERED + 1):
            covered = planted.image.copy()
            for tile in range(25):
                top, left = 50 * (tile // 5) + 5 * row, 50 * (tile % 5) + 5 * column
                covered[top : top + 10, left : left + 10] = 0
            places = np.s_[row : row + 2, column : column + 2]
            falls[places] += whole - planted.probabilities(covered[None])[0]
            counts[places] += 1
    np.testing.assert_allclose(grid[:10, :10], falls / counts, atol=1e-6)
    assert np.argwhere(grid[:10, :10] > 0.5 * grid.max()).tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]


def test_a_map_of_the_planted_place_beats_the_same_map_elsewhere(planted):
    right = np.zeros((50, 50), np.float32)
    right[22:24, 22:24] = 1.0  # of the middle slice
    wrong = np.zeros((50, 50), np.float32)
    wrong[27:29, 27:29] = 1.0
    maps = [PlaceMap("occlusion", right), PlaceMap("occlusion", wrong)]
    good, bad = check_maps(planted, maps, tiled=True)
    assert good.deletion < good.deletion_random - 0.05 and good.insertion > good.insertion_random + 0.05
    assert bad.deletion > good.deletion + 0.1 and good.randomized is None


def test_a_displaced_map_has_the_same_values_in_the_slices_that_count(predictor):
    grid = np.zeros((35, 35), np.float32)
    tiles = grid.reshape(5, 7, 5, 7).swapaxes(1, 2)
    tiles[2, 1:4] = np.random.default_rng(0).random((3, 7, 7))
    grid = tiles.swapaxes(1, 2).reshape(35, 35)
    counted = shown_cells(ExplainedImage(predictor, montage_of(0, (13,)), 1, "axial"), 35, True)
    assert counted.sum() == 2 * 49 and counted[14:21, 7:21].all()
    found = displaced(grid, counted, np.random.default_rng(1), True)
    np.testing.assert_array_equal(np.sort(found[counted]), np.sort(grid[counted]))
    assert not np.array_equal(found, grid) and (found[14:21, 21:28] == grid[14:21, 21:28]).all()


def test_a_montage_s_map_does_not_bleed_into_its_neighbors():
    grid = np.zeros((35, 35), np.float32)
    grid[14:21, 14:21] = 1.0
    lit = grown(grid, 250, tiled=True) > 0
    np.testing.assert_array_equal(lit, enlarged(grid > 0, 250))


def test_the_explanation_says_what_it_shows_and_what_it_is_worth(predictor, tmp_path):
    rng = np.random.default_rng(4)
    stacks = [rng.uniform(-1000, 200, (25, 50, 50)).astype(np.float32) for _ in range(2)]
    case = Prepared(NoduleROI(*stacks, (0.0, 0.0, 0.0), 1.0, 0.0))
    found = explain(predictor, case, measured=True)
    assert found.attention_kind == "Grad-CAM of each slice" and set(found.slices) == {"axial"}
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [one["kind"] for one in document["maps"]["axial"]] == ["rollout", GRAD_CAM, "occlusion"]
    assert all("deletion_random" in one for one in document["maps"]["axial"]) and document["slices_shown"] == [
        11,
        12,
        13,
    ]
    words = " ".join(sentences(found))
    assert "Bar over the slices" in words and "Grad-CAM: where features lie that speak for" in words
    (result,) = [type("R", (), {"nodule_id": "N1", "probability": 0.4, "spread_text": "", "class_name": "b"})()]
    figure = nodule_figure(result, {"axial": stacks[0], "coronal": stacks[1]}, found)
    texts = [axis.get_xlabel() for part in figure.subfigs for axis in part.axes]
    assert sum("random" in text for text in texts) == 2
    shown = seen_figure(found)
    pictures = [axis.images[0].get_array() for axis in shown.axes[:3]]
    np.testing.assert_allclose(pictures[1], np.clip(stacks[0][12], -1200, 200), atol=0.5)
