"""The head that reads a nodule's size and attenuation: what is measured, what comes of it, how it is trained."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from MAEMCLib.errors import ArchitectureError, InputError, UsageError
from MAEMCLib.explain.attention import ExplainedImage
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.jitter import cut_margin
from MAEMCLib.inputs.nodule import INPUT
from MAEMCLib.inputs.region import SIDE, SLICES, cut_roi
from MAEMCLib.measures.middle_slice import measured_values
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.networks.configuration import EncoderConfiguration
from MAEMCLib.networks.heads.linear import LinearHead
from MAEMCLib.networks.heads.measured import MeasuredHead, terms
from MAEMCLib.report.beside import measured_text
from MAEMCTrainingLib.classifiers.cases import labeled, measured
from MAEMCTrainingLib.classifiers.export import ModelsInMemory, export, models_of_job
from MAEMCTrainingLib.classifiers.fold_model import fold_results, load_fold
from MAEMCTrainingLib.classifiers.presets import finetuning_preset
from MAEMCTrainingLib.classifiers.task import measures_model
from MAEMCTrainingLib.engine.configuration import override
from MAEMCTrainingLib.evaluation.baselines import MEASURED
from MAEMCTrainingLib.jobs.job import Job

ENCODER = EncoderConfiguration(width=16, depth=1, heads=2, embedding="convolutional", offsets=(-1, 0, 1))
TRUE = np.ones((1, 2), bool)
TEXTS = {"id": "balls", "version": "0.1", "title": "Balls", "intended_use": "A test."}


def slice_with(*discs: tuple[float, float, float, float], lung: float = -850.0) -> np.ndarray:
    """(50, 50) HU of lung with discs: x, y (mm from the middle), radius (mm), HU."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    hu = np.full((SIDE, SIDE), lung) + np.random.default_rng(0).normal(0, 20, (SIDE, SIDE))
    for left, top, radius, value in discs:
        inside = np.clip(radius - np.hypot(x - left, y - top) + 0.5, 0, 1)  # a border of a millimeter
        hu = hu * (1 - inside) + value * inside
    return hu


@pytest.mark.parametrize(("radius", "hu"), [(3.0, 30.0), (6.0, 40.0), (9.0, 400.0)])
def test_a_disc_has_its_diameter_and_attenuation(radius, hu):
    values, given = measured_values(slice_with((0, 0, radius, hu))[None])
    assert given.all()
    assert values[0, 0] == pytest.approx(2 * radius, abs=1.5)
    assert values[0, 1] == pytest.approx(hu, abs=60)


def test_the_part_at_the_point_is_measured_and_nothing_where_there_is_none():
    beside = measured_values(np.stack([slice_with((0, 0, 4, 40), (16, 10, 8, 40)), slice_with((0, 0, 4, 40))]))[0]
    assert beside[0] == pytest.approx(beside[1], rel=0.15)
    values, given = measured_values(np.stack([slice_with(), slice_with((19, 17, 5, 40))]))
    assert not given.any() and not values.any()
    assert measured_values(np.zeros((0, SIDE, SIDE)))[0].shape == (0, 2)


def test_many_slices_are_measured_as_each_alone():
    slices = np.stack([slice_with((0, 0, 3 + number % 7, 40)) for number in range(70)])
    together, alone = measured_values(slices)[0], [measured_values(one[None])[0][0] for one in slices]
    assert np.array_equal(together, alone)


def by_hand(own: np.ndarray, diameter: float, hu: float, weights: np.ndarray, biases: np.ndarray) -> list[float]:
    """Logits of one branch: the mean of the network's own and of the logistic model's."""
    over = (min(max(hu, -700), 500) - 100) / 100
    features = [math.log(diameter / 10), max(over, 0), min(over, 0)]
    return [(own[c] + sum(w * f for w, f in zip(weights[c], features, strict=True)) + biases[c]) / 2 for c in (0, 1)]


def test_a_branch_s_logits_are_the_mean_of_the_network_s_and_the_logistic_model_s():
    head, draws = MeasuredHead(ENCODER, 2, 3).eval(), np.random.default_rng(1)
    weights, biases = draws.normal(size=(2, 3)).astype(np.float32), draws.normal(size=2).astype(np.float32)
    head.set_model(torch.from_numpy(weights), torch.from_numpy(biases))
    features = torch.from_numpy(draws.normal(size=(4, 2, 16)).astype(np.float32))
    seen = torch.tensor([[True, True], [True, False], [True, True], [False, False]])
    values = torch.tensor([[6.0, 330.0], [22.0, -640.0], [9.0, 40.0], [9.0, 40.0]])
    given = torch.tensor([[True, True], [True, True], [False, False], [True, True]])
    found = head.of_features(features, seen, values, given)
    own = LinearHead.of_features(head, features, seen, values, given)
    for case in (0, 1):
        for branch in seen[case].nonzero().flatten():
            expected = by_hand(own.branches[case, branch].tolist(), *values[case].tolist(), weights, biases)
            assert found.branches[case, branch].tolist() == pytest.approx(expected, abs=1e-5)
    assert torch.allclose(found.fused[0], found.branches[0].mean(dim=0), atol=1e-6)
    assert torch.equal(found.fused[1], found.branches[1, 0])
    assert torch.equal(found.fused[2:], own.fused[2:])  # not measured; not seen


