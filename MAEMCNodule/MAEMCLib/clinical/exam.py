"""One category for an examination: that of its worst nodule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from .score import Result


@dataclass(frozen=True)
class Examination:
    """The examination's category, and the number, from 0, of the nodule that it comes from; all None where the score
    applies to none. count_text: how many nodules it rests on, and whether a reader has confirmed that these are all.
    """

    score: str
    category: str | None
    recommendation: str | None
    sentence: str | None
    nodule: int | None
    count_text: str

    def to_json(self) -> dict[str, Any]:
        """By name."""
        return dict(vars(self))


def examination(results: Sequence[Result], count_confirmed: bool = False) -> Examination:
    """Join the results of one score, one a nodule; of several that are equally urgent the first counts.

    Raises UsageError for none, and for results of several scores.
    """
    if len({result.score for result in results}) != 1:
        raise UsageError(
            "An examination's category joins the nodules' results of one score. Give at least one, of one score.",
            "clinical-exam",
        )
    state = "confirmed by the reader" if count_confirmed else "marked so far"
    count = f"{len(results)} nodule{'s' * (len(results) != 1)}, {state}"
    applicable = [number for number, result in enumerate(results) if result.applicable]
    if not applicable:
        return Examination(results[0].score, None, None, None, None, count)
    worst = max(applicable, key=lambda number: (results[number].rank, -number))
    result = results[worst]
    sentence = f"{result.sentence} Worst of {count}." if len(results) > 1 else result.sentence
    return Examination(result.score, result.category, result.recommendation, sentence, worst, count)
