"""CTK's widgets for numbers: doubles, clamped to their range and rounded to their decimals."""

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property

from . import qt_signals
from .ui_loader import register

STEPS = 1000


def _fit(value: float, minimum: float, maximum: float, decimals: int) -> float:
    return round(min(max(float(value), minimum), maximum), decimals)


class _Number(QtWidgets.QWidget):
    """What ctkSliderWidget and ctkDoubleSpinBox share: a spin box which carries the value, and the rules for it."""

    standin_cpp = True
    standin_signals = ("valueChanged(double)",)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._standin_range = (0.0, 99.0)
        self._standin_value, self._standin_decimals, self._standin_step = 0.0, 0, 1.0
        self._standin_box = QtWidgets.QDoubleSpinBox()
        self._standin_tracking = True
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._arrange(layout)
        self._refresh()
        qt_signals.connect(self._standin_box, "valueChanged(double)", self.setValue)

    def _arrange(self, layout):
        layout.addWidget(self._standin_box)

    def _refresh(self):
        box = self._standin_box
        box.blockSignals(True)
        box.setDecimals(self._standin_decimals)
        box.setRange(*self._standin_range)
        box.setSingleStep(self._standin_step)
        box.setValue(self._standin_value)
        box.blockSignals(False)

    def setValue(self, value):
        value = _fit(value, *self._standin_range, self._standin_decimals)
        changed = value != self._standin_value
        self._standin_value = value
        self._refresh()
        if changed:
            qt_signals.emit(self, "valueChanged(double)", value)

    def setRange(self, minimum, maximum):
        self._standin_range = (float(minimum), float(max(minimum, maximum)))
        self.setValue(self._standin_value)

    def setMinimum(self, minimum):
        self.setRange(minimum, max(minimum, self._standin_range[1]))

    def setMaximum(self, maximum):
        self.setRange(min(maximum, self._standin_range[0]), maximum)

    def setDecimals(self, decimals):
        self._standin_decimals = int(decimals)
        self.setValue(self._standin_value)

    def setSingleStep(self, step):
        self._standin_step = float(step)
        self._refresh()

    value = Property(float, lambda self: self._standin_value, setValue)
    minimum = Property(float, lambda self: self._standin_range[0], setMinimum)
    maximum = Property(float, lambda self: self._standin_range[1], setMaximum)
    decimals = Property(int, lambda self: self._standin_decimals, setDecimals)
    singleStep = Property(float, lambda self: self._standin_step, setSingleStep)
    suffix = Property(str, lambda self: self._standin_box.suffix, lambda self, text: self._standin_box.setSuffix(text))
    prefix = Property(str, lambda self: self._standin_box.prefix, lambda self, text: self._standin_box.setPrefix(text))


@register
class ctkDoubleSpinBox(_Number):
    """A spin box for a double."""

    standin_ignored_properties = frozenset(
        {"alignment", "frame", "sizeHintPolicy", "setMode", "decimalsOption", "readOnly", "invertedControls"}
    )

    def spinBox(self):
        return self._standin_box


@register
class ctkSliderWidget(_Number):
    """A slider and a spin box for one double."""

    standin_signals = ("valueIsChanging(double)", "rangeChanged(double,double)")
    standin_ignored_properties = frozenset(
        {"spinBoxAlignment", "tickPosition", "popupSlider", "synchronizeSiblings", "invertedControls", "orientation"}
    )

    def _arrange(self, layout):
        self._standin_slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._standin_slider.setRange(0, STEPS)
        layout.addWidget(self._standin_slider, 1)
        layout.addWidget(self._standin_box)
        self._standin_page = 10.0
        qt_signals.connect(self._standin_slider, "valueChanged(int)", self._slid)

    def _slid(self, position):
        low, high = self._standin_range
        self.setValue(low + (high - low) * position / STEPS)

    def _refresh(self):
        super()._refresh()
        low, high = self._standin_range
        self._standin_slider.blockSignals(True)
        self._standin_slider.setValue(round((self._standin_value - low) / (high - low) * STEPS) if high > low else 0)
        self._standin_slider.blockSignals(False)

    def slider(self):
        return self._standin_slider

    def spinBox(self):
        return self._standin_box

    def setPageStep(self, step):
        self._standin_page = float(step)

    def setTracking(self, tracking):
        self._standin_tracking = tracking

    def setSpinBoxVisible(self, visible):
        self._standin_box.setVisible(visible)

    pageStep = Property(float, lambda self: self._standin_page, setPageStep)
    tracking = Property(bool, lambda self: self._standin_tracking, setTracking)
    spinBoxVisible = Property(bool, lambda self: not self._standin_box.isHidden(), setSpinBoxVisible)
    tickInterval = Property(float, lambda self: 0.0, lambda self, value: None)


