"""Probability models against what their papers and public unit tests state: Brock, Mayo, Herder, Veterans Affairs."""

import itertools
import math

import pytest
from MAEMCLib.clinical.scores import SCORES
from MAEMCLib.errors import UsageError

FEMALE_65 = {"age": 65, "sex": "female", "type": "solid", "diameter_mm": 15, "upper_lobe": True, "count": 1}
FEMALE_70 = {
    "age": 70,
    "sex": "female",
    "family_history": True,
    "emphysema": True,
    "type": "part-solid",
    "upper_lobe": True,
    "spiculation": True,
}
FEMALE_62 = {
    "age": 62,
    "sex": "female",
    "type": "solid",
    "diameter_mm": 8,
    "upper_lobe": True,
    "count": 1,
    "spiculation": True,
}
MALE_62 = {"age": 62, "sex": "male", "type": "solid", "diameter_mm": 4, "count": 4}
LARGE = {**FEMALE_70, "diameter_mm": 20, "count": 1}


def probability(name, **values):
    return SCORES[name].evaluate(values).probability


@pytest.mark.parametrize(
    ("values", "model", "expected"),
    [
        (FEMALE_65, "2b", 0.2537),
        (FEMALE_65, "2a", 0.2974),
        ({**FEMALE_70, "diameter_mm": 10, "count": 3}, "2b", 0.4141),
        (MALE_62, "2b", 0.0011246),
        (FEMALE_62, "2b", 0.11754),
        (FEMALE_62, "1b", 0.13424),
        (FEMALE_62, "2a", 0.06503),
        (FEMALE_62, "1a", 0.06575),
        (LARGE, "2b", 0.80141),
        (LARGE, "1b", 0.60306),
        (LARGE, "2a", 0.71256),
        (LARGE, "1a", 0.43901),
    ],
)
def test_brock(values, model, expected):
    digits = len(str(expected)) - 2
    assert probability("brock", model=model, **values) == pytest.approx(expected, abs=0.5 * 10**-digits)


def test_brock_2b_is_the_default_and_the_size_is_not_lessened_by_four():
    result = SCORES["brock"].evaluate(FEMALE_65)
    assert result.variant == "2b" and result.probability == pytest.approx(0.2537, abs=5e-5)
    assert probability("brock", **MALE_62) == pytest.approx(1 / (1 + math.exp(6.7892)), abs=1e-7)
    # 62 years, male, solid, lower lobe, four nodules: 8 mm is 0.01345, and 0.00112 where 4 is subtracted first.
    assert probability("brock", **{**MALE_62, "diameter_mm": 8}) == pytest.approx(0.01345, abs=5e-5)


def test_brock_2b_in_its_uncentered_form():
    """PMC6717521 prints the same model without centering, with the constant 0.2761."""
    for age, size, count in itertools.product((50, 62, 75), (3.5, 8, 25), (1, 4, 9)):
        x = 0.27607 + 0.0287 * age - 5.3854 * (size / 10) ** -0.5 - 0.0824 * count
        found = probability("brock", **{**MALE_62, "age": age, "diameter_mm": size, "count": count})
        assert found == pytest.approx(1 / (1 + math.exp(-x)), abs=1e-5)


def test_brock_differs_from_its_extra_digits_by_no_more_than_their_rounding():
    """The authors' spreadsheet has more digits, as two public codes quote it."""
    widest = 0
    kinds = {"solid": 0, "part-solid": 0.3769578, "non-solid": -0.1276173}
    flags = ("female", "family_history", "emphysema", "upper_lobe", "spiculation")
    terms = dict(zip(flags, (0.6010727, 0.2961090, 0.2953112, 0.6581383, 0.7729335), strict=True))
    for age, size, count, kind in itertools.product((50, 62, 75), (3, 8, 15, 30), (1, 4, 10), kinds):
        for chosen in itertools.product((False, True), repeat=5):
            given = dict(zip(flags, chosen, strict=True))
            x = -6.78917 + 0.0286687 * (age - 62) - 5.385484 * ((size / 10) ** -0.5 - 1.58113883)
            x += kinds[kind] - 0.0824156 * (count - 4) + sum(terms[name] for name in flags if given[name])
            given["sex"] = "female" if given["female"] else "male"
            given |= {"model": "2b", "age": age, "diameter_mm": size, "type": kind, "count": count}
            found = SCORES["brock"].outcome(given).probability
            widest = max(widest, abs(found - 1 / (1 + math.exp(-x))))
    assert widest <= 0.00016


