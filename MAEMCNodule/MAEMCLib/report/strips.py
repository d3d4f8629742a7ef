"""The parts of a report as strips for a page: each a row of text, of a table, or a picture that no page break divides.

Lengths in mm from a strip's upper left corner; sizes of text in points.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from ..machine.terminal import visible
from .sections import OWN, Cell, Columns, Figure, Mark, Note, Notes, Part, Table, cell_text

BODY, SMALL, LINE = 8.6, 7.2, 1.3
"""Points of text and of remarks; a line's height over its text's."""
FONT = "DejaVu Sans"  # matplotlib brings it
MM = 25.4 / 72
INK, SOFT = "#222222", "#666666"
BANDS = {"notice": ("#fff4d6", "#e0a800"), "leaky": ("#fbe3e0", "#c0392b")}
DOTS = {"green": "#3a9d4f", "amber": "#e0a800", "red": "#c0392b", "grey": "#999999"}
_GAP, _ROW, _BELOW, _REMARK = 3.0, 0.9, 2.2, 75.0
_TALLEST = 120.0
_WIDEST = {"scale": 85.0, "small": 110.0}


@dataclass(frozen=True)
class Text:
    """y: of the line's foot."""

    x: float
    y: float
    text: str
    size: float = BODY
    bold: bool = False
    color: str = INK


@dataclass(frozen=True)
class Box:
    """A filled rectangle; round: an ellipse in its place."""

    x: float
    y: float
    width: float
    height: float
    color: str
    round: bool = False


@dataclass(frozen=True)
class Picture:
    x: float
    y: float
    width: float
    height: float
    png: bytes


Shape = Text | Box | Picture


@dataclass(frozen=True)
class Strip:
    """tied: stays on the page of the strip after it."""

    height: float
    shapes: tuple[Shape, ...] = field(default=())
    tied: bool = False

    def moved(self, x: float, y: float) -> Iterable[Shape]:
        """Its shapes with the corner elsewhere."""
        return (replace(shape, x=shape.x + x, y=shape.y + y) for shape in self.shapes)


def strips_of(part: Part, width: float) -> list[Strip]:
    """The part in a column of this width."""
    if isinstance(part, Note):
        return [*_note(part, width), Strip(_BELOW)]
    if isinstance(part, Notes):
        return [strip for text in part.texts for strip in _lines(f"\N{BULLET} {text}", width)] + [Strip(_BELOW)]
    if isinstance(part, Figure):
        return [_picture(part, width), Strip(_BELOW)]
    if isinstance(part, Columns):
        return [_beside(part, width)]
    if not part.rows:
        return []
    return [*(_rows(part, width) if part.heads else _facts(part, width)), Strip(_BELOW)]


def heading(text: str, width: float, size: float = 11.0) -> Strip:
    """A title, on one line, with what follows it."""
    shown = wrapped(text, width, size, True)
    line = shown[0] if len(shown) == 1 else f"{shown[0].rstrip()}..."
    return Strip(size * MM * LINE + 1.2, (Text(0, size * MM, line, size, True),), tied=True)


def wrapped(text: str, width: float, size: float = BODY, bold: bool = False) -> list[str]:
    """A text in lines of at most this width, broken between words, and within one that is longer than a line."""
    lines, line = [], ""
    for word in printable(visible(" ".join(text.split()))).split(" "):
        longer = f"{line} {word}" if line else word
        if text_width(longer, size, bold) <= width:
            line = longer
            continue
        lines += [line] if line else []
        while text_width(word, size, bold) > width and len(word) > 1:
            fits = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or text_width(word[:n], size, bold) <= width)
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line]


def text_width(text: str, size: float = BODY, bold: bool = False) -> float:
    """mm of a text on one line."""
    return sum(_advance(letter, bold) for letter in text) * size * MM


def printable(text: str) -> str:
    """The text with the replacement character for what the font has no glyph of."""
    return "".join(letter if _has_glyph(letter) else "\N{REPLACEMENT CHARACTER}" for letter in text)


@lru_cache
def properties(bold: bool) -> Any:
    """The font of matplotlib."""
    from matplotlib.font_manager import FontProperties

    return FontProperties(family=FONT, weight="bold" if bold else "normal")


@lru_cache(4096)
def _advance(letter: str, bold: bool) -> float:
    """Of a letter in a text, in sizes of the text."""
    from matplotlib.textpath import text_to_path

    font = properties(bold).copy()
    font.set_size(100)
    both = (
        text_to_path.get_text_width_height_descent(text, font, False)[0] for text in (f"|{letter}|", "||")
    )  # a bar is kerned with nothing
    return (next(both) - next(both)) / 100


@lru_cache(4096)
def _has_glyph(letter: str) -> bool:
    from matplotlib.font_manager import findfont, get_font

    return get_font(findfont(properties(False))).get_char_index(ord(letter)) != 0


def _lines(text: str, width: float, size: float = BODY, bold: bool = False, color: str = INK) -> list[Strip]:
    height = size * MM * LINE
    return [Strip(height, (Text(0, size * MM, line, size, bold, color),)) for line in wrapped(text, width, size, bold)]


