"""Heat maps over what they are of, with what each is worth below, and all that the model saw."""

import numpy as np
import qt

from .drawing import GAP, canvas, grayValues, hot, pixmapOf, writeOver

_TITLE, _LINE = 16, 14
_WIDEST_CELL = 240
_NARROW = 175
"""A picture narrower than this has its two lines in four."""
_STRENGTH = 0.65
"""Opacity of the highest places of a map; where it is 0 the picture is as it is."""
FEW = 7
"""Slices that are shown in a row; more are shown as a montage of five rows."""
_BAR = 22


def heatMaps(measured, width: int, ratio: float, textColor):
    """Pixmap of the maps of places: a row for each branch, a column for each map, below it two lines on its worth.

    measured: ``MAEMCLib.worker.maps.MeasuredMaps``.
    """
    rows = [[one for one in measured.maps if one.branch == branch and one.heat is not None] for branch in measured.seen]
    rows = [row for row in rows if row]
    columns = max(map(len, rows), default=1)
    cell = min((width - (columns - 1) * GAP) // columns, _WIDEST_CELL)
    lines = 4 if cell < _NARROW else 2
    height = _TITLE + cell + lines * _LINE + GAP
    pixmap, painter = canvas(width, max(len(rows) * height, 1), ratio)
    for number, row in enumerate(rows):
        top = number * height
        for column, one in enumerate(row):
            x = column * (cell + GAP)
            painter.setPen(textColor)
            painter.drawText(x + 1, top + _TITLE - 4, one.title)
            shown = _heated(_middle(measured.seen[one.branch]), one.heat)
            painter.drawPixmap(x, top + _TITLE, cell, cell, pixmapOf(shown))
            writeOver(painter, one.branch, x + 5, top + _TITLE + cell - 5)
            painter.setPen(textColor)
            below = qt.QRect(x + 1, top + _TITLE + cell + 2, cell - 2, lines * _LINE)
            painter.drawText(below, int(qt.Qt.TextWordWrap), one.worth)
    painter.end()
    return pixmap


def seenSlices(measured, width: int, ratio: float, textColor):
    """Pixmap of what the networks were shown: a few slices in a row, by their number from the point, below each a bar
    for its share in the class token; or all as a montage."""
    few = len(measured.shown) <= FEW
    drawn = [_row(measured, branch, width, ratio, textColor) if few else _montage(measured, branch, width, ratio)
             for branch in measured.seen]  # fmt: skip
    heights = [round(one.height() / ratio) for one in drawn]
    pixmap, painter = canvas(width, sum(heights) + GAP * (len(heights) - 1), ratio)
    top = 0
    for (branch, one), height in zip(zip(measured.seen, drawn, strict=True), heights, strict=True):
        painter.drawPixmap(0, top, round(one.width() / ratio), height, one)
        writeOver(painter, branch, 5, top + _TITLE + 12 if few else top + 14)
        top += height + GAP
    painter.end()
    return pixmap


def _row(measured, branch: str, width: int, ratio: float, textColor):
    """Pixmap of the slices that are shown, and their shares."""
    seen, shown = measured.seen[branch], measured.shown
    bars = next((one for one in measured.maps if one.branch == branch and one.weights), None)
    weights = bars.weights if bars is not None else ()
    cell = min((width - (len(shown) - 1) * GAP) // len(shown), _WIDEST_CELL)
    pixmap, painter = canvas(width, _TITLE + cell + (_BAR + 2 * _LINE if weights else 0), ratio)
    for column, number in enumerate(shown):
        x, apart = column * (cell + GAP), number - len(seen) // 2
        painter.setPen(textColor)
        painter.drawText(x + 1, _TITLE - 4, f"{apart:+d}" if apart else "0")
        painter.drawPixmap(x, _TITLE, cell, cell, pixmapOf(_scaled(seen[number], seen)))
        if weights:
            height = round(weights[column] / max(weights) * _BAR)
            painter.fillRect(x, _TITLE + cell + _BAR - height + 1, cell, height, qt.QColor(122, 166, 201))
            painter.drawText(x + 1, _TITLE + cell + _BAR + _LINE - 2, f"{100 * weights[column]:.0f} %")
    if bars is not None:
        worth = bars.worth.replace("\n", "; ")
        painter.drawText(1, _TITLE + cell + _BAR + 2 * _LINE - 3, f"{bars.title}: {worth}" if worth else bars.title)
    painter.end()
    return pixmap


def _montage(measured, branch: str, width: int, ratio: float):
    """Pixmap of all slices, row by row; of a picture the picture."""
    seen = measured.seen[branch]
    if seen.ndim == 3:
        tiles, side = round(len(seen) ** 0.5), seen.shape[-1]
        seen = seen.reshape(tiles, tiles, side, side).swapaxes(1, 2).reshape(tiles * side, tiles * side)
    cell = min(width, 2 * _WIDEST_CELL)
    pixmap, painter = canvas(cell, cell, ratio)
    painter.drawPixmap(0, 0, cell, cell, pixmapOf(_scaled(seen, seen)))
    painter.end()
    return pixmap


def _middle(seen):
    return seen[len(seen) // 2] if seen.ndim == 3 else seen


def _scaled(picture, every):
    """0 to 1 between the darkest and the brightest that there is; what is not known in a color of its own."""
    return grayValues(picture, (float(np.nanmin(every)), max(float(np.nanmax(every)), float(np.nanmin(every)) + 1e-6)))


def _heated(picture, heat):
    """(n, n) and (m, m) -> (n, n, 3): the map over the picture, above 0 from red to white, below it blue."""
    gray = _scaled(picture, picture)
    if gray.ndim == 2:
        gray = np.repeat(gray[:, :, None], 3, axis=2)
    weight = _grown(np.asarray(heat, float), len(picture))
    color = np.where(weight[:, :, None] >= 0, hot(np.clip(weight, 0, 1)), (0.2, 0.45, 0.95))
    opacity = _STRENGTH * np.abs(weight)[:, :, None].clip(0, 1)
    return gray * (1 - opacity) + color * opacity


def _grown(grid, side: int):
    """(m, m) -> (side, side), linear between the middles of its cells."""
    at = (np.arange(side) + 0.5) * len(grid) / side - 0.5
    known = np.arange(len(grid))
    rows = np.array([np.interp(at, known, row) for row in grid])
    return np.array([np.interp(at, known, column) for column in rows.T]).T
