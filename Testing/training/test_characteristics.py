"""Heads for characteristics and alike nodules: the fit against a slow one, their figures, what an export makes."""

import csv
import json
import shutil

import numpy as np
import pytest
from MAEMCLib.characteristics.alike import TrainingNodules, packed
from MAEMCLib.errors import InputError
from MAEMCLib.images.files import read_volume
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.region import cut_roi
from MAEMCLib.models.beside import training_nodules
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.models.predictor import Predictor
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.characteristics.fitting import PENALTIES, fit_head
from MAEMCTrainingLib.characteristics.judging import (
    MARGIN,
    correlation,
    drawn_means,
    judge_alike,
    judge_head,
    resampled,
)
from MAEMCTrainingLib.characteristics.members import told_line
from MAEMCTrainingLib.characteristics.rated import RatedNodules, pairs, rated_nodules, readers_mean
from MAEMCTrainingLib.classifiers.export import export
from MAEMCTrainingLib.jobs.files import remember
from MAEMCTrainingLib.jobs.job import Job
from scipy.stats import spearmanr


def slow_ridge(features, ratings, weights, penalty):
    """Weights and bias by gradient descent on the weighted squares and the penalty; the bias is not penalized."""
    center = np.average(features, axis=0, weights=weights)
    moved = features - center
    target = ratings - np.average(ratings, weights=weights)
    found = np.zeros(features.shape[1])
    step = 1 / (np.linalg.eigvalsh((moved * weights[:, None]).T @ moved).max() + penalty)
    for _ in range(20_000):
        found -= step * ((moved * weights[:, None]).T @ (moved @ found - target) + penalty * found)
    return found, np.average(ratings, weights=weights) - center @ found


def test_a_head_is_the_ridge_regression_of_the_best_penalty():
    draws = np.random.default_rng(5)
    features = draws.normal(size=(40, 3)) * [1, 5, 0.2] + 2
    readers = draws.integers(1, 5, 40)
    ratings = np.clip(3 + features @ [0.5, -0.1, 0.3] + draws.normal(0, 1, 40), 1, 5)
    head = fit_head(features, ratings, readers)
    center, scale = features.mean(axis=0), features.std(axis=0)
    standardized = (features - center) / scale
    errors = []
    for penalty in PENALTIES:  # each nodule left out in turn, and fitted anew without it
        missed = []
        for left in range(40):
            rest = np.arange(40) != left
            weight, bias = direct_ridge(standardized[rest], ratings[rest], readers[rest], penalty)
            missed.append(readers[left] * (standardized[left] @ weight + bias - ratings[left]) ** 2)
        errors.append(np.mean(missed))
    assert head.penalty == PENALTIES[int(np.argmin(errors))]
    weight, bias = slow_ridge(standardized, ratings, readers, head.penalty)
    np.testing.assert_allclose(features @ head.weight + head.bias, standardized @ weight + bias, atol=1e-6)


def direct_ridge(features, ratings, weights, penalty):
    """By least squares of as many rows more as there are features."""
    root = np.sqrt(weights)[:, None]
    rows = np.vstack([root * np.hstack([features, np.ones((len(features), 1))]), np.zeros((3, 4))])
    rows[-3:, :3] = np.sqrt(penalty) * np.eye(3)
    found = np.linalg.lstsq(rows, np.append(root[:, 0] * ratings, np.zeros(3)), rcond=None)[0]
    return found[:3], found[3]


def test_each_reader_is_set_beside_the_others():
    ratings = np.array([[1, 4, np.nan], [3, np.nan, np.nan], [2, 2, 5], [np.nan] * 3])
    assert [tuple(map(float, row)) for row in zip(*pairs(ratings), strict=True)] == [
        (0, 1, 4), (0, 4, 1), (2, 2, 3.5), (2, 2, 3.5), (2, 5, 2),
    ]  # fmt: skip
    np.testing.assert_array_equal(readers_mean(ratings), [2.5, 3, 3, np.nan])


def test_the_rank_correlation_is_scipys():
    draws = np.random.default_rng(2)
    one, other = draws.integers(1, 6, 50), draws.normal(size=50)
    times = np.stack([np.ones(50, int), draws.integers(0, 4, 50)])
    wanted = [spearmanr(np.repeat(one, row), np.repeat(other, row))[0] for row in times]
    np.testing.assert_allclose(correlation(one, other, times), wanted, rtol=1e-12)
    assert np.isnan(correlation(np.ones(4), np.arange(4), np.ones((1, 4)))).all()


