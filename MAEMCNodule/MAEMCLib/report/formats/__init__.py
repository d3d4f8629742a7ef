"""How a report is written: a file a format, named as the ending of what it writes, with ``render(report)``, which gives
text or bytes."""

import pkgutil
from importlib import import_module
from pathlib import Path

from ...errors import UsageError
from ...files.atomic import replacing
from ..sections import Report

FORMATS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))
"""All of them: whatever lies in this folder."""


def render(report: Report, ending: str) -> str | bytes:
    """The report as txt, html, md, csv, json, pdf ... Raises UsageError for a format that there is none of."""
    if ending not in FORMATS:
        raise UsageError(f"A report cannot be written as '{ending}'. Choose one of {', '.join(FORMATS)}.", "format")
    return import_module(f".{ending}", __package__).render(report)


def write_report(report: Report, path: Path) -> None:
    """Replace the file by the report in the format of the file's ending. Raises InputError."""
    content = render(report, path.suffix[1:])
    with replacing(path) as temporary:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
