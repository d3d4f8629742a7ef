"""Metrics against slow loops and scikit-learn, intervals against their definition, folds against their promises."""

import itertools

import numpy as np
import pytest
from MAEMCLib.errors import InputError
from MAEMCTrainingLib.data.folds import make_folds
from MAEMCTrainingLib.evaluation.baselines import by_radius, logistic, radial_profiles, shell_means
from MAEMCTrainingLib.statistics.intervals import two_class_samples
from MAEMCTrainingLib.statistics.metrics import area, auc, auc_difference, confusion, delong, evaluate, rates
from MAEMCTrainingLib.statistics.operating_points import at_points, choose_thresholds, too_few
from scipy.stats import norm
from sklearn import metrics as reference


def example(cases=80, seed=0, ties=True):
    draws = np.random.default_rng(seed)
    labels = draws.integers(0, 2, cases)
    scores = np.clip(0.3 * labels + draws.random(cases), 0, 1)
    patients = draws.integers(0, cases // 2, cases)
    return labels, np.round(scores, 1) if ties else scores, patients


def slow_auc(labels, scores):
    pairs = [(p, n) for p in scores[labels == 1] for n in scores[labels == 0]]
    return sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs)


@pytest.mark.parametrize("ties", [True, False])
def test_auc(ties):
    labels, scores, _ = example(ties=ties)
    assert auc(labels, scores) == pytest.approx(slow_auc(labels, scores), abs=1e-12)
    assert auc(labels, scores) == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-12)


def test_auc_of_many_cases_is_summed_in_parts():
    labels, scores, _ = example(5000)
    assert auc(labels, scores) == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-12)


def test_rates_against_scikit_learn():
    labels, scores, patients = example()
    result = evaluate(labels, scores, patients, threshold=0.6)
    called = scores >= 0.6
    assert result["accuracy"].value == pytest.approx(reference.accuracy_score(labels, called))
    assert result["sensitivity"].value == pytest.approx(reference.recall_score(labels, called))
    assert result["specificity"].value == pytest.approx(reference.recall_score(1 - labels, ~called))
    assert result["ppv"].value == pytest.approx(reference.precision_score(labels, called))
    assert result["npv"].value == pytest.approx(reference.precision_score(1 - labels, ~called))
    assert result["balanced_accuracy"].value == pytest.approx(reference.balanced_accuracy_score(labels, called))
    assert result["brier"].value == pytest.approx(reference.brier_score_loss(labels, scores))
    counts = confusion(labels, scores, 0.6)
    tn, fp, fn, tp = reference.confusion_matrix(labels, called).ravel()
    assert counts == {"tp": tp, "fp": fp, "tn": tn, "fn": fn}
    assert result["sensitivity"].n == tp + fn and result["specificity"].n == tn + fp and result["ppv"].n == tp + fp


def test_bootstrap_against_resampled_copies():
    """Weights are the same as copying each drawn patient's cases and computing again."""
    labels, scores, patients = example(40)
    weights = two_class_samples(labels, patients)[1:].astype(int)
    result = evaluate(labels, scores, patients, threshold=0.5)
    briers = []
    for row in weights:
        drawn = np.repeat(np.arange(len(labels)), row)
        briers.append(((scores[drawn] - labels[drawn]) ** 2).mean())
    assert (result["brier"].low, result["brier"].high) == pytest.approx(tuple(np.percentile(briers, [2.5, 97.5])))


def test_bootstrap_draws_patients_in_their_strata():
    labels = np.array([1, 1, 1, 0, 0, 0, 1, 0])
    patients = np.array([0, 0, 1, 2, 3, 4, 5, 5])  # patient 5 has both kinds
    weights = two_class_samples(labels, patients, 500, seed=0)[1:]
    assert (weights[:, 0] == weights[:, 1]).all()  # a patient comes with all its cases
    assert (weights[:, 6] == 1).all() and (weights[:, 7] == 1).all()  # the only one of its stratum
    assert (weights[:, [0, 2]].sum(axis=1) == 2).all() and (weights[:, [3, 4, 5]].sum(axis=1) == 3).all()
    assert weights[:, 0].mean() == pytest.approx(1, abs=0.15)
    assert weights[:, 0].max() == 2


