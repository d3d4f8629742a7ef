"""Fills the panel's table and its status line."""

import time

import qt
from slicer.i18n import tr as _

from . import drawing, nodes
from .resultwords import findingsText, intervalText, isHidden, shortFindings, sizeText, stateText
from .reviewstate import seenRecords
from .status import SILENT_SECONDS
from .widgets import fillTable

ELAPSED_SHOWN_FROM_SECONDS = 3
ROOMY_WIDTH = 560
"""Of the table, from which the range has room beside the findings; below it stands with the selected nodule alone."""
_RANGE, _SIZE, _FINDINGS = 2, 4, 5
"""Columns of the table, the last of which takes what is left of its width."""
_LOOK = qt.Qt.UserRole
"""What a row's color and hints were made for."""


def fillNodules(ui, analysis, selectedPoint: str) -> None:
    """A row for each nodule, colored by its gate; only cells that change are written, so that nothing flickers."""
    records = seenRecords(analysis) if analysis else []
    pointIDs = [pointID for pointID, _record in records]
    selected = pointIDs.index(selectedPoint) if selectedPoint in pointIDs else None
    rows = [_texts(record) for _pointID, record in records]
    fillTable(ui.resultTable, rows, selected, 6, _FINDINGS)
    roomy = ui.resultTable.width >= ROOMY_WIDTH
    for column in (_RANGE, _SIZE):  # of a model with a single member, or with nothing measured
        empty = bool(rows) and not any(texts[column] for texts in rows)
        ui.resultTable.setColumnHidden(column, empty or (column == _RANGE and not roomy))
    blocked = ui.resultTable.blockSignals(True)  # nobody has typed anything
    for row, (_pointID, record) in enumerate(records):
        gate = record.result.get("gate") if record.state == "scored" else None
        look = repr((gate, findingsText(record), rows[row]))
        if ui.resultTable.item(row, 0).data(_LOOK) != look:
            _dress(ui.resultTable, row, gate, findingsText(record))
            ui.resultTable.item(row, 0).setData(_LOOK, look)
    ui.resultTable.blockSignals(blocked)


def _dress(table, row: int, gate: str | None, findings: str) -> None:
    """Give a row the color of its gate and the hints behind its texts."""
    color = qt.QColor(*nodes.GATE_COLORS[gate], 55) if gate in nodes.GATE_COLORS else qt.QColor(0, 0, 0, 0)
    for column in range(table.columnCount):
        item = table.item(row, column)
        item.setToolTip(findings if column == _FINDINGS else item.text())
        item.setBackground(qt.QBrush(color))
    table.item(row, 0).setIcon(drawing.gateIcon(gate) if gate in nodes.GATE_COLORS else qt.QIcon())


def statusText(logic) -> str:
    """The status line: what is being done and for how long, or that the process does not answer, or what went wrong."""
    status = logic.status
    if status.kind != "busy":
        return status.text or deviceText(logic.device)
    silent, elapsed = logic.worker.silent_seconds, time.monotonic() - status.since
    if silent >= SILENT_SECONDS:
        return silentText(silent, started=bool(logic.device))
    return f"{status.text} {elapsed:.0f} s" if elapsed >= ELAPSED_SHOWN_FROM_SECONDS else status.text


def silentText(seconds: float, started: bool) -> str:
    """That a process gives no sign of life. started: whether it ever has."""
    if started:
        text = _("The scoring process has not answered for {seconds} s. Press Stop to end it; nothing else is lost.")
    else:
        text = _(
            "The scoring process has not answered for {seconds} s since it was started. Loading PyTorch from a slow "
            "disk takes minutes; Stop ends it."
        )
    return text.format(seconds=f"{seconds:.0f}")


def deviceText(device: dict) -> str:
    """ "CPU, 0.2 s a score", as far as it is known."""
    if "name" not in device:
        return ""
    name = _("CPU") if device["name"] == "cpu" else device.get("title") or device["name"]
    if device.get("seconds") is None:
        return _("{device} is ready.").format(device=name)
    if device["seconds"] < 0.1:
        return _("{device}, under 0.1 s a score").format(device=name)
    return _("{device}, {seconds} s a score").format(device=name, seconds=f"{device['seconds']:.1f}")


def _texts(record) -> tuple:
    if record.state == "pending":
        return (record.name, "\N{HORIZONTAL ELLIPSIS}", "", stateText(record), "", "")
    if record.state == "waiting":
        return (record.name, "", "", stateText(record), sizeText(record.measures), record.message)
    if record.state == "failed":
        return (record.name, "\N{EN DASH}", "", stateText(record), "", record.message)
    size, findings = sizeText(record.measures), shortFindings(record)
    if isHidden(record):
        return (record.name, _("hidden"), "", "", size, findings)
    result = record.result
    probability = f"{result['probability']:.2f}"
    return (record.name, probability, intervalText(result), result["class"], size, findings)
