"""qMRMLTableView: a real QTableView over a table node."""

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property

from . import qt_signals
from .ui_loader import register


class _TableModel(QtCore.QAbstractTableModel):
    """The cells of a ``vtkMRMLTableNode``; editable unless the node is locked."""

    def __init__(self, parent):
        super().__init__(parent)
        self._standin_node = None

    def standin_set(self, node):
        self.beginResetModel()
        self._standin_node = node
        self.endResetModel()

    def _table(self):
        return self._standin_node.GetTable() if self._standin_node is not None else None

    def rowCount(self, parent=None):
        table = self._table()
        return table.GetNumberOfRows() if table else 0

    def columnCount(self, parent=None):
        table = self._table()
        return table.GetNumberOfColumns() if table else 0

    def data(self, index, role=QtCore.Qt.ItemDataRole.DisplayRole):
        roles = QtCore.Qt.ItemDataRole
        if role not in (roles.DisplayRole, roles.EditRole) or not index.isValid():
            return None
        return self._table().GetValue(index.row(), index.column()).ToString()

    def headerData(self, section, orientation, role=QtCore.Qt.ItemDataRole.DisplayRole):
        if role != QtCore.Qt.ItemDataRole.DisplayRole or self._table() is None:
            return None
        if orientation == QtCore.Qt.Orientation.Horizontal:
            column = self._table().GetColumn(section)
            return self._standin_node.GetColumnTitle(column.GetName()) or column.GetName() if column else None
        return str(section + 1)

    def flags(self, index):
        flags = QtCore.Qt.ItemFlag.ItemIsSelectable | QtCore.Qt.ItemFlag.ItemIsEnabled
        if self._standin_node is not None and not self._standin_node.GetLocked():
            flags |= QtCore.Qt.ItemFlag.ItemIsEditable
        return flags

    def setData(self, index, value, role=QtCore.Qt.ItemDataRole.EditRole):
        return bool(self._standin_node.SetCellText(index.row(), index.column(), str(value)))


@register
class qMRMLTableView(QtWidgets.QTableView):
    """Shows a table node and follows its changes."""

    standin_signals = ("selectionChanged()", "mrmlSceneChanged(vtkMRMLScene*)")
    standin_ignored_properties = frozenset({"transposed"})

    def __init__(self, parent=None):
        super().__init__(parent)
        self._standin_scene, self._standin_node, self._standin_observer = None, None, None
        self._standin_model = _TableModel(self)
        self.setModel(self._standin_model)
        qt_signals.connect(
            self.selectionModel(),
            "selectionChanged(QItemSelection,QItemSelection)",
            lambda: qt_signals.emit(self, "selectionChanged()"),
        )
        qt_signals.connect(self, "destroyed()", self._release)

    def _release(self):
        if self._standin_observer is not None:
            self._standin_node.RemoveObserver(self._standin_observer)
            self._standin_observer = None

    def mrmlScene(self):
        return self._standin_scene

    def setMRMLScene(self, scene):
        if scene is not self._standin_scene:
            self._standin_scene = scene
            if self._standin_node is not None and self._standin_node.GetScene() is not scene:
                self.setMRMLTableNode(None)
            qt_signals.emit(self, "mrmlSceneChanged(vtkMRMLScene*)", scene)

    def mrmlTableNode(self):
        return self._standin_node

    def setMRMLTableNode(self, node):
        import vtk

        self._release()
        self._standin_node = node
        if node is not None:
            self._standin_observer = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._changed)
        self._standin_model.standin_set(node)

    def _changed(self, caller, event):
        rows = sorted({index.row() for index in self.selectionModel().selectedRows()})
        self._standin_model.standin_set(self._standin_node)
        for row in rows:
            if row < self._standin_model.rowCount():
                self.selectRow(row)

    def setFirstRowLocked(self, locked):
        self._standin_first_row = locked

    def setFirstColumnLocked(self, locked):
        self._standin_first_column = locked

    firstRowLocked = Property(bool, lambda self: getattr(self, "_standin_first_row", False), setFirstRowLocked)
    firstColumnLocked = Property(bool, lambda self: getattr(self, "_standin_first_column", False), setFirstColumnLocked)
