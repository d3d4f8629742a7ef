"""The panel's selector and buttons: their names for what the model scores, when they can be used, and why not."""

import slicer
from slicer.i18n import tr as _

from . import views
from .overlays import overlayIDs
from .showing import scoresPictures, volumeKinds
from .widgets import hideNodes


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
    ui.placeButton.enabled = volume is not None and not pictures
    ui.placeButton.checked = views.isPlacing(points)
    ui.scoreButton.enabled = (bool(records) or pictures) and volume is not None
    ui.stopButton.enabled = busy
    ui.exportButton.enabled = any(record.result for _pointID, record in records)
    noVolume = _("Load a chest CT and choose it first.")
    noPoint = _("Score a picture first.") if pictures else _("Place a nodule first.")
    ui.placeButton.toolTip = noVolume if volume is None else _("Then click in the middle of a nodule in a slice view.")
    if pictures:
        ui.scoreButton.toolTip = _("Score the 2-D image, or of a CT the axial slice that the view shows.")
    elif records:
        ui.scoreButton.toolTip = _("Score the nodules that wait, or all of them again with the chosen model.")
    else:
        ui.scoreButton.toolTip = noPoint
    ui.exportButton.toolTip = _("Write results.csv and results.json to a folder.") if records else noPoint
