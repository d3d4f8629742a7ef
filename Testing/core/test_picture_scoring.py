"""Models of 2-D pictures: their cards, and their numbers against a computation by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from MAEMCLib.applicability import gate_of
from MAEMCLib.errors import ModelError
from MAEMCLib.images.gray import square
from MAEMCLib.inputs import view as picture_view
from MAEMCLib.inputs.view import PicturePreprocessing, View
from MAEMCLib.models.bundle import Member, ModelBundle, save_bundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.networks.configuration import encoder_configuration
from MAEMCLib.networks.heads.linear import LinearHead
from MAEMCLib.scoring import prepare
from PIL import Image

from Testing.core.picture_models import RESNET, VIT, card_of, members_of, picture_case, scored_picture


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"input": "volume"}, "input 'volume'"),
        ({"input": None}, "input 'None'"),
        ({"input": []}, "input"),
        ({"fusion": "axial"}, "no axial plane"),
        ({"preprocessing": {"image_size": 64.5}}, "whole number"),
        ({"preprocessing": {"image_size": 64, "window_lower": -1000}}, "not understood"),
        ({"preprocessing": {"image_size": 64, "std": 0}}, "contradict"),
    ],
)
def test_cards_at_fault(tmp_path, random_card, changes, words):
    with pytest.raises(ModelError, match=words):
        save_bundle(tmp_path / "m.maemc", card_of(random_card, VIT, **changes), members_of(VIT))


def test_a_card_whose_sizes_differ(tmp_path, random_card):
    bundle = save_bundle(
        tmp_path / "m.maemc", card_of(random_card, VIT, preprocessing={"image_size": 32}), members_of(VIT)
    )
    with pytest.raises(ModelError, match="32 pixels"):
        Predictor(bundle, "cpu")


def test_a_card_without_input_means_nodules(random_bundle, vit_bundle):
    assert ModelBundle.open(random_bundle).card.input == "nodule"
    assert Predictor(ModelBundle.open(vit_bundle), "cpu").branches == ("picture",)


@pytest.mark.parametrize("encoder", [VIT, RESNET], ids=["vit", "resnet18"])
def test_probability_by_hand(tmp_path, random_card, picture, encoder):
    calibration = {"calibrated": True, "slope": 1.7, "intercept": -0.3}
    members = members_of(encoder, 2)
    predictor = Predictor(
        save_bundle(tmp_path / "m", card_of(random_card, encoder, calibration=calibration), members), "cpu"
    )
    shown = Image.fromarray(square(np.asarray(Image.open(picture)) / np.float32(255)))
    shown = (np.asarray(shown.resize((64, 64), Image.Resampling.BILINEAR)) - 0.3) / 0.25
    expected = []
    for member in members:
        network = LinearHead(encoder_configuration(encoder), 2)
        network.load_state_dict(member.tensors)
        with torch.no_grad():
            logits = network.eval().logits(torch.from_numpy(shown.astype(np.float32))[None, None])[0].double()
        expected.append(1 / (1 + math.exp(-(1.7 * float(logits[1] - logits[0]) - 0.3))))
    result, prepared = scored_picture(picture, predictor)
    assert result.probability == pytest.approx(np.mean(expected), abs=1e-5) and len(set(expected)) == 2
    assert (result.interval_low, result.interval_high) == pytest.approx((min(expected), max(expected)), abs=1e-5)
    assert (result.point_lps, result.status, result.padded_fraction) == (None, "scored", pytest.approx(1 - 70 / 90))
    image = predictor.image(prepared, "picture")
    twice = predictor.alone(np.stack([image, image]), "picture", prepared.values)
    assert predictor.probabilities(twice)[1, 1] == pytest.approx(result.probability, abs=1e-6)


def test_a_picture_at_several_angles_is_the_mean_of_their_logits(tmp_path, random_card, picture):
    """And its familiarity is that of the mean features, as the training measured them."""
    values = {"image_size": 64, "view_share": 64 / 90, "mean": 0.3, "std": 0.25}  # one pixel is one pixel
    members = members_of(RESNET, 2)

    def opened(angles):
        card = card_of(random_card, RESNET, preprocessing=values | {"angles": angles})
        return Predictor(save_bundle(tmp_path / f"{angles}", card, members), "cpu")

    upright, turned = opened(1), opened(4)
    _, prepared = scored_picture(picture, turned)
    image = upright.image(prepared, "picture")
    np.testing.assert_array_equal(turned.image(prepared, "picture"), image)  # what is explained is upright
    four = np.ascontiguousarray([np.rot90(image, turns) for turns in range(4)])
    logits, tokens = upright._outputs(upright.alone(four, "picture", prepared.values), None)
    margins = (logits[..., 1] - logits[..., 0]).mean(axis=1)
    expected = (1 / (1 + np.exp(-margins))).mean()
    (found,) = turned.predict([prepared])
    assert found.probability == pytest.approx(expected, abs=1e-4)
    assert abs(found.probability - upright.predict([prepared])[0].probability) > 1e-5
    seen = []
    turned.distances = [{"picture": lambda token, seen=seen: seen.append(token) or np.zeros(1)}] * 2
    turned.card = replace(turned.card, training_distances=[float(n) for n in range(101)])
    turned.predict([prepared])
    np.testing.assert_allclose(seen[0], tokens[0].mean(axis=0), atol=1e-3)


@pytest.mark.parametrize("shape", [(40, 40), (41, 64), (64, 41), (30, 51)])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_view_lies_where_the_network_looks(shape, share):
    """On a ramp each value of the network's input tells its own place in the picture."""
    settings = PicturePreprocessing(image_size=32, view_share=share)
    rows = np.repeat(np.arange(shape[0], dtype=np.float32)[:, None] + 100, shape[1], axis=1)
    view = View.of(rows, settings)
    shown = picture_view.views(rows, settings)[0]
    centers = view.top + (np.arange(32) + 0.5) * view.width / 32  # from the picture's border
    inside = (centers > 2) & (centers < shape[0] - 2)
    np.testing.assert_allclose(shown[inside, 16], centers[inside] - 0.5 + 100, atol=0.1)
    frame = (
        picture_view.views(np.ones(shape, np.float32), PicturePreprocessing(image_size=1024, view_share=share))[0] < 0.5
    )
    assert view.outside(rows) == pytest.approx(frame.mean(), abs=0.01)


