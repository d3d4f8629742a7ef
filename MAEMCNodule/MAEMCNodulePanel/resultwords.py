"""A nodule's result in words: range, findings, size."""

from MAEMCLib.report.scores import classes_text
from slicer.i18n import tr as _

MEASURES = ("long_axis_mm", "short_axis_mm", "mean_diameter_mm", "diameter_error_mm", "volume_mm3", "mean_hu")
"""Of a row, what is measured of a nodule; beside them "composition" and "mask_status"."""


def intervalText(result: dict) -> str:
    """ "0.74 - 0.89", or empty where the model has one member and so no range."""
    return _rangeText(result.get("interval_low"), result.get("interval_high"))


def notesText(record) -> str:
    """Why it was not scored, the findings behind the gate, then the milder ones; one line, each once."""
    result = record.result or {}
    reasons, warnings = result.get("gate_reasons") or (), result.get("warnings") or []
    ordered = sorted(warnings, key=lambda warning: warning["code"] not in reasons)
    parts = [record.message, *(warning["message"] for warning in ordered)]
    return " ".join(dict.fromkeys(part for part in parts if part))


def findingsText(record) -> str:
    """The gate in words, so that its color is not needed to read it, and what lies behind it; of a nodule that was not
    scored why, as far as it is known."""
    gates = {
        "green": _("Green: as the model knows it."),
        "amber": _("Amber, caution:"),
        "red": _("Red, outside what the model knows:"),
        "grey": _("Grey, not fully checked:"),
    }
    words = gates.get(_gate(record), "")
    return " ".join(filter(None, [words, notesText(record)]))


def shortFindings(record) -> str:
    """The gate and the words for what lies behind it, for a row of the table."""
    if record.state != "scored":
        return record.message
    colors = {"green": _("green"), "amber": _("amber"), "red": _("red"), "grey": _("grey")}
    color = colors.get(_gate(record), "")
    reasons = ", ".join(code.replace("-", " ") for code in (record.result or {}).get("gate_reasons") or ())
    return f"{color}: {reasons}" if reasons else color


def stateText(record) -> str:
    """What has become of a nodule that has no number: being scored, not scored, failed; empty of a scored one."""
    states = {"pending": _("being scored"), "waiting": _("not scored"), "failed": _("failed")}
    return states.get(record.state, "")


def isHidden(record) -> bool:
    """Whether a nodule was scored and its number may not be seen yet."""
    return record.state == "scored" and record.result.get("probability") is None


def headline(record) -> str:
    """ "N1: 0.83, malignant-like", or what has become of it."""
    result = record.result or {}
    if record.state != "scored":
        return f"{record.name}: {stateText(record)}"
    if result.get("class_probabilities"):
        return f"{record.name}: {classes_text(result['class_probabilities'])}"
    text = _("{name}: {probability}, {label}")
    return text.format(name=record.name, probability=f"{result['probability']:.2f}", label=result["class"])


def scaleText(result: dict, card) -> str:
    """What the number is a probability of, whether it is calibrated, and its ranges."""
    parts = [f"{probabilityName(result, card)}."]
    if interval := intervalText(result):
        parts.append(_("Members: {range}.").format(range=interval))
    if jitter := _rangeText(result.get("jitter_low"), result.get("jitter_high")):
        parts.append(_("Over 2 mm of click: {range}.").format(range=jitter))
    return " ".join(parts)


def probabilityName(result: dict, card) -> str:
    """What the number is a probability of, and whether it is calibrated, as far as the model's card is known.

    Of a model that has learned from readers' ratings it is the malignancy as readers rate it, and never more.
    """
    if not isScoredBy(result, card):
        return _("Probability")
    if len(card.classes) > 2:
        name = _("Probability of {name}").format(name=result["class"])
    elif card.positive_class.removesuffix("-like") != "malignant":
        name = _("Probability of {name}").format(name=card.positive_class)
    else:
        names = {"rating": _("Malignancy probability as readers rate it"), "diagnosis": _("Malignancy probability")}
        name = names[card.label_type]
    return (_("{name}, calibrated") if card.calibration.calibrated else _("{name}, not calibrated")).format(name=name)


def isScoredBy(result: dict, card) -> bool:
    """Whether a result is of the model with this card; card: None where there is none."""
    return card is not None and result["model_sha256"] == card.sha256


def sizeText(measures: dict) -> str:
    """Mean diameter for a row of the table: "8.4 mm"; empty where nothing was measured."""
    diameter = measures.get("mean_diameter_mm")
    return "" if diameter is None else f"{diameter:.1f} mm"


def measuresText(measures: dict) -> str:
    """ "9.1 x 7.7 mm (error 1.6), mean 8.4 mm, 310 mm3, 12 HU, solid", and why it may be wrong; empty where nothing was
    measured."""
    if measures.get("long_axis_mm") is None:
        return ""
    axes = " x ".join(f"{measures[name]:.1f}" for name in ("long_axis_mm", "short_axis_mm") if name in measures)
    parts = [_("{axes} mm").format(axes=axes)]
    if "diameter_error_mm" in measures:
        parts[0] += f" (\N{PLUS-MINUS SIGN} {measures['diameter_error_mm']:.1f})"
    further = {
        "mean_diameter_mm": _("mean {value:.1f} mm"),
        "volume_mm3": _("{value:.0f} mm\N{SUPERSCRIPT THREE}"),
        "mean_hu": _("{value:.0f} HU"),
    }
    parts += [text.format(value=measures[name]) for name, text in further.items() if name in measures]
    parts.append(measures.get("composition") or "")
    words = {
        "border": _("The outline is cut off by the border of the scan: sizes are too small."),
        "islands": _("The outline has several parts; the one at the point is measured."),
        "wall": _("The outline borders on soft tissue: where it ends there is a guess."),
    }
    text = ", ".join(filter(None, parts))
    return f"{text}. {words[measures['mask_status']]}" if measures.get("mask_status") in words else f"{text}."


def _rangeText(low, high) -> str:
    return "" if low is None or high is None else f"{low:.2f} - {high:.2f}"


def _gate(record):
    return (record.result or {}).get("gate") if record.state == "scored" else None
