"""The module ``ctk``: widgets over their Qt base classes, with the behavior that scripts rely on."""

import sys
import types

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property

from . import qt_signals
from .ui_loader import register


@register
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A titled section which folds: an abstract button and a container at once."""

    standin_signals = ("contentsCollapsed(bool)",)
    standin_ignored_properties = frozenset(
        {"collapsedHeight", "contentsFrameShape", "contentsFrameShadow", "contentsLineWidth", "contentsMidLineWidth",
         "buttonTextAlignment", "indicatorAlignment"}
    )  # fmt: skip
    HEADER = 22

    def __init__(self, text="", parent=None):
        if isinstance(text, QtWidgets.QWidget) or text is None:
            text, parent = "", text
        super().__init__(parent)
        self._standin_collapsed = False
        self._standin_hidden = []
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, self.HEADER, 0, 0)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        qt_signals.connect(self, "toggled(bool)", lambda checked: self.setCollapsed(not checked))

    def setCollapsed(self, collapsed):
        if collapsed == self._standin_collapsed:
            return
        self._standin_collapsed = collapsed
        self.setChecked(not collapsed)
        children = [child for child in self.children() if isinstance(child, QtWidgets.QWidget)]
        if collapsed:
            self._standin_hidden = [child for child in children if child.isHidden()]
            for child in children:
                child.hide()
        else:
            for child in children:
                child.setVisible(child not in self._standin_hidden)
        self.setMaximumHeight(self.HEADER if collapsed else 16777215)
        self.updateGeometry()
        qt_signals.emit(self, "contentsCollapsed(bool)", collapsed)

    collapsed = Property(bool, lambda self: self._standin_collapsed, setCollapsed)

    def sizeHint(self):
        width = self.fontMetrics().horizontalAdvance(self.text) + 40
        if self._standin_collapsed or self.layout() is None:
            return QtCore.QSize(width, self.HEADER)
        hint = self.layout().totalSizeHint()
        return QtCore.QSize(max(width, hint.width()), max(self.HEADER, hint.height()))

    def minimumSizeHint(self):
        if self._standin_collapsed or self.layout() is None:
            return self.sizeHint()
        return self.layout().totalMinimumSize()

    def hitButton(self, position):
        return position.y() < self.HEADER

    def paintEvent(self, event):
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, self.HEADER)
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, 6, 10, 10)
        kind = QtWidgets.QStyle.PrimitiveElement
        painter.drawPrimitive(kind.PE_IndicatorArrowRight if self.collapsed else kind.PE_IndicatorArrowDown, arrow)
        rectangle = QtCore.QRect(22, 0, option.rect.width() - 24, self.HEADER)
        flags = QtCore.Qt.AlignmentFlag.AlignVCenter | QtCore.Qt.AlignmentFlag.AlignLeft
        flags |= QtCore.Qt.TextFlag.TextShowMnemonic
        painter.drawItemText(rectangle, flags, self.palette, self.isEnabled(), self.text)


@register
class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A group box whose contents fold when unchecked."""

    standin_signals = ()
    standin_ignored_properties = frozenset({"collapsedHeight"})

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.setCheckable(True)
        self.setChecked(True)
        qt_signals.connect(self, "toggled(bool)", self._fold)

    def _fold(self, expanded):
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(expanded)

    def setCollapsed(self, collapsed):
        self.setChecked(not collapsed)

    collapsed = Property(bool, lambda self: not self.isChecked(), setCollapsed)


@register
class ctkDirectoryButton(QtWidgets.QWidget):
    """A push button that shows and asks for a folder; the path is absolute as soon as it is set."""

    standin_signals = ("directoryChanged(QString)", "directorySelected(QString)")
    standin_ignored_properties = frozenset({"acceptMode", "icon", "options"})

    def __init__(self, *arguments):
        super().__init__(arguments[-1] if arguments and isinstance(arguments[-1], QtWidgets.QWidget) else None)
        self._standin_directory = QtCore.QDir.currentPath()
        self._standin_caption, self._standin_text = "", ""
        self._standin_button = QtWidgets.QPushButton(self._standin_directory)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._standin_button)
        qt_signals.connect(self._standin_button, "clicked()", self.browse)

    def setDirectory(self, directory):
        absolute = QtCore.QDir(directory).absolutePath()
        if absolute == self._standin_directory:
            return
        self._standin_directory = absolute
        self._standin_button.setText(self._standin_text or absolute)
        qt_signals.emit(self, "directoryChanged(QString)", absolute)

    def browse(self):
        directory = QtWidgets.QFileDialog.getExistingDirectory(self, self._standin_caption, self._standin_directory)
        if directory:
            self.setDirectory(directory)
            qt_signals.emit(self, "directorySelected(QString)", self._standin_directory)

    def _set_text(self, text):
        self._standin_text = text
        self._standin_button.setText(text or self._standin_directory)

    directory = Property(str, lambda self: self._standin_directory, setDirectory)
    caption = Property(
        str, lambda self: self._standin_caption, lambda self, text: setattr(self, "_standin_caption", text)
    )
    text = Property(str, lambda self: self._standin_text, _set_text)


