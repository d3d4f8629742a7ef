"""Metrics against slow loops and scikit-learn, intervals against their definition, folds against their promises."""

import itertools

import numpy as np
import pytest
from MAEMCLib.errors import InputError
from MAEMCTrainingLib.data.folds import make_folds
from MAEMCTrainingLib.evaluation.baselines import logistic, majority
from MAEMCTrainingLib.evaluation.metrics import auc, choose_thresholds, confusion, evaluate, patient_weights
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
    result = evaluate(labels, scores, patients, threshold=0.6, resamples=50)
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
    weights = patient_weights(labels, patients, 30, seed=5).astype(int)
    result = evaluate(labels, scores, patients, threshold=0.5, resamples=30, seed=5)
    aucs, sensitivities = [], []
    for row in weights:
        drawn = np.repeat(np.arange(len(labels)), row)
        aucs.append(slow_auc(labels[drawn], scores[drawn]))
        sensitivities.append((scores[drawn] >= 0.5)[labels[drawn] == 1].mean())
    for name, values in (("auc", aucs), ("sensitivity", sensitivities)):
        low, high = np.percentile(values, [2.5, 97.5])
        assert (result[name].low, result[name].high) == pytest.approx((low, high))


def test_bootstrap_draws_patients_in_their_strata():
    labels = np.array([1, 1, 1, 0, 0, 0, 1, 0])
    patients = np.array([0, 0, 1, 2, 3, 4, 5, 5])  # patient 5 has both kinds
    weights = patient_weights(labels, patients, 500, seed=0)
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
        scores = draws.normal(labels * 1.0)
        interval = evaluate(labels, scores, np.arange(80), resamples=300)["auc"]
        misses += not interval.low <= 0.7602 <= interval.high
    assert misses <= 9


def test_auc_within_folds_compares_pairs_of_one_model():
    labels, scores, patients = example(60)
    folds = np.arange(60) % 3
    shifted = scores + 10 * folds  # three models on three scales
    result = evaluate(labels, shifted, patients, folds=folds, resamples=20)["auc_within_folds"]
    pairs = [(p, n) for p, n in itertools.product(range(60), range(60)) if labels[p] and not labels[n]]
    pairs = [(scores[p], scores[n]) for p, n in pairs if folds[p] == folds[n]]
    assert result.value == pytest.approx(np.mean([(p > n) + 0.5 * (p == n) for p, n in pairs]))
    assert evaluate(labels, scores, patients, folds=np.zeros(60), resamples=20)["auc_within_folds"].value == auc(
        labels, scores
    )


def test_what_cannot_be_computed_is_none():
    labels = np.array([0, 1, 1, 0])
    result = evaluate(labels, np.full(4, 0.2), np.arange(4), resamples=20)
    assert result["ppv"].value is None and result["ppv"].n == 0
    assert result["npv"].value == 0.5
    with pytest.raises(InputError, match="both classes"):
        evaluate(np.ones(4), np.ones(4), np.arange(4))


def test_thresholds():
    draws = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    scores = 1 / (1 + np.exp(-draws.normal(labels * 2.0 - 1)))
    thresholds, reason = choose_thresholds(labels, scores)
    assert reason is None
    at = {name: evaluate(labels, scores, np.arange(400), value, resamples=10) for name, value in thresholds.items()}
    assert at["rule_out"]["sensitivity"].value >= 0.95 and at["rule_in"]["specificity"].value >= 0.95
    assert thresholds["rule_out"] < thresholds["balanced"] < thresholds["rule_in"]
    # No other threshold does better: slowly, over all.
    for value in np.unique(scores):
        other = evaluate(labels, scores, np.arange(400), value, resamples=1)
        assert other["balanced_accuracy"].value <= at["balanced"]["balanced_accuracy"].value + 1e-12
        assert value <= thresholds["rule_out"] or other["sensitivity"].value < 0.95
        assert value >= thresholds["rule_in"] or other["specificity"].value < 0.95


def test_few_cases_fall_back_to_one_half():
    labels = np.repeat([0, 1], [19, 60])
    thresholds, reason = choose_thresholds(labels, np.linspace(0, 1, 79))
    assert set(thresholds.values()) == {0.5} and "19" in reason


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
    assert auc(labels, majority(labels)) == 0.5
    informative = labels[:, None] + np.random.default_rng(0).normal(0, 0.3, (90, 1))
    assert auc(labels, logistic(informative, labels, folds)) > 0.9
    noise = np.random.default_rng(1).normal(size=(90, 30))
    assert auc(labels, logistic(noise, labels, folds)) < 0.75
    # Out of fold: a case's own label does not reach its prediction.
    for fold in folds[:2]:
        changed = labels.copy()
        changed[fold.test] = 1 - changed[fold.test]
        one = logistic(informative, labels, folds)[fold.test]
        two = logistic(informative, changed, folds)[fold.test]
        np.testing.assert_allclose(one, two)
