"""The table of what scores ask for: one name, unit and range for all of them."""

import subprocess
import sys

import pytest
from MAEMCLib.clinical.fields import CHOICE, FLAG, NUMBER, Field, missing_error, needed_when, read_fields
from MAEMCLib.clinical.scores import SCORES
from MAEMCLib.errors import UsageError

AGE = Field("age", "age", unit="years", high=120)
COUNT = Field("count", "nodules", low=1, high=9, whole=True)
KIND = Field("kind", "kind", CHOICE, choices=("a", "B"))
FLAGGED = Field("seen", "seen", FLAG)


@pytest.mark.parametrize(
    ("field", "given", "value"),
    [
        (AGE, "65", 65.0),
        (AGE, 0, 0.0),
        (AGE, 120, 120.0),
        (COUNT, "3", 3),
        (COUNT, 3.0, 3),
        (KIND, "b ", "B"),
        (FLAGGED, True, True),
        (FLAGGED, "no", False),
        (FLAGGED, "YES", True),
    ],
)
def test_values_are_read(field, given, value):
    found = field.read(given)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("field", "given", "message"),
    [
        (AGE, "-1", r"age \(age\) is '-1', but it has to be a number from 0 to 120 years\. Correct it\."),
        (AGE, 120.1, "from 0 to 120 years"),
        (AGE, "nan", "from 0 to 120 years"),
        (AGE, "old", "from 0 to 120 years"),
        (AGE, True, "from 0 to 120 years"),
        (AGE, [60], "from 0 to 120 years"),
        (COUNT, 2.5, "whole number from 1 to 9"),
        (COUNT, 0, "from 1 to 9"),
        (KIND, "c", "it has to be a or B"),
        (FLAGGED, "maybe", "yes or no"),
    ],
)
def test_impossible_values_are_refused_by_name_and_range(field, given, message):
    with pytest.raises(UsageError, match=message):
        field.read(given)


def test_what_is_missing_is_named_at_once():
    values, missing = read_fields([AGE, COUNT, FLAGGED], {"age": "  ", "other": 5})
    assert values == {"seen": False} and missing == [(AGE,), (COUNT,)]
    text = str(missing_error("It", missing))
    assert text == (
        "It needs age (from 0 to 120 years), nodules (from 1 to 9), and cannot be computed without. Give them "
        "(--age, --count)."
    )


def test_fields_that_depend_on_a_choice():
    fields = (KIND, *needed_when("kind", ("B",), AGE))
    assert read_fields(fields, {"kind": "a", "age": 500}) == ({"kind": "a"}, [])
    assert read_fields(fields, {"kind": "B"}) == ({"kind": "B"}, [(fields[1],)])


def test_one_of_several_is_enough():
    optional = [Field(name, name, optional=True) for name in "ab"]
    assert read_fields(optional, {}, [("a", "b")])[1] == [tuple(optional)]
    assert read_fields(optional, {"b": 1}, [("a", "b")]) == ({"b": 1.0}, [])


def test_a_name_means_the_same_in_all_scores():
    """So that a form asks once: kind, unit, range and choices never differ."""
    known = {}
    for score in SCORES.values():
        assert len({one.name for one in score.all_fields}) == len(score.all_fields)
        for one in score.all_fields:
            meaning = (one.kind, one.unit, one.low, one.high, one.whole, one.many, one.choices)
            assert known.setdefault(one.name, meaning) == meaning, (score.name, one.name)
            assert one.kind in (NUMBER, CHOICE, FLAG) and one.title
            if one.default is not None:
                assert one.read(one.default) == one.default


def test_every_score_cites_its_source_and_depends_on_fields_that_come_before():
    for name, score in SCORES.items():
        assert score.name == name and score.title and any(year in score.source for year in ("19", "20"))
        seen = set()
        for one in score.all_fields:
            assert {other for other, _ in one.when} <= seen
            seen.add(one.name)


def test_slicers_process_imports_it_without_numpy():
    code = "import sys\nimport MAEMCLib.clinical.scores, MAEMCLib.clinical.exam, MAEMCLib.commands.risk\n"
    code += "print([n for n in ('numpy', 'torch', 'SimpleITK', 'pydicom') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
