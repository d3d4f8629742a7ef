"""What the newer revision names differently on disk than the older one: the one place where it is stated.

A value's full name is ``FILE:NAME``: ``checkpoints/last/model.safetensors:encoder.norm.weight``,
``metrics.json:metrics.auc.value``, ``exported.maemc/bundle.json:thresholds.balanced``. FILE lies in the job's folder.
"""

from __future__ import annotations

import re

# A pattern that matches somewhere in the older full name: what stands there in the newer one (as ``re.sub``).
RENAMED: dict[str, str] = {}

# Tensors that the newer revision keeps and the older one did not: patterns of their full names.
GAINED = (
    r"^folds/\d+/statistics\.safetensors:",  # of a fusion
    r"^autoencoder\.safetensors:",
    r"^exported\.maemc/(statistics-\d+|decoder)\.safetensors:",
)


def is_gained(name: str) -> bool:
    """Whether a tensor of this full name is no difference where the older revision has none."""
    return any(re.search(pattern, name) for pattern in GAINED)


def newer_name(name: str) -> str:
    """The full name of a value of the older revision as the newer one writes it."""
    for pattern, replacement in RENAMED.items():
        name = re.sub(pattern, replacement, name)
    return name
