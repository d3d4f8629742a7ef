"""The lungs' branching vessels, and the bronchi that run beside the arteries.

Each tree fills its lung: end points are spread over the lung, and the tree is grown from the hilum by splitting the set
of end points that a branch has to reach, again and again. A branch's radius follows from the number of end points
beyond it (Murray's law with the exponent measured in lungs), so that vessels taper towards the periphery.
Frame: the patient's LPS millimeters.
"""

from dataclasses import dataclass

import numpy as np

from .anatomy import LUNG_ROOTS, LUNGS_HIGH, LUNGS_LOW, Anatomy, lung_distance

END_POINTS = {"artery": 900, "vein": 700}
END_RADIUS_MM = 0.48
MURRAY_EXPONENT = 0.37  # radius grows with (end points beyond) ** 0.37: a diameter exponent of about 2.7
ROOT_OFFSET = {"artery": (0.0, 0.0, 0.0), "vein": (0.0, -4.0, -16.0)}


@dataclass(frozen=True)
class Segments:
    """N straight tubes: ``start``, ``end`` (N, 3) LPS mm; ``radius_start``, ``radius_end`` (N,) mm."""

    start: np.ndarray
    end: np.ndarray
    radius_start: np.ndarray
    radius_end: np.ndarray


def lung_tree(anatomy: Anatomy, side: str, kind: str, seed: int, low: np.ndarray, high: np.ndarray) -> Segments:
    """The segments of one tree ("artery" or "vein" of the "right" or "left" lung) that can touch the box low..high (LPS
    mm).

    Branches that cannot reach the box are not grown; the ones that are grown do not depend on the box.
    """
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, side == "left", kind == "vein"])))
    ends = _end_points(anatomy, side, END_POINTS[kind], rng)
    jitter = rng.normal(size=(len(ends), 3))
    root = anatomy.patient(np.add(LUNG_ROOTS[side], ROOT_OFFSET[kind]))
    # A branch bends and is jittered by a few millimeters at most.
    return _grow(ends, jitter, root, np.asarray(low) - 6.0, np.asarray(high) + 6.0)


def bronchi(arteries: Segments) -> Segments:
    """Airways beside the larger arteries (lumen); they share the arteries' course a radius aside."""
    large = arteries.radius_end > 1.5
    start, end = arteries.start[large], arteries.end[large]
    radius = arteries.radius_start[large]
    aside = np.array([0.35, 0.55, 0.75])
    gap = (1.9 * radius)[:, None] * aside
    return Segments(start + gap, end + gap, 0.72 * radius, 0.72 * arteries.radius_end[large])


def _end_points(anatomy: Anatomy, side: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points (count, 3) spread over a lung, none in the outermost millimeters, where no vessel is seen."""
    low, high = np.array(LUNGS_LOW), np.array(LUNGS_HIGH)
    if side == "right":
        high[0] = -12.0
    else:
        low[0] = 12.0
    candidates = anatomy.patient(rng.uniform(low, high, (7 * count, 3)))
    return candidates[lung_distance(candidates, anatomy) < -4.5][:count]


def _grow(ends, jitter, root, low, high) -> Segments:
    rows = []
    pending = [(np.arange(len(ends)), root, None)]
    while pending:
        members, origin, radius_before = pending.pop()
        reached = ends[members]
        box = np.vstack([reached, origin])
        if np.any(box.min(axis=0) > high) or np.any(box.max(axis=0) < low):
            continue
        radius = END_RADIUS_MM * len(members) ** MURRAY_EXPONENT
        start_radius = radius if radius_before is None else min(radius_before, 1.12 * radius)
        if len(members) == 1:
            rows.append((origin, reached[0], start_radius, 0.6 * radius))
            continue
        center = reached.mean(axis=0)
        towards = center - origin
        shift = jitter[members[len(members) // 2]]
        fork = origin + (0.42 + 0.06 * np.tanh(shift[0])) * towards
        fork = fork + 0.05 * np.linalg.norm(towards) * shift
        rows.append((origin, fork, start_radius, radius))
        spread = reached - center
        spread = spread @ spread[np.argmax(np.einsum("ij,ij->i", spread, spread))]  # along the longest reach
        share = 0.5 + 0.13 * np.tanh(shift[1])
        order = np.argsort(spread, kind="stable")
        cut = min(max(round(share * len(members)), 1), len(members) - 1)
        pending.append((members[order[:cut]], fork, radius))
        pending.append((members[order[cut:]], fork, radius))
    if not rows:
        empty = np.zeros((0, 3))
        return Segments(empty, empty, np.zeros(0), np.zeros(0))
    start, end, radius_start, radius_end = (np.array(column) for column in zip(*rows, strict=True))
    return Segments(start, end, radius_start, radius_end)
