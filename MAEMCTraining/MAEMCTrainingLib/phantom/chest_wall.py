"""The chest wall of the synthetic chest: skin, fat, muscle, ribs, sternum, shoulder blades, collar bones, vertebrae.

Template frame (LPS mm). ``cage`` is the distance outwards from the inside of the rib cage.
"""

import numpy as np

from .shapes import AIR_HU, cage_axes, oval_distance, paint, plane_segment_distance, segment_distance, solid_share

LEVEL_MM = 24.0  # height of a vertebra with its disc, and so of a pair of ribs
RIB_DEPTH_MM = 6.5  # from the pleura to the middle of a rib
SPINE_P_MM = 60.0


def spine_position(z: np.ndarray) -> np.ndarray:
    """P coordinate of the vertebral bodies' centers: the thoracic kyphosis, furthest back in the middle."""
    return SPINE_P_MM - np.float32(0.0007) * (z + 20.0) ** 2


def body_distance(x, y, z, fat_mm: float) -> np.ndarray:
    """Distance to the skin."""
    shoulders = np.clip((z - 40.0) / 100.0, 0.0, 1.0) ** 2
    half_l = 150.0 + fat_mm + 22.0 * shoulders
    half_p = 106.0 + 0.9 * fat_mm - 14.0 * shoulders
    y = y - 14.0
    return oval_distance(x / half_l, y / half_p, np.sqrt(x * x + y * y))


def chest_wall_hu(x, y, z, cage, hu, anatomy) -> np.ndarray:
    """HU of points (N,) of the wall and outside the body, mixed over ``hu`` (what lies within) at the pleura."""
    tissues = anatomy.tissues
    skin = body_distance(x, y, z, anatomy.fat_mm)
    _, _, center_p = cage_axes(z)
    side = np.abs(x)
    # 0 at the spinous processes, 1 at the sternum.
    turn = (np.arctan2(side, y - center_p) / np.float32(np.pi)).astype(np.float32)

    wall = np.full(x.shape, tissues.fat, dtype=np.float32)
    paint(wall, solid_share(_muscle_distance(side, z, turn, cage, skin), 1.5), tissues.muscle)
    # Fat between the muscle sheets, as thin bright (on lung window: dark) lines that run with the wall.
    sheet = np.exp(-(((cage - 15.0 - 3.0 * np.sin(7.0 * turn)) / 1.1) ** 2)) * (turn > 0.17) * (turn < 0.93)
    paint(wall, 0.75 * sheet, tissues.fat)
    paint(wall, solid_share(np.abs(skin + 1.0) - 1.0), 25.0)
    _paint_ribs(wall, side, z, turn, cage, tissues)
    _paint_shoulder_girdle(wall, side, y, z, turn, cage, tissues)
    _paint_sternum(wall, x, z, cage, turn, tissues)
    paint(wall, solid_share(-skin), AIR_HU)
    mixed = hu + solid_share(-cage) * (wall - hu)
    _paint_spine(mixed, x, side, y, z, tissues)
    return mixed.astype(np.float32)


def _muscle_distance(side, z, turn, cage, skin):
    """Muscle reaches so far out from the cage: erector spinae behind, latissimus and serratus aside, pectorals in
    front."""
    behind = 30.0 * np.exp(-((turn / 0.16) ** 2))
    aside = 17.0 * np.exp(-(((turn - 0.42) / 0.22) ** 2))
    front = 15.0 * np.exp(-(((turn - 0.78) / 0.13) ** 2)) * np.clip((z + 40.0) / 60.0, 0.0, 1.0)
    shoulder = 85.0 * np.clip((z - 40.0) / 75.0, 0.0, 1.2) * np.exp(-(((turn - 0.48) / 0.33) ** 2))
    reach = 12.5 + behind + aside + front + shoulder
    return np.maximum(cage - reach, skin + 5.0)


def _bone(hu, distance, tissues, cortex_mm: float) -> None:
    """A bone: dense cortex around marrow."""
    paint(hu, solid_share(distance), tissues.cortex)
    paint(hu, solid_share(distance + cortex_mm), tissues.marrow)


