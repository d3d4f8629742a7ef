"""The phantom: synthetic chest CTs with benign-like and malignant-like nodules, for tests, trials and teaching.

No patient is behind these images. They show that a pipeline works from CT to score; what a model reaches on them says
nothing about patients.

A case is a function of (seed, index) alone: case 17 is the same whether 20 or 2000 are made, in whatever order, in
however many processes. Cases come in pairs of one benign-like and one malignant-like nodule in random order; all other
draws are blind to the class.
"""

from dataclasses import dataclass

import numpy as np
from MAEMCLib.errors import UsageError
from MAEMCLib.images.ct import CTVolume

from .anatomy import CHEST_HIGH, CHEST_LOW, LUNG_ROOTS, Anatomy, draw_anatomy, lung_distance
from .nodule import GRADES, Nodule, draw_nodule
from .scanner import Grid, Scan, nodule_mask, scan_chest

FIELD_MM = {"region": (56.0, 56.0, 56.0), "nodule": (84.0, 84.0, 76.0)}
"""Sides along L, P and S. "region" holds the 50 mm region that models see and little more; "nodule" has room for
shifts."""
SMALLEST_MM, LARGEST_MM = 7.0, 30.0
LOWEST_HU, HIGHEST_HU = -50.0, 80.0


@dataclass(frozen=True)
class PhantomConfiguration:
    """What to draw.

    cases: number of cases. seed: of the whole set.
    grade: "matched" (only shape tells the classes apart; for evaluation) or "easy" (for smoke tests; no claim is made
    from it).
    field: "nodule" (a box of 84 x 84 x 76 mm around the nodule, the default) or "region" (56 mm a side, for quick
    tests).

    Raises UsageError.
    """

    cases: int = 100
    seed: int = 0
    grade: str = "matched"
    field: str = "nodule"

    def __post_init__(self) -> None:
        if self.cases < 1:
            raise UsageError(f"A phantom of {self.cases} cases cannot be written; ask for one or more with --cases.")
        if self.seed < 0:
            raise UsageError(f"The seed {self.seed} is negative; give 0 or more.")
        if self.grade not in GRADES:
            raise UsageError(f"The phantom has no grade '{self.grade}'; choose one of {', '.join(GRADES)}.")
        if self.field not in FIELD_MM:
            raise UsageError(f"The phantom has no field '{self.field}'; choose one of {', '.join(FIELD_MM)}.")


@dataclass(frozen=True)
class Earlier:
    """What a prior CT of a case has of its own. case_id: of the case. days: how long before it. pose: (4, 4) the case's
    LPS mm to those of the prior CT. noise: seed of the noise."""

    case_id: str
    days: int
    pose: np.ndarray
    noise: int


@dataclass(frozen=True)
class CasePlan:
    """Everything that determines a case; no voxel has been computed yet. earlier: None but for a prior CT, whose grid
    and nodules are in the case's LPS mm."""

    case_id: str
    anatomy: Anatomy
    nodules: tuple[Nodule, ...]
    grid: Grid
    scan: Scan
    seed: int
    earlier: Earlier | None = None

    @property
    def nodule(self) -> Nodule:
        """The case's nodule: the first one, where there are several."""
        return self.nodules[0]

    @property
    def patient_id(self) -> str:
        """A case and its prior CT are of one patient."""
        return self.case_id if self.earlier is None else self.earlier.case_id

    @property
    def affine(self) -> np.ndarray:
        """(4, 4): index (i, j, k) to LPS mm of the CT."""
        return self.grid.affine if self.earlier is None else self.earlier.pose @ self.grid.affine

    @property
    def point(self) -> tuple[float, float, float]:
        """The nodule's center in LPS mm of the CT."""
        if self.earlier is None:
            return self.nodule.center
        return tuple((self.earlier.pose[:3, :3] @ self.nodule.center + self.earlier.pose[:3, 3]).tolist())


def plan_case(index: int, configuration: PhantomConfiguration, oblique: bool = False) -> CasePlan:
    """Draw a case's patient, nodule and scan; cheap beside rendering it.

    ``oblique`` turns the scanner's axes by some degrees about the patient's.
    """
    seed = configuration.seed
    anatomy = draw_anatomy(rng_of(seed, index, 1))
    rng = rng_of(seed, index, 2)
    diameter = rng.uniform(SMALLEST_MM, LARGEST_MM)
    density = rng.uniform(LOWEST_HU, HIGHEST_HU)
    center = draw_place(rng, anatomy, 0.5 * diameter)
    nodule = draw_nodule(rng_of(seed, index, 3), center, label_of(index, seed), configuration.grade, diameter, density)
    grid, scan = _draw_scan(rng_of(seed, index, 4), center, configuration.field, oblique)
    noise = int(rng_of(seed, index, 5).integers(2**31))
    # PHANTOM-7-0001 for index 0 of seed 7: cases of two seeds are other patients and can be used together.
    return CasePlan(f"PHANTOM-{seed}-{index + 1:04d}", anatomy, (nodule,), grid, scan, noise)


