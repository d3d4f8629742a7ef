"""All scores of a nodule at once: what one finds is another's input, and what is left is asked for once.

The largest axial diameter is the long axis, the number of nodules is single or multiple by their count, Herder's
pre-test probability is that of Mayo, and the risk that BTS 2015 asks for is Brock's, after PET/CT Herder's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import UsageError
from .exam import Examination, examination
from .fields import COUNT, COUNT_CONFIRMED, ERROR, INCIDENTAL, SCREENING, SETTING, Field, read_fields
from .score import Result, Score
from .scores import SCORES
from .scores.fleischner import MULTIPLE, SINGLE

GUIDELINES = {SCREENING: "lung-rads", INCIDENTAL: "fleischner"}
"""Name of the score whose category an examination has, by its setting."""
DERIVED = ("diameter_mm", "number", "pretest", "probability")
"""Names of values that come from others, and are not asked for."""
_FIRST = ("brock", "mayo", "herder", "va")


def _of_one_examination() -> tuple[Score, ...]:
    names = [*_FIRST, *(name for name in SCORES if name not in _FIRST)]
    return tuple(SCORES[name] for name in names if all(one.many == 1 for one in SCORES[name].fields))


SCORES_OF_ONE_CT = _of_one_examination()
"""Those that need no earlier examination: probabilities first, then guidelines; an input before what it goes into."""
FIELDS = {one.name: one for score in reversed(SCORES_OF_ONE_CT) for one in reversed(score.all_fields)}
"""Every field of these scores, by name."""


@dataclass(frozen=True)
class Answer:
    """A score's result for a nodule, None where something is missing or contradicts.

    missing: groups of fields of which one is needed each. problem: what contradicts or cannot be had, in words.
    """

    score: Score
    result: Result | None
    missing: tuple[tuple[Field, ...], ...] = ()
    problem: str = ""

    @property
    def text(self) -> str:
        """``25.4 %, 10 to 70 % (BTS 2015)``, ``4A``, ``needs age, sex`` or why it does not apply: one line."""
        if self.result is None:
            names = ", ".join(" or ".join(one.title for one in group) for group in self.missing)
            return self.problem or f"needs {names}"
        if not self.result.applicable:
            return f"not applicable: {self.result.reason}"
        own = self.result.probability is not None and "probability" not in self.result.inputs
        number = f"{100 * self.result.probability:.1f} %, " if own else ""
        near = self.result.edge is not None and self.result.edge.within_error
        return f"{number}{self.result.category}{', near its edge' if near else ''}"


def problems(given: Mapping[str, object]) -> dict[str, str]:
    """{name: what is wrong with it} of the values that cannot be."""
    found = {}
    for name, value in given.items():
        try:
            if name in FIELDS and _is_given(value):
                FIELDS[name].read(value)
        except UsageError as error:
            found[name] = str(error)
    return found


def answers(given: Mapping[str, object], scores: Iterable[str] = (), edges: bool = True) -> dict[str, Answer]:
    """Every score's answer for a nodule, by name; of these scores alone where some are named. edges: see ``Score``.

    given: values of patient and nodule by name, as numbers or texts. Impossible ones (see ``problems``) are left out.
    """
    values = _derived(_possible(given))
    wanted = set(scores)
    found: dict[str, Answer] = {}
    for score in SCORES_OF_ONE_CT:
        if wanted and score.name not in wanted:
            continue
        found[score.name] = _answer(score, values, found, edges)
        result = found[score.name].result
        if result is not None and result.probability is not None:
            if score.name == "mayo":
                values.setdefault("pretest", result.probability)
            elif score.name in ("brock", "herder") and not _is_given(given.get("probability")):
                values["probability"] = result.probability
    return found


def fields_asked(given: Mapping[str, object]) -> list[Field]:
    """What the scores of the setting ask for, each field once, given what is known; without a setting nothing.

    A field that one of them cannot do without is as that one has it.
    """
    values = _possible(given)
    setting = {SETTING.name: values.get(SETTING.name)}
    asked: dict[str, Field] = {}
    for score in SCORES_OF_ONE_CT if setting[SETTING.name] else ():
        if score.inapplicable(read_fields(score.all_fields, setting)[0]) is not None:
            continue
        known = read_fields(score.all_fields, values)[0]
        left_out = (*DERIVED, ERROR.name, SETTING.name, score.variant_field)
        for one in score.all_fields:
            if one.name in left_out or not one.applies(known):
                continue
            if one.name not in asked or asked[one.name].optional:
                asked[one.name] = one
    return list(asked.values())


def examination_of(guideline: Sequence[Answer], count_confirmed: bool) -> Examination:
    """The examination's category from its nodules' answers of one guideline: the worst of them, as far as known.

    Nodules without a result count, and the sentence says that they have no category. Raises UsageError for none.
    """
    blank = [replace(_unknown(answer.score), reason=answer.text) for answer in guideline]
    results = [answer.result or unknown for answer, unknown in zip(guideline, blank, strict=True)]
    found = examination(results, count_confirmed)
    unknown = sum(answer.result is None for answer in guideline)
    if not unknown or found.sentence is None:
        return found
    return replace(found, sentence=f"{found.sentence} {unknown} of them without a category yet.")


def _unknown(score: Score) -> Result:
    return Result(score.name, score.title, None, {}, False, score.source)


def _is_given(value: object) -> bool:
    return value is not None and (not isinstance(value, str) or bool(value.strip()))


def _possible(given: Mapping[str, object]) -> dict[str, object]:
    impossible = problems(given)
    return {name: value for name, value in given.items() if _is_given(value) and name not in impossible}


def _derived(values: Mapping[str, object]) -> dict[str, object]:
    """With the values that come from others, where they were not given."""
    known = dict(values)
    if "long_mm" in known:
        known.setdefault("diameter_mm", known["long_mm"])
    if COUNT.name in known:
        known.setdefault("number", SINGLE if COUNT.read(known[COUNT.name]) == 1 else MULTIPLE)
    known.setdefault(COUNT_CONFIRMED.name, False)
    return known


def _answer(score: Score, values: Mapping[str, object], before: Mapping[str, Answer], edges: bool) -> Answer:
    try:
        return Answer(score, score.evaluate(values, edges))
    except UsageError as error:
        if error.code != "clinical-missing":
            return Answer(score, None, problem=str(error))
    missing = tuple(_askable(group) for group in read_fields(score.all_fields, values, score.one_of)[1])
    mayo = before.get("mayo")
    if any(one.name == "pretest" for group in missing for one in group) and mayo is not None:
        if mayo.result is not None:
            return Answer(score, None, problem="not applicable: it starts from Mayo, which does not apply.")
        missing = (*mayo.missing, *(group for group in missing if group[0].name != "pretest"))
    return Answer(score, None, missing)


def _askable(group: tuple[Field, ...]) -> tuple[Field, ...]:
    """The fields to ask for in place of derived ones."""
    instead = {"diameter_mm": "long_mm", "number": COUNT.name}
    return tuple(FIELDS[instead.get(one.name, one.name)] for one in group)
