"""What a clinical score is, and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from ..errors import UsageError
from .edges import Edge, nearest_edge
from .fields import COUNT, COUNT_CONFIRMED, ERROR, SETTING, Field, missing_error, read_fields
from .sizes import sphere_diameter

MASS_MM = 30
"""What is larger is a mass, and no nodule."""
ADULT_YEARS = 18


@dataclass(frozen=True)
class Outcome:
    """What a score finds for values that it applies to.

    category: in its source's words. rank: of the category, the most urgent highest. recommendation: what the source
    advises. probability: of cancer, 0 to 1. measures: further numbers by name, the unit last in it; None where there
    is none. notes: what a reader should know of this result.
    """

    category: str
    rank: int
    recommendation: str
    probability: float | None = None
    measures: dict[str, float | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """A score's answer. Where it does not apply, ``reason`` says why, and no number, category or advice is given.

    variant: which of several models. inputs: the values that were used, as they were read. source: the publication.
    sentence: to be pasted into a report. edge: None where no size changes the category. Others: see ``Outcome``.
    """

    score: str
    title: str
    variant: str | None
    inputs: dict[str, Any]
    applicable: bool
    source: str
    reason: str | None = None
    probability: float | None = None
    category: str | None = None
    recommendation: str | None = None
    measures: dict[str, float | None] = field(default_factory=dict)
    edge: Edge | None = None
    sentence: str | None = None
    notes: tuple[str, ...] = ()
    rank: int = -1

    def to_json(self) -> dict[str, Any]:
        """All but the rank, which has a meaning only among results of one score."""
        values = asdict(self)
        del values["rank"]
        values["notes"] = list(self.notes)
        values["inputs"] = {name: list(v) if isinstance(v, tuple) else v for name, v in self.inputs.items()}
        if self.edge is not None:
            values["edge"]["text"] = self.edge.text
        return values


class Score(ABC):
    """A clinical score: one file of ``scores``.

    name: on the command line. title: for people. source: the publication. fields: what it asks for, in order. one_of:
    names of which one has to be given. variant_field: the field that says which model. sizes: the names that make one
    size each, in which an edge is looked for; two are long and short axis. largest_mm: of what the score is for.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    fields: ClassVar[tuple[Field, ...]]
    one_of: ClassVar[tuple[tuple[str, ...], ...]] = ()
    variant_field: ClassVar[str | None] = None
    sizes: ClassVar[tuple[tuple[str, ...], ...]] = ()
    largest_mm: ClassVar[float] = MASS_MM

    @property
    def all_fields(self) -> tuple[Field, ...]:
        """The fields, and the measurement error where the score depends on a size."""
        return (*self.fields, ERROR) if self.sizes else self.fields

    def evaluate(self, given: Mapping[str, object], edges: bool = True) -> Result:
        """The answer for values by name, as numbers or texts; names that the score does not ask for are left alone.

        edges: whether to look for the nearest other category, which takes most of the time.
        A score that does not apply asks for nothing more. Raises UsageError naming what is missing or impossible.
        """
        inputs, missing = read_fields(self.all_fields, given, self.one_of)
        values = {name: value for name, value in inputs.items() if name != ERROR.name}
        self.check(values)
        variant = None if self.variant_field is None else values[self.variant_field]
        blank = Result(self.name, self.title, variant, inputs, True, self.source)
        reason = self.inapplicable(values)
        if reason is not None:
            return replace(blank, applicable=False, reason=reason)
        if missing:
            raise missing_error(self.title, missing)
        outcome = self.outcome(values)
        return replace(
            blank,
            probability=outcome.probability,
            category=outcome.category,
            recommendation=outcome.recommendation,
            measures=outcome.measures,
            edge=self.edge(values, inputs.get(ERROR.name)) if edges else None,
            sentence=self.sentence(values, outcome),
            notes=(*outcome.notes, *_count_notes(values)),
            rank=outcome.rank,
        )

    def check(self, values: Mapping[str, Any]) -> None:
        """Raises UsageError for values that contradict each other."""
        long, short, solid = (values.get(name) for name in ("long_mm", "short_mm", "solid_mm"))
        if long is not None and short is not None and short > long:
            raise UsageError(
                f"The short axis ({short:g} mm) is longer than the long axis ({long:g} mm). Exchange them or measure "
                "again.",
                "clinical-value",
            )
        if long is not None and solid is not None and solid > long:
            raise UsageError(
                f"The solid part ({solid:g} mm) is larger than the nodule ({long:g} mm). Measure again.",
                "clinical-value",
            )

    def inapplicable(self, values: Mapping[str, Any]) -> str | None:
        """Why the score says nothing of such a patient or nodule; None where it applies. Values may be missing yet."""
        age, size = values.get("age"), _largest(values)
        if age is not None and age < ADULT_YEARS:
            return f"It is for adults, and the patient is {age:g} years old."
        if size is not None and size > self.largest_mm:
            return f"It is for nodules of at most {self.largest_mm:g} mm, and {size:g} mm is a mass."
        return None

    @abstractmethod
    def outcome(self, values: Mapping[str, Any]) -> Outcome:
        """Number, category and advice for values that the score applies to."""

    def sentence(self, values: Mapping[str, Any], outcome: Outcome) -> str:
        """What may be pasted into a report."""
        used = ", ".join(
            one.text(values[one.name]) + (count_state(values) if one.name == COUNT.name else "")
            for one in self.fields
            if _worth_saying(one, values) and one.name != self.variant_field
        )
        variant = "" if self.variant_field is None else f", {values[self.variant_field]}"
        probability = f"probability of cancer {outcome.probability:.1%}"
        return f"{self.title}{variant}: {probability}, {outcome.category} ({used})."

    def edge(self, values: Mapping[str, Any], error_mm: float | None) -> Edge | None:
        """The nearest change of category with a size; None where no size changes it.

        error_mm: the diameter's measurement error, None where it is not known.
        """
        edges = [
            nearest_edge(values, names, self._measure(names), lambda v: self.outcome(v).category, self.largest_mm)
            for names in self.sizes
            if all(name in values for name in names)
        ]
        nearest = min(filter(None, edges), key=lambda edge: edge.distance, default=None)
        if nearest is None or error_mm is None:
            return nearest
        return replace(nearest, error=error_mm, within_error=nearest.distance <= error_mm)

    def _measure(self, names: tuple[str, ...]) -> str:
        if len(names) == 2:
            return "mean diameter"
        if names[0].endswith("mm3"):
            return "diameter of a sphere with this volume"
        return next(one.title for one in self.fields if one.name == names[0])


def _largest(values: Mapping[str, Any]) -> float | None:
    """The nodule's largest known diameter, mm."""
    volume = values.get("volume_mm3")
    of_volume = None if volume is None else round(sphere_diameter(volume), 1)
    known = [values.get("long_mm"), values.get("diameter_mm"), of_volume]
    return next((size for size in known if size is not None), None)


def _worth_saying(one: Field, values: Mapping[str, Any]) -> bool:
    """Whether a value belongs into a sentence: not what was left out, is no, or says how others were found."""
    value = values.get(one.name)
    return value not in (None, False, one.default) and one.name not in (COUNT_CONFIRMED.name, SETTING.name)


def count_state(values: Mapping[str, Any]) -> str:
    """`` (marked so far)`` behind a number of nodules that no reader has confirmed, else nothing."""
    return "" if values.get(COUNT_CONFIRMED.name, True) else " (marked so far)"


def _count_notes(values: Mapping[str, Any]) -> list[str]:
    count = values.get("count", values.get("number"))
    return [f"Number of nodules: {count}{count_state(values)}; confirm it."] if count_state(values) else []
