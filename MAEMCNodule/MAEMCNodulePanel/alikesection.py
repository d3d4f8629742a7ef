"""What stands beside a nodule's number: what size and attenuation give alone, characteristics in readers' words, and
the training nodules most alike with their pictures, which the scoring process takes out of the model's bundle.

A part of the panel that is folded away."""

import base64

import qt
from MAEMCLib.errors import MAEMCError
from MAEMCLib.report.beside import alike_note, measured_text, words_text
from slicer.i18n import tr as _

from .resultwords import isScoredBy
from .reviewstate import seen
from .widgets import showText

_SIDE = 96
"""Logical pixels of a picture: three beside each other in a panel of 400."""


class AlikeSection:
    """Pictures are asked for when the part is unfolded, and kept as long as the panel.

    ui: the panel's widgets. logic: the module's.
    """

    def __init__(self, ui, logic) -> None:
        self._ui, self._logic = ui, logic
        self._pictures: dict = {}  # (SHA-256 of the model, number of the nodule) -> PNG
        self._asked: set = set()
        self._problem = ""
        self._cells: list = []  # (picture, text) of each column
        self._grid = qt.QGridLayout(ui.alikeFrame)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)

    def show(self, analysis, pointID: str, card) -> None:
        """Of a nodule; nothing where none is selected, or its number may not be seen, or nothing is told beside it."""
        ui, record = self._ui, analysis.record(pointID) if analysis and pointID else None
        result = {}
        if record is not None and record.state == "scored":
            result = seen(analysis, pointID, record).result
        alike = result.get("alike") or []
        words, measured = words_text(result), measured_text(result)
        told = bool(alike or words or measured)
        ui.alikeButton.visible = told
        if ui.alikeButton.collapsed or not told:
            return
        lines = []
        if measured:
            lines.append(_("By size and attenuation alone: {text}.").format(text=measured))
        if words:
            text = _("As readers might say: {words}. A guess of the model, which was as good as one reader in this.")
            lines.append(text.format(words=words))
        showText(ui.alikeWordsLabel, "\n".join(lines))
        known = bool(alike) and isScoredBy(result, card)
        if known:
            self._ask(card.sha256, [one["number"] for one in alike])
        ui.alikeFrame.visible = bool(alike)
        self._fill(alike, result.get("model_sha256"))
        note = alike_note(card) if known else ""
        showText(ui.alikeNoteLabel, "\n".join(filter(None, [self._problem, note])))

    def _ask(self, sha256: str, numbers: list) -> None:
        """Ask for the pictures that are not here yet, once."""
        missing = [one for one in numbers if (sha256, one) not in self._pictures and (sha256, one) not in self._asked]
        if not missing:
            return
        keys = [(sha256, number) for number in missing]
        try:
            model = self._logic.chosenModel()
        except MAEMCError:
            return
        self._asked.update(keys)

        def answered(message: dict) -> None:
            if message["kind"] == "error":
                self._problem = message["message"]
                if message.get("code") == "stopped":  # the next look asks again
                    self._asked.difference_update(keys)
                return
            self._problem = ""
            pictures = map(base64.b64decode, message["pictures"])
            self._pictures.update(zip(keys, pictures, strict=True))

        self._logic.queue.ask("alike", answered, model=str(model.path), numbers=missing)

    def _fill(self, alike: list, sha256) -> None:
        for column, one in enumerate(alike):
            picture, text = self._cell(column)
            png = self._pictures.get((sha256, one["number"]))
            _showPicture(picture, png)
            text.text = _caption(one)
        for column, cell in enumerate(self._cells):
            for label in cell:
                label.visible = column < len(alike)

    def _cell(self, column: int) -> tuple:
        while len(self._cells) <= column:
            number = len(self._cells)
            picture, text = qt.QLabel(self._ui.alikeFrame), qt.QLabel(self._ui.alikeFrame)
            picture.setFixedSize(_SIDE, _SIDE)
            picture.objectName, text.objectName = f"alikePicture_{number}", f"alikeText_{number}"
            text.textFormat = qt.Qt.PlainText
            self._grid.addWidget(picture, 0, number)
            self._grid.addWidget(text, 1, number)
            self._cells.append((picture, text))
        return self._cells[column]


def _showPicture(label, png) -> None:
    if png is None:
        label.clear()
        return
    pixmap = qt.QPixmap()
    pixmap.loadFromData(png)
    ratio = label.devicePixelRatioF()
    pixmap = pixmap.scaledToWidth(round(_SIDE * ratio), qt.Qt.SmoothTransformation)
    pixmap.setDevicePixelRatio(ratio)
    label.setPixmap(pixmap)


def _caption(one: dict) -> str:
    """Size and likeness of a training nodule, and each reader's ratings, a line each."""
    size = "" if one["diameter_mm"] is None else _("{size} mm, ").format(size=f"{one['diameter_mm']:.1f}")
    ratings = [f"{name} {' '.join(map(str, given))}" for name, given in one["ratings"].items()]
    return "\n".join([size + _("alike {value}").format(value=f"{one['similarity']:.2f}"), *ratings])
