"""The table of ``MAEMCLib.measures.errors``: how far off a diameter is, by its size and the slice spacing."""

from __future__ import annotations

import numpy as np
from MAEMCLib.measures.errors import PERCENTILE

from .judging import Judged

SIZES_MM = (0.0, 6.0, 8.0, 12.0)
SPACINGS_MM = (0.0, 1.5)
"""Where the bands of the found diameter and of the slice spacing begin."""
FEWEST = 20
"""A cell of fewer nodules takes the error of its size at any spacing."""


def error_table(judged: list[Judged]) -> list[dict[str, float | int]]:
    """Of nodules with two or more readers that were outlined, a row a band."""
    used = [one for one in judged if one.readers > 1 and np.isfinite(one.found_mm)]
    table = []
    for size, above in zip(SIZES_MM, (*SIZES_MM[1:], np.inf), strict=True):
        of_size = [one for one in used if size <= one.found_mm < above]
        for spacing, thicker in zip(SPACINGS_MM, (*SPACINGS_MM[1:], np.inf), strict=True):
            cell = [one for one in of_size if spacing <= one.spacing_mm < thicker]
            cell = next(group for group in (cell, of_size, used) if len(group) >= FEWEST or group is used)
            error = float(np.percentile([one.error_mm for one in cell], PERCENTILE))
            row = {"from_mm": size, "from_spacing_mm": spacing, "error_mm": round(error, 2), "nodules": len(cell)}
            table.append(row)
    return table
