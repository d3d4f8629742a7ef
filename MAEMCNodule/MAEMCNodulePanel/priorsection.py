"""The part of the panel on the prior CT: which it is, which nodule there is the same, and what has become of it."""

from pathlib import Path

import qt
import slicer
from MAEMCLib.errors import MAEMCError
from MAEMCLib.measures.view import place_of, plane_views
from slicer.i18n import tr as _

from . import drawing
from .fittedpicture import FittedPicture
from .nodes import overlayIDs
from .priorlinks import (
    arePositionsComparable,
    compare,
    daysGiven,
    intervalOf,
    linkOf,
    priorNodules,
    priorOf,
    proposedOf,
    setDays,
    setLink,
    setPrior,
)
from .priorviews import leaveComparison, showComparison
from .widgets import enable, hideNodes, loadInto, showText

_UI = Path(__file__).resolve().parent.parent / "Resources" / "UI" / "MAEMCNodulePrior.ui"
_PLANES = ("axial", "coronal")


class PriorSection:
    """Shows pictures and growth of the selected nodule beside its prior; computes only when asked to.

    ui: the panel's widgets. logic: the module's. guarded: makes a context in which an error goes to the status line.
    """

    def __init__(self, ui, logic, guarded) -> None:
        self._panel, self._logic, self._guarded = ui, logic, guarded
        self._ui = loadInto(ui.priorFrame, _UI)
        self._ui.priorSelector.setMRMLScene(slicer.mrmlScene)
        self._picture = FittedPicture(self._ui.growthPictureLabel)
        self._about: tuple = (None, "")
        self._state: tuple = ()
        self._filling = False
        ui_ = self._ui
        ui_.priorSelector.connect("nodeActivated(vtkMRMLNode*)", self.onPriorChosen)
        ui_.daysEdit.connect("editingFinished()", self.onDaysEdited)
        ui_.linkSelector.connect("activated(int)", self.onLinked)
        ui_.placeInPriorButton.connect("clicked()", self.onPlaceInPrior)
        ui_.compareButton.connect("clicked()", self.onCompare)
        ui_.linkViewsCheckBox.connect("clicked(bool)", self.onLinkViews)
        ui_.copyGrowthButton.connect("clicked()", self._onCopy)
        self._compared = 0
        self._forget()

    # What the user does

    def onPriorChosen(self, node) -> None:
        analysis = self._about[0]
        if analysis is None or analysis.volumeNode is None:
            return
        with self._guarded():
            try:
                setPrior(analysis.volumeNode, node)
            except MAEMCError as error:
                question = _("The two CTs state different patients (PatientID). Do you know that both are of one?")
                if error.code != "other-patient" or not slicer.util.confirmYesNoDisplay(question, _("Prior CT")):
                    raise
                setPrior(analysis.volumeNode, node, samePatient=True)
            self._propose()
        self._forget()
        self._refresh()

    def onDaysEdited(self) -> None:
        analysis, text = self._about[0], self._ui.daysEdit.text
        if analysis is not None and analysis.volumeNode is not None and text != daysGiven(analysis.volumeNode):
            with self._guarded():
                setDays(analysis.volumeNode, text)
                self._forget()
        self._refresh()

    def onLinked(self, index: int) -> None:
        setLink(*self._about, self._ui.linkSelector.itemData(index) or "")
        self._forget()
        self._refresh()

    def onPlaceInPrior(self) -> None:
        """Show the prior, and let the next click place the nodule there."""
        prior = priorOf(self._about[0].volumeNode)
        with self._guarded():
            chosen = self._logic.getParameterNode()
            chosen.inputVolume = prior
            chosen.points = self._logic.startPlacing(prior, chosen.points)

    def onCompare(self) -> None:
        with self._guarded():
            found = compare(*self._about)
            self._logic.statusLine.forgetInput()
            self._showGrowth(found)
            if self._ui.linkViewsCheckBox.checked:
                self._showViews()

    def onLinkViews(self, linked: bool) -> None:
        if linked:
            with self._guarded():
                self._showViews()
        else:
            leaveComparison()

    def _showViews(self) -> None:
        analysis, pointID = self._about
        other, otherID, _name = priorNodules(analysis.volumeNode)[linkOf(analysis, pointID)]
        here = analysis.volumeNode, analysis.pointRas(pointID)
        there = other.volumeNode, other.pointRas(otherID)
        showComparison(here, there, arePositionsComparable(analysis.volumeNode))

    def _onCopy(self) -> None:
        qt.QApplication.clipboard().setText(self._ui.growthSentenceLabel.text)

    # What is shown

    def show(self, analysis, pointID: str) -> None:
        """The prior of a nodule's CT; nothing where no nodule is selected, or of a picture. Cheap while folded."""
        known = bool(analysis and analysis.located and analysis.volumeNode and analysis.record(pointID))
        self._panel.priorButton.visible = known
        before, self._about = self._about, (analysis, pointID) if known else (None, "")
        if (before[0] and before[0].tableNode, before[1]) != (self._about[0] and analysis.tableNode, self._about[1]):
            self._forget()
            self._state = ()
        if not known or self._panel.priorButton.collapsed:
            return
        volumeNode = analysis.volumeNode
        hideNodes(self._ui.priorSelector, [*overlayIDs(slicer.mrmlScene), volumeNode.GetID()])
        nodules = {uid: entry[2] for uid, entry in priorNodules(volumeNode).items()}
        state = (volumeNode, priorOf(volumeNode), daysGiven(volumeNode), linkOf(analysis, pointID), nodules)
        if state != self._state:
            self._state = state
            self._fill(analysis, pointID, nodules)

    def _refresh(self) -> None:
        self._state = ()
        self.show(*self._about)

    def _fill(self, analysis, pointID: str, nodules: dict) -> None:
        ui, prior = self._ui, priorOf(analysis.volumeNode)
        ui.priorSelector.setCurrentNode(prior)
        ui.daysEdit.text = daysGiven(analysis.volumeNode)
        ui.daysEdit.placeholderText = self._daysDated(analysis.volumeNode) if prior else ""
        proposed = proposedOf(analysis, pointID) if prior else None
        ui.linkSelector.clear()
        ui.linkSelector.addItem(_("not linked"), "")
        for uid, name in nodules.items():
            near = proposed is not None and proposed.name == uid
            text = _("{name} (proposed: {distance} mm away)") if near else "{name}"
            ui.linkSelector.addItem(text.format(name=name, distance=f"{proposed.distance_mm:.0f}" if near else ""), uid)
        ui.linkSelector.currentIndex = max(ui.linkSelector.findData(linkOf(analysis, pointID)), 0)
        noPrior = "" if prior else _("Choose the prior CT first.")
        enable(ui.daysEdit, noPrior, _("From the earlier CT to this one; empty: by the files' dates"))
        noNodule = noPrior or ("" if nodules else _("The prior CT has no nodule yet: press Place."))
        enable(ui.linkSelector, noNodule, _("Which nodule of the prior CT this one is; you decide"))
        enable(
            ui.placeInPriorButton,
            noPrior,
            _("Show the prior CT, and click the nodule there; then choose this CT again"),
        )
        noLink = noNodule or ("" if linkOf(analysis, pointID) in nodules else _("Choose the nodule there first."))
        enable(ui.compareButton, noLink, _("Measure both alike, and say what has become of the nodule"))
        enable(ui.linkViewsCheckBox, noLink, _("Axial views side by side: this CT left, the prior right"))

    def _daysDated(self, volumeNode) -> str:
        try:
            return _("{days} by the files' dates").format(days=f"{intervalOf(volumeNode).days:g}")
        except MAEMCError:
            return _("not dated: type them")

    def _propose(self) -> None:
        """Link the nodule that is proposed, which the reader sees at once and may change."""
        analysis, pointID = self._about
        proposed = proposedOf(analysis, pointID)
        if proposed is not None and not linkOf(analysis, pointID):
            setLink(analysis, pointID, proposed.name)

    def _forget(self) -> None:
        """What was computed is of another pair."""
        ui = self._ui
        for label in (ui.growthLabel, ui.growthSentenceLabel, ui.growthNotesLabel):
            showText(label, "")
        self._picture.show("", None)
        ui.copyGrowthButton.visible = False

    def _showGrowth(self, found) -> None:
        ui, growth = self._ui, found.growth
        showText(ui.growthLabel, growthText(growth))
        showText(ui.growthSentenceLabel, growth.sentence)
        showText(ui.growthNotesLabel, " ".join(note for note in growth.notes if note not in growth.sentence))
        ui.copyGrowthButton.visible = True
        self._compared += 1
        columns = [
            (title, _planes(nodule))
            for title, nodule in zip(_titles(growth), (found.prior, found.current), strict=True)
        ]
        self._picture.show(str(self._compared), lambda *place: drawing.sideBySide(columns, *place))


