"""Clinical values: what a card says of them, how they are typed, what is refused and what is warned of."""

import pytest
from MAEMCLib.applicability import Finding, gate_of
from MAEMCLib.cases.values import ClinicalField, asked_of, fields_of, parse_assignments, read_values
from MAEMCLib.errors import ModelError, UsageError

AGE = ClinicalField("age", "number", "years", 41, 88)
SEX = ClinicalField("sex", "choice", choices=("female", "male"))
PACKS = ClinicalField("pack_years", "number", low=0, high=60, optional=True)
ASKED = (AGE, SEX, PACKS)


def test_a_card_gives_back_the_fields_that_were_stored():
    assert fields_of({"clinical": [field.to_json() for field in ASKED]}, "m") == ASKED
    assert fields_of({}, "m") == ()


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"name": "age", "kind": "guess"}, "kind 'guess'"),
        ({"name": "sex", "kind": "choice"}, "no choices"),
        ({"name": "sex", "kind": "choice", "choices": ["a", "a"]}, "no choices, or one twice"),
        ({"name": "age", "kind": "number", "low": 4}, "range of age"),
        ({"name": "age", "kind": "number", "low": "a", "high": "b"}, "range of age"),
        ({"name": "age", "kind": "number", "code": "x"}, "unknown: code"),
        ({"name": 3, "kind": "number"}, "no text"),
        ({"kind": "number"}, "name"),
        ("age", "dictionary|mapping|string|indices|unknown"),
    ],
)
def test_a_card_with_wrong_fields_is_refused(entry, reason):
    with pytest.raises(ModelError, match=reason):
        fields_of({"clinical": [entry]}, "m")
    with pytest.raises(ModelError, match="twice"):
        fields_of({"clinical": [AGE.to_json(), {"name": "AGE", "kind": "number"}]}, "m")


def test_assignments_are_read_by_name_whatever_the_case():
    assert parse_assignments(["AGE=63", "sex = male "], ASKED, "m") == {"age": "63", "sex": "male"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age", r"'age' is not KEY=VALUE.*--clinical age=41"),
        ("=3", "not KEY=VALUE"),
        ("age=", "not KEY=VALUE"),
        ("agee=63", r"no 'agee'\. Did you mean age\?"),
        ("height=180", r"no 'height'\. (Did you mean .*)?It asks for age \(years, 41 to 88\), sex \(female or male\)"),
    ],
)
def test_wrong_assignments_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_assignments([text], ASKED, "m")


def test_a_value_given_twice_or_to_a_model_that_asks_for_none_is_refused():
    with pytest.raises(UsageError, match="age is given twice"):
        parse_assignments(["age=1", "Age=2"], ASKED, "m")
    with pytest.raises(UsageError, match="asks for no clinical values"):
        parse_assignments(["age=1"], (), "m")


def test_values_are_numbers_and_choices():
    found = read_values({"age": "63", "sex": "MALE", "pack_years": 20}, ASKED, "m")
    assert found.values == {"age": 63.0, "sex": "male", "pack_years": 20.0}
    assert found.findings == ()


def test_what_is_missing_is_asked_for_by_name():
    with pytest.raises(UsageError) as caught:
        read_values({"sex": " ", "age": None}, ASKED, "spine")
    assert "spine asks for age (years, 41 to 88), sex (female or male), and cannot do without" in str(caught.value)
    assert "pack_years" not in str(caught.value) and caught.value.code == "clinical-missing"


def test_what_may_be_left_out_is_said():
    found = read_values({"age": 50, "sex": "male"}, ASKED, "m")
    assert found.values["pack_years"] is None
    assert [(w.code, w.message) for w in found.findings] == [
        ("clinical-left-out", "pack_years was not given; the model goes without it.")
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"age": "old"}, "age is 'old', but it has to be a number in years"),
        ({"age": "nan"}, "has to be a number"),
        ({"age": "inf"}, "has to be a number"),
        ({"age": "63,5"}, "has to be a number"),
        ({"sex": "m"}, "sex is 'm', but it has to be female or male"),
        ({"weight": "3"}, "no 'weight'"),
    ],
)
def test_wrong_values_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        read_values({"age": "50", "sex": "male", **given}, ASKED, "m")


def assessed(values, *before):
    return gate_of([*(Finding(*one, "") for one in before), *values.findings])


def test_out_of_range_is_a_warning_and_amber():
    found = read_values({"age": 97, "sex": "male", "pack_years": 3}, ASKED, "m")
    assert found.values["age"] == 97.0
    assert [(f.color, f.message) for f in found.findings] == [("amber", "age is 97 years; the model knows 41 to 88.")]
    assert assessed(found)[0] == "amber"
    assert assessed(found, ("grey", "size-unknown"))[1] == ("clinical-range",)
    assert assessed(found, ("amber", "padded")) == ("amber", ("padded", "clinical-range"))
    assert assessed(found, ("red", "large")) == ("red", ("large",))


def test_a_value_left_out_does_not_color_the_result():
    found = read_values({"age": 50, "sex": "male"}, ASKED, "m")
    assert assessed(found)[0] == "green" and len(found.findings) == 1


def test_a_manifest_row_gives_what_is_asked_for():
    row = {"Age": "63", "sex": "", "scanner": "X", "pack_years": " 5 "}
    assert asked_of(row, ASKED) == {"age": "63", "pack_years": "5"}


def test_choices_that_differ_in_case_only_are_kept_apart():
    field = ClinicalField("grade", "choice", choices=("a", "A"))
    assert read_values({"grade": "A"}, (field,), "m").values == {"grade": "A"}
    assert read_values({"grade": "a"}, (field,), "m").values == {"grade": "a"}


def test_a_value_without_a_name_is_wrong_usage():
    with pytest.raises(UsageError):
        read_values({"": "3"}, ASKED, "m")
