"""Fleischner Society 2017: follow-up of nodules found by chance.

MacMahon H et al., Radiology 2017;284:228-243, doi 10.1148/radiol.2017161659: its table, and recommendations 1 to 5 for
what the table leaves out. The size is the mean of long and short axis to the whole mm: 5.5 mm is 6 mm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..fields import (
    CHOICE,
    COUNT_CONFIRMED,
    EXTRATHORACIC_CANCER,
    IMMUNOSUPPRESSION,
    LONG,
    LUNG_CANCER,
    NONE,
    OPTIONAL_AGE,
    PART_SOLID,
    PATTERN,
    RECENT_CANCER,
    SCREENING,
    SETTING,
    SHORT,
    SOLID,
    SOLID_PART,
    TYPE,
    VOLUME,
    Field,
    needed_when,
)
from ..score import Outcome, Score, count_state
from ..sizes import axes_text, mean_to_millimeter, rounded

YOUNGEST_YEARS = 35
SINGLE, MULTIPLE, LOW, HIGH = "single", "multiple", "low", "high"
NUMBER_OF_NODULES = Field("number", "number of nodules", CHOICE, choices=(SINGLE, MULTIPLE), per_patient=True)
RISK = Field(
    "risk",
    "risk of the patient",
    CHOICE,
    choices=(LOW, HIGH),
    hint="high for example by heavy smoking, upper lobe, spiculation, family history",
    per_patient=True,
)

SMALL, MIDDLE, LARGE, NOT_SMALL = "< 6 mm", "6-8 mm", "> 8 mm", ">= 6 mm"
NO_FOLLOW_UP, OPTIONAL_YEAR, HALF_YEAR, QUARTER, WORK_UP = range(5)
"""How soon something is done: never, perhaps in a year, in 6-12 months, in 3-6 months, in 3 months or at once."""
_NOTHING = (NO_FOLLOW_UP, "No routine follow-up.")
_OPTIONAL = (OPTIONAL_YEAR, "Optional CT at 12 months.")
_CONSIDER = (WORK_UP, "Consider CT at 3 months, PET/CT, or tissue sampling.")
SOLID_TABLE = {
    (SINGLE, LOW, SMALL): _NOTHING,
    (SINGLE, LOW, MIDDLE): (HALF_YEAR, "CT at 6-12 months, then consider CT at 18-24 months."),
    (SINGLE, LOW, LARGE): _CONSIDER,
    (SINGLE, HIGH, SMALL): _OPTIONAL,
    (SINGLE, HIGH, MIDDLE): (HALF_YEAR, "CT at 6-12 months, then CT at 18-24 months."),
    (SINGLE, HIGH, LARGE): _CONSIDER,
    (MULTIPLE, LOW, SMALL): _NOTHING,
    (MULTIPLE, LOW, NOT_SMALL): (QUARTER, "CT at 3-6 months, then consider CT at 18-24 months."),
    (MULTIPLE, HIGH, SMALL): _OPTIONAL,
    (MULTIPLE, HIGH, NOT_SMALL): (QUARTER, "CT at 3-6 months, then CT at 18-24 months."),
}
"""(number, risk, size) -> (urgency, recommendation). Several nodules of 6-8 and of more than 8 mm are treated alike."""


class Fleischner(Score):
    """The table of the guideline; several nodules are managed by the most suspicious one."""

    name, title = "fleischner", "Fleischner Society 2017"
    source = "MacMahon H et al., Radiology 2017;284:228-243, doi 10.1148/radiol.2017161659"
    fields: ClassVar = (
        TYPE,
        LONG,
        SHORT,
        SOLID_PART,
        *needed_when("type", (SOLID,), VOLUME),
        NUMBER_OF_NODULES,
        COUNT_CONFIRMED,
        *needed_when("type", (SOLID,), RISK),
        OPTIONAL_AGE,
        EXTRATHORACIC_CANCER,
        RECENT_CANCER,
        LUNG_CANCER,
        IMMUNOSUPPRESSION,
        PATTERN,
        SETTING,
    )
    sizes = (("long_mm", "short_mm"), ("solid_mm",))

    def inapplicable(self, values: Mapping[str, Any]) -> str | None:
        """Not for screening, the young, cancer, immunosuppression, and benign calcification or fat."""
        if values.get("setting") == SCREENING:
            return "It is not for screening; there is Lung-RADS (lung-rads)."
        if values.get("age", YOUNGEST_YEARS) < YOUNGEST_YEARS:
            return f"It is for patients of {YOUNGEST_YEARS} years and older, and this one is {values['age']:g}."
        if values["extrathoracic_cancer"] or values["recent_cancer"] or values["lung_cancer"]:
            return "It is not for patients with a known cancer."
        if values["immunosuppression"]:
            return "It is not for patients with immunosuppression."
        if values["pattern"] != NONE:
            return "It is for nodules without benign calcification and fat."
        return super().inapplicable(values)

    def outcome(self, values: Mapping[str, Any]) -> Outcome:
        """The table's row and column."""
        mean = mean_to_millimeter(values["long_mm"], values["short_mm"])
        notes = []
        if values["type"] == SOLID:
            row = (values["number"], values["risk"])
            size = _column(values["number"], mean, 6, 8)
            urgency, advice = SOLID_TABLE[(*row, size)]
            category = f"{values['number']} solid, {size}, {values['risk']} risk"
            volume = values.get("volume_mm3")
            by_volume = size if volume is None else _column(values["number"], rounded(volume, 0), 100, 250)
            if by_volume != size:
                other = SOLID_TABLE[(*row, by_volume)][1]
                notes.append(f"By its volume of {rounded(volume, 0):.0f} mm3 it is as {by_volume}: {other}")
        elif values["number"] == SINGLE:
            category, urgency, advice = _single_subsolid(values, mean)
        else:
            category, urgency, advice = _multiple_subsolid(mean)
        if values["number"] == MULTIPLE:
            notes.append("The most suspicious nodule, which need not be the largest, guides the management.")
        if "setting" not in values:
            notes.append("For incidental nodules only; the setting was not given.")
        return Outcome(category, urgency, advice, measures={"mean_diameter_mm": float(mean)}, notes=tuple(notes))

    def sentence(self, values: Mapping[str, Any], outcome: Outcome) -> str:
        """``Incidental single solid nodule ... Fleischner Society 2017: CT at ...``."""
        kind = {SOLID: "solid", PART_SOLID: "part-solid"}.get(values["type"], "ground-glass")
        number, noun = ("Single", "nodule") if values["number"] == SINGLE else ("One of multiple", "nodules")
        parts = [
            f"{number} incidental {kind} {noun}{count_state(values)}",
            f"mean diameter {outcome.measures['mean_diameter_mm']:.0f} mm "
            f"({axes_text(values['long_mm'], values['short_mm'])})",
        ]
        if "solid_mm" in values:
            parts.append(f"solid part {rounded(values['solid_mm'], 1)} mm")
        if "risk" in values:
            parts.append(f"{values['risk']} risk")
        return f"{', '.join(parts)}. {self.title}: {outcome.recommendation}"


