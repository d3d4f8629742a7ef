"""What clinical scores are computed from: what a reader has given, and what the scene knows itself.

The patient's values are kept with the CT, a nodule's with its analysis; what is known otherwise is kept nowhere twice.
"""

from MAEMCLib.clinical.fields import COUNT, COUNT_CONFIRMED, SETTING
from MAEMCLib.clinical.prefilled import prefilled
from MAEMCLib.clinical.together import FIELDS, GUIDELINES
from MAEMCLib.errors import UsageError
from slicer.i18n import tr as _

from .clinicalvalues import clinicalOf, setClinical

_PATIENT = tuple(one for one in FIELDS.values() if one.per_patient)


def patientGiven(analysis) -> dict:
    """{name: text} as it was given of the patient. The count's confirmation holds for as many nodules as were marked
    when it was given, and is void when one has come or gone."""
    texts = clinicalOf(analysis.volumeNode, _PATIENT)
    confirmed = texts.pop(COUNT_CONFIRMED.name, "")
    return texts | ({COUNT_CONFIRMED.name: "yes"} if confirmed == str(len(analysis.pointIndices())) else {})


def known(analysis, record) -> dict:
    """{name: text} of a nodule that need not be asked for: what its row says, and how many are marked so far."""
    measured = prefilled(record.result or {})
    return {COUNT.name: str(max(len(analysis.pointIndices()), 1)), **{n: str(v) for n, v in measured.items()}}


def settingOf(analysis) -> str:
    """Why the CT was made, which decides between guidelines; empty until somebody has said it."""
    setting = patientGiven(analysis).get(SETTING.name, "")
    return setting if setting in GUIDELINES else ""


def valuesOf(analysis) -> dict:
    """{point ID: {name: text}} of each nodule, with all that was given and is known."""
    patient = patientGiven(analysis)
    return {
        pointID: {**known(analysis, record), **patient, **analysis.given(pointID)}
        for pointID, record in analysis.records()
    }


def countProblem(analysis) -> str:
    """What is wrong with a number of nodules below that of the marked ones, else empty."""
    text, marked = patientGiven(analysis).get(COUNT.name), len(analysis.pointIndices())
    try:
        given = marked if text is None else COUNT.read(text)
    except UsageError:
        return ""  # said where every impossible value is
    words = _("There are {given} nodules in both lungs, as you say, but {marked} are marked. Correct one of them.")
    return words.format(given=given, marked=marked) if given < marked else ""


def setValue(analysis, pointID: str, name: str, text: str) -> None:
    """Keep what a reader has given, an empty text forgets it: of the patient with the CT, else of the nodule.

    Raises UsageError for a name that no score asks for.
    """
    if name not in FIELDS:
        words = _("No clinical score asks for {name}. They ask for {names}.")
        raise UsageError(words.format(name=name, names=", ".join(FIELDS)), "clinical-name")
    if name == COUNT_CONFIRMED.name and text:
        text = str(len(analysis.pointIndices()))
    if FIELDS[name].per_patient:
        texts = clinicalOf(analysis.volumeNode, _PATIENT) | {name: text}
        setClinical(analysis.volumeNode, {key: one for key, one in texts.items() if one}, _PATIENT)
    else:
        texts = analysis.given(pointID) | {name: text}
        analysis.setGiven(pointID, {key: one for key, one in texts.items() if one})
