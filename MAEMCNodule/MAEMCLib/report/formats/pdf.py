"""A report on pages of A4, without details; each page says what its numbers are not for. Its text can be searched and
copied. Matplotlib, which draws the figures too, makes it: no browser is needed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..sections import Report, Section
from ..strips import (
    BANDS,
    INK,
    SOFT,
    Box,
    Picture,
    Shape,
    Strip,
    Text,
    heading,
    printable,
    properties,
    stacked,
    strips_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT, MARGIN = 210.0, 297.0, 14.0
"""mm."""
_TOP, _BOTTOM = 20.0, 284.0
_INNER = WIDTH - 2 * MARGIN


def render(report: Report) -> bytes:
    """The whole document."""
    import matplotlib
    from matplotlib.backends.backend_pdf import PdfPages

    pages = list(_pages(report))
    buffer = io.BytesIO()
    # Fonts of type 42: text that is copied from the page is the text.
    facts = {"Title": f"MAEMC: {printable(report.title)}", "Creator": "MAEMC"}
    with matplotlib.rc_context({"pdf.fonttype": 42}), PdfPages(buffer, metadata=facts) as document:
        for number, shapes in enumerate(pages, start=1):
            document.savefig(_drawn([*shapes, *_frame(report, number, len(pages))]))
    return buffer.getvalue()


def _pages(report: Report) -> Iterator[list[Shape]]:
    """The shapes of each page, the strips of all sections from top to bottom."""
    page, y = [], _TOP
    for strip in _grouped(report):
        if strip is None or (page and y + strip.height > _BOTTOM):
            if page:
                yield page
            page, y = [], _TOP
        if strip is not None:
            page += strip.moved(MARGIN, y)
            y += strip.height
    if page:
        yield page


def _grouped(report: Report) -> Iterator[Strip | None]:
    """Strips, those that are tied as one; None where a page begins."""
    waiting: list[Strip] = [heading(report.title, _INNER, 15.0)] if report.title else []
    begun = False
    for section in report.sections:
        if section.detail:
            continue
        if section.page and begun:
            yield None
        for strip in _strips(section):
            waiting.append(strip)
            if not strip.tied:
                yield stacked(waiting)
                waiting, begun = [], True
    if waiting:
        yield stacked(waiting)


def _strips(section: Section) -> Iterator[Strip]:
    if section.title:
        yield heading(section.title, _INNER)
    for part in section.parts:
        yield from strips_of(part, _INNER)


def _frame(report: Report, number: int, count: int) -> list[Shape]:
    """What stands on every page: above, what the numbers are not for; below, what this is a page of."""
    field_color, edge = BANDS["notice"]
    return [
        Box(MARGIN, 8, _INNER, 7, field_color),
        Box(MARGIN, 8, 1, 7, edge),
        Text(MARGIN + 3.5, 12.7, report.notice, 9, True, INK),
        Text(MARGIN, 290, f"{report.title or 'MAEMC'}, page {number} of {count}. {report.notice}", 7, False, SOFT),
    ]


def _drawn(shapes: list[Shape]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 25.4, HEIGHT / 25.4), facecolor="white")
    for shape in shapes:
        _draw(figure, shape)
    return figure


def _draw(figure: Figure, shape: Shape) -> None:
    from matplotlib.image import imread
    from matplotlib.patches import Ellipse, Rectangle

    if isinstance(shape, Text):
        place = shape.x / WIDTH, 1 - shape.y / HEIGHT
        style: dict[str, Any] = {"fontproperties": properties(shape.bold), "color": shape.color, "va": "baseline"}
        figure.text(*place, shape.text, parse_math=False, **style).set_fontsize(shape.size)
        return
    left, bottom = shape.x / WIDTH, 1 - (shape.y + shape.height) / HEIGHT
    width, height = shape.width / WIDTH, shape.height / HEIGHT
    if isinstance(shape, Picture):
        axis = figure.add_axes((left, bottom, width, height))
        axis.set_axis_off()
        axis.imshow(imread(io.BytesIO(shape.png)), aspect="auto", interpolation="none")
    elif shape.round:
        middle = left + width / 2, bottom + height / 2
        figure.add_artist(Ellipse(middle, width, height, transform=figure.transFigure, fc=shape.color, ec="none"))
    else:
        figure.add_artist(
            Rectangle((left, bottom), width, height, transform=figure.transFigure, fc=shape.color, ec="none")
        )
