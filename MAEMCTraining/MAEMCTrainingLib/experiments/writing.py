"""Writing an experiment's table as CSV and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from MAEMCLib.files.atomic import replacing
from MAEMCLib.files.spreadsheet import RowWriter


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """A row each; what a row does not have stays empty."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = RowWriter(stream)
        writer.row(columns)
        writer.rows([row.get(name, "") for name in columns] for row in rows)


def write_markdown(path: Path, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], note: str) -> None:
    """rows: (name, texts of the cells). note: the paragraph below."""
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(texts) + " |" for name, texts in rows]
    with replacing(path) as temporary:
        temporary.write_text("\n".join([*lines, "", note, ""]), encoding="utf-8")
