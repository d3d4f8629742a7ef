"""A reader's and a model's calibration at a place, against scikit-learn, scipy and counts by hand."""

import numpy as np
import pytest
from MAEMCLib.figures.local_calibration import local_calibration_figure
from MAEMCLib.results import DISCLAIMER
from MAEMCLib.review.local_calibration import FEWEST_OUTCOMES, local_calibration
from MAEMCLib.review.review import Review
from MAEMCLib.statistics.intervals import area_interval
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss, roc_auc_score

MODEL, OTHER = "ab" * 32, "cd" * 32


def shown(probability, model=MODEL, of="malignant-like"):
    return {"model": {"sha256": model}, "probability": probability, "probability_of": of}


def reviewed(nodule, percent, probability, outcome, **more):
    results = () if probability is None else (shown(probability, **more),)
    return Review(nodule, estimate_percent=percent, results=results, outcome=outcome)


@pytest.fixture
def reviews():
    """57 nodules; the reader says whole tens, the model anything."""
    rng = np.random.default_rng(3)
    malignant = rng.random(57) < 0.4
    percents = np.clip(10 * np.round(5 + 2 * (2 * malignant - 1) + rng.normal(0, 2.5, 57)), 0, 100)
    numbers = 1 / (1 + np.exp(-(2 * malignant - 1) - rng.normal(0, 1.5, 57)))
    found = [
        reviewed(f"N{k}", float(percents[k]), float(numbers[k]), "malignant" if malignant[k] else "benign")
        for k in range(57)
    ]
    return found, malignant, percents / 100, numbers


def test_brier_auc_and_bins_are_those_of_scikit_learn_and_scipy(reviews):
    found, malignant, estimates, numbers = reviews
    calibration = local_calibration(found, MODEL)
    assert calibration.both == 57
    for fared, values in ((calibration.reader, estimates), (calibration.model, numbers)):
        assert (fared.n, fared.malignant) == (57, malignant.sum())
        assert fared.brier == pytest.approx(brier_score_loss(malignant, values), abs=1e-12)
        assert fared.auc[0] == pytest.approx(roc_auc_score(malignant, values), abs=1e-12)
        assert fared.auc[1] < fared.auc[0] < fared.auc[2]
        assert sum(one.n for one in fared.bins) == 57 and sum(one.malignant for one in fared.bins) == malignant.sum()
        assert sum(one.n * one.mean for one in fared.bins) == pytest.approx(values.sum())
        assert [one.mean for one in fared.bins] == sorted(one.mean for one in fared.bins)
        for one in fared.bins:
            wilson = binomtest(one.malignant, one.n).proportion_ci(method="wilson")
            assert (one.low, one.high) == pytest.approx((wilson.low, wilson.high), abs=1e-12)
            assert one.observed == one.malignant / one.n


def test_the_interval_of_an_auc_is_newcombe_s():
    """The limits are where the observed area is 1.96 standard errors (Hanley and McNeil) away."""
    m, n, area = 18, 31, 0.82
    size = (m + n) / 2 - 1
    for limit in area_interval(area, np.array([[m, n]], float)):
        spread = 1 + size * ((1 - limit) / (2 - limit) + limit / (1 + limit))
        assert abs(limit - area) == pytest.approx(1.959963985 * np.sqrt(limit * (1 - limit) * spread / (m * n)))


def test_bins_and_auc_wait_for_twenty_outcomes(reviews):
    found = reviews[0]
    few = local_calibration(found[: FEWEST_OUTCOMES - 1], MODEL)
    assert few.reader.bins == () and few.reader.auc is None and few.reader.brier > 0
    assert any("19 of 20" in note for note in few.notes)
    enough = local_calibration(found[:FEWEST_OUTCOMES], MODEL)
    assert len(enough.reader.bins) == len(enough.model.bins) == 2 and enough.reader.auc is not None


def test_only_what_belongs_together_is_counted(reviews):
    found = reviews[0]
    extra = [
        reviewed("without outcome", 50, 0.5, None),
        reviewed("without estimate", None, 0.5, "benign"),
        reviewed("never shown", 50, None, "benign"),
        reviewed("of another model", 50, 0.5, "benign", model=OTHER),
        reviewed("of another class", 50, 0.5, "benign", of="metastasis"),
        Review("twice", estimate_percent=50.0, results=(shown(0.1), shown(0.7), shown(0.2, OTHER)), outcome="benign"),
    ]
    calibration = local_calibration([*found, *extra], MODEL)
    assert (calibration.reader.n, calibration.model.n, calibration.both) == (57 + 4, 57 + 2, 57 + 1)
    assert any("share 58 nodules" in note for note in calibration.notes)
    last = local_calibration(extra[-1:], MODEL).model
    assert last.brier == pytest.approx(0.7**2)


def test_outcomes_of_one_kind_have_no_auc():
    found = [reviewed(f"N{k}", 100.0, 0.9, "malignant") for k in range(25)]
    calibration = local_calibration(found, MODEL)
    assert calibration.reader.auc is None and calibration.reader.brier == 0
    (only,) = calibration.reader.bins  # equal estimates share a bin
    assert (only.n, only.observed, only.high) == (25, 1.0, 1.0) and 0.8 < only.low < 0.9


def test_the_figure_says_counts_numbers_and_what_it_is_not_for(reviews):
    calibration = local_calibration(reviews[0], MODEL)
    figure = local_calibration_figure(calibration, "m 1.0\nmalignancy probability as readers rate it")
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    bins = (*calibration.reader.bins, *calibration.model.bins)
    assert sorted(texts) == sorted(f"{one.malignant}/{one.n}" for one in bins)
    titles = [axis.get_title() for axis in figure.axes]
    assert "as readers rate it" in titles[1] and f"Brier {calibration.reader.brier:.3f}" in titles[0]
    assert DISCLAIMER in figure.get_supxlabel()


@pytest.mark.parametrize("count", [0, 3])
def test_the_figure_of_too_few_says_so(reviews, count):
    figure = local_calibration_figure(local_calibration(reviews[0][:count], MODEL), "m 1.0")
    assert [text.get_text() for axis in figure.axes for text in axis.texts] == ["too few outcomes"] * 2
    assert f"{count} of 20" in figure.get_supxlabel()