def test_a_parsimonious_brock_asks_for_less():
    few = {"model": "1a", "sex": "male", "diameter_mm": 8}
    result = SCORES["brock"].evaluate({**few, "age": 50, "spiculation": True})
    assert "age" not in result.inputs and "spiculation" not in result.inputs
    with pytest.raises(UsageError, match=r"needs age .*nodule type .*nodules in both lungs"):
        SCORES["brock"].evaluate({**few, "model": "2a"})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"perifissural": True}, "Perifissural"),
        ({"age": 17}, "adults"),
        ({"diameter_mm": 30.1}, "30.1 mm is a mass"),
    ],
)
def test_brock_says_why_it_does_not_apply(values, reason):
    result = SCORES["brock"].evaluate({**FEMALE_65, **values})
    assert not result.applicable and reason in result.reason
    assert result.probability is None and result.category is None and result.sentence is None and result.edge is None
    assert SCORES["brock"].evaluate({**FEMALE_65, "diameter_mm": 30}).applicable


def test_a_count_is_marked_so_far_until_it_is_confirmed():
    result = SCORES["brock"].evaluate(FEMALE_65)
    assert any("1 (marked so far)" in note for note in result.notes) and "(marked so far)" in result.sentence
    result = SCORES["brock"].evaluate({**FEMALE_65, "count_confirmed": True})
    assert not any("marked" in note for note in result.notes) and "marked" not in result.sentence


@pytest.mark.parametrize(
    ("share", "bts", "accp"),
    [
        (0.0499, "below 10 %", "below 5 %"),
        (0.05, "below 10 %", "5 to 65 %"),
        (0.0999, "below 10 %", "5 to 65 %"),
        (0.1, "10 to 70 %", "5 to 65 %"),
        (0.65, "10 to 70 %", "5 to 65 %"),
        (0.651, "10 to 70 %", "above 65 %"),
        (0.70, "10 to 70 %", "above 65 %"),
        (0.701, "above 70 %", "above 65 %"),
    ],
)
def test_bands_on_both_sides_of_their_edges(share, bts, accp):
    from MAEMCLib.clinical.bands import ACCP, BTS

    assert BTS.of(share).name.startswith(bts) and ACCP.of(share).name.startswith(accp)


MAYO_TABLE = """
0 0 0 0  .02 .05 .16  .03 .11 .30  .07 .21 .48
0 0 0 1  .03 .11 .30  .07 .21 .48  .14 .36 .67
0 0 1 0  .04 .13 .36  .09 .25 .55  .17 .42 .73
0 0 1 1  .09 .25 .55  .17 .43 .73  .31 .62 .85
0 1 0 0  .06 .17 .43  .11 .31 .62  .22 .50 .78
0 1 0 1  .11 .31 .62  .22 .50 .78  .38 .69 .89
0 1 1 0  .14 .37 .68  .26 .56 .82  .44 .74 .91
0 1 1 1  .27 .56 .82  .44 .74 .91  .63 .86 .96
1 0 0 0  .03 .11 .30  .07 .21 .48  .14 .37 .67
1 0 0 1  .07 .21 .49  .14 .37 .67  .26 .56 .82
1 0 1 0  .09 .25 .55  .17 .43 .73  .31 .62 .85
1 0 1 1  .17 .43 .73  .31 .62 .85  .50 .78 .93
1 1 0 0  .11 .31 .62  .22 .50 .78  .38 .69 .89
1 1 0 1  .22 .50 .78  .38 .69 .89  .57 .83 .95
1 1 1 0  .27 .57 .82  .44 .74 .91  .63 .86 .96
1 1 1 1  .44 .74 .91  .64 .86 .96  .79 .93 .98
"""
"""Swensen 1997, Table 3: smoker, cancer, spiculation, upper lobe; then 10, 20, 30 mm at 35, 55 and 75 years."""


