"""Synthetic nodules: smooth and oval with strands passing by, or lobulated with spicules radiating.

In the matched grade only shape tells the two classes apart, and this is by construction, not by tuning:

* The surface is r(direction) = R (1 + s(direction)). Every nodule, of either class, first draws a smooth field of
  degree 2 (an oval). A malignant-like nodule then draws a field of degrees 4 to 8 and takes over, rank by rank over the
  sphere, the oval's values. So the share of the sphere at which the surface lies beyond a radius, which is the mean
  profile of the body along the radius, is the same function for both.
* Every nodule draws the same strands (number, length, width, taper). A malignant-like one lays each along the radius
  from its surface outwards. A benign-like one lays each along its surface, at heights above the surface that are spread
  as the radial strands spread their mass. So mass per height above the surface is the same.

Blur by an isotropic kernel keeps means over spheres equal when they were equal, so the scanner does not undo this.

The easy grade drops both: benign-like nodules are near-spheres without strands, malignant-like ones have long, thick
spicules.
"""

from dataclasses import dataclass, replace

import numpy as np

from .shapes import Tube

GRADES = ("matched", "easy")
DIRECTIONS = 1500  # of the sphere, for ranks and volumes


@dataclass(frozen=True)
class Nodule:
    """One nodule: LPS mm about ``center``, its strands too.

    ``surface`` (latitudes, longitudes) is the body's radius in mm over the sphere; latitude from +S to -S at the rows'
    centers, longitude from L towards P over the columns, periodic.
    """

    center: tuple[float, float, float]
    label: int
    diameter_mm: float
    hu: float
    surface: np.ndarray
    offset: np.ndarray
    strands: tuple[Tube, ...]

    @property
    def reach_mm(self) -> float:
        """Radius of the sphere that holds body and strands."""
        body = self.surface.max() + np.linalg.norm(self.offset)
        strands = [np.max(np.linalg.norm(strand.points, axis=1) + strand.radii) for strand in self.strands]
        return float(max([body, *strands]))


def draw_nodule(rng: np.random.Generator, center, label: int, grade: str, diameter_mm: float, hu: float) -> Nodule:
    """Draw the shape of a nodule of known place, class, size (mm, of the sphere of the body's volume) and density.

    The draws do not depend on the class: a benign-like and a malignant-like nodule of one state of ``rng`` share the
    oval, the strands' number, lengths and widths, and their directions.
    """
    sphere = _sphere(DIRECTIONS)
    oval = _field(rng, degrees=(2,))
    # Lobules of a small nodule are fewer: none is smaller than a scanner shows.
    knobs = _field(rng, degrees=(4, 5) if diameter_mm < 12.0 else (4, 5, 6) if diameter_mm < 18.0 else (4, 5, 6, 7, 8))
    amplitude = rng.uniform(0.12, 0.17)
    spiky = rng.random()
    oval_values = oval(sphere)
    oval_scale = amplitude / max(float(oval_values.std()), 1e-9)
    if grade == "matched":
        values = np.sort(oval_values * oval_scale)
        own = np.sort(knobs(sphere))  # whose place the oval's values take, rank by rank
        field = (lambda d: np.interp(knobs(d), own, values)) if label else (lambda d: oval(d) * oval_scale)
    else:
        knob_scale = 0.16 / max(float(knobs(sphere).std()), 1e-9)
        field = (lambda d: knobs(d) * knob_scale) if label else (lambda d: oval(d) * (0.03 / amplitude) * oval_scale)
    # The mean of cubes is the volume: the diameter is that of the sphere of the same volume.
    mean_radius = 0.5 * diameter_mm / np.cbrt(np.mean((1.0 + field(sphere)) ** 3))

    def radius(directions):
        return mean_radius * (1.0 + field(directions))

    on_sphere = radius(sphere)
    # Odd degrees move the center of mass off the origin; move the body back, so that the point is its center of mass.
    offset = -np.mean(sphere * on_sphere[:, None] ** 4, axis=0) / 4.0 / (np.mean(on_sphere**3) / 3.0)
    strands = _draw_strands(rng, radius, label, grade, diameter_mm, spiky)
    latitudes = (np.arange(48) + 0.5) / 48 * np.pi
    longitudes = np.arange(96) / 96 * 2.0 * np.pi
    sines, cosines = np.sin(latitudes)[:, None], np.cos(latitudes)[:, None]
    axes = (sines * np.cos(longitudes), sines * np.sin(longitudes), cosines)
    rings = np.stack(np.broadcast_arrays(*axes), axis=-1)
    surface = radius(rings.reshape(-1, 3)).reshape(48, 96).astype(np.float32)
    return Nodule(tuple(float(c) for c in center), int(label), float(diameter_mm), float(hu), surface, offset, strands)


def scaled(nodule: Nodule, factor: float) -> Nodule:
    """The same nodule, every length of it multiplied: its volume by the factor's cube."""
    return replace(
        nodule,
        diameter_mm=nodule.diameter_mm * factor,
        surface=nodule.surface * np.float32(factor),
        offset=np.asarray(nodule.offset) * factor,
        strands=tuple(replace(one, points=one.points * factor, radii=one.radii * factor) for one in nodule.strands),
    )


