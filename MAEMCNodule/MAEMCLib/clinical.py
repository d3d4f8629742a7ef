"""The clinical values that a model asks for by name: what they are, how they are typed, whether they fit. No torch."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

from .errors import ModelError, UsageError
from .results import InputWarning

if TYPE_CHECKING:
    from .applicability import Assessment

NUMBER, CHOICE = "number", "choice"


@dataclass(frozen=True)
class ClinicalField:
    """One value that a model reads beside the images; stored in its bundle under ``clinical``.

    kind: "number" (with a unit, and the range low to high that the training saw) or "choice" (one of ``choices``).
    optional: the training had cases without it, so that it may be left out; the model then goes without it.
    """

    name: str
    kind: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False

    def described(self) -> str:
        """``age (years, 41 to 88)``, ``sex (female or male)``: how people are asked for it."""
        if self.kind == CHOICE:
            inside = " or ".join(self.choices)
        else:
            limits = "" if self.low is None else f"{self.low:g} to {self.high:g}"
            inside = ", ".join(filter(None, [self.unit, limits]))
        return f"{self.name} ({inside})" if inside else self.name

    def to_json(self) -> dict:
        """As the card stores it."""
        return asdict(self) | {"choices": list(self.choices)}


@dataclass(frozen=True)
class ClinicalValues:
    """A case's values, checked: a number, one of the choices, or None where it was left out. warnings: for people."""

    values: dict[str, float | str | None]
    warnings: tuple[InputWarning, ...] = ()


def fields_of(card: Mapping, model: str) -> tuple[ClinicalField, ...]:
    """The fields on a bundle's card, empty for a model that reads images alone. Raises ModelError."""
    stored = card.get("clinical", [])
    try:
        found = tuple(_field(entry) for entry in stored)
        if len({field.name.lower() for field in found}) < len(found):
            raise ValueError("a name occurs twice")
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(
            f"The clinical values that {model} asks for are not understood ({error}). Get the model again.", "schema"
        ) from error
    return found


def _field(entry: Mapping) -> ClinicalField:
    unknown = set(entry) - {f.name for f in fields(ClinicalField)}
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    field = ClinicalField(**{**entry, "choices": tuple(entry.get("choices", ()))})
    texts = (field.name, field.unit, *field.choices)
    if not field.name or not all(isinstance(text, str) for text in texts) or not isinstance(field.optional, bool):
        raise ValueError("a name, unit or choice is no text")
    if field.kind == CHOICE and (not field.choices or len(set(field.choices)) < len(field.choices)):
        raise ValueError(f"{field.name} has no choices, or one twice")
    if field.kind not in (NUMBER, CHOICE):
        raise ValueError(f"{field.name} is of the kind {field.kind!r}")
    limits = [limit for limit in (field.low, field.high) if limit is not None]
    if len(limits) == 1 or not all(isinstance(v, int | float) and math.isfinite(v) for v in limits):
        raise ValueError(f"the range of {field.name} is not two numbers")
    return field


def parse_assignments(texts: Iterable[str], asked: Sequence[ClinicalField], model: str) -> dict[str, str]:
    """``--clinical KEY=VALUE`` pairs as {name: text}, names as the model spells them.

    Raises UsageError: no '=', a value that the model does not ask for (near names are listed), one given twice.
    """
    given: dict[str, str] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.strip() or not value.strip():
            raise UsageError(
                f"'{text}' is not KEY=VALUE. Write for example --clinical {_example(asked)}.", "clinical-syntax"
            )
        name = _named(key.strip(), asked, model).name
        if name in given:
            raise UsageError(f"{name} is given twice. Give it once.", "clinical-twice")
        given[name] = value.strip()
    return given


def _example(asked: Sequence[ClinicalField]) -> str:
    if not asked:
        return "age=63"
    first = asked[0]
    return f"{first.name}={first.choices[0] if first.kind == CHOICE else f'{first.low or 0:g}'}"


def _named(key: str, asked: Sequence[ClinicalField], model: str) -> ClinicalField:
    for field in asked:
        if field.name.lower() == key.lower():
            return field
    if not asked:
        raise UsageError(f"The model {model} asks for no clinical values. Leave out {key}.", "clinical-unknown")
    names = {field.name.lower(): field for field in asked}
    near = difflib.get_close_matches(key.lower(), names, n=1, cutoff=0.5)
    hint = f"Did you mean {names[near[0]].name}? " if near else ""
    raise UsageError(f"The model {model} asks for no '{key}'. {hint}It asks for {_listed(asked)}.", "clinical-unknown")


def _listed(asked: Sequence[ClinicalField]) -> str:
    return ", ".join(field.described() + (", optional" if field.optional else "") for field in asked)


def asked_of(record: Mapping[str, str], asked: Sequence[ClinicalField]) -> dict[str, str]:
    """Of a manifest's row what the model asks for, as far as the row says it."""
    by_name = {name.lower(): text for name, text in record.items()}
    return {f.name: text for f in asked if (text := (by_name.get(f.name.lower()) or "").strip())}


def read_values(given: Mapping[str, object], asked: Sequence[ClinicalField], model: str) -> ClinicalValues:
    """Check a case's values: {name: text or number}, an empty text or None being none.

    Raises UsageError naming all that is missing, unknown, no number or none of the choices. What may be left out and
    is, and numbers outside the range of the training, are warnings.
    """
    texts = {}
    for key, value in given.items():
        text = "" if value is None else str(value).strip()
        if text:
            texts[_named(str(key), asked, model).name] = text
    missing = [field for field in asked if field.name not in texts and not field.optional]
    if missing:
        raise UsageError(
            f"The model {model} asks for {_listed(missing)}, and cannot do without. Give "
            f"{'it' if len(missing) == 1 else 'them'} (on the command line as --clinical {_example(missing)}).",
            "clinical-missing",
        )
    values: dict[str, float | str | None] = {}
    warnings = []
    for field in asked:
        if field.name not in texts:
            values[field.name] = None
            text = f"{field.name} was not given; the model goes without it."
            warnings.append(InputWarning("clinical-left-out", text))
            continue
        value = _value(texts[field.name], field)
        values[field.name] = value
        if field.kind == NUMBER and field.low is not None and not field.low <= value <= field.high:
            unit = f" {field.unit}" if field.unit else ""
            text = f"{field.name} is {value:g}{unit}; the model knows {field.low:g} to {field.high:g}."
            warnings.append(InputWarning("clinical-range", text))
    return ClinicalValues(values, tuple(warnings))


def _value(text: str, field: ClinicalField) -> float | str:
    if field.kind == CHOICE:
        by_name = {choice.lower(): choice for choice in field.choices}
        if text.lower() not in by_name:
            raise UsageError(
                f"{field.name} is '{text}', but it has to be {' or '.join(field.choices)}.", "clinical-value"
            )
        return text if text in field.choices else by_name[text.lower()]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        unit = f" in {field.unit}" if field.unit else ""
        raise UsageError(f"{field.name} is '{text}', but it has to be a number{unit}.", "clinical-value")
    return value


def assess_values(assessment: Assessment, values: ClinicalValues | None) -> Assessment:
    """The assessment with what the clinical values add: amber where one lies outside the training's range."""
    if values is None or not values.warnings:
        return assessment
    found = replace(assessment, warnings=(*assessment.warnings, *values.warnings))
    outside = tuple(dict.fromkeys(w.code for w in values.warnings if w.code == "clinical-range"))
    if not outside or assessment.gate == "red":
        return found
    return replace(found, gate="amber", reasons=(*(assessment.reasons if assessment.gate == "amber" else ()), *outside))
