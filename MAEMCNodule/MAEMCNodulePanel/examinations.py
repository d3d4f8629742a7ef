"""The category of an examination: that of its worst nodule, by the guideline of its setting."""

from MAEMCLib.clinical.exam import Examination
from MAEMCLib.clinical.fields import COUNT, COUNT_CONFIRMED, SETTING
from MAEMCLib.clinical.together import GUIDELINES, Answer, answers, examination_of


def examinationOf(values: dict, marked: int, known: dict | None = None) -> tuple[Examination, list[Answer]]:
    """(the examination, the guideline's answer for each nodule). values: of ``scorevalues.valuesOf``, with a setting.
    marked: how many nodules are. known: {point ID: answers} of nodules whose scores are computed already."""
    patient = next(iter(values.values()))
    name = GUIDELINES[patient[SETTING.name]]
    known = known or {}
    found = [(known.get(one) or answers(each, [name], edges=False))[name] for one, each in values.items()]
    confirmed = COUNT_CONFIRMED.name in patient and patient[COUNT.name] == str(marked)
    return examination_of(found, confirmed), found
