"""What a model asks for by name beside the CT, clinical values and further series: how it is typed, whether it fits.

Free of torch.
"""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TypeVar

from ..applicability import Finding
from ..errors import ModelError, UsageError
from ..files.strict_json import number_of, require
from ..images.ct import CTVolume

NUMBER, CHOICE, SERIES = "number", "choice", "series"
GIVEN = "given"
"""What a result says of a further series; names of files and folders may be those of patients."""
T = TypeVar("T")


@dataclass(frozen=True)
class ClinicalField:
    """One value that a model reads beside the CT; stored in its bundle under ``clinical``.

    kind: "number" (with a unit, and the range low to high that the training saw), "choice" (one of ``choices``), or
    "series": a further CT of the same patient in the same coordinates, given as a file, a DICOM folder or a CTVolume.
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
        elif self.kind == SERIES:
            inside = "a further series, as a file or folder"
        else:
            limits = "" if self.low is None else f"{self.low:g} to {self.high:g}"
            inside = ", ".join(filter(None, [self.unit, limits]))
        return f"{self.name} ({inside})" if inside else self.name

    def to_json(self) -> dict:
        """As the card stores it."""
        return asdict(self) | {"choices": list(self.choices)}


@dataclass(frozen=True)
class ClinicalValues:
    """A case's values, checked: a number, one of the choices, or None where it was left out.

    Of a further series the path or the CTVolume that was given, until ``inputs.nodule`` has cut its region; then its
    name, which a result may say, and not where it lies.
    findings: what was left out, or lies outside the training's range. regions: of the further series, cut about the
    same point.
    """

    values: dict[str, float | str | CTVolume | None] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    regions: dict[str, object] = field(default_factory=dict)


def fields_of(card: Mapping, model: str) -> tuple[ClinicalField, ...]:
    """The fields on a bundle's card, empty for a model that reads images alone. Raises ModelError."""
    stored = card.get("clinical", [])
    try:
        clinical = tuple(_field(entry) for entry in stored)
        require(len({one.name.lower() for one in clinical}) == len(clinical), "a name occurs twice")
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(
            f"The clinical values that {model} asks for are not understood ({error}). Get the model again.", "schema"
        ) from error
    return clinical


def _field(entry: Mapping) -> ClinicalField:
    unknown = set(entry) - {f.name for f in fields(ClinicalField)}
    require(not unknown, f"unknown: {', '.join(sorted(unknown))}")
    made = ClinicalField(**{**entry, "choices": tuple(entry.get("choices", ()))})
    require(isinstance(entry.get("choices", []), list), f"the choices of {made.name} are no list")
    texts = all(isinstance(text, str) for text in (made.name, made.unit, *made.choices))
    require(made.name and texts and isinstance(made.optional, bool), "a name, unit or choice is no text")
    different = made.choices and len(set(made.choices)) == len(made.choices)
    require(made.kind != CHOICE or different, f"{made.name} has no choices, or one twice")
    require(made.kind in (NUMBER, CHOICE, SERIES), f"{made.name} is of the kind {made.kind!r}")
    limits = [limit for limit in (made.low, made.high) if limit is not None]
    numbers = len(limits) != 1 and all(isinstance(v, int | float) and math.isfinite(v) for v in limits)
    require(numbers, f"the range of {made.name} is not two numbers")
    require(limits == sorted(limits), f"the range of {made.name} does not rise")
    return made


def parse_assignments(texts: Iterable[str], clinical: Sequence[ClinicalField], model: str) -> dict[str, str]:
    """``--clinical KEY=VALUE`` pairs as {name: text}, names as the model spells them.

    Raises UsageError: no '=', a value that the model does not ask for (near names are listed), one given twice.
    """
    pairs = []
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.strip() or not value.strip():
            raise UsageError(
                f"'{text}' is not KEY=VALUE. Write for example --clinical {_example(clinical)}.", "clinical-syntax"
            )
        pairs.append((key.strip(), value.strip()))
    return named(pairs, clinical, model)


