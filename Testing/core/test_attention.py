"""Maps of places against slow loops, and the figures that say what a map is worth."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from MAEMCLib.explain.attention import ExplainedImage, PlaceMap, interpolated, last_block, place_maps, rollout
from MAEMCLib.explain.grad_cam import grad_cam
from MAEMCLib.explain.sanity import SEED, check_maps, deletion_and_insertion, rank_correlation, redrawn
from MAEMCLib.figures.words import worth_lines
from MAEMCLib.models.bundle import Member, save_bundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.networks.configuration import BACKBONES, BackboneConfiguration, EncoderConfiguration
from MAEMCLib.networks.heads.linear import LinearHead
from scipy.stats import spearmanr

VIT = {"image_size": 32, "patch_size": 8, "width": 16, "depth": 3, "heads": 4, "position": "2d"}
RESNET = {"backbone": "resnet18", "image_size": 64}


def picture_of(side, seed=0):
    return np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)


def loud(classifier):
    """Random classifiers are undecided; this one is not, so that differences are no rounding errors."""
    with torch.no_grad():
        classifier.head.weight.mul_(30)
    return classifier.eval()


@pytest.fixture(scope="module")
def vit():
    return loud(LinearHead(EncoderConfiguration(**VIT), 2, seed=3))


@pytest.fixture(scope="module")
def resnet():
    return loud(LinearHead(BackboneConfiguration(**RESNET), 2, seed=3))


@pytest.fixture(scope="module")
def make_predictor(tmp_path_factory, random_card):
    def make(*classifiers, encoder=VIT):
        card = {
            **random_card,
            "input": "picture",
            "architecture": {"encoder": encoder},
            "preprocessing": {"image_size": encoder["image_size"]},
        }
        members = [Member("classifier", f"c{n}", member.state_dict()) for n, member in enumerate(classifiers)]
        return Predictor(save_bundle(tmp_path_factory.mktemp("b") / "m.maemc", card, members), "cpu")

    return make


def asked(predictor, image, target=1):
    return ExplainedImage(predictor, image, target, "picture")


def attention_by_hand(encoder, image):
    """softmax of the scaled products of each query with each key, one number at a time; (blocks, heads, T, T)."""
    with torch.no_grad():
        tokens = encoder.embed(torch.from_numpy(image)[None, None])[0]
        found = []
        for block in encoder.blocks:
            query, key, _ = (part[0].double().numpy() for part in block.attn.split(block.norm1(tokens)))
            heads, length, depth = query.shape
            weights = np.zeros((heads, length, length))
            for head in range(heads):
                for i in range(length):
                    row = [math.exp(sum(query[head, i] * key[head, j]) / math.sqrt(depth)) for j in range(length)]
                    weights[head, i] = np.array(row) / sum(row)
            found.append(weights)
            tokens = block(tokens)
    return found


def test_last_block_is_what_the_class_token_looks_at(vit):
    image = picture_of(32)
    expected = attention_by_hand(vit.encoder, image)[-1][:, 0, 1:].reshape(4, 4, 4)
    found = last_block(vit.encoder, torch.from_numpy(image)[None, None])
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    own = attention_by_hand(vit.encoder, image)[-1][:, 0, 0]
    np.testing.assert_allclose(found[0].sum(dim=(1, 2)).numpy() + own, 1, atol=1e-5)


def test_rollout_is_the_product_of_all_blocks(vit):
    image = picture_of(32, 1)
    joined = np.eye(17)
    for weights in attention_by_hand(vit.encoder, image):
        mixed = np.zeros((17, 17))
        for i in range(17):
            for j in range(17):
                mixed[i, j] = 0.5 * np.mean([head[i, j] for head in weights]) + 0.5 * (i == j)
        joined = mixed @ joined
    found = rollout(vit.encoder, torch.from_numpy(image)[None, None])[0]
    np.testing.assert_allclose(found, joined[0, 1:].reshape(4, 4), atol=1e-5)


def test_maps_of_several_members_are_their_mean(vit, make_predictor):
    other = loud(LinearHead(EncoderConfiguration(**VIT), 2, seed=8))
    image = picture_of(32)
    attention, joined = place_maps(asked(make_predictor(vit, other), image))
    images = torch.from_numpy(image)[None, None]
    heads = np.stack([last_block(member.encoder, images)[0].numpy() for member in (vit, other)])
    assert (attention.kind, joined.kind) == ("attention", "rollout") and attention.heads.shape == (2, 4, 4, 4)
    np.testing.assert_allclose(attention.heads, heads, atol=1e-6)
    np.testing.assert_allclose(attention.grid, sum(h for member in heads for h in member) / 8, atol=1e-6)
    both = [rollout(member.encoder, images)[0].numpy() for member in (vit, other)]
    np.testing.assert_allclose(joined.grid, (both[0] + both[1]) / 2, atol=1e-6)


@pytest.mark.parametrize("name, positive", [("resnet18", True), ("resnet18", False), ("swin", True)])
def test_grad_cam_against_loops(name, positive):
    """Where a mean and a linear layer follow, the gradient is known: the layer's weight over the count of places."""
    network = loud(LinearHead(BackboneConfiguration(name, 64), 2, seed=2))
    images = torch.from_numpy(np.stack([picture_of(64, 1), picture_of(64, 2)]))[:, None]
    with torch.no_grad():
        features = network.encoder.body.forward_features(images).double().numpy()
        slopes = (network.head.weight[1] - network.head.weight[0]).double().numpy() * (1 if positive else -1)
    if name == "swin":  # channels last
        features = np.moveaxis(features, -1, 1)
    count, channels, rows, columns = features.shape
    expected = np.zeros((count, rows, columns))
    for b in range(count):
        for i in range(rows):
            for j in range(columns):
                total = 0.0
                for k in range(channels):
                    total += slopes[k] / (rows * columns) * features[b, k, i, j]
                expected[b, i, j] = max(total, 0.0)
    assert expected.max() > 0
    np.testing.assert_allclose(grad_cam(network, images, int(positive)), expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize("name", ["deit", "levit", "pvt-v2", "convnextv2-atto"])
def test_every_backbone_has_a_map(name):
    side = BACKBONES[name].nearest_side(64)
    network = loud(LinearHead(BackboneConfiguration(name, side), 2, seed=1)).requires_grad_(False)
    images = torch.from_numpy(picture_of(side))[None, None]
    maps = [grad_cam(network, images, target)[0] for target in (1, 0)]
    assert maps[0].ndim == 2 and maps[0].shape[0] == maps[0].shape[1] >= 2
    assert all(torch.isfinite(m).all() and (m >= 0).all() for m in maps)
    # What speaks for one class speaks against the other, so the same place is never lit in both.
    assert (maps[0] + maps[1]).max() > 0 and (maps[0] * maps[1]).max() == 0


def test_grad_cam_of_a_bundle_in_half_precision(resnet, make_predictor):
    halves = copy.deepcopy(resnet).to(torch.bfloat16)
    predictor = make_predictor(halves, encoder=RESNET)
    found = [place_maps(asked(predictor, picture_of(64), target))[0] for target in (1, 0)]
    assert all(f.kind == "grad-cam" and f.heads is None and np.isfinite(f.grid).all() for f in found)
    assert max(f.grid.max() for f in found) == pytest.approx(1, abs=1e-6)


def test_interpolation_keeps_the_values_at_the_cells_centers():
    grid = picture_of(4)
    grown = interpolated(grid, 20)  # cells of 5 pixels: the third is the center
    np.testing.assert_allclose(grown[2::5, 2::5], grid, atol=1e-6)
    assert grown.min() >= grid.min() - 1e-6 and grown.max() <= grid.max() + 1e-6
    assert interpolated(np.stack([[grid] * 3] * 2), 8).shape == (2, 3, 8, 8)


@pytest.mark.parametrize("digits", [8, 0])
def test_rank_correlation_is_spearman_s_also_with_ties(digits):
    first, second = picture_of(7, 1).round(digits), (picture_of(7, 1) + picture_of(7, 2)).round(digits)
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first.ravel(), second.ravel()).statistic)
    assert rank_correlation(first, np.full((7, 7), 3.0)) is None


