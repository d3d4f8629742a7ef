"""Which tissue each pixel of an axial slice of a lung shows, by rules on attenuation and shape."""

from __future__ import annotations

import numpy as np

KINDS = ("vessel", "fissure", "wall", "mediastinum", "lung")
"""vessel: thin soft tissue in the lung (airway walls count with them). fissure: a faint line of lung. wall: chest wall
with its pleura. mediastinum: broad soft tissue without bone near it, mediastinum, heart or diaphragm. lung: the rest of
what is aerated."""
SOFT_HU, BONE_HU, LUNG_HU, OUTSIDE_HU = -500.0, 250.0, -650.0, -940.0
"""Above, below which smoothed attenuation counts as what the names say; air outside of the patient is darkest."""
THICK_MM, PLEURA_MM, APART_MM = 5.0, 2.0, 3.0
"""What holds a disk of this radius is no vessel; how far pleura reaches into the lung; how far from it vessels
count."""
BONE_MM2, BROAD_MM2 = 15.0, 150.0
LINE_HU, LINE_MM = 25.0, 12.0
"""How much brighter than its surroundings a fissure is, and how long it has to be seen."""


def tissue_masks(hu: np.ndarray, pixel_mm: float) -> dict[str, np.ndarray]:
    """(rows, columns) HU of one axial slice -> a bool mask for each of KINDS; none overlaps another."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(hu.astype(np.float32), 0.6 / pixel_mm)
    soft = smooth > SOFT_HU
    body = _opened(soft, THICK_MM / pixel_mm)
    away = ndimage.distance_transform_edt(~body, sampling=pixel_mm) if body.any() else np.full(hu.shape, np.inf)
    masks = dict.fromkeys(KINDS, np.zeros(hu.shape, bool))
    masks["wall"], masks["mediastinum"] = _of_body(body, away, hu, pixel_mm)
    vessel = soft & (away > APART_MM)
    inside = ndimage.gaussian_filter(smooth, 2.0 / pixel_mm) > OUTSIDE_HU
    line = ~soft & (away > APART_MM) & inside & _faint_lines(smooth, soft, pixel_mm)
    near = ndimage.distance_transform_edt(~(vessel | line | body), sampling=pixel_mm) > PLEURA_MM
    return masks | {"vessel": vessel, "fissure": line, "lung": (smooth < LUNG_HU) & near & inside}


def _opened(mask: np.ndarray, radius: float) -> np.ndarray:
    """Where a disk of a radius (pixels) fits into a mask; beyond the image it goes on as at its border."""
    from scipy import ndimage

    margin = int(np.ceil(radius)) + 1
    wide = np.pad(mask, margin, mode="edge")
    core = ndimage.distance_transform_edt(np.pad(wide, 1, mode="edge"))[1:-1, 1:-1] > radius
    grown = ndimage.distance_transform_edt(~core) <= radius if core.any() else core
    return (grown & wide)[margin:-margin, margin:-margin]


def _of_body(body: np.ndarray, away: np.ndarray, hu: np.ndarray, pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Of broad soft tissue with its pleura what is chest wall, which shows bone, and what is mediastinum."""
    from scipy import ndimage

    wall, mediastinum = np.zeros(body.shape, bool), np.zeros(body.shape, bool)
    parts, count = ndimage.label(body)
    if not count:
        return wall, mediastinum
    nearest = ndimage.distance_transform_edt(~body, return_distances=False, return_indices=True)
    owner = np.where(away <= PLEURA_MM, parts[tuple(nearest)], 0)
    for part in range(1, count + 1):
        within = parts == part
        if within.sum() * pixel_mm**2 < BROAD_MM2:
            continue
        bony = (within & (hu > BONE_HU)).sum() * pixel_mm**2 >= BONE_MM2
        (wall if bony else mediastinum)[owner == part] = True
    return wall, mediastinum


def _faint_lines(smooth: np.ndarray, soft: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Pixels of long thin lines that are a little brighter than the lung about them and no brighter than SOFT_HU."""
    from scipy import ndimage

    scale = 1.0 / pixel_mm
    rr, cc, rc = (ndimage.gaussian_filter(smooth, scale, order) for order in ((2, 0), (0, 2), (1, 1)))
    middle, half = (rr + cc) / 2, np.hypot((rr - cc) / 2, rc)
    across, along = middle - half, middle + half  # across a bright line the second derivative is far below zero
    ridge = (-across * scale**2 > LINE_HU) & (np.abs(along) < 0.4 * -across) & ~soft
    parts, _ = ndimage.label(ridge, np.ones((3, 3)))
    found = np.zeros(ridge.shape, bool)
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        rows, columns = (side.stop - side.start for side in box)
        if np.hypot(rows, columns) * pixel_mm >= LINE_MM:
            found[box] |= parts[box] == number
    return found
