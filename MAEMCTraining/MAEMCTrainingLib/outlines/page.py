"""The tables of what the outlines are worth, beside readers and what needs no network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from MAEMCLib.report.sections import Cell, Note, Report, Section, Table

from .judging import CLICK_MM, Judged
from .phantoms import SLICES_MM, Phantom

READERS_MEDIAN_MM = 0.57
"""Two readers' equivalent diameters, in the median of 500 nodules (SOURCE.md of lidc-slabs)."""
POOR = 0.4
_HEADS = ("", "nodules", "Dice", "under 0.4", "to the others", "one reader to the others", "ball of one size")
_SIZES = ("", "nodules", "mean diameter, median error", "90 %", "sphere, median error", "one size", "file's height")


def outline_report(
    slabs: Sequence[Judged],
    cubes: Sequence[Judged],
    phantoms: Sequence[Phantom],
    errors: Sequence[dict],
    constant_mm: float,
) -> Report:
    """All tables."""
    several = [one for one in slabs if one.readers > 1]
    groups = {
        "slabs, 2 to 4 readers": several,
        "of these from 8 mm on": [one for one in several if one.truth_mm >= 8],
        "slabs, 3 or 4 readers": [one for one in several if one.readers > 2],
        "slabs, a single reader": [one for one in slabs if one.readers == 1],
        "cubes (three-dimensional, one reader)": list(cubes),
    }
    known = {name: group for name, group in groups.items() if group}
    said = (
        f"Patients whom the network has not seen, each nodule clicked once, up to {CLICK_MM:g} mm beside its middle. "
        "Dice: median; 'to the others': consensus of all readers but one, each left out in turn. Slabs hold only the "
        "slices that the nodule meets, so that their height, and much of the volume, is given away: they judge the "
        f"outline in the plane. Two readers' spheres differ by {READERS_MEDIAN_MM} mm in the median. Ball of one size, "
        f"one size: {constant_mm:.1f} mm for every nodule, the training nodules' median."
    )
    dices = Table([_dices(name, group) for name, group in known.items()], _HEADS)
    diameters = Table([_diameters(name, group, constant_mm) for name, group in known.items()], _SIZES, digits=2)
    return Report(
        "Outline of nodules",
        [
            Section("Outlines", [Note(said), dices]),
            Section("Diameters (mm)", [diameters]),
            Section("Phantoms (mm)", [_phantoms(phantoms)]),
            Section("Error of the mean diameter, 90 % (mm)", [_errors(errors)]),
            Section("Time", [Note(_times([*slabs, *cubes]))]),
        ],
    )


def _dices(name: str, group: Sequence[Judged]) -> tuple[Cell, ...]:
    def median(field: str) -> float | None:
        values = [getattr(one, field) for one in group]
        return float(np.median(values)) if np.isfinite(values).all() else None

    poor = float(np.mean([one.dice < POOR for one in group]))
    return name, len(group), median("dice"), f"{poor:.1%}", median("others"), median("reader"), median("constant")


def _diameters(name: str, group: Sequence[Judged], constant_mm: float) -> tuple[Cell, ...]:
    errors = np.array([one.error_mm for one in group])
    guessed = np.median([abs(constant_mm - one.truth_mm) for one in group])
    height = np.median([abs(one.height_mm - one.truth_sphere_mm) for one in group])
    sphere = np.median([one.sphere_error_mm for one in group])
    return name, len(group), *map(float, (np.median(errors), np.percentile(errors, 90), sphere, guessed, height))


def _phantoms(phantoms: Sequence[Phantom]) -> Table:
    rows = []
    for lobulated in (False, True):
        for slice_mm in SLICES_MM:
            group = [one for one in phantoms if one.lobulated is lobulated and one.slice_mm == slice_mm]
            found = [one for one in group if np.isfinite(one.error_mm)]
            name = f"{'lobulated' if lobulated else 'ellipsoid'}, slices of {slice_mm:g} mm"
            if not found:
                rows.append((name, f"0 of {len(group)}", None, None))
                continue
            mean, sphere = (np.median([getattr(o, f) for o in found]) for f in ("error_mm", "sphere_error_mm"))
            rows.append((name, f"{len(found)} of {len(group)}", f"{mean:+.2f}", f"{sphere:+.2f}"))
    return Table(rows, ("", "outlined", "mean diameter, median error", "sphere, median error"))


def _errors(errors: Sequence[dict]) -> Table:
    rows = [
        (f"from {row['from_mm']:g} mm, slices from {row['from_spacing_mm']:g} mm", row["nodules"], row["error_mm"])
        for row in errors
    ]
    return Table(rows, ("mean diameter", "nodules", "error"), digits=2)


def _times(judged: Sequence[Judged]) -> str:
    seconds = [one.seconds for one in judged]
    return f"The network takes {np.median(seconds):.3f} s in the median, {np.percentile(seconds, 95):.3f} s in 95 %."
