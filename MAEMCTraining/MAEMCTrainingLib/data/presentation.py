"""What training sees of a case: the one place where cases become network input.

A presentation gives the same three things of nodules in CT and of 2-D pictures: the views of one sample for a
pre-training method, an augmented image for a classifier, and the plain images that scoring would see. Every draw is
keyed by seed, epoch and sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.images.gray import STORED_SIDE, look, look_turned, normalize_gray, shown
from MAEMCLib.inputs.montage import from_montage, normalize, resized
from MAEMCLib.inputs.region import SIDE, SLICES
from MAEMCLib.inputs.settings import PicturePreprocessing, Preprocessing
from scipy.ndimage import gaussian_filter

from ..engine.configuration import Augmentation, PictureAugmentation
from ..engine.rng import generator
from .augmentation import View, crop, draw_view, montage, moved
from .cohort import Cohort, NoduleCohort, PictureCohort

VIEWS = {
    "one": "one image: the axial montage, or a light view of a picture",
    "pair": "axial and coronal montage of a nodule, or two strong crops of a picture",
    "shifted": "the same image twice, a little shifted",
    "multi-crop": "a pair and small crops",
}
Settings = Preprocessing | PicturePreprocessing


class Presentation(Protocol):
    """planes: names of what a case's features are kept of. samples_per_view: how many samples one view of all makes."""

    planes: tuple[str, ...]
    samples_per_view: int

    def case_of(self, item: int) -> int:
        """The case of one of the ``samples_per_view``."""
        ...

    def views(
        self, kind: str, item: int, seed: int, epoch: int, sample: int, number: int
    ) -> tuple[list[np.ndarray], float]:
        """Images (S, S) float32 of a kind in ``VIEWS``, and the padded share. number: of the view among the item's."""
        ...

    def training_image(self, case: int, plane: int, seed: int, epoch: int) -> tuple[np.ndarray, float]:
        """(S, S) float32, augmented, and the padded share."""
        ...

    def plain(self, case: int) -> np.ndarray:
        """(images, S, S) float32 without augmentation: both planes of a nodule, or all pictures of a case at all angles
        that scoring shows them at."""
        ...


def present(
    cohort: Cohort, augmentation: Augmentation | PictureAugmentation, preprocessing: Settings, side: int
) -> MontagePresentation | PicturePresentation:
    """The presentation of a cohort at the encoder's side in pixels."""
    if isinstance(cohort, PictureCohort):
        return PicturePresentation(cohort, augmentation, preprocessing)
    return MontagePresentation(cohort, augmentation, preprocessing, side)