def _planes(nodule) -> dict:
    mask, axes = nodule.outline.mask, nodule.measures.axes
    planes = plane_views(nodule.volume, place_of(mask, axes), mask, axes)
    return {plane: planes[plane] for plane in _PLANES}


def _titles(growth) -> list:
    sizes = [
        _("{diameter} mm, {volume} mm\N{SUPERSCRIPT THREE}").format(diameter=f"{diameter:.1f}", volume=f"{volume:.0f}")
        for diameter, volume in zip(growth.mean_diameters_mm, growth.volumes_mm3, strict=True)
    ]
    later = _("+{days} d: {size}").format(days=f"{growth.days:g}", size=sizes[1])
    return [_("Prior: {size}").format(size=sizes[0]), later]


def growthText(growth) -> str:
    """ "Volume +52 %, doubling time 154 days" or "Volume +12 %: within measurement error (25 %)"."""
    change = f"{growth.volume_change_percent:+.0f}"
    if growth.within_error:
        return _("Volume {change} %: within measurement error (25 % of volume)").format(change=change)
    if growth.doubling_time_days is None:
        return _("Volume {change} %: smaller").format(change=change)
    text = _("Volume {change} %, doubling time {days} days")
    return text.format(change=change, days=f"{growth.doubling_time_days:.0f}")
