"""Running one reader on many spoiled inputs, and what counts as a fault."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from MAEMCLib.errors import MAEMCError

LONGEST_S = 5.0
KEPT = 20


@dataclass(frozen=True)
class Reader:
    """Something that reads data from outside.

    prepare: makes sound inputs in a folder and returns (strategy of spoiled ones, read). read takes one of them and
    returns where it gave the sound input's content or another valid one, raises MAEMCError where it refuses, and
    AssertionError where it gave what it must not give. native: a native library parses it, in a child that may die.
    """

    name: str
    prepare: Callable[[Path], tuple[st.SearchStrategy, Callable[[Any], None]]]
    native: bool = False


@dataclass
class Outcome:
    """Counts of a reader's run; faults: each kind of fault with its message and one input that shows it, as Python
    writes it."""

    cases: int = 0
    read: int = 0
    refused: int = 0
    uncaught: int = 0
    wrong: int = 0
    crashes: int = 0
    slow: int = 0
    seconds: float = 0.0
    faults: dict[str, tuple[str, str]] = field(default_factory=dict)
    codes: Counter = field(default_factory=Counter)

    @property
    def sound(self) -> bool:
        """Whether nothing happened that must not. A crash of the child that reads is a refusal, so it is no fault."""
        return not (self.uncaught or self.wrong or self.slow)


def run(reader: Reader, folder: Path, cases: int, number: int) -> Outcome:
    """Spoil and read ``cases`` inputs; number: the seed."""
    strategy, read = reader.prepare(folder)
    outcome = Outcome()

    @seed(number)
    @settings(
        max_examples=cases,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=False,
    )
    @given(strategy)
    def judge(content: Any) -> None:
        _judge(read, content, outcome)

    started = time.monotonic()
    judge()
    outcome.seconds = time.monotonic() - started
    return outcome


def _judge(read: Callable[[Any], None], content: Any, outcome: Outcome) -> None:
    outcome.cases += 1
    started = time.thread_time()
    try:
        read(content)
        outcome.read += 1
    except MAEMCError as error:
        outcome.refused += 1
        outcome.codes[error.code] += 1
        outcome.crashes += error.code == "reader-died"
        if not str(error).strip():
            _fault(outcome, "a refusal without a word", content)
            outcome.uncaught += 1
    except AssertionError as error:
        outcome.wrong += 1
        _fault(outcome, f"wrong: {error}", content)
    except Exception as error:
        outcome.uncaught += 1
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = next((f for f in reversed(traceback.extract_tb(error.__traceback__)) if "MAEMC" in f.filename), last)
        _fault(outcome, f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}", content, str(error))
    if time.thread_time() - started > LONGEST_S:
        outcome.slow += 1
        _fault(outcome, f"slower than {LONGEST_S:g} s", content)


def _fault(outcome: Outcome, kind: str, content: Any, message: str = "") -> None:
    if kind not in outcome.faults and len(outcome.faults) < KEPT:
        outcome.faults[kind] = (message[:200], repr(content))