def test_an_interval_draws_patients_with_all_their_cases():
    draws = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 4)
    values = np.repeat(draws.normal(size=30), 4)  # alike within a patient: as sure as 30 cases, not as 120
    (metric,) = resampled(lambda times: drawn_means(values[None], times), patients, 1)
    width = 2 * 1.96 * values.std() / np.sqrt(30)
    assert metric.value == pytest.approx(values.mean()) and metric.n == 120
    assert metric.high - metric.low == pytest.approx(width, rel=0.15)
    (alone,) = resampled(lambda times: drawn_means(np.ones((1, 4)), times), np.zeros(4, int), 1)
    assert (alone.value, alone.low, alone.high) == (1.0, None, None)


@pytest.fixture(scope="module")
def read():
    """150 nodules of 75 patients: the truth, and three readers' ratings of it."""
    draws = np.random.default_rng(4)
    truth = draws.uniform(1, 5, 150)
    ratings = np.clip(np.rint(truth[:, None] + draws.normal(0, 0.8, (150, 3))), 1, 5)
    ratings[::5, 2] = np.nan
    return truth, ratings, draws.uniform(4, 30, 150), np.arange(150) // 2


def test_a_word_is_shown_of_a_head_that_is_as_good_as_a_reader_alone(read):
    truth, ratings, sizes, patients = read
    good = judge_head(ratings, truth, sizes, patients)
    index, own, others = pairs(ratings)
    assert good.shown and good.figures["head"].value == pytest.approx(spearmanr(truth[index], others)[0])
    assert good.figures["reader"].value == pytest.approx(spearmanr(own, others)[0])
    assert good.figures["reader_error"].value == pytest.approx(np.abs(own - others).mean())
    assert good.figures["of_mean"].value == pytest.approx(spearmanr(truth, readers_mean(ratings))[0])
    assert good.figures["size"].value < 0.3 < good.figures["reader"].value
    constant = judge_head(ratings, np.full(150, 3.0), sizes, patients)
    assert not constant.shown and constant.figures["head"].value is None
    noisy = truth + np.random.default_rng(1).normal(0, 2, 150)
    assert not judge_head(ratings, np.clip(noisy, 1, 5), sizes, patients).shown
    shifted = judge_head(ratings, np.clip(truth - 2, 1, 5) + 0.001 * truth, sizes, patients)
    assert shifted.figures["difference"].low > -MARGIN and not shifted.shown  # it ranks, and says wrong ratings


def test_alike_nodules_are_of_other_patients_and_nearer_than_drawn_ones(read):
    truth, ratings, sizes, patients = read
    draws = np.random.default_rng(6)
    features = np.stack([truth, *(0.01 * draws.normal(size=150) for _ in range(3))], axis=1)
    features = features @ np.linalg.qr(draws.normal(size=(4, 4)))[0]
    nodules = RatedNodules(("lobulation",), None, patients % 3, patients, ratings[:, None])
    made = TrainingNodules.of(
        packed(features, patients, sizes, np.nan_to_num(nodules.ratings), np.zeros((150, 50, 50), np.uint8)),
        ("lobulation",),
    )
    found = judge_alike(nodules, made, features, 1)["lobulation"]
    assert found["alike"].n == int((patients % 3 == 1).sum())
    assert found["alike"].high < found["random"].low


def rated_manifest(balls, path, columns):
    """The balls' manifest with ratings of two readers in some columns."""
    with open(balls, newline="") as stream:
        rows = list(csv.DictReader(stream))
    for number, row in enumerate(rows):
        for place, name in enumerate(columns):
            row[name] = f"{1 + (number + place) % 5} {1 + (number * 7) % 5}"
        row["image"] = str(balls.parent / row["image"])
    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


TEXTS = {"id": "balls", "version": "0.1", "title": "Balls", "intended_use": "A test.", "attribution": "Our balls."}