def test_gate_and_warnings(tmp_path, random_card, vit_bundle):
    card = ModelBundle.open(vit_bundle).card

    def assessed(shape, of=card):
        values = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
        Image.fromarray(values).save(tmp_path / "x.png")
        return gate_of(prepare(picture_case(tmp_path / "x.png"), of).findings)

    assert assessed((64, 80)) == ("grey", ("likeness-unknown",))
    assert assessed((64, 160)) == ("amber", ("long",))
    assert assessed((64, 600))[0] == "red"
    assert assessed((12, 12))[1] == ("enlarged",)
    known = card_of(random_card, VIT, training_distances=[float(n) for n in range(101)])
    statistics = {
        "picture_mean": torch.zeros(32),
        "picture_covariance": torch.eye(32),
        "count": torch.tensor(50.0),
    }
    members = [*members_of(VIT), Member("statistics", "statistics-0", statistics)]
    predictor = Predictor(save_bundle(tmp_path / "known.maemc", known, members), "cpu")
    assert assessed((64, 80), predictor.card)[0] == "green"
    result, prepared = scored_picture(tmp_path / "x.png", predictor)
    with torch.no_grad():
        image = torch.from_numpy(predictor.image(prepared, "picture"))[None, None]
        token = predictor.members[0].encoder.features(image)
    distance = math.sqrt(float((token**2).mean()))  # covariance of identity: nothing to whiten
    assert result.ood_percentile == pytest.approx(distance, rel=0.03)  # the reference is 0, 1 ... 100 itself
