"""Platt scaling, the recalibration line, ECE and reliability against slow or other computations; cross-fitting."""

import json

import numpy as np
import pytest
from MAEMCLib.errors import InputError
from MAEMCLib.statistics.intervals import equal_mass_bins, wilson
from MAEMCTrainingLib.classifiers.fold_model import fold_results
from MAEMCTrainingLib.evaluation.out_of_fold import OutOfFold, calibrate
from MAEMCTrainingLib.evaluation.out_of_fold import out_of_fold as read_out_of_fold
from MAEMCTrainingLib.evaluation.predictions import of_second
from MAEMCTrainingLib.statistics.calibration import (
    Calibration,
    calibration_error,
    fit_platt,
    logits,
    recalibration,
    reliability,
)
from MAEMCTrainingLib.statistics.intervals import two_class_samples
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression


def drawn(cases=400, seed=0, slope=2.0, intercept=-1.0, share=0.4):
    """Labels, and probabilities whose logits are ``slope`` times too large and off by ``intercept``."""
    draws = np.random.default_rng(seed)
    labels = (draws.random(cases) < share).astype(int)
    true = draws.normal(labels * 1.5 - 0.75) * 1.5 + np.log(share / (1 - share))  # the log odds given the score
    return labels, expit(slope * true + intercept)


def test_platt_minimizes_its_loss():
    labels, probabilities = drawn(60, 3)
    n1, n0 = labels.sum(), (1 - labels).sum()
    targets = np.where(labels == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))

    def loss(parameters):
        line = parameters[0] * logits(probabilities) + parameters[1]
        return sum(np.logaddexp(0, value) - target * value for value, target in zip(line, targets, strict=True))

    best = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000})
    ours = fit_platt(labels, probabilities)
    assert (ours.slope, ours.intercept) == pytest.approx(tuple(best.x), abs=1e-4)


def test_platt_undoes_a_known_distortion():
    labels, probabilities = drawn(40_000, slope=2.0, intercept=-1.0)
    fitted = fit_platt(labels, probabilities)
    assert fitted.slope == pytest.approx(0.5, abs=0.03) and fitted.intercept == pytest.approx(0.5, abs=0.05)
    again = fitted.apply(probabilities)
    assert again.mean() == pytest.approx(labels.mean(), abs=1e-3)  # the cohort's prevalence is the prior now
    assert (np.argsort(again, kind="stable") == np.argsort(probabilities, kind="stable")).all()


def test_platt_stays_finite_where_the_classes_are_apart_or_nothing_differs():
    labels = np.repeat([0, 1], 20)
    apart = fit_platt(labels, np.where(labels == 1, 0.9, 0.1))
    assert np.isfinite([apart.slope, apart.intercept]).all() and apart.slope > 0
    certain = fit_platt(labels, labels.astype(float))  # logits without end
    assert np.isfinite(certain.apply(np.array([0.0, 1.0]))).all()
    same = fit_platt(np.repeat([0, 1], [30, 10]), np.full(40, 0.7))
    assert same.slope == 0 and same.apply(np.array([0.7]))[0] == pytest.approx(0.25, abs=0.02)
    with pytest.raises(InputError, match="both classes"):
        fit_platt(np.ones(5), np.full(5, 0.5))


def test_what_is_stored_is_what_scoring_computes():
    """``Predictor`` applies slope and intercept to its logit: the same number."""
    calibration, margin = Calibration(1.7, -0.3), 0.83
    assert calibration.apply(np.array([expit(margin)]))[0] == pytest.approx(1 / (1 + np.exp(-(1.7 * margin - 0.3))))


