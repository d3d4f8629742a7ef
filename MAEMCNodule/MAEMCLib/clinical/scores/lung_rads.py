"""Lung-RADS v2022: category of a nodule in CT screening for lung cancer.

American College of Radiology, Lung-RADS v2022, November 2022 (table and summary of changes); Christensen J et al.,
Chest 2024;165:738-753. Sizes are mean diameters to one decimal, volumes whole mm3. Left to the reader, since their
rules could not be read whole: nodules in airways and atypical cysts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ..fields import (
    CHOICE,
    FLAG,
    INCIDENTAL,
    LONG,
    NON_SOLID,
    NONE,
    NUMBER,
    PART_SOLID,
    PATTERN,
    SETTING,
    SHORT,
    SOLID,
    SOLID_PART,
    SPICULATION,
    TYPE,
    VOLUME,
    Field,
    needed_when,
    pattern_text,
)
from ..score import Outcome, Score
from ..sizes import axes_text, mean_to_tenth, rounded

BASELINE, NEW, GROWING, SLOW, STABLE = "baseline", "new", "growing", "slow-growing", "stable"
NODULE = "nodule"
FINDING = Field(
    "finding",
    "finding",
    CHOICE,
    choices=(NODULE, NONE, "incomplete", "inflammatory", "airway", "cyst"),
    default=NODULE,
    hint="none: no nodule; incomplete: part of the lungs or the prior CT cannot be seen; inflammatory: or infectious",
)
CONTEXT = Field(
    "context",
    "context",
    CHOICE,
    choices=(BASELINE, NEW, GROWING, SLOW, STABLE),
    default=BASELINE,
    hint="growing: mean diameter, of part-solid nodules also the solid part, more than 1.5 mm larger within 12 months; "
    "slow-growing: less than that, in several examinations",
)
PREVIOUS = Field("previous", "category so far", CHOICE, choices=("2", "3", "4A", "4B"))
MONTHS = Field("months", "months since that category", NUMBER, "months", high=600)
JUXTAPLEURAL = Field(
    "juxtapleural",
    "juxtapleural nodule",
    FLAG,
    hint="solid, smooth, and oval, lentiform or triangular, at the pleura or a fissure",
)
LYMPH_NODES = Field("lymph_nodes", "enlarged lymph nodes", FLAG, per_patient=True)
DOUBLED = Field("doubled", "doubled within a year", FLAG, hint="of a ground-glass nodule")
OTHER = Field(
    "other_finding", "other significant finding", FLAG, hint="not of lung cancer: modifier S", per_patient=True
)

ORDER = ("1", "2", "0", "3", "4A", "4B", "4X")
"""The least urgent first. 0 stands where it does as a decision of this library: an incomplete examination is never
called benign, and hides no nodule that is 3 or worse."""
_YEAR = "Continue annual screening with low-dose CT in 12 months."
_WORKUP = "Diagnostic chest CT, PET/CT (for a solid nodule or solid part of 8 mm or more), tissue sampling or referral."
MANAGEMENT = {
    "0": "Additional screening CT, or comparison with the prior CT; low-dose CT in 1 to 3 months if inflammatory.",
    "1": _YEAR,
    "2": _YEAR,
    "3": "Low-dose CT in 6 months.",
    "4A": "Low-dose CT in 3 months; PET/CT may be considered for a solid nodule or solid part of 8 mm or more.",
    "4B": _WORKUP,
    "4X": _WORKUP,
}
VOLUMES = {4: 34, 6: 113, 8: 268, 15: 1767, 30: 14137}
"""mm3 of the table's edges, by their mm."""
_JUXTAPLEURAL_MM = 10
_STEP_DOWN = {"4A": ("3", 3), "3": ("2", 6)}
"""What a stable nodule's category becomes, and after how many months."""


class LungRads(Score):
    """The table's rows; several that fit give the worst."""

    name, title = "lung-rads", "Lung-RADS v2022"
    source = (
        "American College of Radiology, Lung-RADS v2022 (November 2022); Christensen J et al., Chest 2024;165:738-753"
    )
    fields: ClassVar = (
        FINDING,
        *needed_when("finding", (NODULE,), PATTERN),
        *needed_when("pattern", (NONE,), TYPE, LONG, SHORT, SOLID_PART, VOLUME, CONTEXT, SPICULATION, LYMPH_NODES),
        *needed_when("type", (NON_SOLID,), DOUBLED),
        *needed_when("type", (SOLID,), JUXTAPLEURAL),
        *needed_when("context", (STABLE,), *needed_when("type", (SOLID, PART_SOLID), PREVIOUS, MONTHS)),
        OTHER,
        SETTING,
    )
    sizes = (("long_mm", "short_mm"), ("solid_mm",))
    largest_mm = 300

    def inapplicable(self, values: Mapping[str, Any]) -> str | None:
        """Screening only; and no rule for airways, cysts and a stable 4B."""
        if values.get("setting") == INCIDENTAL:
            return "It is for screening; for an incidental nodule there is Fleischner 2017 (fleischner)."
        if values["finding"] in ("airway", "cyst"):
            return "Airways and atypical cysts have rules of their own, which are not built in: see the table."
        if values.get("previous") == "4B":
            return "Lung-RADS steps down stable 3 and 4A; what becomes of a stable 4B its work-up decides."
        return super().inapplicable(values)

    def outcome(self, values: Mapping[str, Any]) -> Outcome:
        """The category, with the modifier S, and what it advises."""
        category, notes, measures = self._category(values)
        if category in ("3", "4A", "4B") and any(values.get(n) for n in ("spiculation", "lymph_nodes", "doubled")):
            category = "4X"
        if category in ("4B", "4X"):
            notes.append("For 4B, Lung-RADS (note 13) points to the Brock calculator for the probability of cancer.")
        if "setting" not in values:
            notes.append("For screening only; the setting was not given.")
        modifier = "S" if values["other_finding"] else ""
        rank = ORDER.index(category)
        return Outcome(category + modifier, rank, MANAGEMENT[category], measures=measures, notes=tuple(notes))

    def _category(self, values: Mapping[str, Any]) -> tuple[str, list[str], dict[str, float | None]]:
        """Without 4X and S; what is to be noted; the mean diameter."""
        if values["finding"] != NODULE:
            return ("1" if values["finding"] == NONE else "0"), [], {}
        if values["pattern"] != NONE:
            return "1", [], {}
        mean = mean_to_tenth(values["long_mm"], values["short_mm"])
        measures = {"mean_diameter_mm": mean}
        solid = values.get("solid_mm")
        category, note = _by_size(values, mean, None if solid is None else rounded(solid, 1), lambda mm: mm)
        notes = [note] if note else []
        volume = values.get("volume_mm3")
        if volume is not None and values["type"] != PART_SOLID:
            whole = int(rounded(volume, 0))
            other, _ = _by_size(values, whole, None, VOLUMES.__getitem__)
            if other != category:
                notes.append(f"By its volume of {whole} mm3 alone it would be {other}.")
        return category, notes, measures

    def sentence(self, values: Mapping[str, Any], outcome: Outcome) -> str:
        """``Lung-RADS v2022 category 3: solid nodule, ... Recommendation: ...``."""
        return f"{self.title} category {outcome.category}: {_finding(values, outcome)}. {outcome.recommendation}"


