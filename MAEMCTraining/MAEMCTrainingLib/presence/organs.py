"""Points in the liver, the heart and the spine of a whole synthetic chest, and on its nodules: what no slab shows."""

from __future__ import annotations

import numpy as np
from MAEMCLib.presence.rules import RULED_OUT, surroundings

from ..phantom.anatomy import diaphragm_distance, draw_anatomy
from ..phantom.case import rng_of
from ..phantom.chest_wall import spine_position
from ..phantom.mediastinum import heart_reach
from ..phantom.sample_chest import SEED, make_sample_chest
from .gathering import PointSet, cut
from .points import NODULE, Point

ORGANS = ("liver", "heart", "spine")
EACH = 60
DEEP_MM, WITHIN = 8.0, 0.85
"""How far below the dome, and how far out in the heart, points lie."""
NODULE_CLICKS, CLICK_MM = 10, 1.5


def organ_points(seed: int) -> tuple[PointSet, np.ndarray]:
    """EACH points of each organ and NODULE_CLICKS of each nodule of the sample chest, and which of them the rules on
    their surroundings rule out."""
    volume, nodules = make_sample_chest()
    anatomy = draw_anatomy(rng_of(SEED, 0, 11))
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 9])))
    places = {name: anatomy.patient(_organ(name, anatomy, rng)) for name in ORGANS}
    clicks = [np.add(at, rng.normal(0.0, CLICK_MM, (NODULE_CLICKS, 3))) for _name, at, _label in nodules]
    places[NODULE] = np.concatenate(clicks)
    points = [
        Point(tuple(at.tolist()), kind, 0, "phantom", np.nan, 0.0) for kind, some in places.items() for at in some
    ]
    ruled = [any(found.code in RULED_OUT for found in surroundings(volume, point.lps)) for point in points]
    return cut([(volume, points)]), np.array(ruled)


def _organ(name: str, anatomy, rng: np.random.Generator) -> np.ndarray:
    """(EACH, 3) points of the template in an organ."""
    found = np.zeros((0, 3))
    while len(found) < EACH:
        x, y, z = rng.uniform((-110.0, -80.0, -140.0), (80.0, 80.0, 110.0), (4000, 3)).T
        if name == "liver":
            inside = (diaphragm_distance(x, y, z, anatomy) > DEEP_MM) & (x < 15.0) & (np.hypot(x + 55.0, y) < 60.0)
        elif name == "heart":
            inside = heart_reach(x, y, z, anatomy.heart_scale) < WITHIN
        else:
            inside = (np.abs(x) < 14.0) & (np.abs(y - spine_position(z)) < 9.0)
        found = np.concatenate([found, np.stack([x, y, z], axis=1)[inside]])
    return found[:EACH]