def _sphere(count: int) -> np.ndarray:
    """Directions (count, 3) spread evenly over the sphere along a spiral of golden angles."""
    height = 1.0 - (2.0 * np.arange(count) + 1.0) / count
    turn = np.pi * (1.0 + np.sqrt(5.0)) * np.arange(count)
    flat = np.sqrt(1.0 - height * height)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1)


def _field(rng: np.random.Generator, degrees: tuple[int, ...]):
    """A random smooth function of direction, of zero mean: a sum of Legendre polynomials about random axes."""
    axes = rng.normal(size=(len(degrees), 14, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    weights = rng.normal(size=(len(degrees), 14))

    def field(directions: np.ndarray) -> np.ndarray:
        total = np.zeros(len(directions))
        for degree, axis, weight in zip(degrees, axes, weights, strict=True):
            coefficients = np.zeros(degree + 1)
            coefficients[degree] = 1.0
            total += np.polynomial.legendre.legval(directions @ axis.T, coefficients) @ weight
        return total

    return field


def _draw_strands(rng, radius, label: int, grade: str, diameter_mm: float, spiky: float) -> tuple[Tube, ...]:
    """Radiating spicules (label 1) or strands along the surface (label 0), alike in number, length, width and mass by
    height."""
    if grade == "easy":
        count = round((7 + 0.45 * diameter_mm) * (0.4 + 1.2 * spiky))
        lengths = rng.uniform(6.0, 12.0, count)
        widths = rng.uniform(2.0, 3.0, count)
    else:
        count = round((24 + 1.2 * diameter_mm) * (0.8 + 0.4 * spiky))
        lengths = rng.uniform(3.0, 10.0, count)
        widths = rng.uniform(1.4, 2.0, count)
    directions = _spread_directions(rng, count)
    turns = rng.uniform(0.0, 2.0 * np.pi, count)
    bends = rng.normal(0.0, 0.1, (count, 3))
    heights = _heights(rng, lengths, widths)
    if grade == "easy" and not label:
        return ()
    if label:
        return tuple(
            _spicule(radius, d, length, width, bend)
            for d, length, width, bend in zip(directions, lengths, widths, bends, strict=True)
        )
    return tuple(
        _surface_strand(radius, d, turn, height, length, width)
        for d, turn, height, length, width in zip(directions, turns, heights, lengths, widths, strict=True)
    )


def _spread_directions(rng: np.random.Generator, count: int) -> np.ndarray:
    """Directions (count, 3), evenly spread, randomly turned and disturbed."""
    directions = _sphere(count)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    directions = directions @ rotation + rng.normal(0.0, 0.6 / np.sqrt(count), (count, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _taper(along: np.ndarray, width: float) -> np.ndarray:
    """Radius along a strand, from its thick end (0) to its tip (1)."""
    return 0.5 * width * (1.0 - 0.4 * along)


def _heights(rng, lengths: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """A height above the surface for each strand, so that together they spread their mass as radial strands would.

    A radial strand has the mass pi r(h)^2 dh at height h. The sum over all strands is a density over height; the
    strands get its quantiles, one each, weighted by their own mass.
    """
    grid = np.linspace(0.0, float(lengths.max()), 400)
    along = grid[None, :] / lengths[:, None]
    density = np.where(along <= 1.0, _taper(along, widths[:, None]) ** 2, 0.0).sum(axis=0)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    masses = lengths * widths**2
    order = rng.permutation(len(lengths))
    passed = np.cumsum(masses[order])
    quantiles = np.empty(len(lengths))
    quantiles[order] = (passed - masses[order] * rng.random(len(lengths))) / passed[-1]
    return np.interp(quantiles * cumulative[-1], cumulative, grid)


def _spicule(radius, direction, length: float, width: float, bend) -> Tube:
    """From just under the surface outwards, slightly bent."""
    along = np.linspace(0.0, 1.0, 4)
    sideways = bend - (bend @ direction) * direction
    start = radius(direction[None])[0]
    points = (start + along * length)[:, None] * direction + (along**2 * length)[:, None] * sideways
    return Tube(points, _taper(along, width))


def _surface_strand(radius, direction, turn: float, height: float, length: float, width: float) -> Tube:
    """Along the surface at a constant height above it, centered at the direction."""
    helper = np.array([1.0, 0.0, 0.0]) if abs(direction[0]) < 0.8 else np.array([0.0, 1.0, 0.0])
    first = np.cross(direction, helper)
    first /= np.linalg.norm(first)
    tangent = np.cos(turn) * first + np.sin(turn) * np.cross(direction, first)
    middle = radius(direction[None])[0] + height
    along = np.linspace(0.0, 1.0, 7)
    angles = (along - 0.5) * length / middle
    directions = np.cos(angles)[:, None] * direction + np.sin(angles)[:, None] * tangent
    points = (radius(directions) + height)[:, None] * directions
    return Tube(points, _taper(along, width))
