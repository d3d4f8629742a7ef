"""Which nodule of a prior CT a nodule of the current one may be, by their positions: a proposal for the reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from ..images.ct import CTVolume

NEAR_MM = 15.0
"""Nodules further apart than this are not proposed as one. Breathing alone moves a nodule by a centimeter and more near
the diaphragm. Our proposal, not from a publication."""


@dataclass(frozen=True)
class Proposal:
    """The prior's nodule, by name, and its distance in mm from where the current one is expected."""

    name: str
    distance_mm: float


def to_prior(prior: CTVolume, current: CTVolume, transform: np.ndarray | None = None) -> np.ndarray | None:
    """(4, 4) LPS mm of the current CT to LPS mm of the prior; None where nothing is known that links their positions.

    transform: such a matrix from a registration. Without one the positions are comparable only where both volumes have
    one frame of reference. Raises UsageError for a matrix that is no affine transform.
    """
    if transform is None:
        return np.eye(4) if current.examination.shares_frame(prior.examination) else None
    matrix = np.asarray(transform, float)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise UsageError("The transform is no 4 x 4 matrix of finite numbers with 0 0 0 1 below. Export it again.")
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-3:
        raise UsageError("The transform maps the volume onto a plane. Register the two volumes again.")
    return matrix


def proposals(
    current: Mapping[str, Sequence[float]],
    prior: Mapping[str, Sequence[float]],
    matrix: np.ndarray | None,
    near_mm: float = NEAR_MM,
) -> dict[str, Proposal]:
    """For nodules of the current CT, by name, the one of the prior that each may be.

    Two nodules are proposed as one where each is the other's nearest and they lie within ``near_mm``: none is proposed
    twice. current, prior: positions in LPS mm, each in its own volume. matrix: from ``to_prior``; without it nothing is
    proposed.
    """
    if matrix is None or not current or not prior:
        return {}
    expected = np.array(list(current.values()), float) @ matrix[:3, :3].T + matrix[:3, 3]
    distances = np.linalg.norm(expected[:, None] - np.array(list(prior.values()), float), axis=2)
    nearest, back = distances.argmin(axis=1), distances.argmin(axis=0)
    names = list(prior)
    return {
        name: Proposal(names[nearest[row]], float(distances[row, nearest[row]]))
        for row, name in enumerate(current)
        if back[nearest[row]] == row and distances[row, nearest[row]] <= near_mm
    }