def test_all_cells_of_mayos_table():
    compared = 0
    for line in MAYO_TABLE.split("\n")[1:-1]:
        words = line.split()
        names = ("smoker", "extrathoracic_cancer", "spiculation", "upper_lobe")
        flags = {name: word == "1" for name, word in zip(names, words, strict=False)}
        columns = itertools.product((35, 55, 75), (10, 20, 30))
        for (age, size), printed in zip(columns, words[4:], strict=True):
            found = probability("mayo", age=age, diameter_mm=size, **flags)
            assert abs(found - float(printed)) <= 0.006, (line, age, size)
            compared += 1
    assert compared == 144


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"age": 65, "diameter_mm": 16, "extrathoracic_cancer": True, "spiculation": True}, 0.8465),
        ({"age": 74, "diameter_mm": 7}, 0.1875),
        ({"age": 60, "diameter_mm": 10}, 0.1636),
        ({"age": 72, "diameter_mm": 18, "extrathoracic_cancer": True, "spiculation": True}, 0.9035),
    ],
)
def test_mayo_with_more_digits(values, expected):
    assert probability("mayo", smoker=True, upper_lobe=True, **values) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"recent_cancer": True}, "within five years"),
        ({"lung_cancer": True}, "previous lung cancer"),
        ({"diameter_mm": 3.9}, "4 to 30 mm"),
        ({"diameter_mm": 30.1}, "mass"),
        ({"age": 10}, "adults"),
    ],
)
def test_mayo_says_why_it_does_not_apply(values, reason):
    result = SCORES["mayo"].evaluate({"age": 60, "diameter_mm": 10, **values})
    assert not result.applicable and reason in result.reason and result.probability is None
    for inside in (4, 30):
        assert SCORES["mayo"].evaluate({"age": 60, "diameter_mm": inside}).applicable


def test_a_score_that_does_not_apply_asks_for_nothing_more():
    assert not SCORES["mayo"].evaluate({"lung_cancer": True}).applicable


@pytest.mark.parametrize(
    ("pretest", "uptake", "published", "ratio"),
    [
        (0.1875, "intense", 0.6735, 0.6955),
        (0.9035, "intense", 0.9666, 0.9893),
        (0.1636, "moderate", 0.6182, 0.2709),
        (0.5, "absent", 0.0525, 0.0741),
        (0.5, "faint", 0.3609, 0.1453),
        (0.5, "moderate", 0.8486, 0.6552),
        (0.5, "intense", 0.8673, 0.9083),
    ],
)
def test_herder_as_published_and_by_likelihood_ratios(pretest, uptake, published, ratio):
    given = {"pretest": pretest, "uptake": uptake}
    first = SCORES["herder"].evaluate(given)
    second = SCORES["herder"].evaluate({**given, "variant": "likelihood-ratio"})
    assert (first.variant, second.variant) == ("published", "likelihood-ratio")
    assert first.probability == pytest.approx(published, abs=6e-5)
    assert second.probability == pytest.approx(ratio, abs=6e-5)
    assert any("not in Herder's paper" in note for note in second.notes)


def test_likelihood_ratios_below_ten_percent_are_noted():
    def notes(pretest):
        given = {"pretest": pretest, "uptake": "faint", "variant": "likelihood-ratio"}
        return " ".join(SCORES["herder"].evaluate(given).notes)

    assert "10 %" in notes(0.09) and "10 %" not in notes(0.10)


@pytest.mark.parametrize("pretest", [0, 1])
@pytest.mark.parametrize("variant", ["published", "likelihood-ratio"])
def test_herder_at_the_ends(pretest, variant):
    found = probability("herder", pretest=pretest, uptake="intense", variant=variant)
    assert 0 <= found <= 1 and math.isfinite(found)


def test_a_pretest_in_percent_is_refused():
    with pytest.raises(UsageError, match=r"pretest.* '18\.75', but it has to be a number from 0 to 1"):
        SCORES["herder"].evaluate({"pretest": 18.75, "uptake": "faint"})


def test_veterans_affairs():
    """62 years, never a smoker, 10 mm: x = -2.454 as PMC6717521 prints it."""
    assert probability("va", age=62, diameter_mm=10) == pytest.approx(1 / (1 + math.exp(2.454)), abs=5e-5)
    assert probability("va", age=62, diameter_mm=10) == pytest.approx(0.0791, abs=5e-5)


def test_years_since_quitting_count_against_cancer():
    still = probability("va", age=62, diameter_mm=10, smoker=True)
    ten = probability("va", age=62, diameter_mm=10, smoker=True, quit_years=10)
    assert math.log(ten / (1 - ten)) - math.log(still / (1 - still)) == pytest.approx(-0.567)
    result = SCORES["va"].evaluate({"age": 62, "diameter_mm": 10, "quit_years": 10})
    assert "quit_years" not in result.inputs
    with pytest.raises(UsageError, match=r"years since quitting \(70\) are more than the age \(62\)"):
        SCORES["va"].evaluate({"age": 62, "diameter_mm": 10, "smoker": True, "quit_years": 70})
