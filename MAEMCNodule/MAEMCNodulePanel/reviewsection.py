"""The parts of the panel in which a reader reviews a nodule: own estimate, Accept, Correct, Reject, outcome."""

from datetime import datetime
from pathlib import Path

from MAEMCLib.errors import MAEMCError
from MAEMCLib.models.prevalence import prevalence_problem
from MAEMCLib.review.local_calibration import FEWEST_OUTCOMES
from MAEMCLib.review.review import ACCEPTED, BENIGN, CONCEALED, CORRECTED, MALIGNANT, REJECTED
from slicer.i18n import tr as _

from .calibrationdialog import CalibrationDialog
from .correctiondialog import CorrectionDialog
from .observerdialog import observerNamed
from .reviewstate import decisionOf, hasNumber, hiddenBecause, openedReviews, reviewOf
from .widgets import enable, loadInto, setValues, showText

_FOLDER = Path(__file__).resolve().parent.parent / "Resources" / "UI"
_NO_ESTIMATE = -1


class ReviewSection:
    """Shows how the selected nodule stands with its reader, and stores what the reader says.

    ui: the panel's widgets. logic: the module's. guarded: makes a context in which an error goes to the status line.
    """

    def __init__(self, ui, logic, guarded) -> None:
        self._logic, self._guarded = logic, guarded
        self._estimate = loadInto(ui.estimateFrame, _FOLDER / "MAEMCNoduleEstimate.ui")
        self._decision = loadInto(ui.decisionFrame, _FOLDER / "MAEMCNoduleDecision.ui")
        self._panel = ui
        self._about: tuple = (None, "")
        self._shown = None
        names = ("outcomeLabel", "outcomeSelector", "outcomeDateEdit", "storeOutcomeButton")
        self._outcomeRow = [getattr(self._decision, name) for name in names]
        setValues(self._decision.outcomeSelector, ("", BENIGN, MALIGNANT))
        self._buttons = {
            ACCEPTED: self._decision.acceptButton,
            CORRECTED: self._decision.correctButton,
            REJECTED: self._decision.rejectButton,
        }
        self._connect()
        self._updateCalibration()

    @property
    def acceptButton(self):
        """What the key for accepting presses."""
        return self._buttons[ACCEPTED]

    def _connect(self) -> None:
        estimate, decision = self._estimate, self._decision
        estimate.storeEstimateButton.connect("clicked()", self.onStoreEstimate)
        estimate.estimateSpinBox.lineEdit().connect("returnPressed()", self.onStoreEstimate)
        estimate.estimateSpinBox.connect("valueChanged(int)", self._updateEstimate)
        estimate.showAnywayButton.connect("clicked()", self.onShowAnyway)
        decision.acceptButton.connect("clicked()", self.onAccept)
        decision.correctButton.connect("clicked()", self.onCorrect)
        decision.rejectButton.connect("clicked()", self.onReject)
        decision.storeOutcomeButton.connect("clicked()", self.onStoreOutcome)
        decision.outcomeSelector.connect("activated(int)", self._updateOutcome)
        self._panel.calibrationButton.connect("clicked()", self.onCalibration)
        self._panel.readerFirstCheckBox.connect("clicked(bool)", self.onReaderFirst)

    # What the user does

    def onReaderFirst(self, on: bool) -> None:
        with self._guarded():
            self._logic.reviewing.readerFirst = on

    def onStoreEstimate(self) -> None:
        percent = self._estimate.estimateSpinBox.value
        if percent != _NO_ESTIMATE:
            with self._guarded():
                self._logic.reviewing.estimate(*self._about, float(percent))

    def onShowAnyway(self) -> None:
        with self._guarded():
            self._logic.reviewing.showAnyway(*self._about)

    def onAccept(self) -> None:
        self._decide(ACCEPTED)

    def onCorrect(self) -> None:
        correction = CorrectionDialog().ask()
        if correction is not None:
            self._decide(CORRECTED, *correction)
        self._refresh()

    def onReject(self) -> None:
        self._decide(REJECTED)

    def _decide(self, decision: str, *correction) -> None:
        if observerNamed():
            with self._guarded():
                card, chosen = self._logic.chosenCard(), self._logic.getParameterNode().prevalence
                prevalence = chosen if chosen and card and not prevalence_problem(card) else None
                self._logic.reviewing.decide(*self._about, decision, *correction, prevalence=prevalence)
        self._refresh()

    def onStoreOutcome(self) -> None:
        with self._guarded():
            outcome, date = self._decision.outcomeSelector.currentData, self._decision.outcomeDateEdit.text.strip()
            self._logic.reviewing.storeOutcome(*self._about, outcome, date)
            self._refresh()

    def onCalibration(self) -> None:
        card = self._logic.chosenCard()
        if card is not None:
            CalibrationDialog(self._logic, self._logic.chosenModel().path).open()

    # What is shown

    def show(self, analysis, pointID: str) -> None:
        """How a nodule, or a picture, stands; nothing of it where none is selected."""
        record = analysis.record(pointID) if analysis and pointID else None
        numbered = record is not None and record.state == "scored" and hasNumber(record)
        self._panel.decisionFrame.visible = numbered
        hidden = hiddenBecause(analysis, pointID, record) if numbered else ""
        self._panel.estimateFrame.visible = bool(hidden)
        self._panel.readerFirstCheckBox.checked = self._logic.reviewing.readerFirst
        before, self._about = self._about, (analysis, pointID)
        if (analysis and analysis.tableNode, pointID) != (before[0] and before[0].tableNode, before[1]):
            self._estimate.estimateSpinBox.value = _NO_ESTIMATE
            self._shown = None
        if not numbered:
            return
        review = reviewOf(analysis, pointID)
        shown = (hidden, review, record.result)
        if shown != self._shown:
            self._shown = shown
            self._showEstimate(hidden, review, record)
            self._showDecision(hidden, analysis, pointID, record)
            self._showOutcome(review)

    def _refresh(self) -> None:
        """After a button of a decision was pressed, which stays down only where it was stored."""
        self._shown = None
        self.show(*self._about)

    def _showEstimate(self, hidden: str, review, record) -> None:
        ui = self._estimate
        showText(ui.hiddenLabel, hidden)
        asked = review is not None and self._logic.reviewing.readerFirst and review.state == CONCEALED
        for widget in (ui.estimateLabel, ui.estimateSpinBox, ui.storeEstimateButton):
            widget.visible = asked
        red = record.result["gate"] == "red"
        ui.showAnywayButton.visible = bool(hidden) and review is not None and not asked
        ui.showAnywayButton.text = _("Show anyway") if red else _("Show")
        self._updateEstimate()

    def _updateEstimate(self, *value) -> None:
        missing = self._estimate.estimateSpinBox.value == _NO_ESTIMATE
        reason = _("Type your estimate first, 0 to 100 %.") if missing else ""
        hint = _("Keep your estimate in the audit log, then show the number")
        enable(self._estimate.storeEstimateButton, reason, hint)

    def _showDecision(self, hidden: str, analysis, pointID: str, record) -> None:
        decision = decisionOf(analysis, pointID, record)
        hints = {
            ACCEPTED: _("Take the result over as it is; the point is then locked. Kept in the audit log"),
            CORRECTED: _("Take the result over with changes; the point is then locked. Kept in the audit log"),
            REJECTED: _("Do not take the result over. Kept in the audit log"),
        }
        reason = _("The number is hidden: it is decided on when you have seen it.") if hidden else ""
        for widget in self._outcomeRow:
            widget.visible = not hidden
        for name, button in self._buttons.items():
            button.checked = decision is not None and decision["decision"] == name
            enable(button, reason, hints[name])
        showText(self._decision.decisionLabel, _decisionText(decision))

    def _showOutcome(self, review) -> None:
        ui = self._decision
        ui.outcomeSelector.currentIndex = max(ui.outcomeSelector.findData(review.outcome if review else ""), 0)
        ui.outcomeDateEdit.text = (review and review.outcome_date) or ""
        ui.outcomeLabel.toolTip = (
            _("The audit log calls this nodule {name}").format(name=review.nodule) if review else ""
        )
        self._updateOutcome()
        self._updateCalibration()

    def _updateCalibration(self) -> None:
        known = _outcomesKnown()
        reason = _("After {fewest} outcomes; {known} are stored.").format(fewest=FEWEST_OUTCOMES, known=known)
        hint = _("How your estimates and the model's numbers fared here")
        enable(self._panel.calibrationButton, "" if known >= FEWEST_OUTCOMES else reason, hint)

    def _updateOutcome(self, *index) -> None:
        chosen = self._decision.outcomeSelector.currentData
        reason = "" if chosen else _("Choose what the nodule turned out to be first.")
        enable(self._decision.storeOutcomeButton, reason, _("Keep the outcome in the audit log"))


def _decisionText(decision: dict | None) -> str:
    """ "Accepted 2026-11-30 14:05; the point is locked." """
    if decision is None:
        return ""
    when = datetime.fromisoformat(decision["time"]).astimezone().strftime("%Y-%m-%d %H:%M")
    if decision["decision"] == REJECTED:
        return _("Rejected {when}.").format(when=when)
    if decision["decision"] == ACCEPTED:
        return _("Accepted {when}. The point is locked.").format(when=when)
    parts = ", ".join(decision["corrected"])
    percent = decision.get("percent")
    mine = "" if percent is None else _(" (mine: {percent} %)").format(percent=f"{percent:g}")
    return _("Corrected {when}: {parts}{mine}. The point is locked.").format(when=when, parts=parts, mine=mine)


def _outcomesKnown() -> int:
    try:
        return sum(review.outcome is not None for review in openedReviews().all())
    except MAEMCError:
        return 0
