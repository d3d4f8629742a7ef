"""Probabilities against an obvious computation, precision, and what happens when a GPU runs out of memory."""

import math

import numpy as np
import pytest
import torch
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.explain.explanation import explain
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.nodule import normalize, to_montage
from MAEMCLib.inputs.region import NoduleROI
from MAEMCLib.machine.device import computes_natively
from MAEMCLib.models.autoencoder import load_autoencoder, reconstruct
from MAEMCLib.models.bundle import Member, ModelBundle, save_bundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.networks.configuration import EncoderConfiguration
from MAEMCLib.networks.heads.linear import LinearHead


def region(seed=0):
    rng = np.random.default_rng(seed)
    stacks = rng.uniform(-1100, 300, (2, 25, 50, 50)).astype(np.float32)
    return NoduleROI(stacks[0], stacks[1], (0.0, 0.0, 0.0), 1.0, 0.0)


@pytest.fixture(scope="module")
def predictor(random_bundle):
    return Predictor(ModelBundle.open(random_bundle), "cpu")


def probability_by_hand(card, tensors, roi, planes=("axial", "coronal"), slope=1.0, intercept=0.0):
    """softmax of the mean logits, member by member, written out."""
    network = LinearHead(EncoderConfiguration(**card["architecture"]["encoder"]), 2)
    network.load_state_dict(tensors)
    network.eval()
    total = np.zeros(2)
    for plane in planes:
        stack = np.clip((getattr(roi, plane) + 1200) / 1400, 0, 1)
        stack = (stack - card["preprocessing"]["mean"]) / card["preprocessing"]["std"]
        image = torch.from_numpy(to_montage(stack)).float()[None, None]
        with torch.no_grad():
            total += network.logits(image)[0].double().numpy() / len(planes)
    return 1 / (1 + math.exp(-(slope * (total[1] - total[0]) + intercept)))


def test_probability_is_that_of_the_mean_logits_of_both_planes(predictor, random_card, random_members):
    roi = region()
    expected = [probability_by_hand(random_card, m.tensors, roi) for m in random_members if m.role == "classifier"]
    (prediction,) = predictor.predict([Prepared(roi)])
    np.testing.assert_allclose(prediction.members, expected, atol=1e-6)
    assert prediction.probability == pytest.approx(np.mean(expected), abs=1e-6)
    assert (prediction.interval_low, prediction.interval_high) == (min(prediction.members), max(prediction.members))
    assert len(set(expected)) == 3


@pytest.mark.parametrize("fusion", ["axial", "coronal"])
def test_one_plane_and_calibration(tmp_path, random_card, random_members, fusion):
    card = {**random_card, "fusion": fusion, "calibration": {"calibrated": True, "slope": 1.7, "intercept": -0.3}}
    single = Predictor(save_bundle(tmp_path / "m", card, random_members[:1]), "cpu")
    roi = region(4)
    (prediction,) = single.predict([Prepared(roi)])
    expected = probability_by_hand(card, random_members[0].tensors, roi, (fusion,), 1.7, -0.3)
    assert prediction.probability == pytest.approx(expected, abs=1e-6)
    assert prediction.interval_low is None and prediction.interval_high is None  # not computed is None, never 0


def test_many_nodules_at_once_equal_one_by_one(predictor):
    rois = [region(seed) for seed in range(19)]
    together = [p.probability for p in predictor.predict([Prepared(roi) for roi in rois])]
    alone = [predictor.predict([Prepared(roi)])[0].probability for roi in rois]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_progress_rises_to_one(predictor):
    shares = []
    predictor.predict([Prepared(region(seed)) for seed in range(10)], shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) > 3


def test_bfloat16_bundle_runs_in_bfloat16_and_agrees(tmp_path, random_card, random_members, predictor):
    halves = [
        Member(m.role, m.name, {name: tensor.to(torch.bfloat16) for name, tensor in m.tensors.items()})
        for m in random_members
    ]
    small = Predictor(save_bundle(tmp_path / "half", random_card, halves), "cpu")
    native = computes_natively(torch.bfloat16)
    assert small.members[0].encoder.norm.weight.dtype == (torch.bfloat16 if native else torch.float32)
    roi = region(2)
    assert small.predict([Prepared(roi)])[0].probability == pytest.approx(
        predictor.predict([Prepared(roi)])[0].probability, abs=0.02
    )


@pytest.mark.parametrize("shape", [(25, 50, 49), (24, 50, 50), (25, 250, 250)])
def test_regions_of_the_wrong_shape(predictor, shape):
    wrong = NoduleROI(np.zeros(shape, np.float32), region().coronal, (0, 0, 0), 1.0, 0.0)
    with pytest.raises(InputError, match="shape"):
        predictor.predict([Prepared(wrong)])


def test_nan_in_a_region(predictor):
    roi = region()
    roi.axial[3, 4, 5] = np.nan
    with pytest.raises(InputError, match="NaN"):
        predictor.predict([Prepared(roi)])


