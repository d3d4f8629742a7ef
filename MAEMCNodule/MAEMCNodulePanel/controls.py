"""The panel's selectors and buttons: what they offer, when they can be used, and why not."""

import qt
import slicer
from MAEMCLib.models.store import list_models
from slicer.i18n import tr as _

from . import lungwindow, views
from .edits import isLocked, middleOf
from .nodes import overlayIDs
from .shortcuts import keyText
from .showing import scoresPictures, volumeKinds
from .widgets import enable, hideNodes, showText


def showInputKind(ui, card) -> None:
    """Name what the model scores, and offer the volumes that it may score."""
    selector, kinds, pictures = ui.inputVolumeSelector, volumeKinds(card), scoresPictures(card)
    if tuple(selector.nodeTypes) != kinds:
        selector.nodeTypes = list(kinds)
    hideNodes(selector, overlayIDs(slicer.mrmlScene))
    ui.inputVolumeLabel.text = _("Picture:") if pictures else _("CT:")
    ui.scoreButton.text = _("Score picture") if pictures else _("Score")
    ui.placeButton.visible = not pictures
    ui.resultTable.horizontalHeaderItem(0).setText(_("Picture") if pictures else _("Nodule"))


def updateButtons(ui, volume, points, analysis, busy: bool, card) -> None:
    """Enable what can be done, and say why the rest cannot."""
    records = analysis.records() if analysis else []
    pictures = scoresPictures(card)
    showHint(ui, volume, records, pictures)
    noVolume = "" if volume is not None else _("Load a chest CT and choose it first.")
    noRecord = "" if records else _("Score a picture first.") if pictures else _("Place a nodule first.")
    hint = _("Then click in the middle of a nodule in a slice view.") + keyText("place")
    enable(ui.placeButton, noVolume, hint)
    ui.placeButton.checked = views.isPlacing(points)
    if pictures:
        noPicture = "" if volume is not None else _("Load a picture or a CT and choose it first.")
        enable(ui.scoreButton, noPicture, _("Score the 2-D image, or of a CT the axial slice that the view shows."))
    else:
        hint = _("Score the nodules that wait, or all of them again with the chosen model.")
        enable(ui.scoreButton, noVolume or noRecord, hint)
    enable(
        ui.stopButton, "" if busy else _("Nothing is being scored."), _("Stop at once; results that are there stay.")
    )
    noResult = "" if any(record.result for _pointID, record in records) else _("Score a nodule first.")
    enable(ui.exportButton, noRecord or noResult, _("Tables, report, DICOM: choose what and where to."))


def showHint(ui, volume, records: list, pictures: bool) -> None:
    """Say what comes next where there is nothing yet, in place of an empty table."""
    ui.resultTable.visible = bool(records)
    if records:
        text = ""
    elif volume is None:
        text = _("Load a chest CT and choose it above. Sample Data has one: Lung nodules (MAEMC).")
    elif pictures:
        text = _("Press Score picture: the image, or the axial slice of the CT in the view, is scored.")
    else:
        text = _("Press Place nodule, then click in the middle of a nodule in a slice view.")
    showText(ui.hintLabel, text)


def updateNoduleButtons(ui, analysis, pointID: str, undoText: str) -> None:
    """What can be done to the selected nodule, and taken back."""
    record = analysis.record(pointID) if analysis is not None and pointID else None
    ui.snapButton.visible = record is not None and middleOf(analysis, pointID, record) is not None
    locked = analysis is not None and bool(pointID) and isLocked(analysis, pointID)
    hint = _("Remove this nodule: its point, row, region and overlays; Undo brings it back.")
    enable(ui.removeButton, _("The point is locked. Unlock it by a right-click on its row.") if locked else "", hint)
    ui.undoButton.visible = bool(undoText)
    ui.undoButton.toolTip = _("Take back: {what}").format(what=undoText) + keyText("undo")


def offerLungWindow(ui, volume) -> None:
    """Ask once whether a CT whose lung is black is to be shown in a lung window."""
    offered = lungwindow.isOffered(volume)
    ui.lungWindowFrame.visible = offered
    if offered:
        text = _("Shown at {window}: the lung is black.")
        ui.lungWindowLabel.text = text.format(window=lungwindow.windowText(volume))


def fillModels(selector) -> None:
    """List the models of this machine, each with what it is meant for as its hint."""
    selector.clear()
    models = list_models()
    for model in models:
        card = model.card
        if card is None:
            text, value, hint = _("{name} - cannot be used").format(name=model.name), str(model.path), model.problem
        else:
            inputs = _("2-D pictures") if scoresPictures(card) else _("nodules in CT")
            text = _("{id} {version} - {inputs}, research only").format(id=card.id, version=card.version, inputs=inputs)
            value, hint = model.name, card.intended_use
        selector.addItem(text, value)
        selector.setItemData(selector.count - 1, hint, qt.Qt.ToolTipRole)
    missing = "" if models else _("No model is installed. Import one by the button beside.")
    enable(selector, missing, _("The model that scores; its intended use is shown with each result"))
    if not models:
        selector.addItem(_("No model is installed"), "")


def selectModel(selector, logic, model: str) -> None:
    """Show a model, by id, as the chosen one; without one, the one that scores by default."""
    card = None if model else logic.chosenCard()
    model = f"{card.id}@{card.version}" if card else model
    if model and selector.findData(model) < 0:  # it has come since, as MAEMC Training's do
        fillModels(selector)
    if model and selector.findData(model) < 0:  # of a scene from another machine
        selector.addItem(_("{model} - not on this machine").format(model=model), model)
    selector.currentIndex = max(selector.findData(model), 0)
