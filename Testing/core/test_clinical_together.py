"""All scores at once: one's number is another's input, each value is asked for once, the worst nodule counts."""

import pytest
from MAEMCLib.clinical.fields import INCIDENTAL, SCREENING
from MAEMCLib.clinical.scores import SCORES
from MAEMCLib.clinical.together import (
    DERIVED,
    FIELDS,
    SCORES_OF_ONE_CT,
    answers,
    examination_of,
    fields_asked,
    problems,
)
from MAEMCLib.errors import UsageError

SOLID = {"age": "65", "sex": "female", "type": "solid", "long_mm": "15", "short_mm": "13", "upper_lobe": "yes"}
PATIENT = {"count": "1", "risk": "high", "setting": INCIDENTAL}


def names(given):
    return [one.name for one in fields_asked(given)]


def test_every_score_is_there_but_those_that_need_an_earlier_examination():
    assert {score.name for score in SCORES_OF_ONE_CT} == set(SCORES) - {"vdt"}


def test_the_brock_oracle_and_what_follows_from_it():
    found = answers({**SOLID, **PATIENT, "uptake": "moderate"})
    assert found["brock"].result.probability == pytest.approx(0.2537, abs=5e-5)
    assert found["brock"].text == "25.4 %, 10 to 70 % (BTS 2015)"
    pretest = found["mayo"].result.probability
    assert found["herder"].result.inputs["pretest"] == pretest
    assert found["bts"].result.inputs["probability"] == found["herder"].result.probability
    assert found["fleischner"].result.category == "single solid, > 8 mm, high risk"
    without = answers({**SOLID, **PATIENT})
    assert without["herder"].text == "needs FDG uptake"
    assert without["bts"].result.inputs["probability"] == without["brock"].result.probability


def test_what_was_given_is_not_replaced_by_what_follows():
    found = answers({**SOLID, **PATIENT, "diameter_mm": 20, "pretest": 0.5, "probability": 0.05, "uptake": "absent"})
    assert found["brock"].result.inputs["diameter_mm"] == 20
    assert found["herder"].result.probability == pytest.approx(0.0525, abs=5e-5)
    assert found["bts"].result.inputs["probability"] == 0.05


def test_why_there_is_no_number():
    found = answers({**SOLID, **PATIENT, "lung_cancer": "yes"})
    assert found["mayo"].text.startswith("not applicable: Patients with a previous lung cancer")
    assert found["herder"].text == "not applicable: it starts from Mayo, which does not apply."
    assert answers({**PATIENT})["bts"].text == "needs nodule type, long axis or volume"
    assert "is longer than the long axis" in answers({**SOLID, **PATIENT, "short_mm": 16})["fleischner"].text


def test_near_its_edge_is_said_where_the_error_reaches_it():
    near = {**SOLID, **PATIENT, "long_mm": 9.5, "short_mm": 8, "error_mm": 0.6}
    assert answers(near)["fleischner"].text == "single solid, > 8 mm, high risk, near its edge"
    assert answers({**near, "error_mm": 0.1})["fleischner"].text == "single solid, > 8 mm, high risk"


def test_impossible_values_are_named_and_left_out():
    given = {**SOLID, **PATIENT, "age": "650"}
    assert list(problems(given)) == ["age"] and "from 0 to 120 years" in problems(given)["age"]
    assert answers(given)["mayo"].text == "needs age"
    assert problems({**SOLID, **PATIENT, "count": None, "months": " "}) == {}


@pytest.mark.parametrize(("setting", "absent"), [(INCIDENTAL, "finding"), (SCREENING, "immunosuppression")])
def test_only_the_setting_s_scores_ask_each_value_once(setting, absent):
    asked = names({"setting": setting})
    assert len(asked) == len(set(asked)) and absent not in asked and not set(asked) & set(DERIVED)
    assert not next(one for one in fields_asked({"setting": setting}) if one.name == "age").optional
    assert names({}) == []


def test_what_depends_on_a_value_is_asked_when_it_has_it():
    assert {"risk"} == set(names({"setting": INCIDENTAL, "type": "solid"})) - set(names({"setting": INCIDENTAL}))
    assert "solid_mm" in names({"setting": SCREENING, "type": "part-solid"})
    assert "quit_years" in names({"setting": INCIDENTAL, "smoker": "yes"})


def test_patient_and_nodule():
    patient = {name for name, one in FIELDS.items() if one.per_patient}
    assert {"age", "sex", "count", "smoker", "quit_years", "risk", "setting", "emphysema"} <= patient
    assert not patient & {"type", "long_mm", "spiculation", "upper_lobe", "perifissural", "pattern", "uptake"}


def test_the_examination_says_how_many_of_its_nodules_have_no_category():
    def of(**values):
        return answers({**SOLID, **PATIENT, "count": 3, **values}, ["fleischner"])["fleischner"]

    small, large, unknown = of(long_mm=5, short_mm=5), of(long_mm=9, short_mm=9), of(type="")
    found = examination_of([small, large, unknown], False)
    assert (found.nodule, found.category) == (1, large.result.category)
    assert found.sentence.endswith("Worst of 3 nodules, marked so far. 1 of them without a category yet.")
    assert examination_of([small, large], True).sentence.endswith("Worst of 2 nodules, confirmed by the reader.")
    assert examination_of([unknown], False).category is None
    with pytest.raises(UsageError):
        examination_of([], False)
