"""How a nodule stands with its reader: whether its number may be seen, and what was decided on it.

Asked by whatever would show a number: label, table, overlay, export, console. The rules are the library's
(``MAEMCLib.review``); here is which nodule of the scene is meant.
"""

import contextlib
import dataclasses

import numpy as np
from MAEMCLib.errors import MAEMCError
from MAEMCLib.files.atomic import home
from MAEMCLib.results import NoduleResult
from MAEMCLib.review.review import Review
from MAEMCLib.review.reviews import Reviews

from .identity import subjectOf

_NUMBERS = ("probability", "interval_low", "interval_high", "interval_kind", "class", "class_probabilities",
            "characteristics", "alike", "measured")  # fmt: skip
"""Of a result, what a reader should not see before the time has come."""
_KNOWN = {one.name for one in dataclasses.fields(NoduleResult)} | {"class"}
_SAME, _SAME_MM = 1e-9, 1e-3
"""Two probabilities, and two places, this near are one."""
_opened: dict = {}


def openedReviews() -> Reviews:
    """The reviews of this machine, read once. Raises InputError where log or setting cannot be read."""
    place = home()
    if place not in _opened:
        _opened[place] = Reviews(place)
    return _opened[place]


def hiddenBecause(analysis, pointID: str, record) -> str:
    """A sentence for the place of a number that may not be seen, why and what to do; empty where it may, or where
    there is none. A number whose log cannot be read stays hidden: nobody could say whether it may be seen."""
    if not hasNumber(record):
        return ""
    try:
        reviews = openedReviews()
        gate, reasons = record.result.get("gate"), record.result.get("gate_reasons") or ()
        return reviews.hidden_because(subjectOf(reviews, analysis, pointID).nodule, gate, reasons)
    except MAEMCError as error:
        return str(error)


def seen(analysis, pointID: str, record):
    """The record as it may be shown: without its number where that is hidden, and with the reason in its place."""
    hidden = hiddenBecause(analysis, pointID, record)
    if not hidden:
        return record
    result = {**record.result, **dict.fromkeys(_NUMBERS), "message": hidden}
    return dataclasses.replace(record, result=result, explained=False)


def seenRecords(analysis) -> list:
    """[(point ID, record)] as ``Analysis.records``, each as it may be shown."""
    return [(pointID, seen(analysis, pointID, record)) for pointID, record in analysis.records()]


def hasNumber(record) -> bool:
    """Whether the nodule was scored."""
    return record.state in ("scored", "pending") and (record.result or {}).get("probability") is not None


def resultOf(record) -> NoduleResult:
    """The row of a nodule that was scored; what a later version has kept with it is left out."""
    return NoduleResult.from_json({name: value for name, value in record.result.items() if name in _KNOWN})


def reviewOf(analysis, pointID: str) -> Review | None:
    """What the audit log says of a nodule; None where it cannot be read."""
    with contextlib.suppress(MAEMCError):
        reviews = openedReviews()
        return reviews.of(subjectOf(reviews, analysis, pointID).nodule)
    return None


def decisionOf(analysis, pointID: str, record) -> dict | None:
    """The decision on the number that the record holds; None where that is not decided on."""
    review = reviewOf(analysis, pointID)
    if review is None or review.decision is None or not isAbout(review.result, record):
        return None
    return review.decision


def isAbout(facts: dict | None, record) -> bool:
    """Whether facts of the audit log are about the number that a record holds."""
    result = record.result or {}
    if not facts or not hasNumber(record) or facts["model"].get("sha256") != result["model_sha256"]:
        return False
    before, now = facts.get("point_lps"), result.get("point_lps")
    near = before == now or bool(before and now and np.allclose(before, now, rtol=0, atol=_SAME_MM))
    return near and abs(facts["probability"] - result["probability"]) < _SAME
