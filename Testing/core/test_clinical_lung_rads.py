"""Lung-RADS v2022: every row of the table on both sides of its edges, and the rules around it."""

import pytest
from MAEMCLib.clinical.exam import examination
from MAEMCLib.clinical.scores import SCORES
from MAEMCLib.clinical.sizes import mean_to_tenth, sphere_volume
from MAEMCLib.errors import UsageError

LUNG_RADS = SCORES["lung-rads"]


def evaluated(kind, size, context="baseline", **more):
    return LUNG_RADS.evaluate({"type": kind, "long_mm": size, "short_mm": size, "context": context, **more})


def category(*given, **more):
    return evaluated(*given, **more).category


@pytest.mark.parametrize(
    ("context", "size", "expected"),
    [
        ("baseline", 1.0, "2"),
        ("baseline", 5.9, "2"),
        ("baseline", 6.0, "3"),
        ("baseline", 7.9, "3"),
        ("baseline", 8.0, "4A"),
        ("baseline", 14.9, "4A"),
        ("baseline", 15.0, "4B"),
        ("baseline", 80.0, "4B"),
        ("new", 3.9, "2"),
        ("new", 4.0, "3"),
        ("new", 5.9, "3"),
        ("new", 6.0, "4A"),
        ("new", 7.9, "4A"),
        ("new", 8.0, "4B"),
        ("growing", 3.0, "4A"),
        ("growing", 7.9, "4A"),
        ("growing", 8.0, "4B"),
        ("slow-growing", 5.0, "4B"),
    ],
)
def test_solid(context, size, expected):
    assert category("solid", size, context) == expected


@pytest.mark.parametrize(
    ("context", "size", "solid", "expected"),
    [
        ("baseline", 5.9, 3.0, "2"),
        ("baseline", 6.0, 3.0, "3"),
        ("baseline", 20.0, 5.9, "3"),
        ("baseline", 20.0, 5.94, "3"),
        ("baseline", 20.0, 5.95, "4A"),
        ("baseline", 20.0, 6.0, "4A"),
        ("baseline", 20.0, 7.9, "4A"),
        ("baseline", 20.0, 8.0, "4B"),
        ("new", 5.9, 3.9, "3"),
        ("new", 5.9, 4.0, "4B"),
        ("new", 6.0, 3.9, "4A"),
        ("new", 6.0, 4.0, "4B"),
        ("growing", 9.0, 3.9, "4A"),
        ("growing", 9.0, 4.0, "4B"),
        ("slow-growing", 9.0, 3.0, "4B"),
    ],
)
def test_part_solid(context, size, solid, expected):
    assert category("part-solid", size, context, solid_mm=solid) == expected


@pytest.mark.parametrize(
    ("context", "size", "expected"),
    [
        ("baseline", 29.9, "2"),
        ("baseline", 30.0, "3"),
        ("new", 29.9, "2"),
        ("new", 30.0, "3"),
        ("growing", 29.9, "2"),
        ("growing", 30.0, "3"),
        ("slow-growing", 30.0, "2"),
        ("stable", 29.9, "2"),
        ("stable", 60.0, "2"),
    ],
)
def test_ground_glass(context, size, expected):
    assert category("non-solid", size, context) == expected


@pytest.mark.parametrize(
    ("category", "words"),
    [
        ("2", "annual screening"),
        ("3", "6 months"),
        ("4A", "3 months"),
        ("4B", "tissue sampling"),
    ],
)
def test_management(category, words):
    size = {"2": 5, "3": 7, "4A": 10, "4B": 20}[category]
    result = evaluated("solid", size)
    assert result.category == category and words in result.recommendation and words in result.sentence


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (112.4, None),
        (112.5, "3"),
        (113, "3"),
        (267, "3"),
        (268, "4A"),
        (1766, "4A"),
        (1767, "4B"),
    ],
)
def test_volumes_at_baseline(volume, expected):
    """The diameters say 2; the volume's own category is noted where it is another."""
    notes = " ".join(evaluated("solid", 5, volume_mm3=volume).notes)
    if expected is None:
        assert "volume" not in notes
    else:
        assert f"By its volume of {int(volume + 0.5)} mm3 alone it would be {expected}." in notes


