"""The out-of-distribution score: distances against scikit-learn, their percentile, the gate, and bundles without it."""

import numpy as np
import pytest
import torch
from MAEMCLib.applicability import FeatureDistance, Finding, gate_of, percentile, shrink, unlike_training
from MAEMCLib.errors import ModelError
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.nodule import normalize, to_montage
from MAEMCLib.inputs.region import NoduleROI
from MAEMCLib.models.bundle import Member, ModelBundle, save_bundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.scoring import scored
from sklearn.covariance import OAS

REFERENCE = np.linspace(0.5, 2.5, 101).tolist()


def region(seed=0):
    rng = np.random.default_rng(seed)
    stacks = rng.uniform(-1100, 300, (2, 25, 50, 50)).astype(np.float32)
    return NoduleROI(stacks[0], stacks[1], (0.0, 0.0, 0.0), 1.0, 0.0)


@pytest.mark.parametrize(("cases", "width"), [(30, 6), (10, 40), (200, 40)])
def test_distances_are_those_of_scikit_learn(cases, width):
    draws = np.random.default_rng(cases)
    tokens = draws.normal(size=(cases, width)) @ draws.normal(size=(width, width)) + draws.normal(size=width)
    reference = OAS().fit(tokens)
    np.testing.assert_allclose(shrink(np.cov(tokens.T, bias=True), cases), reference.covariance_, rtol=1e-9)
    distance = FeatureDistance.of(tokens.mean(axis=0), np.cov(tokens.T), cases)
    others = draws.normal(size=(7, width))
    for values in (tokens, others):
        expected = np.sqrt(reference.mahalanobis(values) / width)
        np.testing.assert_allclose(distance(values), expected, rtol=1e-5)


def test_cases_that_are_all_alike_give_large_finite_distances():
    distance = FeatureDistance.of(np.zeros(4), np.zeros((4, 4)), 5)
    assert np.isfinite(distance(np.ones((1, 4)))).all() and distance(np.ones((1, 4)))[0] > 1e3


@pytest.mark.parametrize("covariance", [np.full((4, 4), np.nan), np.eye(3), -np.eye(4)])
def test_damaged_statistics_are_refused(covariance):
    with pytest.raises(ValueError, match="feature statistics"):
        FeatureDistance.of(np.zeros(4), covariance, 5)


def test_percentile():
    assert percentile(1.5, REFERENCE) == pytest.approx(50)
    assert percentile(0.1, REFERENCE) == 0 and percentile(9.0, REFERENCE) == 100


@pytest.mark.parametrize(
    ("gate", "value", "expected", "reasons"),
    [
        ("green", 95.0, "green", ()),
        ("green", None, "green", ()),
        ("grey", 95.0, "grey", ("before",)),
        ("green", 95.1, "amber", ("unlike-training",)),
        ("grey", 99.0, "amber", ("unlike-training",)),
        ("amber", 99.0, "amber", ("before", "unlike-training")),
        ("red", 99.0, "red", ("before",)),
    ],
)
def test_beyond_the_95th_percentile_the_gate_is_amber(gate, value, expected, reasons):
    finding = unlike_training(value)
    assert (finding is not None) == bool(value and value > 95)
    assert gate_of([Finding(gate, "before", ""), *([finding] if finding else [])]) == (expected, reasons)


@pytest.fixture(scope="module")
def told(tmp_path_factory, random_card, random_members):
    """A bundle with feature statistics and the training's distances: (path, statistics)."""
    draws = np.random.default_rng(3)
    members, statistics = list(random_members), []
    for number in range(3):
        tensors = {"count": torch.tensor(20.0)}
        for plane in ("axial", "coronal"):
            values = torch.from_numpy(draws.normal(size=(20, 32)))
            tensors |= {f"{plane}_mean": values.mean(0).float(), f"{plane}_covariance": torch.cov(values.T).float()}
        statistics.append(tensors)
        members.append(Member("statistics", f"statistics-{number}", tensors))
    card = {**random_card, "training_distances": REFERENCE}
    return save_bundle(tmp_path_factory.mktemp("told") / "m.maemc", card, members).path, statistics


def test_the_predictor_measures_class_tokens_by_member_and_plane(told):
    path, statistics = told
    predictor = Predictor(ModelBundle.open(path), "cpu")
    rois = [region(1), region(2)]
    predictions = predictor.predict([Prepared(roi) for roi in rois])
    for roi, prediction in zip(rois, predictions, strict=True):
        found = []
        for member, tensors in zip(predictor.members, statistics, strict=True):
            for plane in ("axial", "coronal"):
                image = torch.from_numpy(to_montage(normalize(getattr(roi, plane), predictor.card.preprocessing)))
                with torch.no_grad():
                    token = member.encoder(image[None, None])[:, 0].double().numpy()
                parts = (tensors[f"{plane}_mean"].numpy(), tensors[f"{plane}_covariance"].numpy(), 20)
                found.append(FeatureDistance.of(*parts)(token)[0])
        assert prediction.ood_percentile == pytest.approx(percentile(np.mean(found), REFERENCE), abs=1e-3)
        assert 0 < prediction.ood_percentile < 100
        row = scored(Prepared(roi), prediction, predictor.card)
        assert row.ood_percentile == prediction.ood_percentile and row.to_row()["ood_percentile"]


def test_a_bundle_that_does_not_say_is_scored_as_before(random_bundle, told):
    without = Predictor(ModelBundle.open(random_bundle), "cpu").predict([Prepared(region())])[0]
    assert without.ood_percentile is None
    assert without.members == Predictor(ModelBundle.open(told[0]), "cpu").predict([Prepared(region())])[0].members


@pytest.mark.parametrize("value", [[1.0, 2.0], [1.0] * 100 + [0.5], ["a"] * 101, 3])
def test_wrong_percentiles_in_a_card(tmp_path, random_card, random_members, value):
    with pytest.raises(ModelError, match="training distances"):
        save_bundle(tmp_path / "m", {**random_card, "training_distances": value}, random_members)


@pytest.mark.parametrize(
    "change",
    [
        {"count": torch.ones(2)},
        {"axial_mean": torch.zeros(5), "axial_covariance": torch.eye(5)},
        {"axial_mean": torch.zeros(32, 32)},
        {"coronal_covariance": torch.full((32, 32), float("nan"))},
    ],
)
def test_statistics_of_another_shape(tmp_path, random_card, random_members, told, change):
    members = [*random_members, *(Member("statistics", f"s{n}", told[1][n] | change) for n in range(3))]
    bundle = save_bundle(tmp_path / "m", {**random_card, "training_distances": REFERENCE}, members)
    with pytest.raises(ModelError, match="feature statistics"):
        Predictor(bundle, "cpu")


def test_percentiles_without_statistics(tmp_path, random_card, random_members):
    with pytest.raises(ModelError, match="not every classifier"):
        save_bundle(tmp_path / "m", {**random_card, "training_distances": REFERENCE}, random_members)