def _column(number: str, size: float, middle: float, large: float) -> str:
    """The table's column: from ``middle`` on, and above ``large``, in the unit of the size."""
    if size < middle:
        return SMALL
    return NOT_SMALL if number == MULTIPLE else MIDDLE if size <= large else LARGE


def _single_subsolid(values: Mapping[str, Any], mean: int) -> tuple[str, int, str]:
    """Category, urgency and advice; recommendations 3 and 4. mean: mm."""
    if values["type"] != PART_SOLID:
        if mean < 6:
            return "single ground glass, < 6 mm", *_NOTHING
        advice = "CT at 6-12 months to confirm persistence, then CT every 2 years until 5 years."
        return "single ground glass, >= 6 mm", HALF_YEAR, advice
    solid = rounded(values["solid_mm"], 0)
    if mean < 6:
        return "single part-solid, < 6 mm", *_NOTHING
    if solid < 6:
        advice = (
            "CT at 3-6 months to confirm persistence; if unchanged and the solid part stays below 6 mm, CT every year "
        )
        return "single part-solid, >= 6 mm, solid part < 6 mm", QUARTER, f"{advice}for 5 years."
    first = "CT at 3-6 months to confirm persistence; a persistent solid part of 6 mm or more is highly suspicious."
    if solid <= 8:
        return "single part-solid, >= 6 mm, solid part 6-8 mm", QUARTER, first
    advice = (
        "Highly suspicious: PET/CT, biopsy or resection; CT at 3-6 months may be considered to confirm persistence."
    )
    return "single part-solid, >= 6 mm, solid part > 8 mm", WORK_UP, advice


def _multiple_subsolid(mean: int) -> tuple[str, int, str]:
    """Category, urgency and advice; recommendation 5. mean: mm."""
    if mean < 6:
        advice = "CT at 3-6 months; if stable, consider CT at 2 and 4 years."
        return "multiple subsolid, < 6 mm", QUARTER, advice
    advice = "CT at 3-6 months, then management by the most suspicious nodule."
    return "multiple subsolid, >= 6 mm", QUARTER, advice


SCORE = Fleischner()