def named(pairs: Iterable[tuple[str, T]], clinical: Sequence[ClinicalField], model: str) -> dict[str, T]:
    """{name: value} of (name, value) pairs, names as the model spells them.

    Raises UsageError: a name that the model does not ask for (near names are listed), one given twice.
    """
    given: dict[str, T] = {}
    for key, value in pairs:
        name = _named(key, clinical, model).name
        if name in given:
            raise UsageError(f"{name} is given twice. Give it once.", "clinical-twice")
        given[name] = value
    return given


def _example(clinical: Sequence[ClinicalField]) -> str:
    if not clinical:
        return "age=63"
    first = clinical[0]
    value = {CHOICE: first.choices[0] if first.choices else "", SERIES: "PATH", NUMBER: f"{first.low or 0:g}"}
    return f"{first.name}={value[first.kind]}"


def _named(key: str, clinical: Sequence[ClinicalField], model: str) -> ClinicalField:
    names = {one.name.lower(): one for one in clinical}
    if key.lower() in names:
        return names[key.lower()]
    if not clinical:
        raise UsageError(f"The model {model} asks for no clinical values. Leave out {key}.", "clinical-unknown")
    near = difflib.get_close_matches(key.lower(), names, n=1, cutoff=0.5)
    hint = f"Did you mean {names[near[0]].name}? " if near else ""
    raise UsageError(
        f"The model {model} asks for no '{key}'. {hint}It asks for {_listed(clinical)}.", "clinical-unknown"
    )


def _listed(clinical: Sequence[ClinicalField]) -> str:
    return ", ".join(one.described() + (", optional" if one.optional else "") for one in clinical)


def asked_of(values: Mapping[str, str | CTVolume], clinical: Sequence[ClinicalField]) -> dict[str, str | CTVolume]:
    """Those of a case's values that the model asks for, names as the model spells them; empty ones are left out."""
    by_name = {name.lower(): _plain(value) for name, value in values.items()}
    return {one.name: by_name[one.name.lower()] for one in clinical if by_name.get(one.name.lower())}


def _plain(value: object) -> str | CTVolume:
    """A value as it is read: a volume, or a text without the blanks about it; None is an empty one."""
    return value if isinstance(value, CTVolume) else "" if value is None else str(value).strip()


def read_values(given: Mapping[str, object], clinical: Sequence[ClinicalField], model: str) -> ClinicalValues:
    """Check a case's values: {name: text, number or CTVolume}, an empty text or None being none.

    Raises UsageError naming all that is missing, unknown, no number or none of the choices. What may be left out and
    is, and numbers outside the range of the training, are findings.
    """
    texts = {key: _plain(value) for key, value in given.items()}
    present = {_named(str(key), clinical, model).name: value for key, value in texts.items() if value}
    missing = [one for one in clinical if one.name not in present and not one.optional]
    if missing:
        raise UsageError(
            f"The model {model} asks for {_listed(missing)}, and cannot do without. Give "
            f"{'it' if len(missing) == 1 else 'them'} (on the command line as --clinical {_example(missing)}).",
            "clinical-missing",
        )
    values: dict[str, float | str | CTVolume | None] = dict.fromkeys(one.name for one in clinical)
    findings = []
    for one in clinical:
        if one.name not in present:
            text = f"{one.name} was not given; the model goes without it."
            findings.append(Finding("green", "clinical-left-out", text))
            continue
        value = present[one.name] if one.kind == SERIES else _value(present[one.name], one)
        values[one.name] = value
        if one.kind == NUMBER and one.low is not None and not one.low <= value <= one.high:
            unit = f" {one.unit}" if one.unit else ""
            text = f"{one.name} is {value:g}{unit}; the model knows {one.low:g} to {one.high:g}."
            findings.append(Finding("amber", "clinical-range", text))
    return ClinicalValues(values, tuple(findings))


def _value(text: str, one: ClinicalField) -> float | str:
    if one.kind == CHOICE:
        alike = [choice for choice in one.choices if choice.lower() == text.lower()]
        if not alike:
            raise UsageError(f"{one.name} is '{text}', but it has to be {' or '.join(one.choices)}.", "clinical-value")
        return text if text in alike else alike[0]
    value = number_of(text)
    if not math.isfinite(value):
        unit = f" in {one.unit}" if one.unit else ""
        raise UsageError(f"{one.name} is '{text}', but it has to be a number{unit}.", "clinical-value")
    return value