@pytest.mark.parametrize("positive", [True, False])
def test_deletion_and_insertion_against_loops(vit, make_predictor, positive):
    predictor = make_predictor(vit)
    image = picture_of(32)
    order = np.random.default_rng(5).permutation(16)
    blurred = np.zeros((4, 4))
    for i in range(4):
        for j in range(4):
            blurred[i, j] = image[8 * i : 8 * i + 8, 8 * j : 8 * j + 8].mean()
    base = interpolated(blurred, 32)
    deletion, insertion = [], []
    for gone in range(17):
        without, with_only = image.copy(), base.copy()
        for cell in order[:gone]:
            i, j = divmod(int(cell), 4)
            place = np.s_[8 * i : 8 * i + 8, 8 * j : 8 * j + 8]
            without[place] = 0
            with_only[place] = image[place]
        for curve, shown in ((deletion, without), (insertion, with_only)):
            with torch.no_grad():
                probability = vit.logits(torch.from_numpy(shown)[None, None])[0].softmax(dim=0)[int(positive)]
            curve.append(float(probability))
    steps = [0, 2, 3, 5, 6, 8, 10, 11, 13, 14, 16]  # tenths of 16 places
    areas = [
        sum((curve[a] + curve[b]) / 2 * (b - a) / 16 for a, b in itertools.pairwise(steps))
        for curve in (deletion, insertion)
    ]
    assert abs(areas[0] - areas[1]) > 1e-3  # the two are told apart
    np.testing.assert_allclose(
        deletion_and_insertion(asked(predictor, image, int(positive)), order, 4), areas, atol=1e-5
    )


