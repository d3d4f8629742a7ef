"""A report for the terminal: without figures and without details."""

import textwrap
from collections.abc import Iterator, Sequence

from ...machine.terminal import visible
from ..sections import Figure, Mark, Note, Part, Report, Table, cell_text, flat

_WIDTH, _LONGEST_NAME = 120, 27


def render(report: Report) -> str:
    """Sections apart by an empty line."""
    blocks = [[visible(report.title)] if report.title else []]
    for section in report.sections:
        lines = [line for part in flat(section.parts) for line in _lines(part)]
        if lines and not section.detail:
            blocks.append([*([visible(section.title)] if section.title else []), *lines])
    return "\n\n".join("\n".join(block) for block in [*blocks, [report.notice]] if block)


def _lines(part: Part) -> Iterator[str]:
    if isinstance(part, Figure):
        return
    if isinstance(part, Note):
        yield visible(part.text)
    elif isinstance(part, Table):
        yield from _columns(part) if part.heads else _facts(part)
    else:
        yield from (_wrapped(text, "- ") for text in part.texts)


def _facts(table: Table) -> Iterator[str]:
    width = min(_LONGEST_NAME, max((len(cell_text(row[0])) for row in table.rows), default=0))
    for name, *cells in table.rows:
        yield _wrapped(", ".join(cell_text(cell, table.digits) for cell in cells), f"{cell_text(name):<{width}}  ")


def _columns(table: Table) -> Iterator[str]:
    """Numbers to the right, texts to the left; the remarks of a row below it."""
    texts = [[cell_text(cell, table.digits) for cell in row] for row in table.rows]
    numbers = [not any(isinstance(cell, str | Mark) for cell in column) for column in zip(*table.rows, strict=True)]
    widths = [max(map(len, column)) for column in zip(table.heads, *texts, strict=True)]
    for cells, row in zip([table.heads, *texts], [(), *table.rows], strict=True):
        yield "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numbers or [False] * len(widths), strict=True)
        ).rstrip()
        yield from (f"    {visible(remark)}" for remark in _remarks(row))


def _remarks(row: Sequence[object]) -> Iterator[str]:
    for cell in row:
        if isinstance(cell, Mark):
            yield from cell.remarks


def _wrapped(text: str, first: str) -> str:
    return textwrap.fill(
        visible(" ".join(text.split())), _WIDTH, initial_indent=first, subsequent_indent=" " * len(first)
    )