def _by_size(
    values: Mapping[str, Any], size: float, solid: float | None, edge: Callable[[int], float]
) -> tuple[str, str]:
    """The category of a nodule, and what is to be noted, else empty.

    size, solid: of the nodule and its solid part, in the unit that ``edge`` gives the table's mm in.
    """
    kind, context = values["type"], values["context"]
    mean = mean_to_tenth(values["long_mm"], values["short_mm"])
    if values.get("juxtapleural") and context in (BASELINE, NEW) and mean <= _JUXTAPLEURAL_MM:
        return "2", "Juxtapleural up to 10 mm, as the summary of changes says; the table reads below 10 mm."
    if context == STABLE and kind != NON_SOLID:
        return _stepped_down(values["previous"], values["months"])
    if kind == NON_SOLID:
        return _non_solid(context, size, edge)
    if context == SLOW:
        return "4B", "Slow growth of a solid or part-solid nodule may be 4B: the reader decides."
    return (_solid(context, size, edge), "") if kind == SOLID else _part_solid(context, size, solid, edge)


def _stepped_down(previous: str, months: float) -> tuple[str, str]:
    """The category of a stable solid or part-solid nodule."""
    if previous not in _STEP_DOWN:
        return previous, ""
    lower, needed = _STEP_DOWN[previous]
    if months >= needed:
        return lower, f"Stable {previous} becomes {lower} after {needed} months."
    return previous, f"Stable for less than {needed} months: {previous} stays."


def _solid(context: str, size: float, edge: Callable[[int], float]) -> str:
    edges = {BASELINE: (6, 8, 15), NEW: (4, 6, 8), GROWING: (0, 0, 8)}[context]
    above = sum(size >= (edge(mm) if mm else 0) for mm in edges)
    return ("2", "3", "4A", "4B")[above]


def _non_solid(context: str, size: float, edge: Callable[[int], float]) -> tuple[str, str]:
    if size < edge(30) or context in (STABLE, SLOW):
        return "2", ""
    return "3", "The table has no row for growth at 30 mm and more; this is its size's." if context == GROWING else ""


def _part_solid(context: str, size: float, solid: float, edge: Callable[[int], float]) -> tuple[str, str]:
    """size: of the whole nodule. solid: of its solid part."""
    if context == BASELINE:
        if size < edge(6):
            return "2", ""
        return ("3" if solid < edge(6) else "4A" if solid < edge(8) else "4B"), ""
    if context == NEW and size < edge(6) and solid < edge(4):
        return "3", ""
    if context == NEW and size < edge(6):
        return "4B", "New and below 6 mm is 3, a new solid part of 4 mm or more is 4B: the worse of both rows."
    return ("4A" if solid < edge(4) else "4B"), ""


def _finding(values: Mapping[str, Any], outcome: Outcome) -> str:
    """The nodule in words."""
    if values["finding"] != NODULE:
        return {NONE: "no nodule", "incomplete": "incomplete examination"}.get(
            values["finding"], "findings that may be inflammatory or infectious"
        )
    if values["pattern"] != NONE:
        return f"nodule with {pattern_text(values['pattern'])}"
    kind = "ground-glass" if values["type"] == NON_SOLID else values["type"]
    mean = outcome.measures["mean_diameter_mm"]
    axes = f"mean diameter {mean} mm ({axes_text(values['long_mm'], values['short_mm'])})"
    parts = [f"{values['context']} {kind} nodule", axes]
    if "solid_mm" in values:
        parts.append(f"solid part {rounded(values['solid_mm'], 1)} mm")
    names = {"spiculation": "spiculated", "lymph_nodes": "enlarged lymph nodes", "doubled": "doubled within a year"}
    parts += [text for name, text in names.items() if values.get(name)]
    return ", ".join(parts)


SCORE = LungRads()
