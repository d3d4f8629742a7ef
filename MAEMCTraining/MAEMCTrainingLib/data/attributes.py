"""Metadata as multi-hot attributes: what supervised and multi-label contrastive pre-training learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from MAEMCLib.errors import InputError

from .cohort import Cohort


@dataclass(frozen=True)
class Attributes:
    """values: (cases, A) bool. names: of the A attributes, "column=value"."""

    values: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def none(cls, cases: int) -> Attributes:
        """For methods that need no metadata."""
        return cls(np.zeros((cases, 0), dtype=bool), ())

    def fingerprint(self, cohort: Cohort) -> str:
        """A hash of the data and of what is said of them; that of the cohort where nothing is."""
        if not self.names:
            return cohort.fingerprint
        attributes = np.packbits(self.values).tobytes() + "|".join(self.names).encode()
        return hashlib.sha256(cohort.fingerprint.encode() + attributes).hexdigest()


def attributes_of(cohort: Cohort, columns: Sequence[str]) -> tuple[Attributes, np.ndarray]:
    """What the cases say under the columns, and the indices of those that say anything.

    A cell may hold several values, separated by ';'. Attributes are ordered by column and value. Raises InputError:
    data without a column, no case with a value, fewer than two attributes in all.
    """
    attributes = [
        {f"{name}={value.strip()}" for name in columns for value in texts[name].split(";") if value.strip()}
        for texts in cohort.columns(columns)
    ]
    names = sorted(set().union(*attributes), key=lambda name: (columns.index(name.partition("=")[0]), name))
    described = np.array([index for index, own in enumerate(attributes) if own], dtype=int)
    if len(names) < 2:
        there = f"all of them say {names[0]}" if names else "no case says anything there"
        raise InputError(
            f"The columns {', '.join(columns)} tell no cases apart: {there}. Fill them in the manifest, or name others "
            "with columns=...",
            "single-class",
        )
    values = np.array([[name in attributes[index] for name in names] for index in described], dtype=bool)
    return Attributes(values, tuple(names)), described