def test_recalibration_line_against_scikit_learn_for_each_bootstrap_sample():
    labels, probabilities = drawn(80, 5)
    weights = two_class_samples(labels, np.arange(80) // 2, 20, seed=1)
    slopes, intercepts = recalibration(labels, probabilities, weights)
    for row, slope, intercept in zip(weights, slopes, intercepts, strict=True):
        model = LogisticRegression(C=1e9, tol=1e-9, max_iter=1000)
        model.fit(logits(probabilities)[:, None], labels, sample_weight=row)
        assert (slope, intercept) == pytest.approx((model.coef_[0, 0], model.intercept_[0]), abs=2e-3)


def test_recalibration_is_not_a_number_where_it_is_infinite_or_undetermined():
    labels = np.repeat([0, 1], 10)
    apart = np.concatenate([np.linspace(0.1, 0.4, 10), np.linspace(0.4, 0.9, 10)])
    assert np.isnan(recalibration(labels, apart, np.ones((1, 20)))[0])
    assert np.isnan(recalibration(labels, np.full(20, 0.3), np.ones((1, 20)))[0])
    mixed = apart.copy()
    mixed[[0, 19]] = mixed[[19, 0]]
    assert np.isfinite(recalibration(labels, mixed, np.ones((1, 20)))[0])
    without = np.ones((1, 20))
    without[0, [0, 19]] = 0  # a sample that misses the two mixed cases
    assert np.isnan(recalibration(labels, mixed, without)[0])


def slow_ece(labels, probabilities, bins):
    total = 0.0
    for number in set(bins.tolist()):
        inside = [i for i in range(len(labels)) if bins[i] == number]
        gap = np.mean([labels[i] for i in inside]) - np.mean([probabilities[i] for i in inside])
        total += len(inside) / len(labels) * abs(gap)
    return total


@pytest.mark.parametrize("cases", [25, 55, 400])
def test_ece_against_a_slow_loop(cases):
    labels, probabilities = drawn(cases, cases)
    bins = equal_mass_bins(probabilities)
    ours = calibration_error(labels, probabilities, bins, np.ones((1, cases)))[0]
    assert ours == pytest.approx(slow_ece(labels, probabilities, bins))
    copies = np.repeat(np.arange(cases), np.arange(cases) % 3)
    weighted = calibration_error(labels, probabilities, bins, (np.arange(cases) % 3)[None].astype(float))[0]
    assert weighted == pytest.approx(slow_ece(labels[copies], probabilities[copies], bins[copies]))


def test_bins_hold_equally_many_cases_and_keep_ties_together():
    probabilities = np.random.default_rng(0).random(400)
    assert np.bincount(equal_mass_bins(probabilities)).tolist() == [40] * 10
    assert len(set(equal_mass_bins(probabilities[:55]).tolist())) == 5
    assert len(set(equal_mass_bins(probabilities[:12]).tolist())) == 2
    assert set(equal_mass_bins(np.full(100, 0.5)).tolist()) == {0}
    ties = np.round(probabilities, 1)
    bins = equal_mass_bins(ties)
    assert all(len(set(bins[ties == value].tolist())) == 1 for value in np.unique(ties))
    order = np.argsort(ties, kind="stable")
    assert (np.diff(bins[order]) >= 0).all() and set(np.diff(np.unique(bins)).tolist()) == {1}


def test_reliability_counts_every_case_once():
    labels, probabilities = drawn(230, 2)
    table = reliability(labels, probabilities, np.arange(230))
    assert sum(row["n"] for row in table) == 230 and sum(row["malignant"] for row in table) == labels.sum()
    for row in table:
        inside = (probabilities >= row["from"]) & (probabilities <= row["to"])
        assert inside.sum() == row["n"]
        assert row["observed"] == pytest.approx(labels[inside].mean())
        assert row["mean_probability"] == pytest.approx(probabilities[inside].mean())
        assert row["low"] <= row["observed"] <= row["high"]


def test_wilson_of_whole_numbers_is_scipy_s():
    for n in (1, 2, 10, 89, 1000):
        for hits in {0, 1, n // 2, n - 1, n}:
            expected = binomtest(hits, n).proportion_ci(method="wilson")
            assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
    for n in range(1, 200):
        assert wilson(n, n)[1] == 1.0 and wilson(0, n)[0] == 0.0


def out_of_fold(cases=300, seed=0, validated=150, **shape):
    labels, scores = drawn(cases, seed, **shape)
    draws = np.random.default_rng(seed + 1)
    chosen = draws.permutation(cases)[:validated]
    noisy = expit(logits(scores[chosen]) + draws.normal(0, 0.3, validated))
    return predictions(labels, np.arange(cases) % 5, scores, chosen, noisy)


def predictions(labels, folds, scores, chosen, validation_scores):
    """Of five folds whose inner validation predicted the chosen cases."""
    return OutOfFold(labels, folds, of_second(scores), chosen, labels[chosen], validation_scores)


def test_a_fold_s_labels_do_not_reach_its_own_calibration_and_thresholds():
    """Turning all labels of a fold round leaves its probabilities and thresholds as they are, and moves the others'."""
    oof = out_of_fold()
    found = calibrate(oof)
    assert found.decisions.calibration.reason is None and found.decisions.calibration.slope > 0
    tested = oof.folds == 2
    labels = np.where(tested, 1 - oof.labels, oof.labels)
    turned = predictions(labels, oof.folds, oof.scores, oof.validation_cases, oof.validation_scores)
    again = calibrate(turned)
    np.testing.assert_array_equal(found.probabilities[tested], again.probabilities[tested])
    assert (found.probabilities[~tested] != again.probabilities[~tested]).all()
    for name in found.decisions.thresholds:
        assert len(set(found.used[name][tested].tolist())) == 1
        np.testing.assert_array_equal(found.used[name][tested], again.used[name][tested])
    assert found.decisions.calibration != again.decisions.calibration


def test_cross_fitting_by_hand():
    oof = out_of_fold(200, 4, 120)
    found = calibrate(oof)
    for fold in range(5):
        tested = oof.folds == fold
        fitted = fit_platt(oof.labels[~tested], oof.scores[~tested])
        np.testing.assert_allclose(found.probabilities[tested], fitted.apply(oof.scores[tested]))
    everything = fit_platt(oof.labels, oof.scores)
    assert found.decisions.calibration == everything
    # Thresholds lie on the scale of the calibrated probability: called as the network's own threshold calls.
    balanced = found.decisions.thresholds["balanced"]
    assert balanced in everything.apply(oof.validation_scores)


def test_calibrated_figures_are_not_optimistic():
    """Of scores without any meaning the cross-fitted Brier score does not fall below that of the share alone."""
    gains = []
    for seed in range(40):
        draws = np.random.default_rng(seed)
        labels, scores = draws.integers(0, 2, 60), draws.random(60)
        oof = predictions(labels, np.arange(60) % 5, scores, np.arange(60), draws.random(60))
        found = calibrate(oof)
        if found.decisions.calibration.reason is None:
            gains.append(((labels - labels.mean()) ** 2).mean() - ((labels - found.probabilities) ** 2).mean())
    assert len(gains) > 3 and np.mean(gains) < 0.01


def test_a_model_no_better_than_chance_is_left_uncalibrated():
    oof = out_of_fold()
    turned = predictions(oof.labels, oof.folds, 1 - oof.scores, oof.validation_cases, 1 - oof.validation_scores)
    found = calibrate(turned)
    assert "not better than chance" in found.decisions.calibration.reason and not found.decisions.calibration.calibrated
    np.testing.assert_array_equal(found.probabilities, turned.scores)


def test_few_validation_cases_leave_everything_at_its_default():
    oof = out_of_fold(60, 1, 30)
    found = calibrate(oof)
    reason = found.decisions.calibration.reason
    assert "at least 20" in reason and found.decisions.thresholds_reason == reason
    assert set(found.decisions.thresholds.values()) == {0.5} and found.used == {}
    assert not found.decisions.calibration.calibrated


@pytest.fixture
def results(tmp_path):
    """Two folds of four cases: (folder, change one fold's result)."""
    for fold, cases in enumerate((("a", "b"), ("c", "d"))):
        rows = [{"case_id": case, "probability": 0.25} for case in cases]
        place = tmp_path / "folds" / str(fold)
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps({"fold": fold, "test": rows, "validation": []}))
    return tmp_path


LABELS = np.array([0, 1, 0, 1])


def test_gathering(results):
    oof = read_out_of_fold(fold_results(results, 2), results, ["d", "c", "b", "a"], LABELS)
    assert oof.folds.tolist() == [1, 1, 0, 0] and (oof.scores == 0.25).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"test": [{"case_id": "a", "probability": 0.5}], "validation": []}', "1 cases .* tested by no fold"),
        ('{"test": [{"case_id": "x", "probability": 0.5}], "validation": []}', "damaged or of other data"),
        ('{"test": [{"case_id": "a"}], "validation": []}', "damaged or of other data"),
        ('{"validation": []}', "damaged or of other data"),
        ('{"test": [{"case_id": "a", "probability": NaN}, {"case_id": "b", "probability": 1}], "validation": []}',
         "NaN is no number"),
        ('{"test": [{"case_id": "a", "probability": 2}, {"case_id": "b", "probability": 1}], "validation": []}',
         "1 of 4 predictions are no probabilities"),
        ("{", "cannot be read"),
    ],
)  # fmt: skip
def test_damaged_results_are_refused(results, text, message):
    (results / "folds" / "0" / "result.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_out_of_fold(fold_results(results, 2), results, list("abcd"), LABELS)


def test_missing_results_are_refused(results):
    (results / "folds" / "0" / "result.json").unlink()
    with pytest.raises(InputError, match="is missing"):
        read_out_of_fold(fold_results(results, 2), results, list("abcd"), LABELS)
