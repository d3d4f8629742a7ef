"""What both panels do with their widgets: tables, selectors, rows of a form, texts, buttons."""

import qt
import slicer


def fillTable(table, rows: list, selected: int | None, most: int, stretched: int) -> None:
    """Write rows of texts, and make the table as high as three rows at least; only cells that change are written, so
    that nothing flickers.

    selected: number of the selected row. most: rows that are shown without scrolling. stretched: number of the column
    that takes the width that is left.
    """
    table.blockSignals(True)
    table.horizontalHeader().setSectionResizeMode(stretched, qt.QHeaderView.Stretch)
    table.setRowCount(len(rows))
    for row, texts in enumerate(rows):
        for column, text in enumerate(texts):
            if table.item(row, column) is None:
                table.setItem(row, column, qt.QTableWidgetItem())
            if table.item(row, column).text() != text:
                table.item(row, column).setText(text)
    if selected is None:
        table.clearSelection()
        table.setCurrentItem(None)
    elif table.currentRow() != selected:
        table.selectRow(selected)
    for column in set(range(table.columnCount)) - {stretched}:
        table.resizeColumnToContents(column)
    height = table.horizontalHeader().height + min(max(len(rows), 3), most) * table.verticalHeader().defaultSectionSize
    table.setFixedHeight(height + 4)
    table.blockSignals(False)


def setValues(selector, values) -> None:
    """Give the items of a selector, whose titles the .ui file has, the values that they stand for, in order."""
    for index, value in enumerate(values):
        selector.setItemData(index, value)


def hideNodes(selector, nodeIDs: list) -> None:
    """Do not offer nodes in a node selector; cheap where they are hidden already."""
    model = selector.sortFilterProxyModel()
    if list(model.hiddenNodeIDs) != nodeIDs:
        model.hiddenNodeIDs = nodeIDs


def showRows(ui, rows: dict) -> None:
    """Show or hide rows of a form. rows: {beginning of the names of a row's widgets: whether it is shown}."""
    for row, visible in rows.items():
        for name, child in vars(ui).items():
            if name.startswith(row) and name[len(row) : len(row) + 1].isupper():
                child.visible = visible


def showText(label, text: str) -> None:
    """Show a text; an empty one takes no room."""
    label.text = text
    label.visible = bool(text)


def enable(button, reason: str, hint: str) -> None:
    """Enable a button, with a hint at what it does; where there is a reason why it cannot be used, its tooltip says
    that."""
    button.enabled = not reason
    button.toolTip = reason or hint


def loadInto(frame, path):
    """Load a .ui file into an empty frame; returns the widgets in it by name."""
    widget = slicer.util.loadUI(str(path))
    layout = qt.QVBoxLayout(frame)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(widget)
    return slicer.util.childWidgetVariables(widget)
