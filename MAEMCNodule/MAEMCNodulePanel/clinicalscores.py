"""The part of the panel beside a nodule's number: clinical scores, the examination's category, a sentence to paste."""

import qt
from MAEMCLib.clinical.together import answers, fields_asked, problems
from slicer.i18n import tr as _

from .examinations import examinationOf
from .parameters import Setting
from .scorelines import ScoreLines
from .scoresform import ScoresForm
from .scorevalues import countProblem, known, patientGiven, valuesOf
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

    def show(self, analysis, pointID: str, setting: Setting) -> None:
        """Scores of a nodule; nothing of it where none is selected, or of a picture. Cheap while folded."""
        ui = self._ui
        record = analysis.record(pointID) if analysis and analysis.located and pointID else None
        ui.clinicalScoresButton.visible = record is not None
        if record is None or ui.clinicalScoresButton.collapsed:
            return
        chosen = setting is not Setting.UNKNOWN
        for part in (ui.scoreLinesFrame, ui.scoreValuesFrame, ui.examinationFrame):
            part.visible = chosen
        showText(ui.settingHintLabel, "" if chosen else _("It decides between Fleischner 2017 and Lung-RADS."))
        values, marked = valuesOf(analysis, setting.value), len(analysis.pointIndices())
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
        self._lines.show(answers(values[pointID]))
        self._showExamination(values, list(nodules.values()), marked)

    def _showExamination(self, values: dict, nodules: list, marked: int) -> None:
        ui = self._ui
        examination, found = examinationOf(values, marked)
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