def _note(note: Note, width: float) -> list[Strip]:
    if note.style not in BANDS:
        soft = note.style == "soft"
        return _lines(note.text, width, SMALL if soft else BODY, note.style == "strong", SOFT if soft else INK)
    field_color, edge = BANDS[note.style]
    inner = stacked(_lines(note.text, width - 6, bold=True))
    height = inner.height + 3.0
    band = (Box(0, 0, width, height, field_color), Box(0, 0, 1.0, height, edge))
    return [Strip(height, (*band, *inner.moved(3.5, 1.4)))]


def stacked(strips: Sequence[Strip]) -> Strip:
    """Several as one that is not divided."""
    shapes: list[Shape] = []
    y = 0.0
    for strip in strips:
        shapes += strip.moved(0, y)
        y += strip.height
    return Strip(y, tuple(shapes))


def _picture(figure: Figure, width: float) -> Strip:
    across, down = struct.unpack(">II", figure.png[16:24])  # of PNG's first chunk
    wide = min(width, _WIDEST.get(figure.style, width), _TALLEST * across / down)
    tall = wide * down / across
    return Strip(tall, (Picture(0, 0, wide, tall, figure.png),))


def _beside(columns: Columns, width: float) -> Strip:
    each = (width - 2 * _GAP * (len(columns.parts) - 1)) / len(columns.parts)
    made = [stacked([strip for part in parts for strip in strips_of(part, each)]) for parts in columns.parts]
    shapes = [shape for n, strip in enumerate(made) for shape in strip.moved(n * (each + 2 * _GAP), 0)]
    return Strip(max(strip.height for strip in made), tuple(shapes))


def _facts(table: Table, width: float) -> list[Strip]:
    names = [cell_text(row[0]) for row in table.rows]
    first = min(max(text_width(name, bold=True) for name in names) + _GAP, 0.4 * width)
    widths = [first, width - first]
    return [
        _row([_cell(name, first - 1, True), _cell(_joined(cells), width - first)], widths, "#eeeeee")
        for name, (_, *cells) in zip(names, table.rows, strict=True)
    ]


def _joined(cells: Sequence[Cell]) -> Cell:
    return cells[0] if len(cells) == 1 else ", ".join(cell_text(cell) for cell in cells)


def _rows(table: Table, width: float) -> list[Strip]:
    columns = zip(table.heads, *table.rows, strict=True)
    widths = _shared([max(_wanted(cell, table.digits) for cell in column) + _GAP for column in columns], width)
    heads = [_cell(head, one - _GAP, True) for head, one in zip(table.heads, widths, strict=True)]
    rows = [
        [
            _cell(cell, one - _GAP, row[0] == OWN or number == 0, table.digits)
            for number, (cell, one) in enumerate(zip(row, widths, strict=True))
        ]
        for row in table.rows
    ]
    head = replace(_row(heads, widths, "#999999"), tied=True)
    return [head, *(_row(cells, widths, "#e4e4e4") for cells in rows)]


def _wanted(cell: Cell, digits: int) -> float:
    """mm that a cell takes on one line, with remarks of several lines."""
    if not isinstance(cell, Mark):
        return text_width(cell_text(cell, digits), bold=True)
    remarks = max((min(text_width(remark, SMALL), _REMARK) for remark in cell.remarks), default=0.0)
    return max(text_width(cell_text(cell)) + 3.0, remarks)


def _shared(wanted: Sequence[float], width: float) -> list[float]:
    """Columns as wide as they want, or, where there is no room, those that want more than their share with equal parts
    of what the others leave."""
    left, widths = width, [0.0] * len(wanted)
    waiting = sorted(range(len(wanted)), key=lambda n: wanted[n])
    for place, n in enumerate(waiting):
        widths[n] = min(wanted[n], left / (len(waiting) - place))
        left -= widths[n]
    return widths


def _cell(cell: Cell, width: float, bold: bool = False, digits: int = 3) -> Strip:
    shown = cell_text(cell, digits)
    if not isinstance(cell, Mark):
        return stacked(_lines(shown, width, bold=bold))
    indent = 3.0 if cell.color else 0.0
    text = stacked(_lines(shown, width - indent, bold=bold))
    remarks = stacked([strip for remark in cell.remarks for strip in _lines(remark, width, SMALL, color=SOFT)])
    dot = (Box(0, 0.75, 2.0, 2.0, DOTS.get(cell.color, DOTS["grey"]), round=True),) if cell.color else ()
    return stacked([Strip(text.height, (*dot, *text.moved(indent, 0))), remarks])


def _row(cells: Sequence[Strip], widths: Sequence[float], color: str) -> Strip:
    """Cells side by side, with a line below."""
    height = max(cell.height for cell in cells) + 2 * _ROW
    x, shapes = 0.0, []
    for cell, width in zip(cells, widths, strict=True):
        shapes += cell.moved(x, _ROW)
        x += width
    return Strip(height, (*shapes, Box(0, height - 0.15, sum(widths), 0.15, color)))
