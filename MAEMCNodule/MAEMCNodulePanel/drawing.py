"""What is drawn in the panel: the probability on its scale, and middle slices of the CT and of its reconstruction."""

import numpy as np
import qt
from slicer.i18n import tr as _

from .nodes import ERROR_SHOWN_TO_HU, GATE_COLORS

_BELOW, _ABOVE = (70, 130, 180, 70), (205, 92, 60, 70)
WIDTH = 364
"""Logical pixels of the scale and of the row of slices: what a module panel of usual width has room for."""
_GAP, _CAPTION = 5, 16
_CELL = (WIDTH - 2 * _GAP) // 3


def probabilityBar(result: dict, textColor):
    """Pixmap of a scale from 0 to 1: tinted to either side of the threshold, with the range and the probability.

    result: a result's JSON. textColor: QColor of the panel's text.
    """
    height, left, top, thick = 40, 8, 8, 12
    pixmap, painter = _canvas(WIDTH, height)
    span = WIDTH - 2 * left

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


def sliceStrip(stacks: dict, window: tuple, textColor):
    """Pixmap of the middle slices: a row for each plane; the CT, its reconstruction, where they differ.

    Attention is not here: published models attend to whole slices, so that one slice of it has one value.
    stacks: {"axial": {kind: (25, 50, 50) array}, "coronal": ...}, kinds as in nodes.KINDS; missing ones leave
    their column out. window: HU from black to white. None where there is nothing to show.
    """
    titles = {"original": _("CT"), "reconstruction": _("Reconstruction"), "error": _("Difference")}
    kinds = [kind for kind in titles if all(kind in planes for planes in stacks.values())]
    if not kinds:
        return None
    width = len(kinds) * (_CELL + _GAP) - _GAP
    pixmap, painter = _canvas(width, _CAPTION + 2 * _CELL + _GAP)
    for column, kind in enumerate(kinds):
        x = column * (_CELL + _GAP)
        painter.setPen(textColor)
        painter.drawText(x + 1, _CAPTION - 4, titles[kind])
        for row, plane in enumerate(("axial", "coronal")):
            stack = np.asarray(stacks[plane][kind], float)
            low, high = (0.0, ERROR_SHOWN_TO_HU) if kind == "error" else window
            gray = np.clip((stack[len(stack) // 2] - low) / (high - low), 0, 1)
            picture = _pixmap(_hot(gray) if kind == "error" else gray)
            painter.drawPixmap(x, _CAPTION + row * (_CELL + _GAP), _CELL, _CELL, picture)
    for row, plane in enumerate((_("axial"), _("coronal"))):
        y = _CAPTION + row * (_CELL + _GAP) + _CELL - 5
        for shift, shade in ((1, 0), (0, 255)):  # white on its own shadow reads on lung and on chest wall
            painter.setPen(qt.QColor(shade, shade, shade))
            painter.drawText(5 + shift, y + shift, plane)
    painter.end()
    return pixmap


def _hot(gray):
    """(H, W) 0 to 1 -> (H, W, 3): black, red, yellow, white."""
    return np.clip(np.stack([3 * gray, 3 * gray - 1, 3 * gray - 2], axis=-1), 0, 1)


def _pixmap(values):
    """(H, W) or (H, W, 3) of 0 to 1 -> QPixmap, by way of the PNM format, which Qt reads everywhere."""
    pixels = np.round(np.asarray(values) * 255).astype(np.uint8)
    kind = "P6" if pixels.ndim == 3 else "P5"
    header = f"{kind} {pixels.shape[1]} {pixels.shape[0]} 255\n".encode("ascii")
    pixmap = qt.QPixmap()
    pixmap.loadFromData(header + pixels.tobytes())
    return pixmap


def _canvas(width: int, height: int):
    """(pixmap, painter): a transparent one, and what draws on it in the panel's font, a point smaller."""
    pixmap = qt.QPixmap(width, height)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter()
    painter.begin(pixmap)
    font = painter.font()
    font.setPointSize(max(font.pointSize() - 1, 7))
    painter.setFont(font)
    return pixmap, painter


def gateIcon(gate: str):
    """A disc in the gate's color, which stays visible where a selected row hides its background."""
    pixmap, painter = _canvas(12, 12)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    painter.setPen(qt.QColor(0, 0, 0, 0))
    painter.setBrush(qt.QBrush(qt.QColor(*GATE_COLORS[gate])))
    painter.drawEllipse(1, 1, 10, 10)
    painter.end()
    return qt.QIcon(pixmap)
