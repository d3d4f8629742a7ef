"""How a case of each input becomes network input, as plain numbers: a bundle's card stores them. Free of torch."""

from dataclasses import asdict, dataclass

import numpy as np

from ..errors import ModelError
from ..images.ct import WINDOW_HU
from ..networks.configuration import LARGEST

LOWEST_HU, HIGHEST_HU = -2000, 4000
NARROWEST_HU, WIDEST_HU = 100, 5000
SLICE_STEPS_MM = (0.3, 5.0)
SMALLEST_STD = 1e-3
MOST_ANGLES = 360
SMALLEST_VIEW = 0.01


@dataclass(frozen=True)
class Preprocessing:
    """How HU become network input; stored with each model.

    window_lower, window_upper: HU.
    mean, std: of the training montages after scaling the window to [0, 1]. skip_unobserved: what lies outside the
    volume is left out (NaN, of which the encoder makes no token); otherwise it is shown as air.
    """

    window_lower: float = WINDOW_HU[0]
    window_upper: float = WINDOW_HU[1]
    mean: float = 0.0
    std: float = 1.0
    slice_step_mm: float = 1.0
    skip_unobserved: bool = False

    def __post_init__(self) -> None:
        _check_numbers(self)
        if self.window_upper <= self.window_lower or self.std <= 0 or self.slice_step_mm <= 0:
            raise ModelError(f"The preprocessing settings contradict themselves: {asdict(self)}.")
        inside = self.window_lower >= LOWEST_HU and self.window_upper <= HIGHEST_HU
        if not inside or not NARROWEST_HU <= self.window_upper - self.window_lower <= WIDEST_HU:
            raise ModelError(
                f"No CT is seen through a window of {self.window_lower:g} to {self.window_upper:g} HU: it has to be "
                f"{NARROWEST_HU} to {WIDEST_HU} HU wide and lie within {LOWEST_HU} to {HIGHEST_HU} HU.",
                "window",
            )
        if not SLICE_STEPS_MM[0] <= self.slice_step_mm <= SLICE_STEPS_MM[1]:
            raise ModelError(
                f"Slices {self.slice_step_mm:g} mm apart are none of a lung: {SLICE_STEPS_MM[0]} to "
                f"{SLICE_STEPS_MM[1]:g} mm are possible.",
                "slice-step",
            )
        _check_standardization(self.mean, self.std)


@dataclass(frozen=True)
class PicturePreprocessing:
    """How a picture becomes network input; stored with each model.

    image_size: pixels a side. view_share: side of the central square that is shown, as a share of the picture's longer
    side; what lies around it serves shifts. mean, std: of the training pictures' gray values in [0, 1]. angles: at how
    many angles, evenly about the middle, a picture is shown; the mean of what the network says of them counts.
    stored_side: the longest side of what ``framed`` keeps of a picture; 0, of models before it was stored: any.
    """

    image_size: int = 224
    view_share: float = 1.0
    mean: float = 0.0
    std: float = 1.0
    angles: int = 1
    stored_side: int = 0

    def __post_init__(self) -> None:
        _check_numbers(self)
        possible = self.image_size >= 1 and 0 < self.view_share <= 1 and self.std > 0 and self.stored_side >= 0
        whole = isinstance(self.angles, int) and isinstance(self.stored_side, int)
        if not possible or not whole or not 1 <= self.angles <= MOST_ANGLES:
            raise ModelError(f"The preprocessing settings contradict themselves: {asdict(self)}.")
        if not isinstance(self.image_size, int):
            raise ModelError(f"The image size {self.image_size} is no whole number of pixels.", "schema")
        if self.image_size > LARGEST["image_size"] or self.view_share < SMALLEST_VIEW:
            raise ModelError(f"Nothing can be seen with the preprocessing settings {asdict(self)}.", "schema")
        _check_standardization(self.mean, self.std)


def _check_numbers(settings: Preprocessing | PicturePreprocessing) -> None:
    if not all(isinstance(value, int | float) and np.isfinite(value) for value in asdict(settings).values()):
        raise ModelError(f"The preprocessing settings are not all finite numbers: {asdict(settings)}.")


def _check_standardization(mean: float, std: float) -> None:
    """Raises ModelError for a mean and a deviation that gray values in [0, 1] cannot have."""
    if not (0 <= mean <= 1 and SMALLEST_STD <= std <= 1):
        raise ModelError(
            f"Gray values between 0 and 1 have no mean of {mean:g} and deviation of {std:g}; the preprocessing "
            "settings are wrong.",
            "standardization",
        )
