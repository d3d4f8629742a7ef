"""The optional parts of a model's card, which people read: checked once, so that whatever shows them can rely on it."""

from __future__ import annotations

from collections.abc import Callable

Problem = Callable[[object], bool]


def contents_problem(values: dict) -> str:
    """Which optional part is of another kind than a card's, in words; empty where all are as they should be."""
    for name, fits in _PARTS.items():
        if name in values and not fits(values[name]):
            return f"its {name.replace('_', ' ')} is not what a card says there"
    return ""


def shortened(text: str, longest: int = 80) -> str:
    """A stranger's text for a message: printable, and not longer than a line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:longest])


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text(value: object) -> bool:
    return isinstance(value, str)


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _metric(value: object) -> bool:
    """{"value", "low", "high", "n"}; a limit without the other is none."""
    if value is None:
        return True
    if not isinstance(value, dict) or not all(
        value.get(k) is None or _number(value[k]) for k in ("value", "low", "high")
    ):
        return False
    return (value.get("low") is None) == (value.get("high") is None) and (value.get("n") is None or _count(value["n"]))


def _table(fits: Problem) -> Problem:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _record(required: dict[str, Problem], optional: dict[str, Problem] | None = None) -> Problem:
    def fits(value: object) -> bool:
        return (
            isinstance(value, dict)
            and all(name in value and kind(value[name]) for name, kind in required.items())
            and all(value.get(name) is None or kind(value[name]) for name, kind in (optional or {}).items())
        )

    return fits


def _reference(value: object) -> bool:
    """One row for each classifier; how many numbers a row has is for ``reference_case`` to say."""
    if not isinstance(value, dict) or not _text(value.get("case")) or not isinstance(value.get("logits"), list):
        return False
    return all(isinstance(row, list) and row and all(map(_number, row)) for row in value["logits"])


_POINT = _record(
    {
        "threshold": _number,
        "counts": _record(dict.fromkeys(("tp", "fp", "tn", "fn"), _count)),
        "metrics": _record(dict.fromkeys(("sensitivity", "specificity"), _metric)),
    }
)
_PARTS: dict[str, Problem] = {
    **dict.fromkeys(("limitations", "licence", "citation", "created"), _text),
    "label_type": lambda value: value in ("rating", "diagnosis"),
    "architecture": _record({}, {"head": _text, "graph": _record({"branches": _texts}, {"rounds": _plain})}),
    "calibration": _record({}, {"reason": _text}),
    "training": _record(
        {},
        {
            **dict.fromkeys(("summary", "data", "attribution", "protocol", "pretraining_of_folds"), _text),
            **dict.fromkeys(("prior_in_probability", "prevalence"), _number),
            **dict.fromkeys(("folds", "seed", "leaky"), _plain),
        },
    ),
    "metrics": _table(_metric),
    "baselines": _table(_record({}, {"auc": _metric})),
    "operating_points": _table(_POINT),
    "notes": _texts,
    "software": _table(_plain),
    "reference": _reference,
}
