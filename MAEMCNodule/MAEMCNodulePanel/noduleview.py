"""The part of the panel on the selected nodule: gates, planes of the CT, measures, score, where the number is from."""

import functools

import qt
import slicer
from MAEMCLib.errors import MAEMCError
from MAEMCLib.measures.axes import axes
from MAEMCLib.measures.view import place_of, plane_views
from MAEMCLib.report.scores import clinical_text
from slicer.i18n import tr as _

from . import drawing
from .fittedpicture import FittedPicture
from .outlines import outlineOf
from .resultwords import findingsText, headline, isHidden, isScoredBy, measuresText, scaleText
from .reviewstate import seen
from .segments import segmentTimes
from .volumes import ctVolume, lpsFromRas
from .widgets import showText


class NoduleView:
    """Shows one nodule, in the order in which a reader asks: may I trust it, what is it, how large, what is the score.

    ui: the panel's widgets. heatMaps: what shows where the model looks (``HeatMaps``).
    """

    def __init__(self, ui, heatMaps) -> None:
        self._ui, self._heatMaps = ui, heatMaps
        self._snapshots = FittedPicture(ui.snapshotsLabel)
        self._bar = FittedPicture(ui.barLabel)
        self._strip = FittedPicture(ui.picturesLabel)

    def show(self, analysis, pointID: str, card, explained, ready: bool) -> None:
        """Show a nodule, or nothing where none is selected. Cheap where all is as it was.

        explained: what explains its result (``Explained``), where that is known. ready: whether planes can be cut
        without keeping the window waiting.
        """
        ui, record = self._ui, analysis.record(pointID) if analysis and pointID else None
        ui.noduleFrame.visible = record is not None
        ui.provenanceLabel.visible = ui.explanationButton.visible = record is not None and record.state == "scored"
        if record is None:
            return
        record = seen(analysis, pointID, record)
        self._showGate(record)
        if ready:
            self._showSnapshots(analysis, pointID, record)
        showText(ui.measuresLabel, measuresText(record.measures))
        hidden = isHidden(record)
        ui.scoreFrame.visible = not hidden
        for part in (ui.overlayLabel, ui.overlaySelector, ui.opacityLabel, ui.opacitySlider):
            part.visible = record.state == "scored" and not hidden
        if not hidden:
            self._showScore(record, card)
        if record.state == "scored":
            self._showProvenance(record, card)
            self._showExplanation(analysis, pointID, record, None if hidden else explained)

    def _showGate(self, record) -> None:
        label, gate = self._ui.findingsLabel, (record.result or {}).get("gate")
        label.text = findingsText(record)
        font = label.font
        font.setBold(record.state == "scored" and gate == "red")
        label.font = font

    def _showSnapshots(self, analysis, pointID: str, record) -> None:
        point = analysis.pointRas(pointID) if analysis.located and analysis.volumeNode is not None else None
        if point is None:
            self._snapshots.show("", None)
            return
        place = ", ".join(f"{value:.2f}" for value in point)
        key = f"{analysis.id} {place} {record.fingerprint} {_drawn(analysis.volumeNode.GetScene())}"

        planes = functools.cache(lambda: _planes(analysis, pointID))

        def draw(width, ratio, color):
            return drawing.snapshots(planes(), width, ratio, color) if planes() else qt.QPixmap(1, 1)

        self._snapshots.show(key, draw)

    def _showScore(self, record, card) -> None:
        ui, result, scored = self._ui, record.result or {}, record.state == "scored"
        ui.headlineLabel.text = headline(record)
        showText(ui.scaleLabel, scaleText(result, card) if scored else "")
        if scored:
            self._bar.show(str(result), lambda width, ratio, color: drawing.probabilityBar(result, width, ratio, color))
        else:
            self._bar.show("", None)

    def _showProvenance(self, record, card) -> None:
        """What the number is from, in a line; what the model is for, as its card says it, is the hint."""
        result, label = record.result, self._ui.provenanceLabel
        parts = [f"{result['model_id']} {result['model_version']}", result.get("device"), _time(result.get("time"))]
        parts += [(result.get("model_sha256") or "")[:8], clinical_text(result.get("clinical"))]
        label.text = " \N{MIDDLE DOT} ".join(filter(None, parts))
        label.toolTip = _aboutModel(result, card)

    def _showExplanation(self, analysis, pointID: str, record, explained) -> None:
        ui = self._ui
        stacks = explained.stacks() if explained and analysis.located else {}
        text = "\n".join(explained.sentences) if explained else _("Choose an overlay to see what the model rebuilt.")
        ui.explanationButton.visible = not isHidden(record)
        showText(ui.explanationLabel, text)
        self._heatMaps.show((analysis.id, pointID), explained)
        if not drawing.stripKinds(stacks):
            self._strip.show("", None)
            return
        window = record.window or (-1200.0, 200.0)
        self._strip.show(
            f"{analysis.id} {pointID} {id(explained)}",
            lambda width, ratio, color: drawing.sliceStrip(stacks, window, width, ratio, color),
        )


def _planes(analysis, pointID: str) -> dict:
    """{plane: PlaneView} through the middle of a nodule's outline, or through its point where it has none; empty where
    the volume has nothing there."""
    volume, outline = analysis.volumeNode, outlineOf(analysis, pointID)
    try:
        if outline is None:
            return plane_views(ctVolume(volume), lpsFromRas(analysis.pointRas(pointID)))
        lines = axes(outline.mask.array, outline.mask.affine)
        return plane_views(ctVolume(volume), place_of(outline.mask, lines), outline.mask, lines)
    except MAEMCError:
        return {}


def _drawn(scene) -> list:
    """What changes when anything is drawn in a segmentation."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene)
    return [(node.GetID(), segmentTimes(node)) for node in nodes]


def _time(text: str | None) -> str:
    """ "2026-11-30 12:34" of an ISO time."""
    return (text or "")[:16].replace("T", " ")


def _aboutModel(result: dict, card) -> str:
    """What the number is and is not, as the model's own card says it."""
    if not isScoredBy(result, card):
        return _("Scored by another model than the one that is chosen.")
    parts = [card.intended_use]
    prevalence = card.values.get("training", {}).get("prevalence")
    if prevalence is not None:
        text = _("Trained where {percent} % were {name}; elsewhere the number means less or more.")
        parts.append(text.format(percent=round(100 * prevalence), name=card.positive_class))
    parts.append(_("SHA-256 of the model: {sha256}").format(sha256=result["model_sha256"]))
    return "\n".join(parts)