@pytest.fixture(scope="module")
def job(balls, tmp_path_factory):
    """A fine-tuning of the rated balls by the command, in its MAEMC_HOME."""
    folder = tmp_path_factory.mktemp("rated")
    data = rated_manifest(balls, folder / "rated.csv", ("lobulation", "texture", "malignancy"))
    settings = ["epochs=1", "folds=2", "batch=4", "encoder.width=16", "encoder.depth=1", "encoder.heads=2"]
    arguments = ["--from", "scratch", "--preset", "tiny", "--data", str(data), "--output", str(folder / "job")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAEMC_HOME", str(folder))
        patch.setattr("MAEMCTrainingLib.characteristics.rated.FEWEST", 6)
        assert main(["finetune", *arguments, "--device", "cpu", "--threads", "1", "--quiet", *settings]) == 0
        yield Job(folder / "job", home=folder)


def folds_of(job):
    """The fold that tests each case."""
    results = [json.loads((job.folder / "folds" / str(fold) / "result.json").read_text()) for fold in range(2)]
    return {row["case_id"]: fold for fold, result in enumerate(results) for row in result["test"]}


@pytest.fixture
def exported(job, tmp_path, monkeypatch):
    monkeypatch.setenv("MAEMC_HOME", str(job.home))
    return export(job.folder, tmp_path / "m.maemc", TEXTS)


def test_an_export_tells_what_its_data_allow(exported, job, balls):
    card = exported.card
    assert card.values["schema"] == 2 and len(card.members("characteristics")) == 2
    assert card.values["characteristics"]["names"] == ["lobulation", "texture"]
    assert card.values["alike"]["nodules"] == 12 and card.values["alike"]["attribution"] == "Our balls."
    assert set(card.values["alike"]["agreement"]) == {"malignancy", "lobulation", "texture"}
    nodules = training_nodules(ModelBundle.open(exported.path))
    assert nodules.thumbnails.shape == (12, 50, 50)
    assert (nodules.thumbnails[:, 25, 25] > 200).all() and (nodules.thumbnails[:, 2, 2] < 120).all()  # tissue in lung
    pseudonyms = json.loads((job.folder / "job.json").read_text())["cohort"]["pseudonyms"]
    content = exported.path.read_bytes()
    assert not any(name.encode() in content for name in [*pseudonyms, "patient-1", "case-1", str(job.folder)])
    assert sorted(nodules.patients) == list(range(12))
    line = told_line(card.values)
    assert line.startswith("Words beside the number: ") and "Pictures of its 12 training nodules" in line


def test_scoring_finds_a_training_nodule_itself(exported, balls):
    predictor = Predictor(ModelBundle.open(exported.path), "cpu")
    with open(balls, newline="") as stream:
        rows = list(csv.DictReader(stream))[:12]
    for row in rows[:4]:
        roi = cut_roi(read_volume(balls.parent / row["image"]), (0.0, 0.0, 0.0))
        first = predictor.predict([Prepared(roi)])[0].alike[0]
        assert first.similarity > 0.99 and first.diameter_mm == pytest.approx(float(row["diameter_mm"]), abs=0.01)


def test_each_head_is_fitted_without_the_patients_that_its_fold_tests(exported, job):
    nodules = rated_nodules(job, folds_of(job))
    predictor = Predictor(exported, "cpu")
    features = predictor.features([Prepared(nodules.region(n)) for n in range(12)])
    ratings = nodules.ratings[:, nodules.names.index("lobulation")]
    for fold, weights in enumerate(exported.arrays(name) for name in exported.card.members("characteristics")):
        others = nodules.folds != fold
        head = fit_head(features[fold][others], readers_mean(ratings)[others], np.full(others.sum(), 2))
        np.testing.assert_allclose(weights["weight"][0], head.weight, rtol=1e-4, atol=1e-6)


def test_pictures_go_into_a_bundle_only_where_somebody_says_whose_they_are(job, tmp_path, monkeypatch):
    monkeypatch.setenv("MAEMC_HOME", str(job.home))
    bundle = export(job.folder, tmp_path / "m.maemc", {**TEXTS, "attribution": ""})
    assert not bundle.card.members("alike") and bundle.card.members("characteristics")
    assert any("do not say whose images" in note for note in bundle.card.values["notes"])


def test_data_that_are_gone_are_noted(job, tmp_path, monkeypatch):
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path))  # nothing is noted of the job there
    bundle = export(job.folder, tmp_path / "m.maemc", TEXTS)
    assert bundle.card.values["schema"] == 1 and not bundle.card.members("characteristics")
    assert any("data are not where they were" in note for note in bundle.card.values["notes"])
    with pytest.raises(InputError, match="not where they were"):
        rated_nodules(Job(job.folder, home=tmp_path), {"a": 0, "b": 1})


def test_data_without_ratings_of_several_readers_tell_nothing(job, balls, tmp_path):
    data = rated_manifest(balls, tmp_path / "m.csv", ("malignancy",))
    remember(job.folder, tmp_path, data=[str(data)])
    elsewhere, tested = Job(job.folder, home=tmp_path), folds_of(job)
    with pytest.raises(InputError, match="not where they were"):  # another key makes other pseudonyms
        rated_nodules(elsewhere, tested)
    shutil.copy(job.home / "pseudonym.key", tmp_path)
    assert rated_nodules(elsewhere, tested) is None  # malignancy is the number itself
    assert rated_nodules(job, dict.fromkeys(tested, 0)) is None  # one model: nobody is out of fold
