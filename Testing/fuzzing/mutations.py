"""Hypothesis strategies that spoil sound inputs: bytes, and JSON documents at any place of their tree."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

from hypothesis import strategies as st

TOKENS = (
    b"",
    b"\0",
    b"\xff" * 8,
    b"-1",
    b"0",
    b"nan",
    b"NaN",
    b"inf",
    b"-Infinity",
    b"1e999",
    b"9" * 400,
    b"4294967296",
    b"-2147483649",
    b"1e-320",
    b"\r\n",
    b"\n\n",
    b"\r",
    b"\x85",
    "\u2028".encode(),
    "\u202e".encode(),
    b"\x1b[31m",
    b'"',
    b",",
    b";",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"x" * 70_000,
    b"../",
    b"/etc/passwd",
    b"\xc3",
    b"true",
    b"null",
    b"=cmd|' /C calc'!A0",
)
"""What breaks parsers: ends, huge and odd numbers, separators, depth, length, half a letter, paths."""

VALUES = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2**31,
    10**400,
    0.5,
    -1e308,
    1e-320,
    float("nan"),
    float("inf"),
    "",
    "nan",
    "1",
    "\u202e\x1b]52;c;\x07",
    "a\nb",
    "\ud800",
    "x" * 5000,
    "../../x",
    [],
    {},
    [None],
    [[]],
    {"": {}},
    [1, "a", None],
)
"""What may stand in the place of a JSON value."""

_OPERATIONS = ("flip", "set", "delete", "insert", "repeat", "zero", "cut")
_seeds = st.integers(0, 2**64 - 1)
"""Hypothesis draws a seed for each input and Python's generator does the rest, which is much faster."""


def mutated(content: bytes, start: int = 0, end: int | None = None) -> st.SearchStrategy[bytes]:
    """``content`` with one to four changes that begin in [start, end)."""
    end = len(content) if end is None else end
    return _seeds.map(lambda number: _spoiled(content, Random(number), start, end))


def _spoiled(content: bytes, rng: Random, start: int, end: int) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        kind, number = rng.choice(_OPERATIONS), rng.randrange(256)
        at = start + rng.randrange(max(1, min(end, len(changed)) - start))
        if kind == "flip" and at < len(changed):
            changed[at] ^= 1 << number % 8
        elif kind == "set":
            changed[at : at + 1] = bytes([number])
        elif kind == "delete":
            del changed[at : at + 1 + number // 16]
        elif kind == "insert":
            changed[at:at] = rng.choice(TOKENS)
        elif kind == "repeat":
            changed[at:at] = changed[at : at + 1 + number]
        elif kind == "zero":
            changed[at : at + 20] = bytes(len(changed[at : at + 20]))
        elif kind == "cut":
            del changed[at:]
    return bytes(changed)


def mutated_json(document: Any) -> st.SearchStrategy[bytes]:
    """The document's text with one to three values replaced, taken out or renamed; or its bytes spoiled."""
    places = list(_places(document))
    text = json.dumps(document).encode()

    def spoil(number: int) -> bytes:
        rng = Random(number)
        if rng.random() < 1 / 3:
            return _spoiled(text, rng, 0, len(text))
        return _rewritten(json.loads(text), rng, places)

    return _seeds.map(spoil)


def _places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield (*path, key)
        yield from _places(part, (*path, key))


def _rewritten(document: Any, rng: Random, places: list[tuple]) -> bytes:
    for _ in range(rng.randint(1, 3)):
        path, kind, value = (
            rng.choice(places),
            rng.choice(("replace", "replace", "remove", "rename")),
            copy.deepcopy(rng.choice(VALUES)),
        )
        owner = document
        try:
            for key in path[:-1]:
                owner = owner[key]
            if kind == "replace":
                owner[path[-1]] = value
            elif kind == "remove":
                del owner[path[-1]]
            elif isinstance(owner, dict):
                owner[str(value)[:50]] = owner.pop(path[-1])
        except (LookupError, TypeError, AttributeError):
            continue  # an earlier change took the place away
    return json.dumps(document).encode("utf-8", "surrogatepass")
