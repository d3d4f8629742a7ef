"""Where two stored configurations differ."""

from __future__ import annotations

import json
from typing import Any


def differing_keys(first: dict[str, Any], second: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted keys at which two stored configurations differ, with both values."""
    lines = []
    for key in sorted(first.keys() | second.keys()):
        one, two = first.get(key), second.get(key)
        if isinstance(one, dict) and isinstance(two, dict):
            lines += differing_keys(one, two, f"{prefix}{key}.")
        elif one != two:
            lines.append(f"{prefix}{key} ({json.dumps(one)} there, {json.dumps(two)} here)")
    return lines