def test_unknown_and_absent_devices(random_bundle):
    with pytest.raises(UsageError, match="no device"):
        Predictor(ModelBundle.open(random_bundle), "toaster")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="cannot be used"):
            Predictor(ModelBundle.open(random_bundle), "cuda")


def test_out_of_memory_moves_to_the_cpu_once_and_says_so(random_bundle, monkeypatch):
    """The first computation fails as a full GPU does; the result is that of the CPU and carries the notice."""
    predictor = Predictor(ModelBundle.open(random_bundle), "cpu")
    expected = predictor.predict([Prepared(region())])[0].probability
    judged, failures = LinearHead.of_features, []

    def full_once(self, *observed):
        if not failures:
            failures.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return judged(self, *observed)

    monkeypatch.setattr(LinearHead, "of_features", full_once)
    predictor.device = "cuda:0"
    (prediction,) = predictor.predict([Prepared(region())])
    assert prediction.probability == pytest.approx(expected, abs=1e-6)
    assert prediction.device == "cpu" and "out of memory" in prediction.notice


def test_cuda_agrees_with_cpu(random_bundle):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    rois = [region(seed) for seed in range(6)]
    cpu = [
        p.probability
        for p in Predictor(ModelBundle.open(random_bundle), "cpu").predict([Prepared(roi) for roi in rois])
    ]
    gpu = [
        p.probability
        for p in Predictor(ModelBundle.open(random_bundle), "cuda").predict([Prepared(roi) for roi in rois])
    ]
    np.testing.assert_allclose(gpu, cpu, atol=1e-3)


def test_every_patch_is_rebuilt_without_having_been_seen(predictor):
    """Changing one patch's pixels must not change that patch's own reconstruction, only its neighbors'."""
    autoencoder = load_autoencoder(predictor)
    image = torch.from_numpy(to_montage(normalize(region(1).axial, predictor.card.preprocessing)))[None, None]
    changed = image.clone()
    changed[..., 100:150, 50:100] += 1.5
    before, after = (reconstruct(autoencoder, picture, "axial") for picture in (image, changed))
    assert torch.equal(before[..., 100:150, 50:100], after[..., 100:150, 50:100])
    assert not torch.equal(before[..., :50, :50], after[..., :50, :50])


def test_explanation_is_repeatable_and_in_the_region_s_shape(predictor):
    roi = region(3)
    first, second = explain(predictor, Prepared(roi)), explain(predictor, Prepared(roi))
    for part in ("reconstruction", "error", "attention"):
        for plane in ("axial", "coronal"):
            a, b = getattr(first, part)[plane], getattr(second, part)[plane]
            assert a.shape == (25, 50, 50) and np.isfinite(a).all()
            np.testing.assert_array_equal(a, b)
    seen = np.clip(roi.axial, -1200, 200)
    np.testing.assert_allclose(first.error["axial"], np.abs(first.reconstruction["axial"] - seen), atol=1e-3)
    assert first.attention["coronal"].min() >= 0 and first.attention["coronal"].max() <= 1


def test_attention_rollout_against_a_slow_product(predictor):
    from MAEMCLib.explain.attention import by_patch, rollout

    image = torch.from_numpy(to_montage(normalize(region(6).axial, predictor.card.preprocessing)))[None, None]
    total = np.zeros(25)
    for member in predictor.members:
        joined = np.eye(26)
        for block in member.encoder.attention(image):
            mean = np.mean([block[0, head].numpy() for head in range(block.shape[1])], axis=0)
            joined = (0.5 * mean + 0.5 * np.eye(26)) @ joined
        total += joined[0, 1:] / len(predictor.members)
    expected = (total - total.min()) / (total.max() - total.min())
    grid = np.mean([rollout(member.encoder, image)[0].numpy() for member in predictor.members], axis=0)
    tiles = by_patch(grid, 250)[::50, ::50].ravel()
    np.testing.assert_allclose(tiles, expected, atol=1e-4)


@pytest.mark.parametrize("seen", ["axial", "coronal"])
def test_attention_is_shown_for_the_planes_that_the_classifier_sees(seen, random_card, random_members, tmp_path):
    """A model of one plane has looked at nothing in the other; what is rebuilt there is rebuilt all the same."""
    from MAEMCLib.figures.explained_nodule import nodule_figure
    from MAEMCLib.scoring import scored

    path = save_bundle(tmp_path / "one.maemc", {**random_card, "fusion": seen}, random_members).path
    predictor, roi = Predictor(ModelBundle.open(path), "cpu"), region(3)
    explanation = explain(predictor, Prepared(roi))
    assert set(explanation.attention) == {seen}
    assert set(explanation.reconstruction) == set(explanation.error) == {"axial", "coronal"}
    assert set(explanation.parts()["attention"]) == {seen}, "what the worker sends and 'maemc explain' writes"
    prepared = Prepared(roi)
    result = scored(prepared, predictor.predict([prepared])[0], predictor.card)
    stacks = {"axial": roi.axial, "coronal": roi.coronal}
    figure = nodule_figure(result, stacks, explanation)
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert sum("not seen by" in text for text in texts) == 1