def render_volume(plan: CasePlan) -> CTVolume:
    """The CT of a plan with any number of nodules."""
    noise = plan.seed if plan.earlier is None else plan.earlier.noise
    array = scan_chest(plan.anatomy, plan.nodules, plan.grid, plan.scan, plan.seed, noise)
    return CTVolume(array, plan.affine, plan.case_id)


def render_mask(plan: CasePlan) -> CTVolume:
    """The body of a plan's nodule without its strands, on the grid of its CT: 1 in voxels that it fills by half."""
    return CTVolume(nodule_mask(plan.nodule, plan.grid), plan.affine, plan.case_id)


def label_of(index: int, seed: int) -> int:
    """0 or 1; each pair of cases (0 and 1, 2 and 3, ...) holds one of each, in an order of its own."""
    first = int(rng_of(seed, index // 2, 0).integers(2))
    return first if index % 2 == 0 else 1 - first


def draw_place(rng: np.random.Generator, anatomy: Anatomy, radius_mm: float) -> tuple[float, float, float]:
    """A point (LPS mm) in a lung where a nodule of this radius touches neither pleura nor hilum."""
    low, high = np.array([-130.0, -90.0, -130.0]), np.array([130.0, 98.0, 125.0])
    roots = anatomy.patient(np.array(list(LUNG_ROOTS.values())))
    while True:
        points = anatomy.patient(rng.uniform(low, high, (64, 3)))
        deep = -lung_distance(points, anatomy) > radius_mm + 3.0
        away = np.linalg.norm(points[:, None] - roots, axis=-1).min(axis=1) > radius_mm + 32.0
        fit = np.flatnonzero(deep & away)
        if len(fit):
            return tuple(float(c) for c in points[fit[0]])


def rng_of(seed: int, index: int, stream: int) -> np.random.Generator:
    """The random numbers of one subject of a case, whatever else is drawn."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, index, stream])))


def _draw_scan(rng: np.random.Generator, center, field: str, oblique: bool) -> tuple[Grid, Scan]:
    pixel = rng.uniform(0.6, 0.9)
    thickness = rng.uniform(1.0, 2.5)
    # Some protocols reconstruct overlapping slices.
    overlap = rng.random() < 0.25
    step = max(1.0, 0.7 * thickness) if overlap else thickness
    scan = Scan(
        blur_mm=rng.uniform(0.3, 0.6),
        noise_hu=rng.uniform(8.0, 28.0),
        grain_mm=rng.uniform(0.35, 0.75),
    )
    direction = _turned(rng.uniform(8.0, 15.0), rng.uniform(5.0, 10.0)) if oblique else np.eye(3)
    # The nodule is not quite in the middle of the field, nor on a voxel.
    room = 0.5 * min(FIELD_MM[field]) - 26.0
    middle = np.asarray(center) + rng.uniform(-0.3, 0.3, 3) * room
    return centered_grid(middle, FIELD_MM[field], (pixel, pixel, step), direction, thickness), scan


def _turned(about_l: float, about_p: float) -> np.ndarray:
    """Axes (columns) turned about L, then P, by degrees."""
    a, b = np.deg2rad([about_l, about_p])
    first = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    second = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return second @ first


def chest_grid(anatomy: Anatomy, pixel: float, step: float) -> Grid:
    """A grid that holds the whole chest; pixel, and step between slices and their thickness, in mm."""
    low, high = anatomy.patient(np.array(CHEST_LOW)), anatomy.patient(np.array(CHEST_HIGH))
    return centered_grid(0.5 * (low + high), high - low, (pixel, pixel, step), np.eye(3), step)


def centered_grid(middle, sides, spacing, direction: np.ndarray, thickness: float) -> Grid:
    """A grid about a point (LPS mm) that spans at least the sides (mm)."""
    size = tuple(int(np.ceil(side / s)) for side, s in zip(sides, spacing, strict=True))
    origin = np.asarray(middle) - direction @ (0.5 * np.asarray(spacing) * (np.asarray(size) - 1))
    return Grid(size, spacing, tuple(float(c) for c in origin), direction, thickness)
