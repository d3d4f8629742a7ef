"""The statistics of repeated folds against counting: AUCs by pairs, signed ranks by all signs, Holm by hand."""

import itertools

import numpy as np
import pytest
from MAEMCLib.errors import InputError
from MAEMCTrainingLib.statistics.intervals import two_class_samples
from MAEMCTrainingLib.statistics.metrics import auc_difference
from MAEMCTrainingLib.statistics.repeats import (
    SignedRank,
    auc_difference_by_patients,
    compare_repeats,
    corrected,
    holm,
    repeated_auc,
    signed_rank,
)


def study(cases=60, repeats=4, strength=1.0, seed=0):
    """Labels, folds by patient, patients of 1 to 3 cases, scores (repeats, cases) with a few ties."""
    draws = np.random.default_rng(seed)
    patients = np.repeat(np.arange(cases), draws.integers(1, 4, cases))[:cases]
    labels = draws.integers(0, 2, cases)
    scores = np.round(strength * labels + draws.normal(size=(repeats, cases)), 1)
    return labels, patients % 3, patients, scores


def auc_by_pairs(labels, scores):
    wins = [(one > two) + 0.5 * (one == two) for one in scores[labels == 1] for two in scores[labels == 0]]
    return sum(wins) / len(wins)


def test_a_repeats_auc_is_the_mean_of_its_folds():
    labels, folds, _, scores = study()
    expected = [sum(auc_by_pairs(labels[folds == fold], row[folds == fold]) for fold in range(3)) / 3 for row in scores]
    np.testing.assert_allclose(repeated_auc(labels, scores, folds), expected, rtol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_signed_ranks_equal_a_count_over_all_signs(ties):
    """Under no difference all 2^n choices of signs are as likely: p is the share that is as extreme."""
    draws = np.random.default_rng(3)
    difference = draws.choice([0.01, -0.01, 0.02, 0.04], 9) if ties else draws.normal(0.3, 1, 9)
    second = np.full(9, 0.5)
    test = signed_rank(second + difference, second)
    values = np.round(difference, 12)
    ranks = np.array(
        [
            np.mean([rank for rank, other in enumerate(sorted(abs(values)), 1) if other == abs(value)])
            for value in values
        ]
    )
    observed = ranks[values > 0].sum()
    sums = np.array([(ranks * signs).sum() for signs in itertools.product([0, 1], repeat=9)])
    larger, smaller = (sums >= observed - 1e-9).mean(), (sums <= observed + 1e-9).mean()
    assert test.p == pytest.approx(min(1.0, 2 * min(larger, smaller)), abs=1e-12)
    assert (test.pairs, test.alternative) == (9, "two-sided")
    total = ranks.sum()
    assert test.statistic == pytest.approx(min(observed, total - observed))


def test_ten_of_ten_repeats():
    """Two-sided, ten wins of ten give 0.002 for the winner and the loser."""
    winner = 0.9 + np.arange(10) / 1000
    loser = 0.8 + np.arange(10) / 1500
    assert signed_rank(winner, loser).p == signed_rank(loser, winner).p == pytest.approx(2 / 1024)


def test_pairs_that_are_equal_but_for_rounding_are_left_out():
    assert signed_rank(np.array([0.1 + 0.2, 0.9, 0.7]), np.array([0.3, 0.8, 0.9])).pairs == 2
    assert signed_rank(np.array([0.1 + 0.2]), np.array([0.3])) == SignedRank("two-sided", 0, None, None)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.4]) == pytest.approx([0.8, 0.8])
    assert holm([]) == []
    # A comparison without a test is one of the comparisons.
    assert holm([None, 0.01]) == [None, pytest.approx(0.02)]


@pytest.mark.soak
def test_the_bootstrap_redraws_patients_in_their_fold():
    """Each sample computed slowly, from lists of cases, with the weights that it drew."""
    labels, folds, patients, scores = study()
    _, _, _, others = study(strength=0.3, seed=5)
    result = auc_difference_by_patients(labels, folds, patients, scores, others)
    samples = []
    parts = [folds == fold for fold in range(3)]
    weights = [two_class_samples(labels[part], patients[part], seed=n)[1:] for n, part in enumerate(parts)]
    for sample in range(len(weights[0])):
        differences = []
        for fold in range(3):
            cases = np.repeat(np.flatnonzero(folds == fold), weights[fold][sample].astype(int))
            assert set(labels[cases]) == {0, 1}
            for one, two in zip(scores, others, strict=True):
                differences.append(auc_by_pairs(labels[cases], one[cases]) - auc_by_pairs(labels[cases], two[cases]))
        samples.append(np.mean(differences))
    assert [result.low, result.high] == pytest.approx(list(np.percentile(samples, [2.5, 97.5])), abs=1e-12)
    assert result.n == 60


def test_one_fold_of_one_repeat_is_the_difference_known_from_elsewhere():
    labels, _, patients, scores = study()
    _, _, _, others = study(strength=0.2, seed=2)
    together = np.zeros(60)
    ours = auc_difference_by_patients(labels, together, patients, scores[:1], others[:1])
    theirs = auc_difference(labels, scores[0], others[0], patients, two_class_samples(labels, patients, 200))
    assert ours.value == pytest.approx(theirs.value, abs=1e-12)
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.05)  # bootstrap; from both intervals


def test_a_comparison_holds_together():
    labels, folds, patients, scores = study(repeats=10)
    _, _, _, others = study(repeats=10, strength=0.0, seed=4)
    better = compare_repeats(labels, folds, patients, scores, others)
    means = repeated_auc(labels, scores, folds), repeated_auc(labels, others, folds)
    assert better.first == pytest.approx(means[0].mean()) and better.second == pytest.approx(means[1].mean())
    assert better.first_deviation == pytest.approx(means[0].std(ddof=1))
    assert better.difference.value == pytest.approx(better.first - better.second, abs=1e-12)
    assert better.difference.low > 0 and better.test == signed_rank(*means)
    same = compare_repeats(labels, folds, patients, scores, scores)
    assert (same.difference.value, same.difference.low, same.difference.high) == (0, None, None)
    assert same.test.p is None and same.holm is None
    table = corrected({"better": better, "same": same})
    assert table["better"].holm == pytest.approx(2 * better.test.p) and table["same"].holm is None
    single = compare_repeats(labels, folds, patients, scores[:1], others[:1])
    assert single.first_deviation is None


def test_what_cannot_be_compared_is_refused():
    labels, folds, _, scores = study()
    lacking = labels.copy()
    lacking[folds == 1] = 0
    with pytest.raises(InputError, match="Fold 1 has no malignant"):
        repeated_auc(lacking, scores, folds)
    broken = scores.copy()
    broken[0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        repeated_auc(labels, broken, folds)
    with pytest.raises(InputError, match="two folds"):
        auc_difference_by_patients(labels, folds, np.zeros(60, int), scores, scores)
