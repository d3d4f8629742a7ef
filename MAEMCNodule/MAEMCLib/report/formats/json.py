"""A report for programs: its sections with their tables and notes, without figures."""

import json
from dataclasses import asdict, is_dataclass
from typing import Any

from ..sections import Figure, Part, Report, Table, flat


def render(report: Report) -> str:
    """One JSON document; a metric is an object with value, low, high and n."""
    sections = [
        {
            "title": section.title,
            "parts": [_values(part) for part in flat(section.parts) if not isinstance(part, Figure)],
        }
        for section in report.sections
    ]
    document = {"schema": 1, "title": report.title, "disclaimer": report.notice, "sections": sections}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _values(part: Part) -> dict[str, Any]:
    if not isinstance(part, Table):
        return asdict(part)
    rows = [[asdict(cell) if is_dataclass(cell) else cell for cell in row] for row in part.rows]
    return {"columns": list(part.keys or part.heads), "rows": rows}
