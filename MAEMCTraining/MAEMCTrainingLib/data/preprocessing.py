"""The preprocessing of a cohort: what its kind takes, standardized by the cohort's own gray values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.inputs.settings import PicturePreprocessing, Preprocessing

from .cohort import Cohort

Settings = Preprocessing | PicturePreprocessing


def measure_preprocessing(cohort: Cohort, augmentation: Any, side: int, skip_unobserved: bool = False) -> Settings:
    """The window or the view with the mean and deviation of the cohort's own plain images.

    skip_unobserved: as of ``Preprocessing``; what was not observed is then not measured either.

    Raises InputError where all of them hold one gray value.
    """
    settings, images = cohort.kind.unstandardized(cohort, augmentation, side, skip_unobserved)
    total, squares, count = 0.0, 0.0, 0
    for index in range(len(cohort)):
        values = images(index).astype(np.float64)
        values = values[np.isfinite(values)]
        total, squares, count = total + values.sum(), squares + (values**2).sum(), count + values.size
    mean = total / count
    deviation = float(np.sqrt(max(squares / count - mean**2, 0.0)))
    if deviation < 1e-4:
        raise InputError("All images hold one and the same gray value. Check the images.", "constant")
    return replace(settings, mean=round(float(mean), 6), std=round(deviation, 6))
