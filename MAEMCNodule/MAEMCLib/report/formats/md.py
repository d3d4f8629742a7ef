"""A report as Markdown: tables and notes, without figures."""

from collections.abc import Iterator

from ...machine.terminal import visible
from ..sections import Note, Notes, Part, Report, Table, cell_text, flat


def render(report: Report) -> str:
    """Paragraphs apart by an empty line."""
    blocks = [f"# {_plain(report.title)}"] if report.title else []
    for section in report.sections:
        blocks += [f"## {_plain(section.title)}"] if section.title else []
        blocks += [block for part in flat(section.parts) for block in _block(part)]
    return "\n\n".join([*blocks, report.notice]) + "\n"


def _block(part: Part) -> Iterator[str]:
    if isinstance(part, Table):
        rows = [[_plain(cell_text(cell, part.digits)) for cell in row] for row in part.rows]
        width = max(map(len, [part.heads, *rows]))
        heads = [_plain(head) for head in part.heads] or [""] * width
        yield "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * width, *rows])
    elif isinstance(part, Note):
        yield _plain(part.text)
    elif isinstance(part, Notes):
        yield "\n".join(f"- {_plain(text)}" for text in part.texts)


def _plain(text: str) -> str:
    """A text that is no markup of a table: on one line, its bars escaped."""
    return visible(" ".join(text.split())).replace("|", "\\|")
