"""The mediastinum of the synthetic chest: heart, great vessels, trachea and main bronchi, gullet, and the fat around
them.

Template frame (LPS mm). The lungs end where this ends: its outer surface is the union of what it holds, dilated by a
little fat, with the creases filled.
"""

import functools

import numpy as np

from .chest_wall import spine_position
from .shapes import AIR_HU, Tube, paint, segment_distance, smooth_union, solid_share

FILLET_MM = 11.0


BLOOD = (
    # aorta: root, ascending, arch, descending
    Tube(
        (
            (-4, -20, -40),
            (-17, -22, -8),
            (-17, -20, 28),
            (-10, -9, 48),
            (5, 10, 55),
            (19, 30, 47),
            (25, 41, 28),
            (24, 42, -40),
            (14, 38, -150),
        ),
        (15, 16, 15.5, 14.5, 13.5, 13, 12.5, 12, 11),
    ),
    # branches of the arch
    Tube(((-10, -9, 50), (-16, -2, 80), (-22, 2, 140)), (6.5, 6, 5)),
    Tube(((2, 4, 56), (10, 2, 85), (16, 4, 140)), (4.5, 4, 3.8)),
    Tube(((14, 20, 54), (22, 14, 85), (34, 8, 118), (70, -8, 132)), (5, 4.8, 4.5, 4.5)),
    # superior vena cava and brachiocephalic veins; inferior vena cava
    Tube(((-26, -14, -30), (-30, -16, 20), (-29, -20, 62)), (10.5, 9.5, 9)),
    Tube(((-29, -20, 62), (-30, -18, 92), (-34, -10, 140)), (7.5, 7, 6)),
    Tube(((-29, -20, 62), (0, -34, 70), (26, -22, 92), (32, -8, 140)), (7, 6.5, 6.5, 6)),
    Tube(((-24, -2, -62), (-24, 8, -150)), (11.5, 11.5)),
    # pulmonary trunk, right and left pulmonary arteries
    Tube(((10, -38, -30), (20, -28, 2), (22, -10, 14)), (13.5, 13.5, 12)),
    Tube(((20, -10, 13), (-8, 4, 8), (-44, 15, 0)), (10.5, 10, 8)),
    Tube(((22, -8, 15), (36, 12, 16), (48, 24, 4)), (10.5, 9.5, 8)),
    # pulmonary veins to the left atrium
    Tube(((-10, 16, -32), (-44, 12, -22)), (7.5, 6)),
    Tube(((26, 18, -32), (50, 16, -22)), (7.5, 6)),
)
AIRWAYS = (
    Tube(((0, 8, 145), (0, 18, 60), (-1, 25, 24)), (8.8, 8.8, 9.2)),
    Tube(((-1, 25, 24), (-26, 24, 5), (-44, 20, -6)), (7.6, 6.8, 5.6)),
    Tube(((-1, 25, 24), (24, 28, 2), (48, 26, -10)), (7.0, 6.2, 5.2)),
)
GULLET = Tube(((4, 31, 145), (5, 38, 40), (7, 35, -60), (16, 18, -135)), (6.0, 6.5, 7.0, 8.0))
HEART_CENTER = (18.0, -26.0, -66.0)
HEART_AXES = (63.0, 47.0, 51.0)  # along the long axis (to the left and forward), across it, along S
HEART_TURN = np.deg2rad(38.0)


def tube_distances(x, y, z, tubes: tuple[Tube, ...]) -> list[np.ndarray]:
    """Distance to each tube through its corner points; without the tubes that no point is near enough for to matter.

    Parts further from all points than the fillet reaches are left out: a small field then costs little.
    """
    low, high = ([bound(axis) for axis in (x, y, z)] for bound in (np.min, np.max))
    distances = []
    for tube in tubes:
        parts = []
        for start, end, first, last in zip(tube.points, tube.points[1:], tube.radii, tube.radii[1:], strict=False):
            reach = max(first, last) + FILLET_MM + 5.0
            if np.all(np.minimum(start, end) - reach <= high) and np.all(np.maximum(start, end) + reach >= low):
                parts.append(segment_distance(x, y, z, start, end, first, last))
        if parts:
            distances.append(functools.reduce(np.minimum, parts))
    return distances


