"""The tables of a report for a spreadsheet: a metric is three columns, its value, low and high."""

import io

from ...files.spreadsheet import RowWriter
from ..sections import Cell, Mark, Metric, Report


def render(report: Report) -> str:
    """Tables apart by an empty row."""
    stream = io.StringIO(newline="")
    writer = RowWriter(stream)
    for number, table in enumerate(report.tables()):
        if number:
            writer.row([])
        columns = list(zip(*table.rows, strict=True))
        wide = [any(isinstance(cell, Metric) for cell in column) for column in columns]
        names = list(table.keys or table.heads)
        writer.row(part for name, three in zip(names, wide, strict=False) for part in _names(name, three))
        for row in table.rows:
            writer.row(value for cell, three in zip(row, wide, strict=True) for value in _values(cell, three))
    return stream.getvalue()


def _names(name: str, three: bool) -> list[str]:
    return [name, f"{name}_low", f"{name}_high"] if three else [name]


def _values(cell: Cell, three: bool) -> list[str | float | None]:
    if isinstance(cell, Metric):
        return [cell.value, cell.low, cell.high]
    value = cell.text if isinstance(cell, Mark) else cell
    return [value, None, None] if three else [value]
