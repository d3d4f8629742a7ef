"""Reading JSON that strangers wrote: numbers are finite and fit into 64 bits, no key stands twice, no value lies deep.

Free of torch.
"""

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

DEEPEST = 40
_LARGEST_WHOLE = 1 << 63


def parse_json(text: str | bytes, pairs: Callable[[list], dict] | None = None) -> Any:
    """The value of a JSON text. Raises ValueError for what ``json.loads`` lets through or stumbles over: NaN and
    infinity, written out or as 1e999; whole numbers beyond 64 bits; a depth at which Python gives up."""
    try:
        return json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole, object_pairs_hook=pairs
        )
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def parse(text: str | bytes) -> Any:
    """As ``parse_json``, and strict in what valid JSON may hold and no card needs. Raises ValueError also for a key
    twice, depth above 40, halves of letters that cannot be printed."""
    value = parse_json(text, _object)
    _check(value)
    return value


def is_count(value: object) -> bool:
    """Whether a value is a whole number from 0 on; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_number(value: object) -> bool:
    """Whether a value is a finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number_of(value: object) -> float:
    """The number that a value or its text states; NaN where it is none, such as 1_000, which Python would take."""
    try:
        return math.nan if isinstance(value, bytes) or "_" in str(value) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def require(sound: object, text: str) -> None:
    """Raise ValueError with the text, unless a value that was read is sound."""
    if not sound:
        raise ValueError(text)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    require(math.isfinite(value), "a number in it is beyond what can be computed with")
    return value


def _whole(text: str) -> int:
    require(len(text) <= 20 and abs(int(text)) < _LARGEST_WHOLE, "a number in it is beyond 64 bits")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    require(len(made) == len(pairs), "it names a key twice")
    return made


def _check(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = list(itertools.chain.from_iterable(inner))
        if not level:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is a UnicodeEncodeError
            return
    raise ValueError("it is nested too deep")