@register
class ctkPathLineEdit(QtWidgets.QWidget):
    """A path in an editable combo box, with a button to browse."""

    standin_signals = ("currentPathChanged(QString)", "validInputChanged(bool)")
    Dirs, Files, Readable, Writable, Executable = 0x001, 0x002, 0x010, 0x020, 0x040
    standin_ignored_properties = frozenset({"label", "options", "sizeAdjustPolicy", "minimumContentsLength"})

    def __init__(self, *arguments):
        super().__init__(arguments[-1] if arguments and isinstance(arguments[-1], QtWidgets.QWidget) else None)
        self._standin_filters = self.Files | self.Readable
        self._standin_key, self._standin_name_filters, self._standin_shows_browse = "", [], True
        self._standin_path = ""
        self._standin_box = QtWidgets.QComboBox()
        self._standin_box.setEditable(True)
        # As scripts set it in the .ui file, so that a long path does not make the panel wide.
        self._standin_box.setSizeAdjustPolicy(
            QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._standin_browse = QtWidgets.QToolButton()
        self._standin_browse.setText("...")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._standin_box, 1)
        layout.addWidget(self._standin_browse)
        qt_signals.connect(self._standin_box, "currentTextChanged(QString)", self._edited)
        qt_signals.connect(self._standin_browse, "clicked()", self.browse)

    def _edited(self, text):
        if text != self._standin_path:
            self._standin_path = text
            qt_signals.emit(self, "currentPathChanged(QString)", text)

    def setCurrentPath(self, path):
        self._standin_box.setEditText(path)

    def browse(self):
        ask = QtWidgets.QFileDialog.getExistingDirectory
        if self._standin_filters & self.Files:
            ask = QtWidgets.QFileDialog.getOpenFileName
        path = ask(self, "", self._standin_path, ";;".join(self._standin_name_filters))
        if path:
            self.setCurrentPath(path)

    def addCurrentPathToHistory(self):
        if self._standin_path and self._standin_box.findText(self._standin_path) < 0:
            self._standin_box.insertItem(0, self._standin_path)

    def _set_filters(self, filters):
        self._standin_filters = int(filters)

    def _set_browse(self, shown):
        self._standin_shows_browse = shown
        self._standin_browse.setVisible(shown)

    currentPath = Property(str, lambda self: self._standin_path, setCurrentPath)
    filters = Property(int, lambda self: self._standin_filters, _set_filters)
    settingKey = Property(str, lambda self: self._standin_key, lambda self, key: setattr(self, "_standin_key", key))
    showBrowseButton = Property(bool, lambda self: self._standin_shows_browse, _set_browse)
    showHistoryButton = Property(bool, lambda self: True, lambda self, shown: None)
    nameFilters = Property(
        "QStringList",
        lambda self: tuple(self._standin_name_filters),
        lambda self, names: setattr(self, "_standin_name_filters", list(names)),
    )


@register
class ctkComboBox(QtWidgets.QComboBox):
    """A combo box that shows a default text while nothing is chosen."""

    standin_signals = ()
    standin_ignored_properties = frozenset({"elideMode", "scrollWheelEffect"})

    def setDefaultText(self, text):
        self._standin_default = text
        self.setPlaceholderText(text)

    defaultText = Property(str, lambda self: getattr(self, "_standin_default", ""), setDefaultText)


@register
class ctkCheckBox(QtWidgets.QCheckBox):
    """A check box with an icon."""

    standin_signals = ()
    standin_ignored_properties = frozenset({"indicatorIcon", "indicatorIconSize"})


@register
class ctkMenuButton(QtWidgets.QPushButton):
    """A push button with a menu beside it."""

    standin_signals = ()
    standin_ignored_properties = frozenset({"arrowIcon"})


@register
class ctkSearchBox(QtWidgets.QLineEdit):
    """A line edit for a search."""

    standin_signals = ()
    standin_ignored_properties = frozenset({"searchIcon", "showSearchIcon", "alwaysShowClearIcon"})


@register
class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    """A text browser as high as its text."""

    standin_signals = ()
    standin_ignored_properties = frozenset({"collapsed", "showDetailsText", "hideDetailsText", "collapsibleText"})

    def setCollapsibleText(self, text):
        self.setHtml(text)


@register
class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box with "don't show again"."""

    standin_signals = ()

    def setDontShowAgain(self, again):
        self._standin_dont_show_again = again

    dontShowAgain = Property(bool, lambda self: getattr(self, "_standin_dont_show_again", False), setDontShowAgain)
    dontShowAgainSettingsKey = Property(
        str,
        lambda self: getattr(self, "_standin_key", ""),
        lambda self, key: setattr(self, "_standin_key", key),
    )


def build() -> types.ModuleType:
    """Make the module ``ctk`` and register it in ``sys.modules``."""
    if "ctk" in sys.modules:
        return sys.modules["ctk"]
    from . import ctk_numbers

    module = types.ModuleType("ctk", "CTK widgets (stand-ins)")
    for source in (sys.modules[__name__], ctk_numbers):
        for name, value in vars(source).items():
            if name.startswith("ctk") and isinstance(value, type):
                setattr(module, name, value)
    sys.modules["ctk"] = module
    return module