def _paint_ribs(hu, side, z, turn, cage, tissues) -> None:
    """Twelve pairs, each sloping down from its vertebra to the front, where cartilage takes over.

    All pairs are one periodic shape of the height above their common slope, so that one evaluation serves all twelve.
    """
    level = (z + 104.0 * turn - 14.0) / LEVEL_MM
    number = np.clip(np.rint(level), -7.0, 4.0)
    across = (level - number) * LEVEL_MM * 0.92
    distance = (np.sqrt(((cage - RIB_DEPTH_MM) / 4.3) ** 2 + (across / 5.8) ** 2) - 1.0) * 4.8
    # The lowest two pairs end in the flank; none crosses the vertebrae.
    end = np.where(number <= -6.0, 0.55, 0.97)
    distance = np.maximum(np.maximum(distance, (turn - end) * 200.0), 24.0 - side)
    cartilage = turn > 0.80
    paint(hu, solid_share(distance) * cartilage, 105.0)
    bony = np.where(cartilage, 5.0, distance)
    _bone(hu, bony, tissues, 1.4)


def _paint_shoulder_girdle(hu, side, y, z, turn, cage, tissues) -> None:
    """Shoulder blade behind and aside of the upper ribs, collar bone above the first rib."""
    plate = np.abs(cage - 21.0 - 10.0 * (turn - 0.2)) - 2.6
    edge = np.maximum(np.abs(turn - 0.30) - 0.11 - 0.0006 * (z - 20.0), np.abs(z - 45.0) / 700.0 - 0.1) * 150.0
    blade = np.maximum(np.maximum(plate, edge), np.abs(z - 45.0) - 72.0)
    _bone(hu, blade, tissues, 1.2)
    if np.max(z) > 70.0:
        collar = segment_distance(side, y, z, (22.0, -68.0, 92.0), (75.0, -62.0, 112.0), 7.0, 5.5)
        collar = np.minimum(collar, segment_distance(side, y, z, (75.0, -62.0, 112.0), (138.0, -12.0, 128.0), 5.5, 6.0))
        _bone(hu, collar, tissues, 1.8)
        # With the arms raised, the heads of the humeri lie beside the apices.
        head = np.sqrt((side - 148.0) ** 2 + (y - 14.0) ** 2 + (z - 128.0) ** 2) - 22.0
        _bone(hu, head, tissues, 1.6)


def _paint_sternum(hu, x, z, cage, turn, tissues) -> None:
    """Manubrium (broad, above), body, and its lower end."""
    width = 15.0 + 11.0 * np.clip((z - 48.0) / 18.0, 0.0, 1.0)
    across, deep = np.abs(x) - width, np.abs(cage - 7.0) - 4.6
    distance = np.maximum(np.maximum(across, deep), np.abs(z - 5.0) - 78.0)
    distance = np.where(turn > 0.5, distance, 5.0)
    _bone(hu, distance, tissues, 1.2)


def _paint_spine(hu, x, side, y, z, tissues) -> None:
    """Vertebrae with discs, canal and cord, pedicles, laminae, transverse and spinous processes."""
    near = (side < 46.0) & (y > 20.0)
    if not near.any():
        return
    x, side, z, within = x[near], side[near], z[near], hu[near]
    y = y[near] - spine_position(z)
    level = z / LEVEL_MM
    height = (level - np.rint(level)) * LEVEL_MM  # from the middle of the nearest vertebra
    waist = 1.0 - 0.07 * np.cos(np.pi * height / 10.5)
    flat = np.maximum((y - 12.0) * 0.9, -5.0)  # the rear of the body is nearly flat
    body = np.maximum((np.sqrt((x / (18.0 * waist)) ** 2 + (y / (14.5 * waist)) ** 2) - 1.0) * 15.0, flat)
    paint(within, solid_share(body), 85.0)  # disc
    _bone(within, np.maximum(body, np.abs(height) - 9.8), tissues, 1.3)

    arch = plane_segment_distance(side, y, (12.5, 10.0), (13.5, 24.0), 3.4)
    arch = np.minimum(arch, plane_segment_distance(side, y, (13.5, 25.0), (1.0, 36.0), 3.0))
    arch = np.maximum(arch, np.abs(height + 1.0) - 8.0)
    transverse = np.maximum(
        plane_segment_distance(side, y, (14.0, 25.0), (34.0, 33.0), 4.4), np.abs(height - 2.0) - 5.0
    )
    lower = height + 0.35 * (y - 34.0)
    spinous = np.maximum(plane_segment_distance(side, y, (0.0, 35.0), (0.0, 58.0), 3.2), np.abs(lower + 2.0) - 6.5)
    _bone(within, np.minimum(np.minimum(arch, transverse), spinous), tissues, 1.4)

    canal = np.sqrt((x / 9.5) ** 2 + ((y - 22.5) / 8.5) ** 2)
    paint(within, solid_share((canal - 1.0) * 8.5), 12.0)
    paint(within, solid_share((canal - 0.6) * 8.5), 38.0)
    hu[near] = within
