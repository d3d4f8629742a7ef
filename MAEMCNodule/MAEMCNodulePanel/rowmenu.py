"""What can be done to a nodule by a right-click on its row, or by a key on the table."""

import qt
from slicer.i18n import tr as _

from .edits import NoduleEdits, isLocked
from .showing import isPointHidden


class RowMenu:
    """The menu of the table's rows, and renaming in place.

    table: its first column has the nodules' names. current: gives (analysis, IDs of the rows). goTo: called with
    analysis and ID to show a nodule.
    """

    def __init__(self, table, edits: NoduleEdits, current, goTo) -> None:
        self._table, self._edits, self._current, self._goTo = table, edits, current, goTo
        self.menu = qt.QMenu(table)
        self.menu.toolTipsVisible = True
        table.contextMenuPolicy = qt.Qt.CustomContextMenu
        table.connect("customContextMenuRequested(QPoint)", self.onRequested)
        table.connect("itemChanged(QTableWidgetItem*)", self.onItemChanged)
        self._filter = _Keys({qt.Qt.Key_F2: self.rename, qt.Qt.Key_Delete: self.remove})
        table.installEventFilter(self._filter)

    def onRequested(self, position) -> None:
        row = self._table.rowAt(position.y())
        if row >= 0:
            self._table.selectRow(row)
            self.fill()
            self.menu.popup(self._table.viewport().mapToGlobal(position))

    def fill(self) -> None:
        """Make the entries of the selected row."""
        self.menu.clear()
        analysis, pointID = self._selected()
        if pointID is None:
            return
        onPoint = "" if analysis.located else _("A picture has no point in the views.")
        hidden, locked = isPointHidden(analysis, pointID), isLocked(analysis, pointID)
        edits, keep = self._edits, _("The point is locked. Unlock it first.") if locked else ""
        self._add(_("Jump to"), "", lambda: self._goTo(analysis, pointID))
        self._add(_("Rename"), onPoint, self.rename)
        self._add(_("Show") if hidden else _("Hide"), onPoint, lambda: edits.setVisible(analysis, pointID, hidden))
        words = _("Unlock") if locked else _("Lock")
        self._add(words, onPoint, lambda: edits.setLocked(analysis, pointID, not locked))
        self.menu.addSeparator()
        self._add(_("Delete"), keep, self.remove)

    def rename(self) -> None:
        """Let the name of the selected row be typed."""
        analysis, pointID = self._selected()
        if pointID is not None and analysis.located:
            self._table.editItem(self._table.item(self._table.currentRow(), 0))

    def remove(self) -> None:
        """Remove the nodule of the selected row, unless it is locked."""
        analysis, pointID = self._selected()
        if pointID is not None and not isLocked(analysis, pointID):
            self._edits.remove(analysis, pointID)

    def onItemChanged(self, item) -> None:
        """Typed by the user: the panel itself writes with signals blocked."""
        analysis, pointIDs = self._current()
        if analysis is not None and item.column() == 0 and item.row() < len(pointIDs):
            record = analysis.record(pointIDs[item.row()])
            if record is not None and item.text() != record.name:
                self._edits.rename(analysis, pointIDs[item.row()], item.text())

    def _selected(self) -> tuple:
        analysis, pointIDs = self._current()
        row = self._table.currentRow()
        return (analysis, pointIDs[row]) if analysis is not None and 0 <= row < len(pointIDs) else (None, None)

    def _add(self, text: str, reason: str, function) -> None:
        action = self.menu.addAction(text)
        action.enabled = not reason
        action.toolTip = reason or text
        action.connect("triggered()", function)


class _Keys(qt.QObject):
    """Calls a function for a key that a widget gets, before the widget does."""

    def __init__(self, functions: dict) -> None:
        qt.QObject.__init__(self)
        self._functions = functions

    def eventFilter(self, watched, event) -> bool:
        function = self._functions.get(event.key()) if event.type() == qt.QEvent.KeyPress else None
        if function is not None:
            function()
        return function is not None
