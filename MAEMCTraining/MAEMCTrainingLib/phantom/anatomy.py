"""A synthetic chest as continuous functions of position: its lungs, and which tissue lies where.

Everything is a function of points rather than a painted grid, so that a small field around a nodule and the whole chest
are the same patient, sampled where somebody looks. Frame: LPS millimeters, the origin in the middle of the chest at the
level of the carina. Shapes are written for a template patient; each patient's scale stretches it. The proportions are
plain textbook anatomy, rounded: they need to look right to a radiologist, not to measure any one person.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .chest_wall import chest_wall_hu
from .mediastinum import may_be_mediastinum, mediastinum_distance, mediastinum_hu
from .shapes import AIR_HU, cage_distance, paint, solid_share

# What a chest CT shows, from the upper abdomen to above the apices, and the box around the lungs (template mm).
CHEST_LOW, CHEST_HIGH = (-185.0, -122.0, -145.0), (185.0, 150.0, 130.0)
LUNGS_LOW, LUNGS_HIGH = (-135.0, -95.0, -150.0), (135.0, 100.0, 132.0)
LUNG_ROOTS = {"right": (-44.0, 16.0, -4.0), "left": (48.0, 20.0, -2.0)}


@dataclass(frozen=True)
class Tissues:
    """Mean HU of the tissues of one patient."""

    lung: float = -860.0
    fat: float = -100.0
    muscle: float = 52.0
    blood: float = 45.0
    myocardium: float = 50.0
    liver: float = 58.0
    marrow: float = 190.0
    cortex: float = 720.0


@dataclass(frozen=True)
class Anatomy:
    """One patient: stretch of the template along L, P and S, tissue densities, thickness of fat (mm), the heart's
    size, height of the diaphragm (mm against the template's), and the seed of the lung's fine texture."""

    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tissues: Tissues = Tissues()
    fat_mm: float = 12.0
    heart_scale: float = 1.0
    diaphragm_mm: float = 0.0
    texture_seed: int = 0

    def patient(self, points: np.ndarray) -> np.ndarray:
        """Template points (..., 3) to the patient's LPS mm."""
        return points * np.asarray(self.scale)


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw a patient: build, inspiration, tissue densities, and whether contrast was given."""
    size = rng.normal(1.0, 0.05)
    scale = np.clip(size * rng.normal(1.0, 0.025, 3), 0.88, 1.13)
    contrast = rng.random() < 0.4
    blood = rng.uniform(120.0, 210.0) if contrast else rng.uniform(38.0, 52.0)
    tissues = Tissues(
        lung=rng.uniform(-885.0, -825.0),
        fat=rng.uniform(-112.0, -92.0),
        muscle=rng.uniform(46.0, 62.0),
        blood=blood,
        myocardium=rng.uniform(80.0, 110.0) if contrast else rng.uniform(44.0, 54.0),
        liver=rng.uniform(80.0, 115.0) if contrast else rng.uniform(50.0, 66.0),
        marrow=rng.uniform(120.0, 260.0),
        cortex=rng.uniform(560.0, 850.0),
    )
    return Anatomy(
        scale=tuple(float(s) for s in scale),
        tissues=tissues,
        fat_mm=rng.uniform(6.0, 20.0),
        heart_scale=rng.uniform(0.9, 1.1),
        diaphragm_mm=rng.uniform(-8.0, 8.0),
        texture_seed=int(rng.integers(2**31)),
    )


def diaphragm_distance(x, y, z, anatomy: Anatomy):
    """Millimeters below the domes of the diaphragm (negative above), template frame."""
    right = -70.0 - 0.0105 * (x + 64.0) ** 2 - 0.0085 * (y + 8.0) ** 2
    left = -84.0 - 0.0105 * (x - 66.0) ** 2 - 0.0085 * (y + 8.0) ** 2
    dome = np.maximum(right, left) + anatomy.diaphragm_mm
    slope = np.sqrt(1.0 + (0.017 * (y + 8.0)) ** 2 + 0.25)
    return (dome - z) / slope


def lung_distance(points: np.ndarray, anatomy: Anatomy) -> np.ndarray:
    """Signed distance (mm, approximate) of patient points (N, 3) to the pleura of the nearer lung: negative inside a
    lung."""
    x, y, z = np.moveaxis(np.asarray(points, dtype=np.float64) / np.asarray(anatomy.scale), -1, 0)
    cage = cage_distance(x, y, z)
    return np.maximum(np.maximum(cage, -mediastinum_distance(x, y, z, anatomy)), diaphragm_distance(x, y, z, anatomy))


def tissue_hu(x: np.ndarray, y: np.ndarray, z: np.ndarray, anatomy: Anatomy) -> np.ndarray:
    """HU at patient points, without the lungs' vessels and without nodules.

    ``x``, ``y``, ``z`` are LPS mm, of any shapes that broadcast together (three axes of an aligned grid cost the
    least); returns float32 of the broadcast shape. The costly parts (wall, mediastinum, abdomen) are evaluated only
    where they can lie.
    """
    tissues = anatomy.tissues
    x, y, z = (np.asarray(axis / s, dtype=np.float32) for axis, s in zip((x, y, z), anatomy.scale, strict=True))
    cage = cage_distance(x, y, z)
    below = diaphragm_distance(x, y, z, anatomy)
    hu = np.full(cage.shape, tissues.lung, dtype=np.float32)
    # The dependent lung is denser: a supine patient's blood and collapse lie behind.
    hu += np.float32(0.35) * y
    coordinates = [np.broadcast_to(axis, cage.shape) for axis in (x, y, z)]

    def evaluate(tissue: Callable[..., np.ndarray], where: np.ndarray, *depths: np.ndarray) -> None:
        if where.any():
            hu[where] = tissue(*(values[where] for values in (*coordinates, *depths, hu)), anatomy)

    evaluate(mediastinum_hu, (cage < 4.0) & may_be_mediastinum(x, y, z, anatomy))
    _paint_fissures(hu, coordinates, cage)
    evaluate(_abdomen_hu, (below > -1.5) & (cage < 3.0), below)
    # The vertebrae bulge forward into the cage: they belong to the wall's evaluation as well.
    evaluate(chest_wall_hu, (cage > -1.5) | ((cage > -60.0) & (np.abs(x) < 45.0) & (y > 25.0)), cage)
    return hu


def _paint_fissures(hu: np.ndarray, coordinates: list[np.ndarray], cage: np.ndarray) -> None:
    """Interlobar fissures: the oblique ones of both lungs and the horizontal one of the right, under a millimeter of
    pleura."""
    x, y, z = coordinates
    oblique = 0.794 * (y - 8.0) - 0.607 * (z + 22.0) + 4.0 * np.sin(x / np.float32(31.0))
    near = (np.abs(oblique) < 2.0) & (hu < -700.0)
    hu[near] += 130.0 * np.exp(-((oblique[near] / 0.8) ** 2))
    horizontal = z - 4.0 + 0.08 * y - 3.0 * np.cos(x / np.float32(25.0))
    near = (np.abs(horizontal) < 2.0) & (oblique < 0.0) & (x < -20.0) & (hu < -700.0)
    hu[near] += 110.0 * np.exp(-((horizontal[near] / 0.8) ** 2))


def _abdomen_hu(x, y, z, below, hu, anatomy: Anatomy) -> np.ndarray:
    """Liver under the right dome, stomach and spleen under the left, fat between; ``below`` is the depth under the
    diaphragm."""
    tissues = anatomy.tissues
    inside = np.full(x.shape, tissues.fat, dtype=np.float32)
    liver = np.maximum(x - 28.0 - 0.25 * (y + 90.0), -below + 2.0)
    paint(inside, solid_share(liver), tissues.liver)
    spleen = np.sqrt(((x - 92.0) / 34.0) ** 2 + ((y - 48.0) / 46.0) ** 2 + ((z + 128.0) / 38.0) ** 2)
    paint(inside, solid_share((spleen - 1.0) * 34.0), 0.85 * tissues.liver)
    stomach = np.sqrt(((x - 66.0) / 42.0) ** 2 + ((y + 14.0) / 46.0) ** 2 + ((z + 130.0) / 40.0) ** 2)
    paint(inside, solid_share((stomach - 1.0) * 40.0), 40.0)
    paint(inside, solid_share((stomach - 0.93) * 40.0), 12.0)
    # Gas rises to the front in a supine patient.
    paint(inside, solid_share(np.maximum((stomach - 0.93) * 40.0, y + 30.0)), AIR_HU)
    paint(inside, solid_share(below - 2.5), tissues.muscle)  # the diaphragm itself
    share = solid_share(-below)
    return (hu + share * (inside - hu)).astype(np.float32)
