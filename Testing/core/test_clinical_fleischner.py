"""Fleischner 2017: every cell of the table, on both sides of its edges; when it does not apply."""

import pytest
from MAEMCLib.clinical.exam import examination
from MAEMCLib.clinical.scores import SCORES
from MAEMCLib.errors import UsageError

FLEISCHNER = SCORES["fleischner"]
NONE = "No routine follow-up."
OPTIONAL = "Optional CT at 12 months."
LARGE = "Consider CT at 3 months, PET/CT, or tissue sampling."


def evaluated(kind="solid", size=7, number="single", risk="low", **more):
    given = {"type": kind, "long_mm": size, "short_mm": size, "number": number, "risk": risk}
    return FLEISCHNER.evaluate({**given, **more})


@pytest.mark.parametrize(
    ("number", "risk", "small", "middle", "large"),
    [
        ("single", "low", NONE, "CT at 6-12 months, then consider CT at 18-24 months.", LARGE),
        ("single", "high", OPTIONAL, "CT at 6-12 months, then CT at 18-24 months.", LARGE),
        ("multiple", "low", NONE, *["CT at 3-6 months, then consider CT at 18-24 months."] * 2),
        ("multiple", "high", OPTIONAL, *["CT at 3-6 months, then CT at 18-24 months."] * 2),
    ],
)
def test_solid(number, risk, small, middle, large):
    for sizes, expected in (((2, 5, 5.4), small), ((5.5, 6, 8, 8.4), middle), ((8.5, 9, 30), large)):
        for size in sizes:
            assert evaluated("solid", size, number, risk).recommendation == expected, size


@pytest.mark.parametrize(
    ("size", "words"), [(5.4, NONE), (5.5, "CT at 6-12 months to confirm"), (29, "every 2 years until 5 years")]
)
def test_single_ground_glass(size, words):
    assert words in evaluated("non-solid", size).recommendation


@pytest.mark.parametrize(
    ("size", "solid", "words"),
    [
        (5.4, 3, NONE),
        (5.5, 3, "CT every year for 5 years"),
        (20, 5.4, "CT every year for 5 years"),
        (20, 5.5, "highly suspicious"),
        (20, 8.4, "CT at 3-6 months to confirm persistence; a persistent solid part"),
        (20, 8.5, "PET/CT, biopsy or resection"),
    ],
)
def test_single_part_solid(size, solid, words):
    assert words in evaluated("part-solid", size, solid_mm=solid).recommendation


@pytest.mark.parametrize("kind", ["part-solid", "non-solid"])
@pytest.mark.parametrize(("size", "words"), [(5.4, "CT at 2 and 4 years"), (5.5, "by the most suspicious nodule")])
def test_multiple_subsolid(kind, size, words):
    result = evaluated(kind, size, "multiple", solid_mm=3)
    assert words in result.recommendation and "3-6 months" in result.recommendation


@pytest.mark.parametrize(("volume", "expected"), [(99.4, None), (99.5, "6-8 mm"), (250.4, "6-8 mm"), (250.5, "> 8 mm")])
def test_volumes(volume, expected):
    """The diameters say below 6 mm; what the volume says is noted where it is another."""
    notes = " ".join(evaluated("solid", 5, volume_mm3=volume).notes)
    assert (
        "volume" not in notes if expected is None else f"volume of {int(volume + 0.5)} mm3 it is as {expected}" in notes
    )


def test_the_mean_is_rounded_to_the_whole_millimeter():
    for long, short, mean in ((6, 5, 6), (6, 4.9, 5), (9, 8, 9), (8.9, 8, 8)):
        result = evaluated(long_mm=long, short_mm=short)
        assert result.measures == {"mean_diameter_mm": mean}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"setting": "screening"}, "Lung-RADS"),
        ({"age": 34.9}, "35 years and older"),
        ({"extrathoracic_cancer": True}, "known cancer"),
        ({"recent_cancer": True}, "known cancer"),
        ({"lung_cancer": True}, "known cancer"),
        ({"immunosuppression": True}, "immunosuppression"),
        ({"pattern": "popcorn"}, "calcification"),
        ({"long_mm": 31}, "31 mm is a mass"),
    ],
)
def test_it_says_why_it_does_not_apply(values, reason):
    result = evaluated(**values)
    assert not result.applicable and reason in result.reason
    assert result.category is None and result.recommendation is None and result.sentence is None
    assert evaluated(setting="incidental", age=35, size=30).applicable


def test_the_sentence_can_be_pasted():
    result = evaluated("solid", 7, setting="incidental", count_confirmed=True)
    assert result.sentence == (
        "Single incidental solid nodule, mean diameter 7 mm (7.0 x 7.0 mm), low risk. Fleischner Society 2017: "
        "CT at 6-12 months, then consider CT at 18-24 months."
    )
    assert "(marked so far)" in evaluated().sentence and not result.notes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"risk": None}, r"needs risk of the patient \(low or high\).*--risk"),
        ({"number": ""}, r"needs number of nodules \(single or multiple\)"),
        ({"number": "two"}, "single or multiple"),
        ({"type": "part-solid"}, "needs solid part"),
        ({"short_mm": 8}, "short axis"),
        ({"age": 121}, "from 0 to 120 years"),
        ({"long_mm": "nan"}, "from 1 to 300 mm"),
        ({"long_mm": "inf"}, "from 1 to 300 mm"),
        ({"immunosuppression": "perhaps"}, "yes or no"),
    ],
)
def test_bad_input(values, message):
    with pytest.raises(UsageError, match=message):
        evaluated(**values)


def test_the_risk_is_asked_for_solid_nodules_alone():
    assert evaluated("non-solid", 7, risk=None).applicable
    assert "risk" not in evaluated("non-solid", 7, risk="high").inputs


def test_the_most_urgent_nodule_stands_for_the_examination():
    results = [
        evaluated("solid", 5, "multiple"),
        evaluated("non-solid", 12, "multiple"),
        evaluated("solid", 5, "multiple"),
    ]
    exam = examination(results)
    assert exam.nodule == 1 and exam.recommendation == results[1].recommendation
    assert "Worst of 3 nodules, marked so far." in exam.sentence
