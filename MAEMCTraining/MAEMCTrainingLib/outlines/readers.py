"""How alike readers outline a nodule, from how many of them marked each voxel.

What one reader marked is not known then, but sums over all readers are: a coefficient is pooled over the readers, each
left out in turn.
"""

from __future__ import annotations

import numpy as np


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice coefficient of two bool arrays; 0 where both are empty."""
    both = float(first.sum() + second.sum())
    return 2.0 * float((first & second).sum()) / both if both else 0.0


def reader_dice(marks: np.ndarray, readers: int) -> float:
    """One reader against the consensus of the others (marked by at least half of them), pooled over the readers.

    marks: how many of two or more ``readers`` marked each voxel. A voxel with c marks is in the consensus of the others
    of each of its c readers where c - 1 of them are half, and of the others' where c are.
    """
    own, other = _consensus(marks, readers)
    shared = float((marks * own).sum())
    return 2.0 * shared / float(marks.sum() + shared + ((readers - marks) * other).sum())


def others_dice(mask: np.ndarray, marks: np.ndarray, readers: int) -> float:
    """A mask against the same consensuses of all readers but one, pooled alike: to be set beside ``reader_dice``."""
    own, other = _consensus(marks, readers)
    agreed = marks * own + (readers - marks) * other
    return 2.0 * float(agreed[mask].sum()) / float(readers * mask.sum() + agreed.sum())


def _consensus(marks: np.ndarray, readers: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the others agree without one who marked the voxel, and without one who did not."""
    half = (readers - 1) / 2
    return (marks > 1) & (marks - 1 >= half), (marks > 0) & (marks >= half)
