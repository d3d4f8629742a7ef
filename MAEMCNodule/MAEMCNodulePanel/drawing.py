"""What is drawn in the panel: the probability on its scale, planes through the nodule, what the model rebuilt.

Each picture is drawn at a width in logical pixels, and ``ratio`` pixels of the screen to one of these.
"""

import numpy as np
import qt
from MAEMCLib.figures.planes import AXES, HALF_MM, LETTERS, OUTLINE, UNKNOWN
from MAEMCLib.images.ct import WINDOW_HU
from MAEMCLib.measures.axes import outline
from slicer.i18n import tr as _

from .nodes import ERROR_SHOWN_TO_HU, GATE_COLORS

_BELOW, _ABOVE = (70, 130, 180, 70), (205, 92, 60, 70)
GAP, _CAPTION = 4, 16
_WIDEST_CELL = 240
"""On a wide panel the pictures do not push the score out of sight."""


def probabilityBar(result: dict, width: int, ratio: float, textColor):
    """Pixmap of a scale from 0 to 1: tinted to either side of the threshold, with the range over the members as a band,
    that over 2 mm of click as a bracket below, and the probability.

    result: a result's JSON. textColor: QColor of the panel's text.
    """
    height, left, top, thick = 40, 8, 8, 12
    pixmap, painter = canvas(width, height, ratio)
    span = width - 2 * left

    def position(value: float) -> int:
        return left + round(value * span)

    probability = result["probability"]
    # Of more than two classes the likeliest is called, and no threshold parts the scale.
    threshold = 1.0 if result["threshold"] is None else result["threshold"]
    painter.fillRect(left, top, position(threshold) - left, thick, qt.QColor(*_BELOW))
    painter.fillRect(position(threshold), top, left + span - position(threshold), thick, qt.QColor(*_ABOVE))
    color = GATE_COLORS.get(result.get("gate"), GATE_COLORS["grey"])
    if result["interval_low"] is not None and result["interval_high"] is not None:
        low, high = position(result["interval_low"]), position(result["interval_high"])
        painter.fillRect(low, top + thick // 2 - 2, max(high - low, 1), 4, qt.QColor(*color, 170))
    painter.setPen(textColor)
    if result.get("jitter_low") is not None and result.get("jitter_high") is not None:
        low, high, y = position(result["jitter_low"]), position(result["jitter_high"]), top + thick + 3
        for line in ((low, y, high, y), (low, y, low, y - 3), (high, y, high, y - 3)):
            painter.drawLine(*line)
    if result["threshold"] is not None:
        painter.fillRect(position(threshold), top - 5, 2, thick + 10, textColor)
        text = _("threshold {value}").format(value=f"{threshold:.2f}")
        room = 45
        x = min(max(position(threshold) - room, left + 14), left + span - 2 * room - 14)
        painter.drawText(x, height - 2, text)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    painter.setBrush(qt.QBrush(qt.QColor(*color)))
    painter.drawEllipse(position(probability) - 6, top + thick // 2 - 6, 12, 12)
    painter.drawText(left - 3, height - 2, "0")
    painter.drawText(left + span - 3, height - 2, "1")
    painter.end()
    return pixmap


def sideBySide(columns: list, width: int, ratio: float, textColor):
    """Pixmap of planes of two CTs, as ``snapshots`` draws them: a column each under its title, a row a plane.

    columns: (title, {plane: ``measures.view.PlaneView``}) of each CT.
    """
    cell = min((width - GAP) // 2, _WIDEST_CELL)
    planes = list(columns[0][1])
    pixmap, painter = canvas(width, _CAPTION + len(planes) * (cell + GAP), ratio)
    painter.setPen(textColor)
    for column, (title, views) in enumerate(columns):
        left = column * (cell + GAP)
        painter.drawText(left + 1, _CAPTION - 4, title)
        for row, plane in enumerate(planes):
            picture = snapshots({plane: views[plane]}, cell, ratio, textColor)
            painter.drawPixmap(left, _CAPTION + row * (cell + GAP), cell, cell, picture)
    painter.end()
    return pixmap


def snapshots(views: dict, width: int, ratio: float, textColor):
    """Pixmap of planes of a CT beside each other, in a lung window: outline and axes of the mask, a cross at the point
    where there is no mask, a bar of 10 mm.

    views: {plane: ``measures.view.PlaneView``}.
    """
    cell = min((width - (len(views) - 1) * GAP) // len(views), _WIDEST_CELL)
    titles = {"axial": _("axial"), "coronal": _("coronal"), "sagittal": _("sagittal")}
    pixmap, painter = canvas(width, cell, ratio)
    for number, (plane, view) in enumerate(views.items()):
        painter.save()
        painter.translate(number * (cell + GAP), 0)
        painter.setClipRect(0, 0, cell, cell)
        painter.drawPixmap(0, 0, cell, cell, pixmapOf(grayValues(view.hu, WINDOW_HU)))
        _drawMask(painter, view, cell)
        writeOver(painter, titles[plane], 5, 13)
        painter.setPen(_pen("#ffffff", 2.0))
        painter.drawLine(qt.QLineF(5, cell - 5, 5 + cell * 10 / (2 * HALF_MM), cell - 5))
        painter.restore()
    painter.end()
    return pixmap


def sliceStrip(stacks: dict, window: tuple, width: int, ratio: float, textColor):
    """Pixmap of the middle slices: a row for each plane; the CT, its reconstruction, where they differ.

    Attention is not here: published models attend to whole slices, so that one slice of it has one value.
    stacks: {"axial": {kind: (25, 50, 50) array}, "coronal": ...}, kinds as in nodes.KINDS, those of ``stripKinds``.
    window: HU from black to white.
    """
    titles = {"original": _("CT"), "reconstruction": _("Reconstruction"), "error": _("Difference")}
    kinds = stripKinds(stacks)
    cell = min((width - 2 * GAP) // 3, _WIDEST_CELL)
    pixmap, painter = canvas(width, _CAPTION + 2 * cell + GAP, ratio)
    for column, kind in enumerate(kinds):
        x = column * (cell + GAP)
        painter.setPen(textColor)
        painter.drawText(x + 1, _CAPTION - 4, titles[kind])
        for row, plane in enumerate(("axial", "coronal")):
            stack = np.asarray(stacks[plane][kind], float)
            gray = grayValues(stack[len(stack) // 2], (0.0, ERROR_SHOWN_TO_HU) if kind == "error" else window)
            y = _CAPTION + row * (cell + GAP)
            painter.drawPixmap(x, y, cell, cell, pixmapOf(hot(gray) if kind == "error" else gray))
    for row, plane in enumerate((_("axial"), _("coronal"))):
        writeOver(painter, plane, 5, _CAPTION + row * (cell + GAP) + cell - 5)
    painter.end()
    return pixmap


def stripKinds(stacks: dict) -> list:
    """The kinds of picture that ``sliceStrip`` shows: those that there are of every plane."""
    kinds = ("original", "reconstruction", "error")
    return [kind for kind in kinds if stacks and all(kind in planes for planes in stacks.values())]


def gateIcon(gate: str):
    """A disc in the gate's color, which stays visible where a selected row hides its background."""
    pixmap, painter = canvas(12, 12, 1.0)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    painter.setPen(qt.QColor(0, 0, 0, 0))
    painter.setBrush(qt.QBrush(qt.QColor(*GATE_COLORS[gate])))
    painter.drawEllipse(1, 1, 10, 10)
    painter.end()
    return qt.QIcon(pixmap)


def _drawMask(painter, view, cell: int) -> None:
    painter.setRenderHint(qt.QPainter.Antialiasing)
    scale = cell / len(view.inside)
    inside = view.inside > 0.5
    if inside.any():
        painter.setPen(_pen(OUTLINE, 1.4))
        for (x0, y0), (x1, y1) in (outline(inside) + 0.5) * scale:
            painter.drawLine(qt.QLineF(x0, y0, x1, y1))
    else:
        painter.setPen(_pen(OUTLINE, 1.2))
        middle = cell / 2
        painter.drawLine(qt.QLineF(middle - 4, middle, middle + 4, middle))
        painter.drawLine(qt.QLineF(middle, middle - 4, middle, middle + 4))
    for ends, color in zip(view.axes, AXES, strict=False):
        painter.setPen(_pen(color, 1.2))
        (x0, y0), (x1, y1) = (np.asarray(ends) + HALF_MM) * cell / (2 * HALF_MM)
        painter.drawLine(qt.QLineF(x0, y0, x1, y1))


def _pen(color: str, width: float):
    pen = qt.QPen(qt.QColor(color))
    pen.setWidthF(width)
    return pen


def writeOver(painter, text: str, x: int, y: int) -> None:
    """Write in yellow on its own shadow, to be read on lung and on chest wall."""
    for shift, color in ((1, "#000000"), (0, LETTERS)):
        painter.setPen(qt.QColor(color))
        painter.drawText(x + shift, y + shift, text)


def grayValues(hu, window: tuple):
    """(H, W) HU -> 0 to 1; what is not known, in a color of its own (H, W, 3)."""
    values = np.asarray(hu, float)
    gray = np.clip((values - window[0]) / (window[1] - window[0]), 0, 1)
    unknown = np.isnan(values)
    if not unknown.any():
        return gray
    color = qt.QColor(UNKNOWN)
    colored = np.repeat(np.nan_to_num(gray)[:, :, None], 3, axis=2)
    colored[unknown] = (color.redF(), color.greenF(), color.blueF())
    return colored


def hot(gray):
    """(H, W) 0 to 1 -> (H, W, 3): black, red, yellow, white."""
    return np.clip(np.stack([3 * gray, 3 * gray - 1, 3 * gray - 2], axis=-1), 0, 1)


def pixmapOf(values):
    """(H, W) or (H, W, 3) of 0 to 1 -> QPixmap, by way of the PNM format, which Qt reads everywhere."""
    pixels = np.round(np.asarray(values) * 255).astype(np.uint8)
    kind = "P6" if pixels.ndim == 3 else "P5"
    header = f"{kind} {pixels.shape[1]} {pixels.shape[0]} 255\n".encode("ascii")
    pixmap = qt.QPixmap()
    pixmap.loadFromData(header + pixels.tobytes())
    return pixmap


def canvas(width: int, height: int, ratio: float):
    """(pixmap, painter): a transparent one of logical pixels, and what draws on it in the panel's font, a point
    smaller."""
    pixmap = qt.QPixmap(round(width * ratio), round(height * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter()
    painter.begin(pixmap)
    painter.setRenderHint(qt.QPainter.SmoothPixmapTransform)
    font = painter.font()
    font.setPointSize(max(font.pointSize() - 1, 7))
    painter.setFont(font)
    return pixmap, painter
