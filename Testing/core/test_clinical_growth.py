"""Doubling time and the British Thoracic Society's rules."""

import pytest
from MAEMCLib.clinical.scores import SCORES
from MAEMCLib.errors import UsageError

VDT, BTS = SCORES["vdt"], SCORES["bts"]


def grown(first, second, days):
    return VDT.evaluate({"volumes": (first, second), "days": days})


def test_doubling_times():
    assert grown(200, 300, 90).measures["doubling_time_days"] == pytest.approx(153.86, abs=0.005)
    by_diameter = VDT.evaluate({"diameters": [8, 10], "days": 180})
    assert by_diameter.measures["doubling_time_days"] == pytest.approx(186.38, abs=0.005)
    assert by_diameter.measures["volume_change_percent"] == pytest.approx(95.3125)
    assert grown(100, 200, 400).measures["doubling_time_days"] == pytest.approx(400)


@pytest.mark.parametrize(
    ("first", "second", "days", "category", "words"),
    [
        (100, 200, 400, "<= 400 days", "Work-up"),
        (100, 200, 401, "400-600 days", "Biopsy"),
        (100, 200, 600, "400-600 days", "Biopsy"),
        (100, 200, 601, "> 600 days", "Consider discharge"),
        (100, 124.9, 30, "stable", "below 25 %"),
        (100, 125, 30, "<= 400 days", "Work-up"),
        (100, 100, 30, "stable", "below 25 %"),
        (100, 75.1, 30, "stable", "below 25 %"),
        (100, 75, 30, "smaller", "Smaller"),
    ],
)
def test_bands_of_growth(first, second, days, category, words):
    result = grown(first, second, days)
    assert result.category == category and words in result.recommendation and words in result.sentence


def test_discharge_is_by_volumetry_only():
    result = VDT.evaluate({"diameters": (8, 9), "days": 900})
    assert result.category == "> 600 days" and "only by volumetry" in result.recommendation


def test_the_measurement_error_bounds_the_doubling_time():
    measures = grown(200, 300, 90).measures
    assert measures["doubling_time_low_days"] == pytest.approx(99.24, abs=0.005)  # ln 2 * 90 / ln(1.5 * 1.25)
    assert measures["doubling_time_high_days"] == pytest.approx(342.16, abs=0.005)  # ln 2 * 90 / ln(1.5 / 1.25)
    slow = grown(100, 120, 90).measures
    assert slow["doubling_time_high_days"] is None and slow["doubling_time_low_days"] > 0
    assert grown(200, 100, 90).measures["doubling_time_days"] is None


@pytest.mark.parametrize(
    ("volumes", "days", "category", "within"),
    [
        ((200, 300), 90, "400-600 days", False),
        ((200, 300), 200, "400-600 days", True),
        ((100, 126), 30, "400-600 days", True),
        ((100, 800), 1320, "<= 400 days", True),
        ((100, 1600), 2600, "400-600 days", False),
    ],
)
def test_the_nearest_edge_of_a_doubling_time(volumes, days, category, within):
    edge = grown(*volumes, days).edge
    assert (edge.category, edge.within_error, edge.unit) == (category, within, "days") and edge.text


