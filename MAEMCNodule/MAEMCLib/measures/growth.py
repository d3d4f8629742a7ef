"""How a nodule has changed between two CTs: diameter, volume, doubling time, and whether that means anything."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ..clinical.scores.vdt import SCORE as DOUBLING_TIME
from ..clinical.scores.vdt import STABLE
from ..clinical.sizes import mean_to_tenth, rounded
from ..errors import InputError, UsageError
from ..images.ct import CTVolume
from .measures import Measures

GROWTH_MM, YEAR_DAYS = 1.5, 366
"""Lung-RADS v2022: growth is a mean diameter more than 1.5 mm larger within 12 months."""
SPACING_RATIO = 1.5
"""Slices of two CTs that differ by more than this change the volume by themselves. Our proposal."""
_MET, _NOT_MET, _OPEN = "met", "not met", "not decided by these two CTs, which are more than 12 months apart"
_STATUS = {
    "border": "is cut off by the volume's border",
    "islands": "is one of several parts of its segment",
    "wall": "borders on soft tissue, where its surface is a guess",
}


@dataclass(frozen=True)
class Interval:
    """days: from the prior CT to the current one, above 0. notes: what could not be checked, in sentences."""

    days: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Growth:
    """A nodule's change over ``days``; of a pair the prior's value is the first.

    mean_diameters_mm: to one decimal, as Lung-RADS measures; diameter_change_mm: their difference. doubling_time_days:
    None where the volume does not grow; low and high: with the volumes' measurement error, None without bound.
    within_error: whether the volume has changed by less than that error, 25 %. lung_rads_growth: None where the CTs
    are too far apart to tell. category, recommendation: of BTS 2015. sentence: to be pasted into a report.
    """

    days: float
    mean_diameters_mm: tuple[float, float]
    volumes_mm3: tuple[float, float]
    solid_long_axes_mm: tuple[float, float] | None
    diameter_change_mm: float
    volume_change_percent: float
    doubling_time_days: float | None
    doubling_time_low_days: float | None
    doubling_time_high_days: float | None
    within_error: bool
    lung_rads_growth: bool | None
    category: str
    recommendation: str
    sentence: str
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All fields; pairs and notes as lists."""
        return {name: list(one) if isinstance(one, tuple) else one for name, one in asdict(self).items()}


def interval(prior: CTVolume, current: CTVolume, days: float | None = None, same_patient: bool = False) -> Interval:
    """The days between two CTs of one patient.

    days: as the reader states them; else they follow from the dates in the DICOM files. same_patient: the reader has
    confirmed that both are of one patient, whatever their PatientIDs say. Raises InputError for two patients, CTs of
    one day and a prior that is the later one; UsageError where the days are not known or none.
    """
    before, now = prior.examination, current.examination
    alike, dated = now.of_same_patient(before), before.days_until(now)
    if alike is False and not same_patient:
        raise InputError(
            "The two CTs state different patients (PatientID). Choose the prior again; where the reader knows that "
            "both are of one patient, confirm it (--same-patient).",
            "other-patient",
        )
    if dated is not None and dated < 0:
        raise InputError(
            f"The prior CT is {-dated} days later than the current one by their dates. Exchange the two.", "prior-later"
        )
    if days is None:
        days = _dated(dated)
    elif not (math.isfinite(days) and days > 0):
        raise UsageError(f"The days between the CTs are {days:g}; give a number above 0 (--days).", "days")
    notes = []
    if alike is None and not same_patient:
        notes.append("The files do not say whether both CTs are of one patient.")
    if alike is False:
        notes.append("The CTs state different patients; the reader has confirmed that both are of one.")
    if dated is not None and abs(dated - days) > 1:
        notes.append(f"The files' dates are {dated} days apart, and {days:g} days are given.")
    thin, thick = sorted((prior.slice_spacing, current.slice_spacing))
    if thick > SPACING_RATIO * thin:
        notes.append(
            f"Slices are {prior.slice_spacing:.1f} mm apart in the prior CT and {current.slice_spacing:.1f} mm in the "
            "current one, which changes a volume by itself."
        )
    return Interval(days, tuple(notes))


def growth(prior: Measures, current: Measures, between: Interval) -> Growth:
    """Compare what was measured of one nodule in two CTs. Raises UsageError for a volume or interval beyond what the
    doubling time is for (``clinical.scores.vdt``, where formula and bands stand with their source)."""
    volumes = prior.volume_mm3, current.volume_mm3
    doubling = DOUBLING_TIME.evaluate({"volumes": volumes, "days": between.days})
    diameters = tuple(mean_to_tenth(one.axes.long_mm, one.axes.short_mm) for one in (prior, current))
    larger, solid_larger = rounded(diameters[1] - diameters[0], 1), None
    solid = prior.solid_long_axis_mm, current.solid_long_axis_mm
    if None not in solid:
        solid_larger = rounded(rounded(solid[1], 1) - rounded(solid[0], 1), 1)
    grown = _lung_rads_growth(larger if solid_larger is None else max(larger, solid_larger), between.days)
    sizes = "Mean diameter {:.1f} to {:.1f} mm, volume {:.0f} to {:.0f} mm3.".format(*diameters, *volumes)
    rule = f"Lung-RADS v2022 growth (mean diameter more than {GROWTH_MM} mm larger within 12 months)"
    met = {True: _MET, False: _NOT_MET, None: _OPEN}[grown]
    doubts = _doubts(prior, current)
    return Growth(
        between.days,
        diameters,
        volumes,
        None if solid_larger is None else solid,
        larger,
        doubling.measures["volume_change_percent"],
        doubling.measures["doubling_time_days"],
        doubling.measures["doubling_time_low_days"],
        doubling.measures["doubling_time_high_days"],
        doubling.category == STABLE,
        grown,
        doubling.category,
        doubling.recommendation,
        " ".join([sizes, doubling.sentence, f"{rule}: {met}.", *doubts]),
        (*between.notes, *doubts, *_notes(prior, current, solid_larger)),
    )


def _dated(dated: int | None) -> int:
    """The days between two dates, where they are told apart."""
    if dated is None:
        raise UsageError("The files state no dates: the days between the CTs are not known. Give --days N.", "days")
    if dated == 0:
        raise InputError(
            "Both CTs are of the same day, so that no growth can be measured. Choose another prior; where the dates "
            "were replaced, give the days between (--days N).",
            "same-day",
        )
    return dated


def _lung_rads_growth(larger_mm: float, days: float) -> bool | None:
    if larger_mm <= GROWTH_MM:
        return False
    return True if days <= YEAR_DAYS else None


def _doubts(prior: Measures, current: Measures) -> list[str]:
    """Why the numbers may be wrong: also said where they are pasted."""
    return [
        f"The nodule of the {when} CT {_STATUS[one.status]}: its measures may be wrong."
        for when, one in (("prior", prior), ("current", current))
        if one.status in _STATUS
    ]


def _notes(prior: Measures, current: Measures, solid_larger: float | None) -> list[str]:
    """What else a reader should know of the two measurements."""
    found = []
    if prior.composition != current.composition:
        found.append(f"The nodule was {prior.composition} and is {current.composition}.")
    elif current.composition != "solid":
        found.append("The bands of the doubling time are of solid nodules.")
    if solid_larger is not None:
        found.append(f"Its solid part changed by {solid_larger:+.1f} mm (long axis), which counts for Lung-RADS too.")
    return found
