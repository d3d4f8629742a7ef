"""What the newer revision names differently on disk than the older one: the one place where it is stated.

A value's full name is ``FILE:NAME``: ``checkpoints/last/model.safetensors:encoder.norm.weight``,
``metrics.json:metrics.auc.value``, ``exported.maemc/bundle.json:thresholds.balanced``. FILE lies in the job's folder.
"""

from __future__ import annotations

import re

# A pattern that matches somewhere in the older full name: what stands there in the newer one (as ``re.sub``).
RENAMED: dict[str, str] = {}


def newer_name(name: str) -> str:
    """The full name of a value of the older revision as the newer one writes it."""
    for pattern, replacement in RENAMED.items():
        name = re.sub(pattern, replacement, name)
    return name
