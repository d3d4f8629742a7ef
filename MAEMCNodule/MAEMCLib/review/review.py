"""What is known of one nodule's review, from the entries of the audit log about it, in their order.

Decisions have the words of IHE's profile AI Result Assessment for Imaging (AIRAI), which records "whether a result has
been accepted, rejected, or supplemented" (its initiator, M. Kämmerer, visus.com/en/blog/the-next-ihe-profile-for-ai-
integration.html); "corrected" is a result that was taken over with changes. The profile's own codes were not at hand
when this was written: no conformance is claimed.

An estimate counts where it is in the log before the first number: the order of the lines decides, whoever wrote them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..files.strict_json import is_number

CONCEALED, ESTIMATED, REVEALED = "concealed", "estimated", "revealed"
"""The states of a nodule's number: nobody has seen it; the reader's own estimate is stored; it was shown."""
ACCEPTED, CORRECTED, REJECTED = "accepted", "corrected", "rejected"
DECISIONS = (ACCEPTED, CORRECTED, REJECTED)
CORRECTABLE = ("point", "outline", "measures", "class", "probability")
"""What of a result a reader can correct."""
BENIGN, MALIGNANT = "benign", "malignant"
OUTCOMES = (BENIGN, MALIGNANT)


@dataclass(frozen=True)
class Review:
    """nodule, volume, patient: pseudonyms, the last two where they are known. estimate_percent: the reader's own,
    stored before any number was shown. results: the facts of each number that was shown (see ``facts``), the last one
    last. decision: the last one on that number, an entry with "decision", "corrected" and "observer". outcome: "benign"
    or "malignant"; outcome_date: YYYY-MM-DD. Each is None where there is none.
    """

    nodule: str
    volume: str | None = None
    patient: str | None = None
    state: str = CONCEALED
    estimate_percent: float | None = None
    results: tuple[dict[str, Any], ...] = ()
    decision: dict[str, Any] | None = None
    outcome: str | None = None
    outcome_date: str | None = None

    @property
    def result(self) -> dict[str, Any] | None:
        """The facts of the number that was shown last; None before."""
        return self.results[-1] if self.results else None

    @property
    def too_late(self) -> str:
        """Why an estimate is no longer the reader's own first one, in words; empty where it would be."""
        if self.state != CONCEALED:
            return "The number was shown already" if self.state == REVEALED else "An estimate is stored already"
        return "The outcome is known already" if self.outcome else ""

    def overrode(self, reasons: tuple[str, ...]) -> bool:
        """Whether the reader has had the number shown in spite of a red gate for these reasons."""
        return any(one.get("override") is True and one.get("gate_reasons") == list(reasons) for one in self.results)

    def after(self, entry: dict[str, Any]) -> Review:
        """The review after a further entry; the same where the entry comes too late, or is not understood."""
        happened = _EVENTS.get(entry["event"])
        found = happened(self, entry) if happened else self
        named = {key: entry[key] for key in ("volume", "patient") if isinstance(entry.get(key), str)}
        return replace(found, **named)


def _estimated(review: Review, entry: dict[str, Any]) -> Review:
    percent = entry.get("percent")
    if review.too_late or not is_percent(percent):
        return review
    return replace(review, state=ESTIMATED, estimate_percent=percent)


def _revealed(review: Review, entry: dict[str, Any]) -> Review:
    number = entry.get("probability")
    known = isinstance(entry.get("model"), dict) and is_number(number) and 0 <= number <= 1
    return replace(review, state=REVEALED, results=(*review.results, entry), decision=None) if known else review


def _decided(review: Review, entry: dict[str, Any]) -> Review:
    return replace(review, decision=entry) if entry.get("decision") in DECISIONS else review


def _followed_up(review: Review, entry: dict[str, Any]) -> Review:
    if entry.get("outcome") not in OUTCOMES:
        return review
    date = entry.get("date")
    return replace(review, outcome=entry["outcome"], outcome_date=date if isinstance(date, str) else None)


_EVENTS: dict[str, Callable[[Review, dict[str, Any]], Review]] = {
    "estimated": _estimated,
    "revealed": _revealed,
    "decided": _decided,
    "outcome": _followed_up,
}


def is_percent(value: object) -> bool:
    """Whether a value is a number from 0 to 100."""
    return is_number(value) and 0 <= value <= 100