def heart_reach(x, y, z, scale: float) -> np.ndarray:
    """1 on the heart's surface, 0 at its center."""
    dx, dy, dz = x - HEART_CENTER[0], y - HEART_CENTER[1], z - HEART_CENTER[2]
    # The apex points down to the left: the long axis tilts in the coronal plane too.
    along = dx * np.cos(HEART_TURN) - dy * np.sin(HEART_TURN) - 0.28 * dz
    across = dx * np.sin(HEART_TURN) + dy * np.cos(HEART_TURN)
    return np.sqrt((along / HEART_AXES[0]) ** 2 + (across / HEART_AXES[1]) ** 2 + (dz / HEART_AXES[2]) ** 2) / scale


def mediastinum_distance(x, y, z, anatomy) -> np.ndarray:
    """Distance to the mediastinal pleura: negative within the mediastinum (spine and its cover included)."""
    return _surface(x, y, z, anatomy, tube_distances(x, y, z, (*BLOOD, *AIRWAYS)))


def _surface(x, y, z, anatomy, tubes: list[np.ndarray]) -> np.ndarray:
    """Distance to the mediastinal pleura, from the distances to the tubes."""
    # A sheet from the sternum to the spine holds the two lungs apart; it is thin in front of the great vessels.
    sheet = np.abs(x - 2.0) - (3.5 + 13.0 * np.exp(-(((y - 18.0) / 26.0) ** 2)))
    behind = y - spine_position(z)
    spine = np.maximum(np.sqrt(x * x + np.minimum(behind, 0.0) ** 2 * 1.5) - 22.0, -14.0 - behind)
    distance = smooth_union(sheet, spine - np.clip(behind, 0.0, 30.0) * 0.3, FILLET_MM)
    heart = (heart_reach(x, y, z, anatomy.heart_scale) - 1.0) * 50.0
    distance = smooth_union(distance, heart - 3.0, FILLET_MM)
    for tube in tubes:
        distance = smooth_union(distance, tube - 2.5, FILLET_MM)
    return distance


def may_be_mediastinum(x, y, z, anatomy) -> np.ndarray:
    """Where the mediastinum can lie at all: between the hila, and around the heart. Cheap; a superset."""
    return (np.abs(x - 2.0) < 56.0) | (heart_reach(x, y, z, anatomy.heart_scale) < 1.15)


def mediastinum_hu(x, y, z, hu, anatomy) -> np.ndarray:
    """HU of points (N,) around the midline, mixed over ``hu`` (the lung's) at the mediastinal pleura."""
    tissues = anatomy.tissues
    inside = np.full(x.shape, tissues.fat + 8.0, dtype=np.float32)
    _paint_heart(inside, x, y, z, anatomy)
    blood, airways = tube_distances(x, y, z, BLOOD), tube_distances(x, y, z, AIRWAYS)
    for distance in blood:
        paint(inside, solid_share(distance), tissues.myocardium)
        paint(inside, solid_share(distance + 1.2), tissues.blood)
    for gullet in tube_distances(x, y, z, (GULLET,)):
        paint(inside, solid_share(gullet), 38.0)
        paint(inside, solid_share(gullet + 5.2) * 0.6, -700.0)
    for distance in airways:
        paint(inside, solid_share(distance - 1.4), 30.0)
    for distance in airways:
        paint(inside, solid_share(distance), AIR_HU)
    share = solid_share(_surface(x, y, z, anatomy, [*blood, *airways]))
    return (hu + share * (inside - hu)).astype(np.float32)


def _paint_heart(hu, x, y, z, anatomy) -> None:
    """Pericardium, epicardial fat, muscle, and the four chambers' blood."""
    tissues = anatomy.tissues
    reach = heart_reach(x, y, z, anatomy.heart_scale)
    paint(hu, solid_share((reach - 1.0) * 50.0), 20.0)
    paint(hu, solid_share((reach - 0.975) * 50.0), tissues.fat + 10.0)
    paint(hu, solid_share((reach - 0.93) * 50.0), tissues.myocardium)
    chambers = (
        ((42.0, -34.0, -76.0), (27.0, 18.0, 30.0)),  # left ventricle
        ((8.0, -50.0, -72.0), (30.0, 13.0, 30.0)),  # right ventricle
        ((10.0, 6.0, -46.0), (26.0, 14.0, 20.0)),  # left atrium
        ((-22.0, -22.0, -58.0), (17.0, 19.0, 28.0)),  # right atrium
    )
    for center, axes in chambers:
        squares = [((p - c) / a) ** 2 for p, c, a in zip((x, y, z), center, axes, strict=True)]
        distance = (np.sqrt(squares[0] + squares[1] + squares[2]) - 1.0) * min(axes)
        share = solid_share(distance) * solid_share((reach - 0.93) * 50.0)
        paint(hu, share, tissues.blood)
