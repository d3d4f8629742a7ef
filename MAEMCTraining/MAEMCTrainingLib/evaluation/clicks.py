"""How far a score hangs on where a reader clicks: the same nodules scored again from points moved by 1, 2 and 3 mm.

Along all three axes where the whole region lies inside the volume; in the axial plane alone where it reaches beyond, as
in a slab: there a step along the body would change what is observed, and not only the click.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from MAEMCLib.cases.case import Case
from MAEMCLib.report.sections import Metric

from ..statistics.metrics import area
from .evaluation import ClickRow
from .scored_data import Members, Progress, Scored

DISTANCES_MM = (1.0, 2.0, 3.0)
_DIAGONAL = np.sqrt(0.5)
IN_PLANE = np.array(
    [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)]
    + [(x * _DIAGONAL, y * _DIAGONAL, 0) for x in (-1, 1) for y in (-1, 1)]
)
"""(8, 3) unit steps in LPS."""
IN_SPACE = np.concatenate([IN_PLANE[:4], [(0, 0, 1), (0, 0, -1)]])
"""(6, 3) unit steps in LPS."""


def click_rows(
    members: Members, scored: Scored, folds: Sequence[int], threshold: float, progress: Progress
) -> list[ClickRow]:
    """A row for each distance. scored: of a manifest of nodules with points, two classes. folds: (cases,) whose member
    scores each case.

    A moved point that cannot be scored, as beyond the volume's border, is left out of all rows.
    """
    moved = [
        (number, distance, direction, replace(row, point_lps=point))
        for number, row in enumerate(scored.rows)
        for distance in DISTANCES_MM
        for direction, point in enumerate(moved_points(row, scored.results[row.case_id].padded_fraction, distance))
    ]
    # One volume is read once for all points of its nodules.
    keys = {id(case): (number, distance, direction) for number, distance, direction, case in moved}
    found: dict[tuple[int, float, int], float] = {}
    scores = members.probabilities([case for *_, case in moved], lambda case: folds[keys[id(case)][0]])
    for done, (case, probability) in enumerate(scores, 1):
        if probability is not None:
            found[keys[id(case)]] = probability
        progress(done, len(moved))
    return [_row(scored, found, distance, threshold) for distance in DISTANCES_MM]


def moved_points(row: Case, padded_fraction: float, distance_mm: float) -> list[tuple[float, float, float]]:
    """The points at a distance from a case's own, LPS in mm."""
    steps = IN_PLANE if padded_fraction > 0 else IN_SPACE
    return [tuple(float(value) for value in np.add(row.point_lps, distance_mm * step)) for step in steps]


def _row(scored: Scored, found: dict[tuple[int, float, int], float], distance: float, threshold: float) -> ClickRow:
    own = scored.table.probabilities[:, 1]
    keys = [key for key in found if key[1] == distance]
    cases = np.array([case for case, _, _ in keys])
    values = np.array([found[key] for key in keys])
    change = np.abs(values - own[cases])
    whole = [scored.results[row.case_id].padded_fraction == 0 for row in scored.rows]
    return ClickRow(
        distance,
        points=len(keys),
        cases=len(set(cases.tolist())),
        in_plane=sum(not whole[case] for case in set(cases.tolist())),
        median=float(np.median(change)),
        high=float(np.percentile(change, 95)),
        changed=float(np.mean((values >= threshold) != (own[cases] >= threshold))),
        auc=_moved_auc(scored, keys, values),
    )


def _moved_auc(scored: Scored, keys: Sequence[tuple[int, float, int]], values: np.ndarray) -> Metric:
    """The mean over the directions of the AUC of nodules clicked there; without an interval."""
    areas = []
    for direction in sorted({direction for *_, direction in keys}):
        own = [place for place, key in enumerate(keys) if key[2] == direction]
        cases = np.array([keys[place][0] for place in own])
        labels = scored.table.labels[cases]
        if len(np.unique(labels)) == 2:
            areas.append(area(labels, values[own], scored.table.patient_numbers[cases]).value)
    return Metric(float(np.mean(areas)) if areas else None, n=len({key[0] for key in keys}))