def test_interval_covers_the_truth():
    """Of 60 samples of normal scores with a true AUC of 0.76, the 95 % interval misses it a few times."""
    draws, misses = np.random.default_rng(1), 0
    for _ in range(60):
        labels = np.repeat([0, 1], 40)
        scores = norm.cdf(draws.normal(labels * 1.0))
        interval = area(labels, scores, np.arange(80))
        misses += not interval.low <= 0.7602 <= interval.high
    assert misses <= 9


def test_auc_within_folds_compares_pairs_of_one_model():
    labels, scores, patients = example(60)
    folds = np.arange(60) % 3
    shifted = (scores + 10 * folds) / 21  # three models on three scales
    result = evaluate(labels, shifted, patients, folds=folds)["auc_within_folds"]
    pairs = [(p, n) for p, n in itertools.product(range(60), range(60)) if labels[p] and not labels[n]]
    pairs = [(scores[p], scores[n]) for p, n in pairs if folds[p] == folds[n]]
    assert result.value == pytest.approx(np.mean([(p > n) + 0.5 * (p == n) for p, n in pairs]))
    assert evaluate(labels, scores, patients, folds=np.zeros(60))["auc_within_folds"].value == auc(labels, scores)


def test_what_cannot_be_computed_is_none():
    labels = np.array([0, 1, 1, 0])
    result = evaluate(labels, np.full(4, 0.2), np.arange(4))
    assert result["ppv"].value is None and result["ppv"].n == 0
    assert result["npv"].value == 0.5
    with pytest.raises(InputError, match="both classes"):
        evaluate(np.ones(4), np.ones(4), np.arange(4))


def test_thresholds():
    draws = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    scores = 1 / (1 + np.exp(-draws.normal(labels * 2.0 - 1)))
    thresholds = choose_thresholds(labels, scores)
    at = {name: evaluate(labels, scores, np.arange(400), value) for name, value in thresholds.items()}
    assert at["rule_out"]["sensitivity"].value >= 0.95 and at["rule_in"]["specificity"].value >= 0.95
    assert thresholds["rule_out"] < thresholds["balanced"] < thresholds["rule_in"]
    # No other threshold does better: slowly, over all.
    for value in np.unique(scores):
        other = rates(labels, scores, np.arange(400), value)
        assert other["balanced_accuracy"].value <= at["balanced"]["balanced_accuracy"].value + 1e-12
        assert value <= thresholds["rule_out"] or other["sensitivity"].value < 0.95
        assert value >= thresholds["rule_in"] or other["specificity"].value < 0.95


def test_a_model_that_is_never_wrong_rules_no_case_in_and_out():
    labels, scores = np.repeat([0, 1], 30), np.concatenate([np.linspace(0, 0.4, 30), np.linspace(0.6, 1, 30)])
    thresholds = choose_thresholds(labels, scores)
    assert thresholds["rule_out"] == thresholds["balanced"] == thresholds["rule_in"] == 0.6


def test_a_model_whose_highest_scores_are_wrong_rules_nothing_in():
    labels = np.array([0] * 30 + [1] * 30)
    scores = np.concatenate([np.full(30, 0.9), np.full(30, 0.1)])
    assert choose_thresholds(labels, scores)["rule_in"] == 1.0


def test_thresholds_hold_on_other_cases():
    """Chosen on some, they keep about the sensitivity and specificity that they were chosen for on others."""
    draws = np.random.default_rng(7)
    labels = np.repeat([0, 1], 4000)
    scores = 1 / (1 + np.exp(-draws.normal(labels * 2.0 - 1)))
    chosen = choose_thresholds(labels[::2], scores[::2])
    points = at_points(labels[1::2], scores[1::2], np.arange(4000), chosen)
    assert points["rule_out"].metrics["sensitivity"].value == pytest.approx(0.95, abs=0.015)
    assert points["rule_in"].metrics["specificity"].value == pytest.approx(0.95, abs=0.015)
    assert points["half"].threshold == 0.5 and sum(points["half"].counts.values()) == 4000


def test_few_cases_are_told():
    labels = np.repeat([0, 1], [19, 60])
    assert "19" in too_few(labels, np.arange(79))
    assert too_few(np.repeat([0, 1], [20, 60]), np.arange(80)) is None
    # Five models that validated the same ten cases have seen ten cases.
    cases = np.concatenate([np.tile(np.arange(10), 5), np.arange(100, 130)])
    assert "has 10 validation cases" in too_few(np.repeat([0, 1], [50, 30]), cases)