@pytest.mark.parametrize(("volume", "expected"), [(33, "2"), (34, "3"), (112, "3"), (113, "4A"), (268, "4B")])
def test_volumes_of_new_nodules(volume, expected):
    notes = " ".join(evaluated("solid", 20, "new", volume_mm3=volume).notes)
    assert (f"would be {expected}." in notes) == (expected != "4B")


@pytest.mark.parametrize(("volume", "noted"), [(14136, False), (14137, True)])
def test_volumes_of_ground_glass(volume, noted):
    assert ("would be 3" in " ".join(evaluated("non-solid", 20, volume_mm3=volume).notes)) == noted


@pytest.mark.parametrize(
    ("diameter", "volume"), [(4, 33.5), (6, 113.1), (8, 268.1), (10, 523.6), (15, 1767.1), (30, 14137.2)]
)
def test_spheres(diameter, volume):
    assert round(sphere_volume(diameter), 1) == volume


@pytest.mark.parametrize(
    ("long", "short", "mean"),
    [(8.4, 7.2, 7.8), (6.0, 5.9, 6.0), (6.0, 5.8, 5.9), (5.94, 5.94, 5.9), (5.95, 5.95, 6.0), (8.05, 7.85, 8.0)],
)
def test_the_mean_is_rounded_to_a_tenth_a_half_upward(long, short, mean):
    assert mean_to_tenth(long, short) == mean


def test_the_mean_and_not_the_long_axis_decides():
    result = LUNG_RADS.evaluate({"type": "solid", "long_mm": 8.4, "short_mm": 7.2})
    assert result.category == "3" and result.measures == {"mean_diameter_mm": 7.8}


@pytest.mark.parametrize(
    ("previous", "months", "expected"),
    [("4A", 3, "3"), ("4A", 2.9, "4A"), ("3", 6, "2"), ("3", 5.9, "3"), ("2", 12, "2")],
)
@pytest.mark.parametrize("kind", ["solid", "part-solid"])
def test_stable_nodules_step_down(kind, previous, months, expected):
    more = {"solid_mm": 4} if kind == "part-solid" else {}
    assert category(kind, 9, "stable", previous=previous, months=months, **more) == expected


def test_a_stable_nodule_without_its_category_so_far_is_asked_for_it():
    with pytest.raises(UsageError, match=r"category so far \(2, 3, 4A or 4B\), months since"):
        evaluated("solid", 7, "stable")


def test_a_stable_4b_is_not_stepped_down():
    result = evaluated("solid", 16, "stable", previous="4B", months=12)
    assert not result.applicable and "work-up" in result.reason and result.category is None


@pytest.mark.parametrize("feature", ["spiculation", "lymph_nodes"])
@pytest.mark.parametrize(("size", "expected"), [(5.9, "2"), (6, "4X"), (8, "4X"), (15, "4X")])
def test_suspicious_features_make_4x_of_3_and_4(feature, size, expected):
    result = evaluated("solid", size, **{feature: True})
    assert result.category == expected
    assert ("Brock" in " ".join(result.notes)) == (expected == "4X")


def test_ground_glass_that_doubles_within_a_year():
    assert category("non-solid", 31, "growing", doubled=True) == "4X"
    assert category("non-solid", 20, "growing", doubled=True) == "2"


@pytest.mark.parametrize(("size", "expected"), [(10.0, "2"), (10.1, "4A")])
@pytest.mark.parametrize("context", ["baseline", "new"])
def test_juxtapleural_nodules_up_to_ten_millimeters(context, size, expected):
    found = category("solid", size, context, juxtapleural=True)
    assert found == ("4B" if (expected, context) == ("4A", "new") else expected)
    assert category("solid", size, "growing", juxtapleural=True) == "4B"


