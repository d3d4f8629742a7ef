"""The part of the panel beside a nodule's number: clinical scores, the examination's category, a sentence to paste."""

import qt
from MAEMCLib.clinical.fields import INCIDENTAL, SCREENING, SETTING
from MAEMCLib.clinical.together import answers, fields_asked, problems
from slicer.i18n import tr as _

from .examinations import examinationOf
from .scorelines import ScoreLines
from .scoresform import ScoresForm
from .scorevalues import countProblem, known, patientGiven, settingOf, valuesOf
from .widgets import enable, showText


class ClinicalScores:
    """Shows the scores of one nodule, computed anew where its values are others. Holds none of the values.

    ui: the panel's widgets. onEdited: called with name and text when the user has changed a value.
    """

    def __init__(self, ui, onEdited) -> None:
        self._ui = ui
        self._lines = ScoreLines(ui.scoreLinesFrame)
        self._form = ScoresForm(ui.scoreValuesFrame, onEdited)
        self._shown = None  # what was last computed from
        ui.copySentenceButton.connect("clicked()", self._onCopy)
        for text, value in (
            (_("Choose"), ""),
            (_("Incidental"), INCIDENTAL),
            (_("Lung cancer screening"), SCREENING),
        ):
            ui.settingSelector.addItem(text, value)
        ui.settingSelector.connect(
            "activated(int)", lambda index: onEdited(SETTING.name, ui.settingSelector.itemData(index))
        )

    def show(self, analysis, pointID: str) -> None:
        """Scores of a nodule; nothing of it where none is selected, or of a picture. Cheap while folded."""
        ui = self._ui
        record = analysis.record(pointID) if analysis and analysis.located and pointID else None
        ui.clinicalScoresButton.visible = record is not None
        if record is None or ui.clinicalScoresButton.collapsed:
            return
        setting = settingOf(analysis)
        ui.settingSelector.currentIndex = max(ui.settingSelector.findData(setting), 0)
        chosen = bool(setting)
        for part in (ui.scoreLinesFrame, ui.scoreValuesFrame, ui.examinationFrame):
            part.visible = chosen
        showText(ui.settingHintLabel, "" if chosen else _("It decides between Fleischner 2017 and Lung-RADS."))
        values, marked = valuesOf(analysis), len(analysis.pointIndices())
        nodules = {one: each.name for one, each in analysis.records()}
        shown = (analysis.id, pointID, values, marked, nodules)
        if not chosen or shown == self._shown:
            return
        self._shown = shown
        given = {**patientGiven(analysis), **analysis.given(pointID)}
        asked = fields_asked(values[pointID])
        self._form.show(asked, given, known(analysis, record), record.name)
        names = {one.name for one in asked}
        wrong = [text for name, text in problems(given).items() if name in names] + [countProblem(analysis)]
        showText(ui.scoreProblemLabel, " ".join(filter(None, wrong)))
        scores = answers(values[pointID])
        self._lines.show(scores)
        self._showExamination(examinationOf(values, marked, {pointID: scores}), list(nodules.values()))

    def _showExamination(self, known: tuple, nodules: list) -> None:
        """known: as of ``examinationOf``. nodules: their names."""
        ui, (examination, found) = self._ui, known
        title = found[0].score.title
        if examination.category is None:
            text, first = _("No category of the examination by {guideline}: {reason}."), f"{nodules[0]} {found[0].text}"
            ui.examinationLabel.text = text.format(guideline=title, reason=first.rstrip("."))
        else:
            text = _("Examination, {guideline}: {category}, from {nodule}; {count}.")
            ui.examinationLabel.text = text.format(
                guideline=title,
                category=examination.category,
                nodule=nodules[examination.nodule],
                count=examination.count_text,
            )
        ui.examinationLabel.toolTip = found[0].score.source
        showText(ui.sentenceLabel, examination.sentence or "")
        reason = "" if examination.sentence else _("There is no sentence until a nodule has a category.")
        enable(ui.copySentenceButton, reason, _("Copy the sentence for the report"))

    def _onCopy(self) -> None:
        qt.QApplication.clipboard().setText(self._ui.sentenceLabel.text)