def test_a_threshold_of_its_own_for_each_case():
    labels, scores, patients = example(40)
    own = np.where(np.arange(40) < 20, 0.3, 0.8)
    result = evaluate(labels, scores, patients, own)
    called = np.array([score >= limit for score, limit in zip(scores, own, strict=True)])
    assert result["sensitivity"].value == pytest.approx(called[labels == 1].mean())
    assert confusion(labels, scores, own)["fp"] == int(called[labels == 0].sum())


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.1, 1.1])
def test_predictions_that_are_no_probabilities_are_refused(wrong):
    labels, scores, patients = example(20)
    scores[3] = wrong
    with pytest.raises(InputError, match="1 of 20 predictions are no probabilities"):
        evaluate(labels, scores, patients)


def test_an_interval_needs_two_patients():
    """One call, of one patient."""
    labels, patients = np.array([1, 1, 1, 0, 0]), np.arange(5)
    result = evaluate(labels, np.array([0.9, 0.1, 0.1, 0.1, 0.1]), patients)
    assert result["ppv"].value == 1.0 and result["ppv"].low is None and result["ppv"].high is None
    assert result["sensitivity"].low is not None


def slow_delong(labels, first, second):
    """DeLong et al. 1988 as printed: the kernel of every pair, its row and column means, their covariances."""
    components = []
    for scores in (first, second):
        x, y = scores[labels == 1], scores[labels == 0]
        kernel = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in y] for a in x])
        components.append((kernel.mean(), kernel.mean(axis=1), kernel.mean(axis=0)))
    (one, v10, v01), (two, w10, w01) = components
    s10, s01 = np.cov(v10, w10), np.cov(v01, w01)
    s = s10 / len(v10) + s01 / len(v01)
    variance = s[0, 0] + s[1, 1] - 2 * s[0, 1]
    return one - two, variance, 2 * norm.sf(abs(one - two) / np.sqrt(variance))


@pytest.mark.parametrize(("cases", "ties"), [(30, True), (80, False), (81, True)])
def test_delong_against_all_pairs(cases, ties):
    labels, first, _ = example(cases, seed=cases, ties=ties)
    second = np.round(np.random.default_rng(1).random(cases), 1 if ties else 9)
    difference, variance, p = slow_delong(labels, first, second)
    test = delong(labels, first, second)
    assert test.difference == pytest.approx(difference, abs=1e-12)
    assert test.p == pytest.approx(p, rel=1e-9)
    assert test.high - test.low == pytest.approx(2 * 1.959964 * np.sqrt(variance), rel=1e-6)
    assert (test.first, test.second) == pytest.approx((auc(labels, first), auc(labels, second)))
    mirrored = delong(labels, second, first)
    assert (mirrored.difference, mirrored.p) == pytest.approx((-test.difference, test.p))


def test_delong_of_models_that_rank_alike_has_no_p():
    labels, scores, _ = example()
    test = delong(labels, scores, scores**3)
    assert test.difference == 0 and test.p is None and test.low is None
    assert delong(np.array([1, 0, 0]), np.arange(3), np.arange(3)) is None


def test_delong_is_wrong_as_often_as_it_says():
    """Two scores equally good: p below 0.05 in about one of twenty samples."""
    draws, found = np.random.default_rng(2), 0
    for _ in range(300):
        labels = np.repeat([0, 1], 40)
        common = labels + draws.normal(size=80)
        found += delong(labels, common + draws.normal(size=80), common + draws.normal(size=80)).p < 0.05
    assert 4 <= found <= 30


def test_paired_difference_from_both_intervals_and_their_correlation():
    """Zou and Donner as printed, the correlation over resampled copies of patients."""
    labels, first, patients = example(40)
    second = np.random.default_rng(3).random(40)
    samples = two_class_samples(labels, patients, 40, seed=2)
    result = auc_difference(labels, first, second, patients, samples)
    values = []
    for row in samples[1:].astype(int):
        drawn = np.repeat(np.arange(40), row)
        values.append([slow_auc(labels[drawn], first[drawn]), slow_auc(labels[drawn], second[drawn])])
    assert result.value == pytest.approx(slow_auc(labels, first) - slow_auc(labels, second))
    one, two = (area(labels, scores, patients) for scores in (first, second))
    correlation = np.corrcoef(np.transpose([(slow_auc(labels, first), slow_auc(labels, second)), *values]))[0, 1]
    below, other_above = one.value - one.low, two.high - two.value
    above, other_below = one.high - one.value, two.value - two.low
    low = result.value - np.sqrt(below**2 + other_above**2 - 2 * correlation * below * other_above)
    high = result.value + np.sqrt(above**2 + other_below**2 - 2 * correlation * above * other_below)
    assert (result.low, result.high) == pytest.approx((low, high))


