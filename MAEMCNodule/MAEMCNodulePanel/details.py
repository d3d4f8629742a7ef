"""Fills the panel's table and the part on the selected nodule."""

import time

import qt
from MAEMCLib.report.scores import classes_text, clinical_text
from slicer.i18n import tr as _

from . import drawing, nodes
from .analysis import PLANES
from .status import SILENT_SECONDS
from .widgets import fillTable, showText

ELAPSED_SHOWN_FROM_SECONDS = 3
_RANGE, _FINDINGS = 2, 4
"""Columns of the table, the last of which takes what is left of its width."""


def fillNodules(ui, analysis, selectedPoint: str) -> None:
    """A row for each nodule, colored by its gate; only cells that change are written, so that nothing flickers."""
    records = analysis.records() if analysis else []
    pointIDs = [pointID for pointID, _record in records]
    selected = pointIDs.index(selectedPoint) if selectedPoint in pointIDs else None
    fillTable(ui.resultTable, [_texts(record) for _pointID, record in records], selected, 8, _FINDINGS)
    ranges = any(nodes.intervalText(record.result or {}) for _pointID, record in records)
    ui.resultTable.setColumnHidden(_RANGE, bool(records) and not ranges)  # of a model with a single member
    for row, (_pointID, record) in enumerate(records):
        gate = record.result.get("gate") if record.state == "scored" else None
        color = qt.QColor(*nodes.GATE_COLORS[gate], 55) if gate in nodes.GATE_COLORS else qt.QColor(0, 0, 0, 0)
        for column in range(ui.resultTable.columnCount):
            item = ui.resultTable.item(row, column)
            item.setToolTip(item.text())
            item.setBackground(qt.QBrush(color))
        ui.resultTable.item(row, 0).setIcon(drawing.gateIcon(gate) if gate in nodes.GATE_COLORS else qt.QIcon())


def fillNodule(ui, analysis, pointID: str, card) -> None:
    """Headline, scale, findings and pictures of one nodule; nothing of it where no nodule is selected."""
    record = analysis.record(pointID) if analysis and pointID else None
    ui.noduleFrame.visible = record is not None
    if record is None:
        return
    result = record.result or {}
    scored = record.state == "scored"
    ui.headlineLabel.text = _headline(record)
    showText(ui.findingsLabel, _findings(record)[1])
    font = ui.findingsLabel.font
    font.setBold(scored and result["gate"] == "red")
    ui.findingsLabel.font = font
    showText(ui.scaleLabel, probabilityText(result, card) if scored else "")
    ui.barLabel.visible = scored
    stacks = {plane: nodes.stacksOf(analysis, pointID, plane) for plane in PLANES} if record.explained else {}
    key = f"{analysis.id} {pointID} {record.toJson()}"
    if scored and key != ui.noduleFrame.property("shown"):
        ui.noduleFrame.setProperty("shown", key)
        color = ui.noduleFrame.palette.color(qt.QPalette.WindowText)
        ui.barLabel.setPixmap(drawing.probabilityBar(result, color))
        strip = stacks and drawing.sliceStrip(stacks, record.window or (-1200.0, 200.0), color)
        ui.picturesLabel.setPixmap(strip or qt.QPixmap())
    ui.picturesLabel.visible = scored and "original" in stacks.get(PLANES[0], {})
    showText(ui.intendedUseLabel, _aboutModel(record, card) if scored else "")


def probabilityText(result: dict, card) -> str:
    """What the number is a probability of, and whether it is calibrated, as far as the model's card is known.

    Of a model that has learned from readers' ratings it is the malignancy as readers rate it, and never more.
    """
    if not _isScoredBy(result, card):
        return _("Probability")
    if len(card.classes) > 2:
        name = _("Probability of {name}").format(name=result["class"])
    elif card.positive_class.removesuffix("-like") != "malignant":
        name = _("Probability of {name}").format(name=card.positive_class)
    else:
        names = {"rating": _("Malignancy probability as readers rate it"), "diagnosis": _("Malignancy probability")}
        name = names[card.label_type]
    return (_("{name}, calibrated") if card.calibration.calibrated else _("{name}, not calibrated")).format(name=name)


def _isScoredBy(result: dict, card) -> bool:
    return card is not None and result["model_sha256"] == card.sha256


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
    result = record.result or {}
    if record.state == "pending":
        return (record.name, "\N{HORIZONTAL ELLIPSIS}", "", _("being scored"), "")
    if record.state == "waiting":
        return (record.name, "", "", _("not scored"), record.message)
    if record.state == "failed":
        return (record.name, "\N{EN DASH}", "", _("failed"), record.message)
    probability = f"{result['probability']:.2f}"
    return (record.name, probability, nodes.intervalText(result), result["class"], _findings(record)[0])


def _findings(record) -> tuple:
    """The gate in words, so that its color is not needed to read it, and what lies behind it: (with the color's name,
    with what it means)."""
    gates = {
        "green": (_("green."), _("As the model knows it.")),
        "amber": (_("amber:"), _("Caution:")),
        "red": (_("red:"), _("Outside what the model knows:")),
        "grey": (_("grey:"), _("Not fully checked:")),
    }
    gate = (record.result or {}).get("gate") if record.state == "scored" else None
    return tuple(" ".join(filter(None, [words, nodes.notesText(record)])) for words in gates.get(gate, ("", "")))


def _headline(record) -> str:
    result = record.result or {}
    if record.state != "scored":
        return f"{record.name}: {_texts(record)[3]}"
    if result.get("class_probabilities"):
        return f"{record.name}: {classes_text(result['class_probabilities'])}"
    text = _("{name}: {probability}, {label}")
    return text.format(name=record.name, probability=f"{result['probability']:.2f}", label=result["class"])


def _aboutModel(record, card) -> str:
    """What was read beside the CT; what the number is and is not, as the model's own card says it."""
    result = record.result
    values = clinical_text(result.get("clinical"))
    parts = [_("Read beside the CT: {values}.").format(values=values)] if values else []
    if not _isScoredBy(result, card):
        text = _("Scored with {id} {version}.")
        return " ".join([*parts, text.format(id=result["model_id"], version=result["model_version"])])
    parts.append(card.intended_use)
    prevalence = card.values.get("training", {}).get("prevalence")
    if prevalence is not None:
        text = _("Trained where {percent} % were {name}; elsewhere the number means less or more.")
        parts.append(text.format(percent=round(100 * prevalence), name=card.positive_class))
    return " ".join(parts)