@pytest.mark.parametrize("pattern", ["complete", "central", "popcorn", "ring", "fat"])
def test_benign_patterns_are_1_at_any_size(pattern):
    result = LUNG_RADS.evaluate({"pattern": pattern})
    assert result.category == "1" and "12 months" in result.recommendation and pattern in result.sentence
    assert category("solid", 25, pattern=pattern) == "1"


@pytest.mark.parametrize(
    ("finding", "expected"),
    [("none", "1"), ("incomplete", "0"), ("inflammatory", "0"), ("airway", None), ("cyst", None)],
)
def test_other_findings(finding, expected):
    result = LUNG_RADS.evaluate({"finding": finding})
    assert result.category == expected and result.applicable == (expected is not None)
    if expected is None:
        assert "rules of their own" in result.reason
    else:
        assert f"category {expected}" in result.sentence


def test_another_significant_finding_is_a_modifier():
    assert category("solid", 7, other_finding=True) == "3S"
    assert LUNG_RADS.evaluate({"finding": "none", "other_finding": True}).category == "1S"


def test_it_is_for_screening():
    assert any("setting was not given" in note for note in evaluated("solid", 7).notes)
    assert not any("setting" in note for note in evaluated("solid", 7, setting="screening").notes)
    result = evaluated("solid", 7, setting="incidental")
    assert not result.applicable and "Fleischner" in result.reason and result.category is None


def test_the_sentence_says_what_was_measured():
    result = LUNG_RADS.evaluate(
        {"type": "part-solid", "long_mm": 12, "short_mm": 10, "solid_mm": 6.5, "context": "baseline"}
    )
    assert result.sentence.startswith(
        "Lung-RADS v2022 category 4A: baseline part-solid nodule, mean diameter 11.0 mm (12.0 x 10.0 mm), solid part "
        "6.5 mm. Low-dose CT in 3 months"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"short_mm": 9}, r"short axis \(9 mm\) is longer than the long axis \(8 mm\)"),
        ({"type": "part-solid", "solid_mm": 8.5}, r"solid part \(8.5 mm\) is larger than the nodule \(8 mm\)"),
        ({"type": "part-solid"}, r"needs solid part \(from 0.1 to 300 mm\)"),
        ({"type": "glassy"}, r"'glassy', but it has to be solid, part-solid or non-solid"),
        ({"long_mm": None}, r"needs long axis \(from 1 to 300 mm\)"),
        ({"long_mm": 0.5}, "from 1 to 300 mm"),
        ({"context": "shrinking"}, "baseline, new, growing, slow-growing or stable"),
    ],
)
def test_bad_input(values, message):
    with pytest.raises(UsageError, match=message):
        LUNG_RADS.evaluate({"type": "solid", "long_mm": 8, "short_mm": 7, **values})


def test_an_examination_has_the_category_of_its_worst_nodule():
    results = [evaluated("solid", size) for size in (5, 9, 7)]
    exam = examination(results)
    assert (exam.category, exam.nodule) == ("4A", 1) and exam.count_text == "3 nodules, marked so far"
    assert exam.recommendation == results[1].recommendation and "Worst of 3 nodules, marked so far." in exam.sentence
    assert examination(results, count_confirmed=True).count_text == "3 nodules, confirmed by the reader"
    assert examination(results[:1]).sentence == results[0].sentence


def test_an_incomplete_examination_is_not_benign_and_hides_nothing():
    incomplete = LUNG_RADS.evaluate({"finding": "incomplete"})
    assert examination([evaluated("solid", 5), incomplete]).category == "0"
    assert examination([evaluated("solid", 9), incomplete]).category == "4A"


def test_an_examination_of_nothing_that_applies_has_no_category():
    exam = examination([evaluated("solid", 9, setting="incidental")])
    assert exam.category is None and exam.nodule is None and exam.to_json()["sentence"] is None


def test_an_examination_joins_one_score():
    for results in ([], [evaluated("solid", 9), SCORES["mayo"].evaluate({"age": 60, "diameter_mm": 9})]):
        with pytest.raises(UsageError, match="of one score"):
            examination(results)
