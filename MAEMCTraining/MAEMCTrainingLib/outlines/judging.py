"""What the outlines are worth on the nodules of patients that were held out: a record a nodule."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.measures.axes import axes
from MAEMCLib.measures.field import field_about
from MAEMCLib.measures.mask import largest_part
from MAEMCLib.measures.measured import MeasuredNodule, measured
from MAEMCLib.measures.outline import Outliner

from .planes import Lesion
from .readers import dice, others_dice, reader_dice

CLICK_MM = 2.0
"""How far beside a nodule's middle it is clicked at most."""


@dataclass(frozen=True)
class Judged:
    """A nodule, its truth and what was outlined.

    truth_mm, found_mm: mean of the long and the short axis; truth_sphere_mm, found_sphere_mm: of the sphere of the
    volume; found: NaN where nothing was outlined. dice: to the consensus. others: to the consensus of all readers but
    one, beside ``reader``, one reader to the same; NaN of a single reader. constant: dice of a ball of ``constant_mm``
    about the click. seconds: of the network.
    """

    name: str
    patient: str
    readers: int
    spacing_mm: float
    truth_mm: float
    found_mm: float
    truth_sphere_mm: float
    found_sphere_mm: float
    dice: float
    others: float
    reader: float
    constant: float
    height_mm: float
    status: str
    seconds: float

    @property
    def error_mm(self) -> float:
        """Of the mean diameter, infinite where nothing was outlined."""
        return abs(self.found_mm - self.truth_mm) if np.isfinite(self.found_mm) else np.inf

    @property
    def sphere_error_mm(self) -> float:
        """Of the diameter of the sphere of the volume."""
        return abs(self.found_sphere_mm - self.truth_sphere_mm) if np.isfinite(self.found_sphere_mm) else np.inf


def judge(
    outliner: Outliner, found: list[Lesion], constant_mm: float, seed: int, progress: Callable[[int, int], None]
) -> list[Judged]:
    """Every lesion clicked once, up to CLICK_MM beside its middle. constant_mm: the diameter guessed for all."""
    judged = []
    for number, lesion in enumerate(found):
        image, marks = lesion.image, lesion.marks()
        truth = lesion.consensus().array > 0
        if truth.any():
            point = clicked(image, truth, np.random.default_rng((seed, number)))
            judged.append(_judged(outliner, lesion, image, marks.array.astype(int), truth, point, constant_mm))
        progress(number + 1, len(found))
    return judged


def clicked(image: CTVolume, truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(3,) LPS mm: a place in the volume, evenly drawn from the ball of CLICK_MM about the middle of the truth."""
    middle = np.argwhere(truth).mean(axis=0)[::-1]
    while True:
        aside = random.uniform(-CLICK_MM, CLICK_MM, 3)
        if np.linalg.norm(aside) <= CLICK_MM:
            index = image.to_index(image.to_lps(middle) + aside)
            return image.to_lps(index.clip(0, image.size - 1))


def outlined(outliner: Outliner, image: CTVolume, point: np.ndarray) -> tuple[MeasuredNodule | None, float]:
    """What is found at a point, and the seconds that the network took."""
    field = field_about(image, point)
    started = time.perf_counter()
    logits = outliner.logits(field.planes, field.first_mm, field.step_mm)
    seconds = time.perf_counter() - started
    try:
        return measured(field, logits), seconds
    except InputError:
        return None, seconds


def sizes(mask: np.ndarray, affine: np.ndarray) -> tuple[float, float]:
    """Mean diameter and diameter of the sphere of the volume, mm, of the largest part of a mask."""
    part = largest_part(mask)
    found = axes(part, affine)
    volume = float(part.sum() * abs(np.linalg.det(affine[:3, :3])))
    return (found.long_mm + found.short_mm) / 2, (6 * volume / np.pi) ** (1 / 3)


def _judged(
    outliner: Outliner,
    lesion: Lesion,
    image: CTVolume,
    marks: np.ndarray,
    truth: np.ndarray,
    point: np.ndarray,
    constant_mm: float,
) -> Judged:
    nodule, seconds = outlined(outliner, image, point)
    mask = np.zeros_like(truth) if nodule is None else nodule.on(image) > 0
    several = lesion.readers > 1
    diameter, sphere = sizes(truth, image.affine)
    return Judged(
        name=lesion.row["file"].removesuffix(".nrrd"),
        patient=lesion.patient,
        readers=lesion.readers,
        spacing_mm=image.slice_spacing,
        truth_mm=diameter,
        found_mm=np.nan if nodule is None else nodule.measures.mean_diameter_mm,
        truth_sphere_mm=sphere,
        found_sphere_mm=np.nan if nodule is None else nodule.measures.equivalent_diameter_mm,
        dice=dice(mask, truth),
        others=others_dice(mask, marks, lesion.readers) if several else np.nan,
        reader=reader_dice(marks, lesion.readers) if several else np.nan,
        constant=dice(_ball(image, point, constant_mm), truth),
        height_mm=len(image.array) * image.slice_spacing,
        status="none" if nodule is None else nodule.measures.status,
        seconds=seconds,
    )


def _ball(image: CTVolume, point: np.ndarray, diameter_mm: float) -> np.ndarray:
    k, j, i = np.indices(image.array.shape)
    places = image.to_lps(np.stack([i, j, k], axis=-1))
    return np.linalg.norm(places - point, axis=-1) <= diameter_mm / 2
