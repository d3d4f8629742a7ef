"""A model's three operating points and, of diagnosis models, what a prevalence makes of them: a part of the panel.

A model that was trained on readers' ratings has no prevalence of cancer, no PPV and no NPV: none is shown.
"""

import qt
from MAEMCLib.errors import ModelError
from MAEMCLib.models.operating_points import Rate, operating_points
from MAEMCLib.models.prevalence import adjusted, assumed_prevalence, predictive_values, prevalence_problem
from slicer.i18n import tr as _

from .reviewstate import seen
from .widgets import showText

AS_TRAINED = 0.0
"""Of the parameter node's prevalence: nobody has chosen one, that of the training holds."""


class OperatingPointsSection:
    """Rates in a grid, a row a point; the slider is the panel's and belongs to the parameter node.

    ui: the panel's widgets.
    """

    def __init__(self, ui) -> None:
        self._ui = ui
        self._grid = qt.QGridLayout(ui.operatingPointsFrame)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(6)
        self._labels: dict = {}  # (row, column) -> QLabel
        self._shown = None

    def show(self, analysis, pointID: str, card, prevalence: float) -> None:
        """prevalence: 0 to 1, as the parameter node has it. Nothing where no nodule is selected, or the model has no
        operating points."""
        ui = self._ui
        record = analysis.record(pointID) if analysis and pointID else None
        points = _pointsOf(card) if record is not None and record.state == "scored" else ()
        ui.operatingPointsButton.visible = bool(points)
        if not points:
            return
        record = seen(analysis, pointID, record)
        adjustable = not prevalence_problem(card)
        assumed = prevalence or (assumed_prevalence(card) if adjustable else AS_TRAINED)
        shown = (card.sha256, assumed, record.result.get("probability"), record.result["model_sha256"])
        for widget in (ui.prevalenceLabel, ui.prevalenceSlider):  # unfolding shows what was hidden
            widget.visible = adjustable
        ui.adjustedLabel.visible = bool(ui.adjustedLabel.text)
        if shown == self._shown:
            return
        self._shown = shown
        title = _("Operating points and prevalence") if adjustable else _("Operating points")
        ui.operatingPointsButton.text = title
        if adjustable:
            ui.prevalenceSlider.blockSignals(True)
            ui.prevalenceSlider.value = 100 * assumed
            ui.prevalenceSlider.blockSignals(False)
        showText(ui.adjustedLabel, _adjustedText(record.result, card, assumed) if adjustable else "")
        self._fill(points, card, assumed if adjustable else None)
        ui.ratesLabel.text = _ratesText(card)

    def _fill(self, points, card, prevalence: float | None) -> None:
        heads = [_("Point"), _("From"), _("Sensitivity"), _("Specificity")]
        if prevalence is not None:  # six columns in a panel of 400 pixels
            heads = [*heads[:2], _("Sens."), _("Spec."), _("PPV"), _("NPV")]
        rows = [heads]
        for point in points:
            cells = [_purposes()[point.name], f"{point.threshold:.2f}"]
            cells += [rateText(point.sensitivity), rateText(point.specificity)]
            if prevalence is not None:
                values = predictive_values(card, point, prevalence)
                cells = [cell.replace(" (", "\n(") for cell in [*cells, rateText(values.ppv), rateText(values.npv)]]
            rows.append(cells)
        for row, cells in enumerate(rows):
            for column in range(6):
                label = self._label(row, column)
                label.visible = column < len(cells)
                label.text = cells[column] if column < len(cells) else ""

    def _label(self, row: int, column: int):
        if (row, column) not in self._labels:
            label = qt.QLabel(self._ui.operatingPointsFrame)
            label.objectName = f"operatingPoint_{row}_{column}"
            label.textFormat = qt.Qt.PlainText
            font = label.font
            font.setBold(row == 0)
            label.font = font
            self._grid.addWidget(label, row, column)
            self._labels[(row, column)] = label
        return self._labels[(row, column)]


def rateText(rate: Rate | None) -> str:
    """ "95 (91-98)", percent with the 95 % interval; a dash where there is none."""
    if rate is None:
        return "\N{EN DASH}"
    value = f"{100 * rate.value:.0f}"
    return value if rate.low is None else f"{value} ({100 * rate.low:.0f}\N{EN DASH}{100 * rate.high:.0f})"


def _pointsOf(card) -> tuple:
    try:
        return operating_points(card) if card is not None else ()
    except ModelError:
        return ()


def _purposes() -> dict:
    return {"rule_out": _("Rule out"), "balanced": _("Balanced"), "rule_in": _("Rule in")}


def _adjustedText(result: dict, card, prevalence: float) -> str:
    """What becomes of the number at a prevalence."""
    probability = result.get("probability")
    if probability is None or result["model_sha256"] != card.sha256:
        return ""
    text = _("At a prevalence of {percent} %: {adjusted} (as trained, at {assumed} %: {raw})")
    return text.format(
        percent=f"{100 * prevalence:.0f}",
        adjusted=f"{adjusted(card, probability, prevalence):.2f}",
        assumed=f"{100 * assumed_prevalence(card):.0f}",
        raw=f"{probability:.2f}",
    )


def _ratesText(card) -> str:
    if card.label_type == "rating":
        return _("Rates in % with 95 % intervals, of nodules that readers rate malignant or benign.")
    return _("Rates in % with 95 % intervals, of nodules with a diagnosis.")