@register
class ctkRangeWidget(QtWidgets.QWidget):
    """Two numbers, the lower never above the upper."""

    standin_signals = (
        "valuesChanged(double,double)",
        "minimumValueChanged(double)",
        "maximumValueChanged(double)",
        "rangeChanged(double,double)",
    )
    standin_ignored_properties = frozenset(
        {"spinBoxAlignment", "symmetricMoves", "tickInterval", "tracking", "useCustomSpinBoxesLimits"}
    )

    def __init__(self, parent=None):
        super().__init__(parent)
        self._standin_range, self._standin_values = (0.0, 99.0), (0.0, 99.0)
        self._standin_decimals, self._standin_step = 0, 1.0
        self._standin_boxes = (QtWidgets.QDoubleSpinBox(), QtWidgets.QDoubleSpinBox())
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for box in self._standin_boxes:
            layout.addWidget(box)
        self._refresh()
        low, high = self._standin_boxes
        qt_signals.connect(low, "valueChanged(double)", self.setMinimumValue)
        qt_signals.connect(high, "valueChanged(double)", self.setMaximumValue)

    def _refresh(self):
        for box, value in zip(self._standin_boxes, self._standin_values, strict=True):
            box.blockSignals(True)
            box.setDecimals(self._standin_decimals)
            box.setSingleStep(self._standin_step)
            box.setRange(*self._standin_range)
            box.setValue(value)
            box.blockSignals(False)

    def setValues(self, low, high):
        low, high = sorted((low, high))
        before = self._standin_values
        after = tuple(_fit(value, *self._standin_range, self._standin_decimals) for value in (low, high))
        self._standin_values = after
        self._refresh()
        if after[0] != before[0]:
            qt_signals.emit(self, "minimumValueChanged(double)", after[0])
        if after[1] != before[1]:
            qt_signals.emit(self, "maximumValueChanged(double)", after[1])
        if after != before:
            qt_signals.emit(self, "valuesChanged(double,double)", *after)

    def setMinimumValue(self, value):
        self.setValues(min(value, self._standin_values[1]), self._standin_values[1])

    def setMaximumValue(self, value):
        self.setValues(self._standin_values[0], max(value, self._standin_values[0]))

    def setRange(self, minimum, maximum):
        self._standin_range = (float(minimum), float(max(minimum, maximum)))
        self.setValues(*self._standin_values)

    def _set_decimals(self, decimals):
        self._standin_decimals = int(decimals)
        self.setValues(*self._standin_values)

    def _set_step(self, step):
        self._standin_step = float(step)
        self._refresh()

    minimumValue = Property(float, lambda self: self._standin_values[0], setMinimumValue)
    maximumValue = Property(float, lambda self: self._standin_values[1], setMaximumValue)
    minimum = Property(
        float,
        lambda self: self._standin_range[0],
        lambda self, value: self.setRange(value, max(value, self._standin_range[1])),
    )
    maximum = Property(
        float,
        lambda self: self._standin_range[1],
        lambda self, value: self.setRange(min(value, self._standin_range[0]), value),
    )
    decimals = Property(int, lambda self: self._standin_decimals, _set_decimals)
    singleStep = Property(float, lambda self: self._standin_step, _set_step)