def cohort_like(seed=0):
    draws = np.random.default_rng(seed)
    patients = draws.integers(0, 60, 90)
    labels = (draws.random(90) < 0.25).astype(int)
    return labels, patients


@pytest.mark.parametrize("seed", range(5))
def test_folds_keep_their_promises(seed):
    labels, patients = cohort_like(seed)
    folds = make_folds(labels, patients, 5, 0.1, seed)
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(90))
    for fold in folds:
        parts = [set(patients[part].tolist()) for part in (fold.train, fold.validation, fold.test)]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
        assert len(fold.train) + len(fold.validation) + len(fold.test) == 90
        for part in (fold.train, fold.validation):
            assert set(labels[part]) == {0, 1}
        counts = [len({int(p) for p in patients[f.test]}) for f in folds]
        assert max(counts) - min(counts) <= 1
        assert len(fold.validation) < 0.3 * 90
    positives = [len(set(patients[f.test][labels[f.test] == 1].tolist())) for f in folds]
    assert max(positives) - min(positives) <= 2
    again = make_folds(labels, patients, 5, 0.1, seed)
    assert all((a.test == b.test).all() and (a.train == b.train).all() for a, b in zip(folds, again, strict=True))
    assert any(
        (a.test[:5] != b.test[:5]).any() for a, b in zip(folds, make_folds(labels, patients, 5, 0.1, 99), strict=True)
    )


def test_folds_are_refused_where_they_would_mean_nothing():
    with pytest.raises(InputError, match="both classes"):
        make_folds(np.ones(10, int), np.arange(10), 5, 0.1, 0)
    with pytest.raises(InputError, match="3 patients for 5 folds"):
        make_folds(np.array([0, 1, 0, 1]), np.array([0, 1, 2, 2]), 5, 0.1, 0)
    with pytest.raises(InputError, match="Only one patient has a benign"):
        make_folds(np.array([0, 1, 1, 1, 1]), np.arange(5), 2, 0.1, 0)


def test_baselines():
    labels, patients = cohort_like()
    folds = make_folds(labels, patients, 5, 0.1, 0)
    informative = labels[:, None] + np.random.default_rng(0).normal(0, 0.3, (90, 1))
    assert auc(labels, logistic(informative, labels, folds)[:, 1]) > 0.9
    noise = np.random.default_rng(1).normal(size=(90, 30))
    assert auc(labels, logistic(noise, labels, folds)[:, 1]) < 0.75
    # Out of fold: a case's own label does not reach its prediction.
    for fold in folds[:2]:
        changed = labels.copy()
        changed[fold.test] = 1 - changed[fold.test]
        one = logistic(informative, labels, folds)[fold.test]
        two = logistic(informative, changed, folds)[fold.test]
        np.testing.assert_allclose(one, two)


def test_shells_against_a_slow_loop():
    draws = np.random.default_rng(0)
    values, distances = draws.normal(size=(4, 9, 9)), 30 * draws.random((4, 9, 9))
    expected = []
    for shell in range(24):
        low, high = (0 if shell == 0 else shell + 1), shell + 2
        expected.append(values[(distances >= low) & (distances < high)].mean())
    np.testing.assert_allclose(shell_means(values, distances), expected)


def test_radial_profiles_see_the_ball(ball_cohort):
    """Soft tissue within the ball's radius, lung beyond it, in every case."""
    profiles = radial_profiles(ball_cohort)
    assert profiles.shape == (16, 24)
    for case, profile in zip(ball_cohort.cases, profiles, strict=True):
        inside, outside = int(case.diameter_mm / 2) - 2, int(case.diameter_mm / 2) + 2
        assert profile[0] > -50 and profile[: max(inside, 1)].min() > -50 and profile[outside:].max() < -700
    sizes = np.array([case.diameter_mm for case in ball_cohort.cases])
    relative = by_radius(profiles, sizes)
    assert np.abs(np.diff(relative[:, 0])).max() < 100 and (relative[:, -1] < -700).all()
    np.testing.assert_allclose(
        relative[3, 7], np.interp((0.2 + 7 * 2.4 / 23) * sizes[3] / 2, np.arange(1, 25), profiles[3])
    )
