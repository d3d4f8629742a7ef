"""What clinical scores ask for: each value's name, unit and range. Options, refusals and forms are made from here.

A value has the same name in all scores, so that it is asked for once and filled in from what the image shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import UsageError

NUMBER, CHOICE, FLAG = "number", "choice", "flag"
SOLID, PART_SOLID, NON_SOLID = "solid", "part-solid", "non-solid"
NONE = "none"
_FLAG_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True)
class Field:
    """One value that scores ask for.

    name: of the value in Python and JSON; the option is made from it. title: for people. kind: "number" (in ``unit``,
    from ``low`` to ``high``, both possible; ``whole`` without fraction; ``many`` at once), "choice" (one of
    ``choices``) or "flag" (no unless it is given). optional: may be left out. default: stands for what is left out.
    when: (name, values) of other fields, all of which have to have one of these values; else this one is neither asked
    for nor used. hint: how it is measured or what it means. per_patient: the same for all nodules of an examination.
    """

    name: str
    title: str
    kind: str = NUMBER
    unit: str = ""
    low: float = 0.0
    high: float = math.inf
    whole: bool = False
    many: int = 1
    choices: tuple[str, ...] = ()
    optional: bool = False
    default: str | float | None = None
    when: tuple[tuple[str, tuple[str | bool, ...]], ...] = ()
    hint: str = ""
    per_patient: bool = False

    @property
    def option(self) -> str:
        """``--long-mm``: how the command line asks for it."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def allowed(self) -> str:
        """``from 0 to 120 years``, ``solid, part-solid or non-solid``: what it may be."""
        if self.kind == FLAG:
            return "yes or no"
        if self.kind == CHOICE:
            return " or ".join(filter(None, [", ".join(self.choices[:-1]), self.choices[-1]]))
        unit = f" {self.unit}" if self.unit else ""
        return f"from {self.low:.10g} to {self.high:.10g}{unit}"

    def described(self) -> str:
        """``age (from 0 to 120 years)``: how people are asked for it."""
        return f"{self.title} ({self.allowed})"

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether it is asked for, given the values of the fields before it."""
        return all(values.get(name) in wanted for name, wanted in self.when)

    def read(self, given: object) -> Any:
        """The value: a float, an int, a tuple of floats, one of the choices, or a bool.

        given: such a value or its text. Raises UsageError naming the field and what it may be.
        """
        if self.many == 1:
            return self._single(given)
        if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != self.many:
            raise self._refused(given, f"{self.many} numbers are needed")
        return tuple(self._single(part) for part in given)

    def _single(self, given: object) -> Any:
        text = str(given).strip()
        if self.kind == NUMBER:
            return self._number(given, text)
        words = _FLAG_WORDS if self.kind == FLAG else {choice.lower(): choice for choice in self.choices}
        if text.lower() not in words:
            raise self._refused(given, f"it has to be {self.allowed}")
        return words[text.lower()]

    def _number(self, given: object, text: str) -> float | int:
        try:
            value = math.nan if isinstance(given, bool) else float(text)
        except ValueError:
            value = math.nan
        if not self.low <= value <= self.high or (self.whole and value != int(value)):
            raise self._refused(given, f"it has to be a {'whole ' * self.whole}number {self.allowed}")
        return int(value) if self.whole else value

    def _refused(self, given: object, why: str) -> UsageError:
        return UsageError(f"{self.title} ({self.name}) is '{given}', but {why}. Correct it.", "clinical-value")

    def text(self, value: Any) -> str:
        """``age 65 years``, ``spiculation yes``: a value for people."""
        if self.kind == FLAG:
            return f"{self.title} {'yes' if value else 'no'}"
        if self.kind == CHOICE:
            return f"{self.title} {value}"
        numbers = " and ".join(f"{one:g}" for one in (value if self.many > 1 else (value,)))
        return f"{self.title} {numbers} {self.unit}".rstrip()


def read_fields(
    fields: Iterable[Field], given: Mapping[str, object], one_of: Iterable[Sequence[str]] = ()
) -> tuple[dict[str, Any], list[tuple[Field, ...]]]:
    """The values of those fields that apply, in their order, and what is missing: fields of which one is needed each.

    Of ``given`` all else is left alone; an empty text or None is no value. one_of: names of which one is needed. Raises
    UsageError for an impossible value.
    """
    values: dict[str, Any] = {}
    asked: dict[str, Field] = {}
    missing: list[tuple[Field, ...]] = []
    for one in fields:
        if not one.applies(values):
            continue
        asked[one.name] = one
        value = given.get(one.name)
        if value is not None and (not isinstance(value, str) or value.strip()):
            values[one.name] = one.read(value)
        elif one.kind == FLAG:
            values[one.name] = False
        elif one.default is not None:
            values[one.name] = one.default
        elif not one.optional:
            missing.append((one,))
    groups = [tuple(asked[name] for name in names if name in asked) for names in one_of]
    return values, missing + [group for group in groups if group and not any(one.name in values for one in group)]


def missing_error(what: str, missing: Sequence[Sequence[Field]]) -> UsageError:
    """Names all that is missing, with its range. what: cannot be computed without."""
    described = ", ".join(" or ".join(one.described() for one in group) for group in missing)
    options = ", ".join(" or ".join(one.option for one in group) for group in missing)
    pronoun = "it" if len(missing) == 1 else "them"
    return UsageError(
        f"{what} needs {described}, and cannot be computed without. Give {pronoun} ({options}).", "clinical-missing"
    )


def needed_when(name: str, values: tuple[str | bool, ...], *fields: Field) -> tuple[Field, ...]:
    """The fields, asked for only where that choice is one of these values, besides what they depend on themselves."""
    return tuple(replace(one, when=((name, values), *one.when)) for one in fields)


AGE = Field("age", "age", unit="years", high=120, per_patient=True)
OPTIONAL_AGE = replace(AGE, optional=True)
SEX = Field("sex", "sex", CHOICE, choices=("male", "female"), per_patient=True)
TYPE = Field("type", "nodule type", CHOICE, choices=(SOLID, PART_SOLID, NON_SOLID), hint="non-solid: pure ground glass")
DIAMETER = Field("diameter_mm", "diameter", unit="mm", low=1, high=300, hint="largest axial diameter")
LONG = Field("long_mm", "long axis", unit="mm", low=1, high=300)
SHORT = Field("short_mm", "short axis", unit="mm", low=1, high=300, hint="at right angles to the long axis")
SOLID_PART = Field(
    "solid_mm",
    "solid part",
    unit="mm",
    low=0.1,
    high=300,
    when=(("type", (PART_SOLID,)),),
    hint="mean diameter of a part-solid nodule's solid part",
)
VOLUME = Field("volume_mm3", "volume", unit="mm3", low=1, high=15e6, optional=True)
COUNT = Field("count", "nodules in both lungs", low=1, high=1000, whole=True, hint="this one too", per_patient=True)
COUNT_CONFIRMED = Field(
    "count_confirmed",
    "count confirmed",
    FLAG,
    hint="the reader has looked for all nodules; else 'marked so far'",
    per_patient=True,
)
UPPER_LOBE = Field("upper_lobe", "upper lobe", FLAG)
SPICULATION = Field("spiculation", "spiculation", FLAG)
FAMILY_HISTORY = Field("family_history", "family history of lung cancer", FLAG, per_patient=True)
EMPHYSEMA = Field("emphysema", "emphysema", FLAG, hint="on CT", per_patient=True)
PERIFISSURAL = Field("perifissural", "perifissural nodule", FLAG, hint="a typical intrapulmonary lymph node")
PATTERN = Field(
    "pattern",
    "benign pattern",
    CHOICE,
    choices=(NONE, "complete", "central", "popcorn", "ring", "fat"),
    default=NONE,
    hint="of calcification (complete, central, popcorn, ring), or fat",
)


def pattern_text(pattern: str) -> str:
    """``ring calcification``, ``fat``: a benign pattern in words."""
    return pattern if pattern == "fat" else f"{pattern} calcification"


SMOKER = Field("smoker", "smoker", FLAG, hint="now or ever", per_patient=True)
EXTRATHORACIC_CANCER = Field(
    "extrathoracic_cancer",
    "extrathoracic cancer more than 5 years ago",
    FLAG,
    hint="date of diagnosis",
    per_patient=True,
)
RECENT_CANCER = Field(
    "recent_cancer", "cancer within the last 5 years", FLAG, hint="date of diagnosis, any organ", per_patient=True
)
LUNG_CANCER = Field("lung_cancer", "previous lung cancer", FLAG, hint="at any time", per_patient=True)
IMMUNOSUPPRESSION = Field("immunosuppression", "immunosuppression", FLAG, per_patient=True)
SCREENING, INCIDENTAL = "screening", "incidental"
SETTING = Field(
    "setting",
    "setting",
    CHOICE,
    choices=(SCREENING, INCIDENTAL),
    optional=True,
    hint="why the CT was made: a lung cancer screening program, or anything else",
    per_patient=True,
)
ERROR = Field(
    "error_mm",
    "error of the diameter",
    unit="mm",
    high=30,
    optional=True,
    hint="90 % of measurements at this size and slice spacing stay within it",
)
