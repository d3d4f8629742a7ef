"""Figures of where cases lie, against slow loops; the overlap of maps."""

import numpy as np
import pytest
from MAEMCTrainingLib.network_comparison.compared_maps import (
    BY_INDEPENDENT_PLACES,
    highest_part,
    overlap_figures,
    overlaps,
)
from MAEMCTrainingLib.network_comparison.embedding import (
    class_figures,
    correlation_by_chance,
    correlations,
    majority_share,
    nearest_is_of_own_class,
    perplexity_for,
    tsne,
)
from scipy.stats import pearsonr

DRAWS = np.random.default_rng(5)


def test_tsne_finds_groups_and_draws_the_same_each_time():
    values = DRAWS.normal(size=(60, 600))  # so wide that its principal components are searched for at random
    values[30:] += 2
    plane = tsne(values)
    classes, patients = np.repeat([0, 1], 30), np.arange(60)
    assert plane.shape == (60, 2) and np.array_equal(plane, tsne(values))
    assert nearest_is_of_own_class(plane, classes, patients).all()
    assert correlations(plane.T, classes).max() > 0.8


def test_cases_that_are_all_the_same_have_no_tsne():
    assert tsne(np.full((9, 5), 0.3)) is None


@pytest.mark.parametrize("cases", [4, 5, 12])
def test_few_cases_have_a_smaller_perplexity(cases):
    assert perplexity_for(cases) == (cases - 1) / 3 and perplexity_for(500) == 30
    assert np.isfinite(tsne(DRAWS.normal(size=(cases, 3)))).all()


def test_correlation_of_two_classes_is_pearsons():
    values, classes = DRAWS.normal(size=50), DRAWS.integers(0, 2, 50)
    values += classes
    assert correlations(values[None], classes)[0] == pytest.approx(abs(pearsonr(values, classes)[0]))
    assert correlations(-values[None], classes)[0] == pytest.approx(correlations(values[None], classes)[0])


def test_correlation_of_more_classes_is_the_share_of_the_spread_between_them():
    values, classes = DRAWS.normal(size=60), DRAWS.integers(0, 4, 60)
    values += classes % 3
    between = sum((classes == c).sum() * (values[classes == c].mean() - values.mean()) ** 2 for c in np.unique(classes))
    expected = np.sqrt(between / ((values - values.mean()) ** 2).sum())
    assert correlations(values[None], classes)[0] == pytest.approx(expected)
    assert correlations(np.ones(60)[None], classes)[0] == 0


def test_chance_is_what_random_classes_stay_below():
    values, classes = DRAWS.normal(size=100), np.repeat([0, 1], 50)
    limit = correlation_by_chance(values, classes)
    assert limit == pytest.approx(1.96 / np.sqrt(99), abs=0.02)
    below = np.mean([correlations(values[None], DRAWS.permutation(classes))[0] < limit for _ in range(500)])
    assert below == pytest.approx(0.95, abs=0.04)


def test_the_nearest_of_another_patient_against_a_loop():
    values, classes, patients = DRAWS.normal(size=(40, 3)), DRAWS.integers(0, 3, 40), DRAWS.integers(0, 12, 40)
    expected = []
    for i in range(40):
        others = [j for j in range(40) if patients[j] != patients[i]]
        nearest = min(others, key=lambda j: np.sum((values[i] - values[j]) ** 2))
        expected.append(classes[nearest] == classes[i])
    assert nearest_is_of_own_class(values, classes, patients).tolist() == expected


def test_the_own_patients_cases_do_not_count():
    """Each patient's two cases are the same and of one class; beside that there is nothing to find."""
    values = np.repeat(DRAWS.normal(size=(100, 4)), 2, axis=0)
    classes, patients = np.repeat(DRAWS.integers(0, 2, 100), 2), np.repeat(np.arange(100), 2)
    assert nearest_is_of_own_class(values, classes, np.arange(200)).mean() == 1
    assert nearest_is_of_own_class(values, classes, patients).mean() < 0.65


def test_figures_of_a_space():
    values, classes, patients = DRAWS.normal(size=(50, 3)), np.repeat([0, 1], [30, 20]), np.arange(50) // 2
    values[:, 0] += 8 * classes
    unseen = np.arange(50) >= 25
    found = class_figures(values, values[:, 1:], classes, patients, unseen)
    assert found["nearest"]["value"] == 1 and found["nearest"]["n"] == 50
    assert found["nearest_of_unseen"]["n"] == 25
    assert found["nearest_in_tsne"]["low"] < found["nearest_in_tsne"]["value"] < found["nearest_in_tsne"]["high"] < 1
    assert majority_share(classes) == 0.6
    assert "nearest_of_unseen" not in class_figures(values, values[:, 1:], classes, patients, None)


def test_the_highest_part_of_a_map():
    maps = DRAWS.random((3, 10, 10))
    part = highest_part(maps)
    assert part.sum(axis=(1, 2)).tolist() == [20, 20, 20]
    assert (maps[0][part[0]].min() > maps[0][~part[0]].max()) and not highest_part(np.zeros((1, 10, 10))).any()
    few = np.zeros((1, 10, 10))
    few[0, :2, 0] = 1, 2
    assert highest_part(few).sum() == 2  # the rest is flat: no place of it is higher than the others


def test_overlaps_against_counting():
    first, second = DRAWS.random((4, 6, 6)) < 0.3, DRAWS.random((4, 6, 6)) < 0.4
    for i, one in enumerate(first):
        for j, two in enumerate(second):
            assert overlaps(first, second)[i, j] == pytest.approx((one & two).sum() / (one | two).sum())
    assert np.diagonal(overlaps(first, first)) == pytest.approx(1)


def test_chance_of_independent_places():
    maps = DRAWS.random((2, 400, 400))
    one, two = highest_part(maps)
    assert (one & two).sum() / (one | two).sum() == pytest.approx(BY_INDEPENDENT_PLACES, abs=0.005)


def test_looking_at_the_middle_always_is_no_agreement():
    """Both networks look at the middle of everything: the overlap is 1, and so is that of different cases."""
    middle = np.zeros((20, 30, 30), bool)
    middle[:, 10:20, 10:20] = True
    found = overlap_figures(middle, middle, np.arange(20))
    assert found["iou"]["value"] == 1 and found["iou_of_different_patients"]["value"] == 1
    assert found["difference"]["value"] == 0
    own = highest_part(DRAWS.random((20, 30, 30)))
    own[0] = False
    found = overlap_figures(own, own, np.arange(20))
    assert found["difference"]["value"] == pytest.approx(1 - BY_INDEPENDENT_PLACES, abs=0.02)
    assert found["cases"] == 19 and found["flat"] == 1
    assert overlap_figures(own, own, np.zeros(20))["iou"] is None