def test_the_terms_are_finite_whatever_is_measured():
    assert terms(torch.tensor([[0.0, -3000.0], [300.0, 9000.0]])).isfinite().all()


@pytest.fixture(scope="module")
def runs():
    settings = ["epochs=2", "folds=3", "validation_fraction=0.2", "fusion=axial", "mode=light"]
    linear = override(finetuning_preset("tiny", ENCODER), settings)
    return {"linear": linear, "measured": replace(linear, head="measured")}


@pytest.fixture(scope="module")
def folders(ball_cohort, finetune_in, runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    for name, run in runs.items():
        finetune_in(folder / name, labeled(ball_cohort), run, None)
    return {name: folder / name for name in runs}


def losses(folder) -> list[float]:
    events = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [event["loss"] for event in events if "loss" in event]


def test_the_network_is_that_of_the_linear_head_to_the_bit(folders):
    """The same steps, the same epoch of each fold."""
    assert losses(folders["measured"]) == losses(folders["linear"]) != []
    for number in range(3):
        one, other = (load_fold(Job(folder), number) for folder in folders.values())
        kept = other.state_dict()
        assert all(torch.equal(tensor, kept[name]) for name, tensor in one.state_dict().items())


def test_each_fold_s_logistic_model_is_that_of_its_training_part(folders, ball_cohort):
    cohort, job = measured(labeled(ball_cohort)), Job(folders["measured"])
    assert cohort.given.all()
    results = fold_results(job.folder, 3)
    for number, result in enumerate(results):
        apart = {row["case_id"] for part in ("test", "validation") for row in result[part]}
        own = np.array([n for n, case in enumerate(cohort.cases) if case.case_id not in apart])
        weights, biases = measures_model(cohort, own)
        head = load_fold(job, number)
        assert torch.equal(head.beside.weight, weights) and torch.equal(head.beside.bias, biases)


def test_scoring_and_the_folds_give_one_number(folders, ball_cohort):
    """The cache's regions, scored as a case is, by the fold that tests each."""
    job, cohort = Job(folders["measured"]), labeled(ball_cohort)
    for number, result in enumerate(fold_results(job.folder, 3)):
        predictor = Predictor(models_of_job(job.folder, [number]), "cpu")
        tested = {row["case_id"]: row["probability"] for row in result["test"]}
        for place, case in enumerate(cohort.cases):
            if case.case_id in tested:
                volume = stored(cohort, place)
                found = predictor.predict([Prepared(cut_roi(volume, (0.0, 0.0, 0.0)))])[0].probability
                assert found == pytest.approx(tested[case.case_id], abs=1e-4)


def stored(cohort, place: int) -> CTVolume:
    """A volume whose axial region is a cached case's."""
    from MAEMCTrainingLib.data.kinds.montage_views import regions

    axial = regions(cohort.main, place)[0]
    affine = np.eye(4)
    affine[:3, 3] = (-(SIDE - 1) / 2, -(SIDE - 1) / 2, -(SLICES - 1) / 2)
    return CTVolume(axial, affine)


def ball(radius: float, hu: float) -> CTVolume:
    z, y, x = np.mgrid[:70, :70, :70] - 34.5
    inside = np.clip(radius - np.sqrt(x**2 + y**2 + z**2) + 0.5, 0, 1)
    array = (-850 * (1 - inside) + hu * inside).astype(np.float32)
    affine = np.eye(4)
    affine[:3, 3] = -34.5
    return CTVolume(array, affine)


def test_a_moved_click_is_measured_where_it_is(folders, tmp_path):
    """The range of the score over clicks is that of the number a reader gets there."""
    bundle = export(folders["measured"], tmp_path / "m.maemc", TEXTS)
    predictor, volume = Predictor(bundle, "cpu"), ball(6.0, 60.0)
    region = cut_roi(volume, (0.0, 0.0, 0.0))
    found = predictor.predict([Prepared(region, margin=cut_margin(volume, region.point_lps, 1.0))])[0]
    near = [(2, 0, 0), (-2, 0, 0), (0, 2, 0), (0, -2, 0), (0, 0, 2), (0, 0, -2)]
    scores = [predictor.predict([Prepared(cut_roi(volume, point))])[0].probability for point in near]
    expected = [found.probability, *scores]
    assert (found.jitter_low, found.jitter_high) == pytest.approx((min(expected), max(expected)), abs=1e-4)


def test_a_result_tells_what_size_and_attenuation_give_alone(folders):
    predictor = Predictor(models_of_job(folders["measured"]), "cpu")
    region = cut_roi(ball(6.0, 60.0), (0.0, 0.0, 0.0))
    told = predictor.predict([Prepared(region)])[0].measured
    diameter, hu = measured_values(region.axial[SLICES // 2][None])[0][0].tolist()
    zero = np.zeros(2)
    each = [by_hand(zero, diameter, hu, m.beside.weight.tolist(), m.beside.bias.tolist()) for m in predictor.members]
    expected = np.mean([1 / (1 + math.exp(2 * (benign - sick))) for benign, sick in each])  # not the half of it
    assert told == pytest.approx({"diameter_mm": diameter, "attenuation_hu": hu, "probability": expected}, rel=1e-5)
    nothing = cut_roi(CTVolume(np.full((60, 60, 60), -850.0, np.float32), np.eye(4)), (30.0, 30.0, 30.0))
    assert predictor.predict([Prepared(nothing)])[0].measured is None
    assert Predictor(models_of_job(folders["linear"]), "cpu").predict([Prepared(region)])[0].measured is None


def test_a_map_explains_the_network_and_not_the_measures(folders):
    predictor = Predictor(models_of_job(folders["measured"]), "cpu")
    region = cut_roi(ball(6.0, 60.0), (0.0, 0.0, 0.0))
    image = predictor.image(Prepared(region), "axial")
    explained = ExplainedImage(predictor, image, 1, "axial")
    steep = torch.tensor([[-1.0], [1.0]]).expand(2, 3)
    for member in predictor.members:
        member.beside.weight.copy_(steep)
    with_values = predictor.predict([Prepared(region)])[0].probability
    before = explained.probabilities(image[None])[0]
    for member in predictor.members:
        member.beside.weight.copy_(-steep)
    assert predictor.predict([Prepared(region)])[0].probability != pytest.approx(with_values, abs=0.01)
    assert explained.probabilities(image[None])[0] == before


def test_another_outline_network_is_another_model(folders, tmp_path, monkeypatch):
    """The reference case is measured too: with other measures than the author's nothing is scored."""
    from MAEMCLib.errors import ModelError
    from MAEMCLib.models import predictor as module
    from MAEMCLib.models.reference_case import open_predictor

    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "home"))
    bundle = export(folders["measured"], tmp_path / "m.maemc", TEXTS)
    assert measured_values(INPUT.synthetic(0).axial[SLICES // 2][None])[1].all()
    open_predictor(bundle, "cpu")
    monkeypatch.setattr(
        module, "measured_values", lambda slices: (measured_values(slices)[0] * 1.2, np.ones((1, 2), bool))
    )
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "another home"))
    with pytest.raises(ModelError, match="other numbers than the model's author"):
        open_predictor(bundle, "cpu")


def test_what_is_measured_alone_is_a_baseline(folders):
    report = {name: json.loads((folder / "metrics.json").read_text()) for name, folder in folders.items()}
    assert report["measured"]["baselines"][MEASURED]["auc"]["value"] == 1.0  # large balls and small ones
    assert MEASURED not in report["linear"]["baselines"]


def test_a_training_knows_other_measures_for_other_data(ball_cohort):
    """An outline network that was exchanged in between does not continue a job in silence."""
    cohort = measured(labeled(ball_cohort))
    other = replace(cohort, values=cohort.values * np.float32(1.01))
    assert len({labeled(ball_cohort).fingerprint, cohort.fingerprint, other.fingerprint}) == 3
    assert measured(labeled(ball_cohort)).fingerprint == cohort.fingerprint


def test_it_needs_nodules_that_can_be_outlined(ball_cohort, finetune_in, runs, tmp_path, monkeypatch):
    cohort = measured(labeled(ball_cohort))
    nothing = replace(cohort, given=np.zeros_like(cohort.given))
    with pytest.raises(InputError, match="no nodule that is trained on could be outlined"):
        measures_model(nothing, np.arange(12))
    picture = replace(labeled(ball_cohort), branches=("picture",))
    with pytest.raises(UsageError, match="measures nodules, and these data are pictures"):
        finetune_in(tmp_path / "pictures", picture, runs["measured"], None)


def test_a_bundle_of_pictures_cannot_have_it(folders):
    bundle = models_of_job(folders["measured"])
    values = {**bundle.card.values, "preprocessing": {"image_size": 250}}
    wrong = ModelsInMemory(
        bundle.path, replace(bundle.card, input="picture", fusion="mean", values=values), bundle.held
    )
    with pytest.raises(ArchitectureError, match="measures nodules, and the model scores"):
        Predictor(wrong, "cpu")


def test_a_report_says_it_in_words():
    told = {"measured": {"diameter_mm": 12.34, "attenuation_hu": 44.6, "probability": 0.712}}
    assert measured_text(told) == "0.71 (middle slice: a circle of 12.3 mm, 45 HU)"
    assert measured_text({"measured": None}) == measured_text({}) == ""
