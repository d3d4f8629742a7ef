"""What a report is made of: sections of tables, figures and notes; ``formats`` turns it into text, HTML, CSV ..."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..machine.terminal import visible
from ..results import DISCLAIMER

OWN = "this model"
"""The row of a table that stands out: its first cell says so."""


@dataclass(frozen=True)
class Metric:
    """A value with its 95 % interval; n: the cases that it is a mean over. None where it cannot be computed."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> Metric | None:
        """Of a metric as JSON holds it; None of None."""
        if values is None:
            return None
        return cls(values.get("value"), values.get("low"), values.get("high"), values.get("n") or 0)

    def text(self, digits: int = 3, signed: bool = False) -> str:
        """``0.812 (0.70-0.91)``, signed ``+0.012 (-0.01 to +0.03)``; a dash where nothing was computed."""
        if self.value is None:
            return "-"
        sign, end = "+" * signed, max(2, digits - 1)
        text = f"{self.value:{sign}.{digits}f}"
        if self.low is None or self.high is None:
            return text
        between = " to " if signed or self.low < 0 else "-"
        return f"{text} ({self.low:{sign}.{end}f}{between}{self.high:{sign}.{end}f})"


@dataclass(frozen=True)
class Difference(Metric):
    """The difference of two values: its text has a sign. p: of a test, None where there is none."""

    p: float | None = None

    def text(self, digits: int = 3, signed: bool = True) -> str:
        """``+0.012 (-0.01 to +0.03), p 0.310``."""
        text = super().text(digits, signed)
        return text if self.p is None else f"{text}, p {'< 0.001' if self.p < 0.001 else format(self.p, '.3f')}"


@dataclass(frozen=True)
class Mark:
    """A cell with a colored dot and remarks, which text puts below the row. color: a class of the style sheet."""

    text: str
    color: str = ""
    remarks: Sequence[str] = ()


Cell = str | int | float | Metric | Mark | None


def cell_text(cell: Cell, digits: int = 3) -> str:
    """A cell for people, on one line: names in it steer nothing."""
    if cell is None:
        return "-"
    if isinstance(cell, Metric):
        return cell.text(digits)
    if isinstance(cell, float):
        return f"{cell:.{digits}f}"
    return visible(str(cell.text if isinstance(cell, Mark) else cell))


@dataclass(frozen=True)
class Table:
    """Rows whose first cell names them. heads: of the columns, none for a list of facts. keys: the columns' names for
    programs. style: a class of the style sheet. digits: of its numbers.
    """

    rows: Sequence[Sequence[Cell]]
    heads: Sequence[str] = ()
    keys: Sequence[str] = ()
    style: str = ""
    digits: int = 3


@dataclass(frozen=True)
class Figure:
    """A PNG. alternative: its text for those who do not see it. style: a class of the style sheet."""

    png: bytes
    alternative: str
    style: str = ""

    @classmethod
    def drawn(cls, figure: Any, alternative: str, style: str = "", dpi: int = 120) -> Figure:
        """Of a matplotlib figure."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, pil_kwargs={"compress_level": 3})
        return cls(buffer.getvalue(), alternative, style)


@dataclass(frozen=True)
class Note:
    """A paragraph. style: soft, strong, notice or leaky, which is a warning."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Notes:
    """A list of remarks."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Columns:
    """Parts beside each other where there is room: a list of parts for each column."""

    parts: Sequence[Sequence[Part]]


Part = Table | Figure | Note | Notes | Columns


def flat(parts: Iterable[Part]) -> Iterator[Table | Figure | Note | Notes]:
    """The parts one after the other, those of columns too."""
    for part in parts:
        if isinstance(part, Columns):
            for column in part.parts:
                yield from flat(column)
        else:
            yield part


@dataclass(frozen=True)
class Section:
    """A part of a report under a title, which may be empty. detail: left out where there is little room, in a terminal
    and on paper. page: begins a new page where there are pages.
    """

    title: str
    parts: Sequence[Part]
    detail: bool = False
    page: bool = False


@dataclass(frozen=True)
class Report:
    """title: of the whole. Every format says at its head and at its end what the numbers are not for."""

    title: str
    sections: Sequence[Section]
    notice: str = DISCLAIMER

    def tables(self) -> list[Table]:
        """Of all sections, in order."""
        return [part for section in self.sections for part in flat(section.parts) if isinstance(part, Table)]
