"""Distances and soft edges from which the synthetic chest is built; template frame, LPS millimeters.

A distance is negative inside a shape. Points come as separate coordinate arrays, because most shapes look at two of the
three and aligned grids then broadcast.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

AIR_HU = -1000.0
EDGE_MM = 1.0


@dataclass(frozen=True)
class Tube:
    """A vessel, an airway, a nodule's strand: M corner points (L, P, S in mm) and its radius at each (mm)."""

    points: Sequence[Sequence[float]] | np.ndarray
    radii: Sequence[float] | np.ndarray


def solid_share(distance: np.ndarray, edge_mm: float = EDGE_MM) -> np.ndarray:
    """Share of a voxel within a shape, from the distance of its center: a linear ramp ``edge_mm`` wide."""
    return np.clip(np.float32(0.5) - distance / np.float32(edge_mm), 0.0, 1.0)


def paint(hu: np.ndarray, share: np.ndarray, value) -> None:
    """Mix ``value`` into ``hu`` in place by the share of each voxel that it fills."""
    hu += share * (value - hu)


def smooth_union(first: np.ndarray, second: np.ndarray, fillet_mm: float) -> np.ndarray:
    """Distance of two shapes together, the crease between them filled: fat fills the corners between vessels."""
    overlap = np.maximum(fillet_mm - np.abs(first - second), 0.0)
    return np.minimum(first, second) - overlap * overlap / (4.0 * fillet_mm)


def segment_distance(x, y, z, start, end, radius_start: float, radius_end: float) -> np.ndarray:
    """Distance to a tapering tube with round ends between two points (3,) each, in mm."""
    direction = np.subtract(end, start, dtype=np.float64)
    length_squared = max(float(direction @ direction), 1e-9)
    dx, dy, dz = x - np.float32(start[0]), y - np.float32(start[1]), z - np.float32(start[2])
    ux, uy, uz = (np.float32(c) for c in direction)
    along = np.clip((dx * ux + dy * uy + dz * uz) / np.float32(length_squared), 0.0, 1.0)
    dx, dy, dz = dx - along * ux, dy - along * uy, dz - along * uz
    reach = np.float32(radius_start) + along * np.float32(radius_end - radius_start)
    return np.sqrt(dx * dx + dy * dy + dz * dz) - reach


def plane_segment_distance(x, y, start, end, radius: float) -> np.ndarray:
    """Distance, in the plane of two coordinates, to a stroke of the given half-width."""
    return segment_distance(x, y, np.float32(0.0), (*start, 0.0), (*end, 0.0), radius, radius)


def oval_distance(u: np.ndarray, v: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Distance along the ray from the center to a rounded oval (between an ellipse and a box), u and v in its
    half-axes."""
    u2, v2 = u * u, v * v
    reach = np.sqrt(0.55 * (u2 + v2) + 0.45 * np.sqrt(u2 * u2 + v2 * v2))
    return radius - radius / np.maximum(reach, 1e-3)


def cage_axes(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half-widths along L and P and center along P of the space inside the ribs at height z (template mm)."""
    height = np.clip((z + 100.0) / 231.0, 0.0, 0.997)
    taper = np.sqrt(1.0 - height**2.4)
    half_l = 131.0 * taper
    half_p = 87.0 * np.sqrt(1.0 - height**3)
    center_p = 6.0 + 6.0 * height * height
    return half_l.astype(np.float32), half_p.astype(np.float32), center_p.astype(np.float32)


def cage_distance(x, y, z) -> np.ndarray:
    """Distance in the axial plane to the inside of the rib cage: negative within, also above the lungs' apices
    positive."""
    half_l, half_p, center_p = cage_axes(z)
    y = y - center_p
    distance = oval_distance(x / half_l, y / half_p, np.sqrt(x * x + y * y))
    return np.maximum(distance, z - np.float32(130.0))
