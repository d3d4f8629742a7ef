"""Whether a nodule's number may be seen. What would show it in the views or the panel asks here."""

from slicer.i18n import tr as _


def withheld(analysis, pointID: str, record) -> str:
    """Why the number of a scored nodule is folded away, a sentence; empty where it may be seen.

    A red gate hides nothing that was computed: the number is there for who asks for it.
    """
    result = record.result or {}
    if record.state == "scored" and result.get("gate") == "red" and not record.shownAnyway:
        return _("The number is folded away: it would be of something that the model does not know.")
    return ""
