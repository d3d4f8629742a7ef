"""The label of a point in the views: its name, and behind it the probability, which is ours to write and nobody else's.

A label is a text that the user may edit. The list remembers what was written there (an attribute for each point), so
that an edited label is taken as a new name and the number is written again. A name that looks like a score stays whole.
"""

import json
import re

from .reviewstate import seen

_WRITTEN = "MAEMC.Label."
_NUMBER = r":?\s*(?:[01]?[.,]?\d*|\N{HORIZONTAL ELLIPSIS})(?=\s|$)"
"""What stands behind a name where somebody has edited the number alone."""


def nameOfPoint(pointsNode, index: int, record=None) -> str:
    """The point's name without what was written behind it; its name so far, or N and its number, where it has none.

    record: the point's record (``NoduleRecord``).
    """
    label = pointsNode.GetNthControlPointLabel(index)
    name, text, _plain = _written(pointsNode, pointsNode.GetNthControlPointID(index))
    current = record.name if record else ""
    if not text:
        if record and label == current + _number(record):  # of a scene that an older version has saved
            return current
        return label if label.strip() else current or f"N{index + 1}"
    if label == text:
        return name
    number = text[len(name) :]
    if number and number in label:  # the name was edited before, or prolonged behind, the number
        before, _, after = label.rpartition(number)
        label = before + after
    elif label.startswith(name):  # the number was edited, which nobody can but us
        label = name + re.sub(f"^{_NUMBER}", "", label[len(name) :])
    return label if label.strip() else name


def writeLabel(analysis, pointID: str, record) -> None:
    """Let the point's label carry name and probability, where its CT is the one that is shown."""
    index, pointsNode = analysis.indexOf(pointID), analysis.pointsNode
    if index is None or not analysis.shown:
        return
    name, label = record.name, record.name + _number(seen(analysis, pointID, record))
    before, text, plain = _written(pointsNode, pointID)
    if name != before or not text:
        plain = "" if not text and not pointsNode.GetNthControlPointLabel(index) else name
    written = json.dumps([name, label, plain], ensure_ascii=False)
    if pointsNode.GetAttribute(_WRITTEN + pointID) != written:
        pointsNode.SetAttribute(_WRITTEN + pointID, written)
    _setLabel(pointsNode, index, label)


def writeLabels(analysis) -> None:
    """All labels of a list: with numbers where the analysis is shown, otherwise as the names are."""
    if analysis.shown:
        for pointID, record in analysis.records():
            writeLabel(analysis, pointID, record)
    else:
        restoreLabels(analysis.pointsNode)


def restoreLabels(pointsNode) -> None:
    """Leave a list's labels as the user's names are, and nothing of ours on the list."""
    if pointsNode is None:
        return
    for index in range(pointsNode.GetNumberOfControlPoints()):
        name, text, plain = _written(pointsNode, pointsNode.GetNthControlPointID(index))
        if text:
            now = nameOfPoint(pointsNode, index)
            _setLabel(pointsNode, index, plain if now == name else now)
    for attribute in pointsNode.GetAttributeNames() or ():
        if attribute.startswith(_WRITTEN):
            pointsNode.RemoveAttribute(attribute)


def _number(record) -> str:
    if record.state == "scored" and record.result and record.result.get("probability") is not None:
        return f": {record.result['probability']:.2f}"
    return ": \N{HORIZONTAL ELLIPSIS}" if record.state == "pending" else ""


def _setLabel(pointsNode, index: int, label: str) -> None:
    if pointsNode.GetNthControlPointLabel(index) != label:
        pointsNode.SetNthControlPointLabel(index, label)


def _written(pointsNode, pointID: str) -> tuple:
    """(name, text of the label with the number, label that the user had given) as written last, or empty texts."""
    try:
        name, text, plain = json.loads(pointsNode.GetAttribute(_WRITTEN + pointID) or '["", "", ""]')
        return (name, text, plain) if text.startswith(name) else ("", "", "")
    except (ValueError, TypeError, AttributeError):
        return ("", "", "")