class MontagePresentation:
    """Nodules as montages of 25 axial and 25 coronal slices."""

    planes = ("axial", "coronal")

    def __init__(
        self, cohort: NoduleCohort, augmentation: Augmentation, preprocessing: Preprocessing, side: int
    ) -> None:
        self.cohort, self.augmentation, self.preprocessing, self.side = cohort, augmentation, preprocessing, side
        self.samples_per_view = len(cohort)

    def case_of(self, item: int) -> int:
        """An item is a case."""
        return item

    def views(
        self, kind: str, item: int, seed: int, epoch: int, sample: int, number: int
    ) -> tuple[list[np.ndarray], float]:
        """Small crops are squares of either plane's montage."""
        view = draw_view(self.augmentation, self.cohort.slice_step_mm, seed, epoch, sample, number)
        if kind == "one":
            shown = [(0, view)]
        elif kind == "shifted":
            shown = [(0, view), (0, moved(view, self.augmentation, self.cohort.slice_step_mm, seed, epoch, sample))]
        else:
            shown = [(0, view), (1, view)]
        parts = [self._montage(item, plane, what) for plane, what in shown]
        images = [image for image, _ in parts]
        if kind == "multi-crop":
            draws = generator(seed, "small-crops", epoch, sample)
            recipe = PictureAugmentation()
            small = round(recipe.small_side * len(images[0]))
            images += [
                _random_crop(images[count % 2], recipe.small_area, small, draws) for count in range(recipe.small_crops)
            ]
        return images, sum(padded for _, padded in parts) / len(parts)

    def training_image(self, case: int, plane: int, seed: int, epoch: int) -> tuple[np.ndarray, float]:
        """With the paper's 40 views one is drawn each epoch; an epoch shows every case once in each plane."""
        sample = 2 * case + plane
        number = int(generator(seed, "view-number", epoch, sample).integers(40))
        view = draw_view(self.augmentation, self.cohort.slice_step_mm, seed, epoch, sample, number)
        return self._montage(case, plane, view)

    def plain(self, case: int) -> np.ndarray:
        """(2, S, S): axial and coronal, as scoring sees them."""
        return np.stack([self._montage(case, plane, View())[0] for plane in (0, 1)])

    def _montage(self, case: int, plane: int, view: View) -> tuple[np.ndarray, float]:
        image, padded = montage(self.cohort.stacks(case), plane, view, self.preprocessing)
        if self.augmentation.mode == "single":
            middle = from_montage(image)[SLICES // 2]
            return look(middle, (SIDE / 2, SIDE / 2), SIDE, self.side), padded
        return resized(image, self.side), padded


class PicturePresentation:
    """2-D pictures: light views and strong crops of ``PictureAugmentation``."""

    planes = ("picture",)

    def __init__(
        self, cohort: PictureCohort, augmentation: PictureAugmentation, preprocessing: PicturePreprocessing
    ) -> None:
        self.cohort, self.augmentation, self.preprocessing = cohort, augmentation, preprocessing
        self.samples_per_view = len(cohort.pictures)

    def case_of(self, item: int) -> int:
        """An item is a picture."""
        return self.cohort.pictures[item][0]

    def views(
        self, kind: str, item: int, seed: int, epoch: int, sample: int, number: int
    ) -> tuple[list[np.ndarray], float]:
        """The paper's 40 views are of montages; a picture's are all drawn."""
        gray = self._gray(*self.cohort.pictures[item])
        draws = generator(seed, "picture", epoch, sample)
        if kind in ("one", "shifted"):
            images = [light.of(gray) for light in self._lights(len(gray), draws, 2 if kind == "shifted" else 1)]
        else:
            recipe, side = self.augmentation, self.preprocessing.image_size
            images = [self._strong(gray, recipe.crop_area, side, draws) for _ in range(2)]
            if kind == "multi-crop":
                small = max(32, round(recipe.small_side * side))
                images += [self._strong(gray, recipe.small_area, small, draws) for _ in range(recipe.small_crops)]
        return [normalize_gray(image, self.preprocessing) for image in images], 0.0

    def training_image(self, case: int, plane: int, seed: int, epoch: int) -> tuple[np.ndarray, float]:
        """One of the case's pictures, drawn anew each epoch."""
        draws = generator(seed, "picture", epoch, case)
        place = int(draws.integers(len(self.cohort.cases[case].pictures)))
        gray = self._gray(case, place)
        (light,) = self._lights(len(gray), draws, 1)
        return normalize_gray(light.of(gray), self.preprocessing), 0.0

    def lesion(self, item: int, seed: int, epoch: int, sample: int) -> np.ndarray | None:
        """(S, S) bool: where the lesion lies in the first light view of ``views``; None where none is marked."""
        mask = self.cohort.lesion(*self.cohort.pictures[item])
        if mask is None:
            return None
        light = self._lights(len(mask), generator(seed, "picture", epoch, sample), 1)[0]
        return replace(light, gain=1.0).of(mask.astype(np.float32)) > 0

    def plain(self, case: int) -> np.ndarray:
        """(pictures times angles, S, S): the central view of each."""
        places = range(len(self.cohort.cases[case].pictures))
        return np.concatenate([shown(self._gray(case, place), self.preprocessing) for place in places])

    def _gray(self, case: int, place: int) -> np.ndarray:
        return self.cohort.gray(case, place)

    def _lights(self, stored: int, draws: np.random.Generator, times: int) -> list[_Light]:
        """The same turn, tilt, zoom and gain ``times`` times, each with a shift of its own."""
        recipe = self.augmentation
        turns, flip = int(draws.integers(4)) * recipe.turn, bool(draws.integers(2)) and recipe.flip
        width = stored * self.preprocessing.view_share
        zoomed = min(stored * 1.0, width * draws.uniform(1 - recipe.zoom, 1 + recipe.zoom))
        gain = draws.uniform(1 - recipe.gain, 1 + recipe.gain)
        moved = [draws.uniform(-recipe.shift_share, recipe.shift_share, 2) * width for _ in range(times)]
        tilt = draws.uniform(-recipe.tilt, recipe.tilt)
        side, half = self.preprocessing.image_size, stored / 2
        return [_Light((half + down, half + right), zoomed, side, turns, flip, gain, tilt) for down, right in moved]

    def _strong(self, gray: np.ndarray, area: tuple[float, ...], side: int, draws: np.random.Generator) -> np.ndarray:
        recipe = self.augmentation
        width = round(len(gray) * self.preprocessing.view_share)
        first = (len(gray) - width) // 2
        image = _random_crop(gray[first : first + width, first : first + width], area, side, draws)
        image = _turned(image, int(draws.integers(4)) * recipe.turn, bool(draws.integers(2)) and recipe.flip)
        if draws.random() < 0.8:
            brightness, contrast = draws.uniform(1 - recipe.jitter, 1 + recipe.jitter, 2)
            image = (image * brightness - image.mean() * brightness) * contrast + image.mean() * brightness
        if recipe.blur and draws.random() < 0.5:
            image = gaussian_filter(image, draws.uniform(0.1, 2.0) * side / 224)
        return np.clip(image, 0.0, 1.0).astype(np.float32)


@dataclass(frozen=True)
class _Light:
    """One light view: where it looks, how it is turned, how bright it is."""

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
            image = look_turned(gray, self.middle, self.width, self.side, self.tilt)
        else:
            image = look(gray, self.middle, self.width, self.side)
        return np.clip(_turned(image, self.turns, self.flip) * self.gain, 0.0, 1.0)


def _random_crop(image: np.ndarray, area: tuple[float, ...], side: int, draws: np.random.Generator) -> np.ndarray:
    """A square of a random share of the image's area, anywhere in it, brought to one side."""
    width = len(image) * np.sqrt(draws.uniform(*area))
    top, left = draws.uniform(0, len(image) - width, 2)
    return look(np.ascontiguousarray(image), (top + width / 2, left + width / 2), width, side)


def _turned(image: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    turned = np.rot90(image, turns)
    return turned[:, ::-1] if flip else turned


def measure_preprocessing(
    cohort: Cohort,
    augmentation: Augmentation | PictureAugmentation,
    side: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Settings:
    """The window or the view with the mean and deviation of the cohort's own plain images.

    Raises InputError where all of them hold one gray value.
    """
    plain: Settings
    if isinstance(cohort, PictureCohort):
        plain = PicturePreprocessing(image_size=side, view_share=augmentation.view_share, stored_side=STORED_SIDE)
        presentation = PicturePresentation(cohort, augmentation, plain)
        images = presentation.plain
    else:
        plain = Preprocessing(slice_step_mm=float(cohort.slice_step_mm))

        def images(index: int) -> np.ndarray:
            stacks = cohort.stacks(index)
            return normalize(np.stack([crop(stacks, p, View(), cohort.slice_step_mm)[0] for p in (0, 1)]), plain)

    total, squares, count = 0.0, 0.0, 0
    for index in range(len(cohort)):
        values = images(index).astype(np.float64)
        total, squares, count = total + values.sum(), squares + (values**2).sum(), count + values.size
        progress(index + 1, len(cohort))
    mean = total / count
    deviation = float(np.sqrt(max(squares / count - mean**2, 0.0)))
    if deviation < 1e-4:
        raise InputError("All images hold one and the same gray value. Check the images.", "constant")
    return replace(plain, mean=round(float(mean), 6), std=round(deviation, 6))