def test_redrawn_blocks_are_new_and_the_rest_is_not(vit, resnet):
    before = {name: tensor.clone() for name, tensor in vit.state_dict().items()}
    anew, again = redrawn(vit, 5).state_dict(), redrawn(vit, 5).state_dict()
    for name, tensor in vit.state_dict().items():
        assert torch.equal(tensor, before[name]) and torch.equal(anew[name], again[name])
        if "blocks" in name and name.endswith("weight") and "norm" not in name:
            assert not torch.equal(tensor, anew[name]), name
        if "blocks" not in name:
            assert torch.equal(tensor, anew[name]), name
    other = redrawn(resnet, 5)
    assert torch.equal(other.head.weight, resnet.head.weight)
    assert not torch.equal(other.encoder.body.layer4[0].conv1.weight, resnet.encoder.body.layer4[0].conv1.weight)


def test_randomization_compares_with_redrawn_networks(vit, make_predictor):
    image = picture_of(32)
    images = torch.from_numpy(image)[None, None]
    question = asked(make_predictor(vit), image)
    maps = place_maps(question)
    figures = check_maps(question, maps)
    encoders = [redrawn(vit, SEED + number).encoder for number in range(4)]
    drawn = [
        [last_block(encoder, images)[0].mean(dim=0) for encoder in encoders],
        [rollout(encoder, images)[0] for encoder in encoders],
    ]
    for found, others, figure in zip(maps, drawn, figures, strict=True):
        expected = np.mean([spearmanr(found.grid.ravel(), other.ravel()).statistic for other in others])
        assert figure.randomized == pytest.approx(expected, abs=1e-5)


def test_a_map_of_the_pixels_alone_is_found_out(resnet, make_predictor):
    """Insertion and deletion tell a map that follows the probability from its reverse."""
    predictor = make_predictor(resnet, encoder=RESNET)
    image = picture_of(64)
    question = asked(predictor, image)
    full = question.probabilities(image[None])[0]
    drop = np.zeros((8, 8))
    for i in range(8):
        for j in range(8):
            without = image.copy()
            without[8 * i : 8 * i + 8, 8 * j : 8 * j + 8] = 0
            drop[i, j] = full - question.probabilities(without[None])[0]
    order = np.argsort(-drop.ravel())
    best = deletion_and_insertion(question, order, 8)
    worst = deletion_and_insertion(question, order[::-1], 8)
    assert best[0] < worst[0]


def test_a_map_that_is_the_same_everywhere_says_so(vit, make_predictor):
    (sanity,) = check_maps(asked(make_predictor(vit), picture_of(32)), [PlaceMap("rollout", np.full((4, 4), 0.1))])
    assert sanity.deletion is None and sanity.insertion is None
    assert worth_lines(sanity, "malignant") == ["The map is the same everywhere: it tells nothing."]
