"""Prevalence and operating points: the oracles of clinical.md, what a rating model never says, old cards."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from MAEMCLib.__main__ import main
from MAEMCLib.errors import ModelError, UsageError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCLib.models.bundle import ModelBundle, save_bundle
from MAEMCLib.models.operating_points import operating_points
from MAEMCLib.models.prevalence import (
    adjusted,
    check_prevalence,
    ppv_and_npv,
    predictive_values,
    prevalence_problem,
    with_prior,
)
from MAEMCLib.report.card import card_text

THRESHOLDS = {"rule_out": 0.12, "balanced": 0.41, "rule_in": 0.77}
RATES = {"rule_out": (0.97, 0.41), "balanced": (0.85, 0.80), "rule_in": (0.52, 0.96)}


def rate(value, n):
    half = 1.96 * (value * (1 - value) / n) ** 0.5
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half), "n": n}


def stated(**changes):
    points = {
        name: {
            "threshold": THRESHOLDS[name],
            "counts": {"tp": 1, "fp": 1, "tn": 1, "fn": 1},
            "metrics": {"sensitivity": rate(RATES[name][0], 80), "specificity": rate(RATES[name][1], 70)},
        }
        for name in THRESHOLDS
    }
    return {**points, "half": {**points["balanced"], "threshold": 0.5}, **changes}


def card_of(label_type="diagnosis", **changes):
    values = {
        "training": {"prior_in_probability": 0.685},
        "operating_points": stated(),
        **changes.pop("values", {}),
    }
    known = {"id": "m", "label_type": label_type, "classes": ["benign", "malignant"], "thresholds": THRESHOLDS}
    known["probability_name"] = "malignancy probability" + " as readers rate it" * (label_type == "rating")
    return SimpleNamespace(values=values, **{**known, **changes})


@pytest.mark.parametrize(
    ("prevalence", "expected"), [(0.23, (0.121, 0.243, 0.553)), (0.05, (0.024, 0.053, 0.179)), (0.685, (0.5, 0.7, 0.9))]
)
def test_the_prior_s_odds_are_exchanged(prevalence, expected):
    for raw, found in zip((0.5, 0.7, 0.9), expected, strict=True):
        assert adjusted(card_of(), raw, prevalence) == pytest.approx(found, abs=5e-4)
    assert [with_prior(p, 0.685, prevalence) for p in (0.0, 1.0)] == [0.0, 1.0]


def test_changing_the_prior_there_and_back_changes_nothing():
    for probability in np.linspace(0.01, 0.99, 9):
        there = with_prior(probability, 0.685, 0.05)
        assert with_prior(there, 0.05, 0.685) == pytest.approx(probability, abs=1e-12)


@pytest.mark.parametrize(("prevalence", "ppv", "npv"), [(0.685, 0.98, 0.83), (0.05, 0.54, 0.995)])
def test_predictive_values_of_the_paper_s_rates(prevalence, ppv, npv):
    assert ppv_and_npv(0.912, 0.959, prevalence) == (pytest.approx(ppv, abs=5e-3), pytest.approx(npv, abs=5e-3))


def test_predictive_values_are_counted_ones():
    """In a town of 10,000 nodules of which 5 % are malignant."""
    sick, well = 500, 9500
    true, clear = 0.85 * sick, 0.80 * well
    expected = true / (true + (well - clear)), clear / (clear + (sick - true))
    assert ppv_and_npv(0.85, 0.80, 0.05) == pytest.approx(expected)
    assert ppv_and_npv(0.0, 1.0, 0.05) == (None, pytest.approx(0.95))
    assert ppv_and_npv(1.0, 0.0, 0.05) == (pytest.approx(0.05), None)


def test_intervals_of_predictive_values_hold_the_truth_often_enough():
    """Drawn again and again from known rates, 95 % intervals of both rates give limits that hold PPV and NPV."""
    rng, card, held, count = np.random.default_rng(0), card_of(), np.zeros(2), 1000
    truth = ppv_and_npv(0.85, 0.80, 0.23)
    for _ in range(count):
        drawn = [rate(rng.binomial(n, value) / n, n) for value, n in ((0.85, 80), (0.80, 70))]
        metrics = dict(zip(("sensitivity", "specificity"), drawn, strict=True))
        card.values["operating_points"]["balanced"]["metrics"] = metrics
        found = predictive_values(card, operating_points(card)[1], 0.23)
        held += [one.low <= value <= one.high for one, value in zip((found.ppv, found.npv), truth, strict=True)]
    assert (held / count > 0.94).all()
    assert found.ppv.low < found.ppv.value < found.ppv.high and found.ppv.n == 150


def test_a_rating_model_refuses_with_the_reason():
    card = card_of("rating")
    points = operating_points(card)  # thresholds on its own number it has
    for call in (
        lambda: adjusted(card, 0.5, 0.23),
        lambda: predictive_values(card, points[0], 0.23),
        lambda: check_prevalence(card, 0.23),
    ):
        with pytest.raises(UsageError, match=r"readers' ratings.*as readers rate it.*no PPV, no NPV"):
            call()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ["a", "b", "c"]}, "3 classes"),
        ({"values": {"training": {}}}, "does not say which share"),
        ({"values": {"training": {"prior_in_probability": 1.0}}}, "does not say which share"),
    ],
)
def test_a_card_that_says_too_little_refuses(changes, said):
    assert said in prevalence_problem(card_of(**changes))


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, 23.0, float("nan")])
def test_a_prevalence_lies_between_0_and_1(prevalence):
    with pytest.raises(UsageError, match="between 0 and 1"):
        adjusted(card_of(), 0.5, prevalence)


def test_three_named_points_in_order():
    points = operating_points(card_of())
    assert [point.name for point in points] == ["rule_out", "balanced", "rule_in"]
    assert [point.threshold for point in points] == [0.12, 0.41, 0.77]
    assert points[0].purpose == "rule out (high sensitivity)" and points[2].purpose == "rule in (high specificity)"
    assert points[0].sensitivity.value == 0.97 and points[0].sensitivity.n == 80
    assert points[2].specificity.low < 0.96 < points[2].specificity.high


@pytest.mark.parametrize(
    "changes",
    [
        {"values": {"operating_points": {"half": stated()["half"]}}},
        {
            "values": {
                "operating_points": stated(
                    rule_in={**stated()["rule_in"], "metrics": {"sensitivity": None, "specificity": None}}
                )
            }
        },
        {"thresholds": dict.fromkeys(THRESHOLDS, 0.5)},
        {"classes": ["a", "b", "c"]},
    ],
    ids=["earlier card", "no rates", "none chosen", "three classes"],
)
def test_a_card_without_points_has_none(changes):
    assert operating_points(card_of(**changes)) == ()


def test_points_that_cannot_be_are_refused():
    for name, changes in (
        ("sensitivity", {"high": 1.2}),
        ("specificity", {"low": 0.9}),
        ("sensitivity", {"value": -1}),
    ):
        points = stated()
        points["balanced"]["metrics"][name] |= changes
        with pytest.raises(ModelError, match="operating points"):
            operating_points(card_of(values={"operating_points": points}))
    points = stated()
    points["balanced"]["threshold"] = 0.6
    with pytest.raises(ModelError, match="operating points"):
        operating_points(card_of(values={"operating_points": points}))


@pytest.fixture
def made(tmp_path, random_card, random_members):
    def make(name="m.maemc", **changes):
        card = {**random_card, "training": {"prior_in_probability": 0.685}, **changes}
        return save_bundle(tmp_path / name, card, random_members).path

    return make


@pytest.fixture
def ct(tmp_path):
    array = np.random.default_rng(0).integers(-1000, 300, (60, 70, 80)).astype(np.int16)
    write_volume(CTVolume(array, np.diag([1.0, 1.0, 1.0, 1.0])), tmp_path / "ct.nrrd")
    return tmp_path / "ct.nrrd"


def test_the_command_prints_what_a_number_means_at_a_prevalence(made, ct, capsys):
    model = made(label_type="diagnosis", thresholds=THRESHOLDS, operating_points=stated())
    arguments = ["score", str(ct), "--point", "40,35,30", "--model", str(model), "--device", "cpu"]
    assert main([*arguments, "--prevalence", "0.23"]) == 0
    out = capsys.readouterr().out
    assert "23.0%" in out and "68.5%" in out and "PPV" in out and "rule in (high specificity)" in out
    assert out.count("Research only, not for clinical use.") >= 1
    assert main([*arguments, "--prevalence", "0.23", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (nodule,), found = document["nodules"], document["at_prevalence"]
    (row,) = found["nodules"]
    assert row["adjusted"] == pytest.approx(with_prior(nodule["probability"], 0.685, 0.23))
    assert row["adjusted_low"] <= row["adjusted"] <= row["adjusted_high"]
    ppv, npv = ppv_and_npv(*RATES["rule_in"], 0.23)
    assert found["operating_points"]["rule_in"]["ppv"]["value"] == pytest.approx(ppv)
    assert found["operating_points"]["rule_in"]["npv"]["value"] == pytest.approx(npv)
    assert main([*arguments, "--json"]) == 0 and "at_prevalence" not in json.loads(capsys.readouterr().out)


def test_the_command_says_why_there_are_no_predictive_values(made, ct, capsys):
    model = made(label_type="diagnosis", thresholds_reason="the rarer class has 5 validation cases")
    arguments = ["score", str(ct), "--point", "40,35,30", "--model", str(model), "--device", "cpu"]
    assert main([*arguments, "--prevalence", "0.05"]) == 0
    assert "for want of operating points: the rarer class has 5" in capsys.readouterr().out


@pytest.mark.parametrize("prevalence", ["0.23", "1.5"])
def test_the_command_refuses_before_anything_is_read(made, capsys, prevalence):
    model = made(label_type="rating" if prevalence == "0.23" else "diagnosis")
    code = main(["score", "nowhere.nrrd", "--point", "0,0,0", "--model", str(model), "--prevalence", prevalence])
    captured = capsys.readouterr()
    assert code == 2 and captured.out == ""
    assert ("as readers rate it" if prevalence == "0.23" else "between 0 and 1") in captured.err


def test_the_card_of_a_rating_model_shows_no_predictive_values(made):
    metrics = {"auc": rate(0.8, 90), "ppv": rate(0.7, 50), "npv": rate(0.9, 40)}
    texts = {
        kind: card_text(ModelBundle.open(made(f"{kind}.maemc", label_type=kind, metrics=metrics)).card)
        for kind in ("rating", "diagnosis")
    }
    assert "PPV" in texts["diagnosis"] and "NPV" in texts["diagnosis"]
    assert "PPV" not in texts["rating"] and "NPV" not in texts["rating"] and "AUC" in texts["rating"]
    assert "malignant cases, as readers rate them, of 0.685" in " ".join(texts["rating"].split())


def test_a_model_of_before_has_no_points_and_the_shipped_one_has_three():
    from MAEMCLib.models.store import find_model, read_card

    before = read_card(Path(__file__).parents[1] / "artifacts" / "lidc-rating-1.0.maemc")
    assert operating_points(before) == () and "readers' ratings" in prevalence_problem(before)
    card = read_card(find_model(None))
    assert [point.name for point in operating_points(card)] == ["rule_out", "balanced", "rule_in"]
    assert "readers' ratings" in prevalence_problem(card)
