"""The detector's table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from MAEMCLib.report.sections import Metric, Note, Report, Section, Table

from .points import APART_MM


def detector_report(figures: Mapping[str, Any]) -> Report:
    """Sensitivity by size and specificity by kind, with what a reader has to know of both."""
    rows = [(name, Metric.of(one), one["n"], one["patients"]) for name, one in figures["shares"].items()]
    table = Table(rows, ("points", "judged rightly (95 % interval by patient)", "points", "patients"))
    phantom = [(name, one["value"], one["by_rules"], one["n"]) for name, one in figures["phantom"].items()]
    heads = ("points of a whole synthetic chest", "judged rightly", "ruled out by surroundings", "points")
    notes = [
        "Out of fold: each point is judged by the member that has not seen its patient, and thresholds are set on "
        "further patients.",
        f"AUC {figures['auc']:.3f}. Place and observed slices alone: {figures['auc_of_place_and_pattern']:.3f} "
        "(0.5 is nothing).",
        f"Points in no nodule lie at least {APART_MM:g} mm from every voxel that a reader marked; kinds are told by "
        f"rules on attenuation and shape. {figures['unchecked_share']:.1%} of all points lie in slabs over which "
        "another one of the patient could not be laid; nodules that no slab holds are unknown everywhere.",
    ]
    return Report("Does a point lie in a nodule?", [Section("", [table, *map(Note, notes), Table(phantom, heads)])])
