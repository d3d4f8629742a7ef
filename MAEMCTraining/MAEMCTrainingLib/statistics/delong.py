"""Is one model's AUC higher than another's on the same cases?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from MAEMCLib.report.sections import Metric
from scipy.stats import norm

from .metrics import ranked_right


@dataclass(frozen=True)
class DeLong:
    """Two correlated AUCs: their difference with its 95 % interval, and the two-sided p of no difference.

    p and the interval are None where the difference has no variance, as of two models that rank all cases alike, or
    that both make no mistake.
    """

    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    p: float | None


def delong(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> DeLong | None:
    """DeLong's test of two scores (cases,) of the same cases (DeLong et al., Biometrics 1988;44:837-845).

    By midranks (Sun and Xu, IEEE Signal Processing Letters 2014;21:1389-1393). Takes cases for independent: for several
    nodules of a patient, and near an AUC of 1, the difference's interval by patient is the better judge. None with
    fewer than two cases of a class.
    """
    sick, well = labels == 1, labels == 0
    m, n = int(sick.sum()), int(well.sum())
    if m < 2 or n < 2:
        return None
    right = [ranked_right(labels, scores) for scores in (first, second)]
    of_sick, of_well = [row[sick] / n for row in right], [row[well] / m for row in right]
    one, two = (float(values.mean()) for values in of_sick)
    variance = (np.cov(of_sick) / m + np.cov(of_well) / n) @ [1, -1] @ [1, -1]
    difference = one - two
    if variance < 1e-15:
        return DeLong(one, two, difference, None, None, None)
    deviation = float(np.sqrt(variance))
    reach = float(norm.ppf(0.975)) * deviation
    p = float(2 * norm.sf(abs(difference) / deviation))
    return DeLong(one, two, difference, difference - reach, difference + reach, p)


@dataclass(frozen=True)
class Comparison:
    """(Macro) AUC of a model minus that of another on the same cases, with an interval by patient; DeLong's test of two
    classes, None with fewer than two cases of a class."""

    difference: Metric
    delong: DeLong | None = None
