"""The parts of a card that people read, and whether each is of the kind that it has to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..characteristics.ratings import RATED, SCALES
from ..files.strict_json import is_count, is_number

Problem = Callable[[object], bool]
"""Whether a part of the card that people read is what it has to be."""


def contents_problems(values: dict) -> Iterator[str]:
    """In words each optional part that is of another kind than a card's: checked once, so that whatever shows them to
    people can rely on it."""
    for name, fits in _PARTS.items():
        if name in values and not fits(values[name]):
            yield f"its {name.replace('_', ' ')} is not what a card says there"


def _text(value: object) -> bool:
    return isinstance(value, str)


def _plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _metric(value: object) -> bool:
    """{"value", "low", "high", "n"}; a limit without the other is none."""
    return value is None or (_METRIC(value) and (value.get("low") is None) == (value.get("high") is None))


def _list(fits: Problem, least: int = 0) -> Problem:
    return lambda value: isinstance(value, list) and len(value) >= least and all(map(fits, value))


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


_METRIC = _record({}, {**dict.fromkeys(("value", "low", "high"), is_number), "n": is_count})
_POINT = _record(
    {
        "threshold": is_number,
        "counts": _record(dict.fromkeys(("tp", "fp", "tn", "fn"), is_count)),
        "metrics": _record(dict.fromkeys(("sensitivity", "specificity"), _metric)),
    }
)
_FIGURES = _table(_table(_metric))
_PARTS: dict[str, Problem] = {
    **dict.fromkeys(("limitations", "licence", "citation", "created", "thresholds_reason"), _text),
    "label_type": lambda value: value in ("rating", "diagnosis"),
    "architecture": _record({}, {"head": _text, "graph": _record({"branches": _list(_text)}, {"rounds": _plain})}),
    "calibration": _record({}, {"reason": _text}),
    "training": _record(
        {},
        {
            **dict.fromkeys(("summary", "data", "attribution", "protocol", "pretraining_of_folds"), _text),
            **dict.fromkeys(("prior_in_probability", "prevalence"), is_number),
            **dict.fromkeys(("folds", "seed", "leaky"), _plain),
        },
    ),
    "metrics": _table(_metric),
    "baselines": _table(_record({}, {"auc": _metric})),
    "operating_points": _table(_POINT),
    "notes": _list(_text),
    "characteristics": _record(
        {"names": _list(lambda value: value in SCALES), "shown": _list(lambda value: value in SCALES)},
        {"figures": _FIGURES},
    ),
    "alike": _record(
        {"names": _list(lambda value: value in RATED), "member": is_count, "attribution": _text},
        {**dict.fromkeys(("nodules", "patients", "judged"), is_count), "agreement": _FIGURES},
    ),
    "software": _table(_plain),
    # One row for each classifier; how many numbers a row has is for ``reference_case`` to say.
    "reference": _record({"case": _text, "logits": _list(_list(is_number, least=1))}),
}