def test_a_stable_nodule_has_no_edge():
    assert grown(100, 110, 90).edge is None and grown(100, 20, 90).edge is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"days": 90}, r"needs volumes \(from 1 to 15000000 mm3\) or diameters \(from 1 to 300 mm\)"),
        ({"volumes": (1, 2)}, r"needs days between \(from 1 to 36500 days\)"),
        ({"volumes": (1, 2), "diameters": (1, 2), "days": 9}, "both given"),
        ({"volumes": (0, 2), "days": 9}, "from 1 to 15000000 mm3"),
        ({"volumes": (1, 2, 3), "days": 9}, "2 numbers are needed"),
        ({"volumes": 5, "days": 9}, "2 numbers are needed"),
        ({"volumes": ("a", "2"), "days": 9}, "'a', but it has to be a number"),
        ({"volumes": (1, 2), "days": 0}, "from 1 to 36500 days"),
        ({"volumes": (1, 2), "days": -3}, "from 1 to 36500 days"),
    ],
)
def test_bad_growth(values, message):
    with pytest.raises(UsageError, match=message):
        VDT.evaluate(values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"diameter_mm": 4.9}, "No follow-up."),
        ({"diameter_mm": 5}, "CT at 12 months"),
        ({"diameter_mm": 5.9}, "CT at 12 months"),
        ({"diameter_mm": 6}, "CT at 3 months"),
        ({"diameter_mm": 7.9}, "CT at 3 months"),
        ({"diameter_mm": 8}, "Brock"),
        ({"volume_mm3": 79.9}, "No follow-up."),
        ({"volume_mm3": 80}, "CT at 3 months"),
        ({"volume_mm3": 299.9}, "CT at 3 months"),
        ({"volume_mm3": 300}, "Brock"),
        ({"diameter_mm": 9, "volume_mm3": 79.9}, "No follow-up."),
        ({"diameter_mm": 8, "probability": 0.099}, "CT surveillance."),
        ({"diameter_mm": 8, "probability": 0.1}, "biopsy"),
        ({"diameter_mm": 8, "probability": 0.7}, "biopsy"),
        ({"diameter_mm": 8, "probability": 0.71}, "Excision"),
        ({"diameter_mm": 20, "pattern": "ring"}, "No follow-up."),
    ],
)
def test_bts_for_solid_nodules(values, words):
    result = BTS.evaluate({"type": "solid", **values})
    assert words in result.recommendation and words in result.sentence
    assert ("ring calcification" in result.sentence) == ("pattern" in values)


@pytest.mark.parametrize("kind", ["part-solid", "non-solid"])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"diameter_mm": 4.9}, "No follow-up."),
        ({"diameter_mm": 5}, "CT at 3 months."),
        ({"diameter_mm": 5, "persistent": True}, "Brock"),
        ({"diameter_mm": 5, "persistent": True, "probability": 0.09}, "1, 2 and 4 years"),
        ({"diameter_mm": 5, "persistent": True, "probability": 0.1}, "biopsy or resection"),
    ],
)
def test_bts_for_subsolid_nodules(kind, values, words):
    assert words in BTS.evaluate({"type": kind, **values}).recommendation


def test_bts_needs_a_size_and_an_adult():
    with pytest.raises(UsageError, match=r"needs diameter .* or volume .*--diameter-mm or --volume-mm3"):
        BTS.evaluate({"type": "solid"})
    with pytest.raises(UsageError, match=r"probability.* '1\.1', but it has to be a number from 0 to 1"):
        BTS.evaluate({"type": "solid", "diameter_mm": 9, "probability": 1.1})
    assert "adults" in BTS.evaluate({"type": "solid", "diameter_mm": 9, "age": 17}).reason
    assert BTS.evaluate({"type": "solid", "diameter_mm": 9, "age": 18}).applicable
    assert "mass" in BTS.evaluate({"type": "solid", "volume_mm3": 14500}).reason


def test_urgency_rises_with_what_is_advised():
    by_size = [BTS.evaluate({"type": "solid", "diameter_mm": size}).rank for size in (4, 5, 6, 8)]
    by_risk = [BTS.evaluate({"type": "solid", "diameter_mm": 8, "probability": p}).rank for p in (0.05, 0.5, 0.9)]
    assert by_size == [0, 1, 2, 3] and by_risk == [3, 4, 5]
    assert BTS.evaluate({"type": "solid", "diameter_mm": 20, "pattern": "fat"}).rank == 0
    pairs = ((100, 50, 90), (100, 100, 90), (100, 200, 700), (100, 200, 500), (100, 200, 100))
    assert [grown(*pair).rank for pair in pairs] == [0, 1, 2, 3, 4]
