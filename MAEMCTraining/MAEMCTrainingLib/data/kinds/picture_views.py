"""What training sees of 2-D pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from MAEMCLib.images.gray import crop_resized, crop_rotated
from MAEMCLib.inputs.view import PicturePreprocessing, normalize_gray, shown

from ...engine.configuration import PictureAugmentation
from ...engine.rng import generator
from .crops import random_crop, turned
from .kind import Cases, Presentation
from .stored_pictures import gray_of, lesion_of


class PicturePresentation(Presentation):
    """2-D pictures: light views and strong crops of ``PictureAugmentation``."""

    planes = ("picture",)

    def __init__(
        self, cohort: Cases, augmentation: PictureAugmentation, preprocessing: PicturePreprocessing, side: int
    ) -> None:
        super().__init__(cohort, augmentation, preprocessing, side)
        self.pictures = [(case, place) for case in range(len(cohort)) for place in range(self._count(case))]
        self.samples_per_view = len(self.pictures)

    def case_of(self, item: int) -> int:
        """An item is a picture."""
        return self.pictures[item][0]

    def views(
        self, kind: str, item: int, seed: int, epoch: int, sample: int, number: int
    ) -> tuple[list[np.ndarray], float]:
        """The paper's 40 views are of montages; a picture's are all drawn."""
        gray = gray_of(self.cohort, *self.pictures[item])
        rng = generator(seed, "picture", epoch, sample)
        if kind in ("one", "shifted"):
            images = [light.of(gray) for light in self._lights(len(gray), rng, 2 if kind == "shifted" else 1)]
        else:
            recipe, side = self.augmentation, self.side
            images = [self._strong(gray, recipe.crop_area, side, rng) for _ in range(2)]
            if kind == "multi-crop":
                small = max(32, round(recipe.small_side * side))
                images += [self._strong(gray, recipe.small_area, small, rng) for _ in range(recipe.small_crops)]
        return [normalize_gray(image, self.preprocessing) for image in images], 0.0

    def training_image(self, case: int, plane: int, seed: int, epoch: int, sample: int) -> tuple[np.ndarray, float]:
        """One of the case's pictures, drawn anew each epoch."""
        rng = generator(seed, "picture", epoch, sample)
        place = int(rng.integers(self._count(case)))
        gray = gray_of(self.cohort, case, place)
        (light,) = self._lights(len(gray), rng, 1)
        return normalize_gray(light.of(gray), self.preprocessing), 0.0

    def lesion(self, item: int, seed: int, epoch: int, sample: int) -> np.ndarray | None:
        """(S, S) bool: where the lesion lies in the first light view of ``views``; None where none is marked."""
        mask = lesion_of(self.cohort, *self.pictures[item])
        if mask is None:
            return None
        light = self._lights(len(mask), generator(seed, "picture", epoch, sample), 1)[0]
        return replace(light, gain=1.0).of(mask.astype(np.float32)) > 0

    def plain(self, case: int) -> np.ndarray:
        """(pictures times angles, S, S): the central view of each."""
        pictures = [gray_of(self.cohort, case, place) for place in range(self._count(case))]
        return np.concatenate([shown(gray, self.preprocessing) for gray in pictures])

    def upright(self) -> PicturePresentation:
        """The same, with every picture shown plain at one angle."""
        return PicturePresentation(self.cohort, self.augmentation, replace(self.preprocessing, angles=1), self.side)

    def lesions(self) -> list[np.ndarray]:
        """(S, S) bool of each picture with a marked lesion, seen without augmentation."""
        calm = replace(self.augmentation, shift_share=0.0, zoom=0.0, flip=False, turn=False, tilt=0.0)
        plain = PicturePresentation(self.cohort, calm, self.preprocessing, self.side)
        masks = (plain.lesion(item, 0, 0, 0) for item in range(plain.samples_per_view))
        return [mask for mask in masks if mask is not None]

    def _count(self, case: int) -> int:
        return len(self.cohort.cases[case].facts.pictures)

    def _lights(self, stored: int, rng: np.random.Generator, times: int) -> list[_Light]:
        """The same turn, tilt, zoom and gain ``times`` times, each with a shift of its own."""
        recipe = self.augmentation
        turns, flip = int(rng.integers(4)) * recipe.turn, bool(rng.integers(2)) and recipe.flip
        width = stored * self.preprocessing.view_share
        zoomed = min(stored * 1.0, width * rng.uniform(1 - recipe.zoom, 1 + recipe.zoom))
        gain = rng.uniform(1 - recipe.gain, 1 + recipe.gain)
        moved = [rng.uniform(-recipe.shift_share, recipe.shift_share, 2) * width for _ in range(times)]
        tilt = rng.uniform(-recipe.tilt, recipe.tilt)
        side, half = self.side, stored / 2
        return [_Light((half + down, half + right), zoomed, side, turns, flip, gain, tilt) for down, right in moved]

    def _strong(self, gray: np.ndarray, area: tuple[float, ...], side: int, rng: np.random.Generator) -> np.ndarray:
        from scipy.ndimage import gaussian_filter  # not in Slicer, whose panel lists the kinds

        recipe = self.augmentation
        width = round(len(gray) * self.preprocessing.view_share)
        first = (len(gray) - width) // 2
        image = random_crop(gray[first : first + width, first : first + width], area, side, rng)
        image = turned(image, int(rng.integers(4)) * recipe.turn, bool(rng.integers(2)) and recipe.flip)
        if rng.random() < 0.8:
            brightness, contrast = rng.uniform(1 - recipe.jitter, 1 + recipe.jitter, 2)
            image = (image * brightness - image.mean() * brightness) * contrast + image.mean() * brightness
        if recipe.blur and rng.random() < 0.5:
            image = gaussian_filter(image, rng.uniform(0.1, 2.0) * side / 224)
        return np.clip(image, 0.0, 1.0).astype(np.float32)


@dataclass(frozen=True)
class _Light:
    """One light view: its crop, how it is turned, how bright it is."""

    middle: tuple[float, float]
    width: float
    side: int
    turns: int
    flip: bool
    gain: float
    tilt: float

    def of(self, gray: np.ndarray) -> np.ndarray:
        """(S, S) of a stored picture in [0, 1]."""
        if self.tilt:
            image = crop_rotated(gray, self.middle, self.width, self.side, self.tilt)
        else:
            image = crop_resized(gray, self.middle, self.width, self.side)
        return np.clip(turned(image, self.turns, self.flip) * self.gain, 0.0, 1.0)
