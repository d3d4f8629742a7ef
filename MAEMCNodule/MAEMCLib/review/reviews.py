"""Reviews at a home: whether a number may be shown, and what the reader says, each stored before it counts.

Free of torch and SimpleITK, for Slicer's own process. With *reader first* the reader's estimate comes before the
number, against automation bias (clinical.md 4): concealed -> estimated -> revealed. Whatever would show a number
(label, table, overlay, export, console) asks ``may_show``.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cases.pseudonyms import pseudonym, pseudonym_key
from ..errors import UsageError
from ..files.atomic import make_folder, read_json, write_json
from ..models.card import ModelCard
from ..results import NoduleResult
from .audit_log import AuditLog
from .facts import result_facts
from .observer import read_observer
from .review import CONCEALED, CORRECTABLE, CORRECTED, DECISIONS, OUTCOMES, REVEALED, Review, is_percent

_SAME = ("model", "probability", "gate", "gate_reasons", "point_lps", "input_sha256", "override")
"""Facts in which two showings of one number agree."""


@dataclass(frozen=True)
class Subject:
    """A nodule, its volume and its patient (None where unknown), by pseudonym."""

    nodule: str
    volume: str
    patient: str | None = None


class Reviews:
    """The reviews of a home (``files.atomic.home``). log: the audit log, with what is wrong in it.

    Making one reads the log; so does ``refresh``, for what other processes have written since.
    """

    def __init__(self, home: Path) -> None:
        """Raises InputError where log or setting cannot be read."""
        self.home, self.log = home, AuditLog(home)
        self._reviews: dict[str, Review] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take in what was written since. Raises InputError."""
        setting = self.home / "review.json"
        stored = read_json(setting, "The setting of reader first") if setting.exists() else {}
        self._reader_first = isinstance(stored, dict) and stored.get("reader_first") is True
        for entry in self.log.fresh():
            if isinstance(nodule := entry.get("nodule"), str):
                self._reviews[nodule] = self.of(nodule).after(entry)

    @property
    def reader_first(self) -> bool:
        """Whether numbers are hidden until the reader's own estimate is stored; kept in review.json of the home.

        Setting it raises InputError where the home cannot be written.
        """
        return self._reader_first

    @reader_first.setter
    def reader_first(self, on: bool) -> None:
        make_folder(self.home, "folder MAEMC_HOME")
        write_json(self.home / "review.json", {"reader_first": on})
        self._reader_first = on

    def subject(self, volume: str, nodule: str, patient: str | None = None) -> Subject:
        """The pseudonyms of what is scored. volume: a series' UID, or what else names it for good; nodule: what names
        it for good within the volume, such as its tracking UID; patient: their id. None of them is written down.

        Raises InputError where the home's key cannot be made or read.
        """
        key = pseudonym_key(self.home)
        known = pseudonym("V", volume, key)
        hidden = None if patient is None else pseudonym("P", patient, key)
        return Subject(pseudonym("N", f"{known}\0{nodule}", key), known, hidden)

    def all(self) -> list[Review]:
        """Every nodule that the log knows, in the order of its first entry."""
        return list(self._reviews.values())

    def of(self, nodule: str) -> Review:
        """The review of a nodule (pseudonym); a concealed one of a nodule that the log does not know."""
        return self._reviews.get(nodule) or Review(nodule)

    def may_show(self, nodule: str, result: NoduleResult) -> bool:
        """Whether the number of a result may be seen, wherever. Reads no file."""
        return not self.hidden_because(nodule, result.gate, result.gate_reasons)

    def hidden_because(self, nodule: str, gate: str | None, reasons: Sequence[str]) -> str:
        """A sentence for the place of a hidden number: why, and what to do; empty where it may be seen. gate, reasons:
        of its result."""
        review = self.of(nodule)
        if withheld := self._withheld(review, gate, reasons, show_anyway=False):
            return withheld
        if self.reader_first and review.state != REVEALED:
            return "Your estimate is stored: reveal the number."
        return ""

    def _withheld(self, review: Review, gate: str | None, reasons: Sequence[str], show_anyway: bool) -> str:
        if self.reader_first and review.state == CONCEALED:
            return "Reader first: store your own estimate (0 to 100 %), then the number is shown."
        if gate == "red" and not show_anyway and not review.overrode(tuple(reasons)):
            return f"The gate is red ({', '.join(reasons)}): the number is shown only on Show anyway."
        return ""

    def estimate(self, subject: Subject, percent: float) -> None:
        """Store the reader's own estimate of malignancy, 0 to 100 %, once, before the number.

        Raises UsageError: no such number, an estimate that is stored already, a number that was shown already;
        InputError: it cannot be stored. The number then stays hidden.
        """
        if not is_percent(percent):
            raise UsageError(f"The estimate is {percent}; it has to be a number from 0 to 100 (%).", "estimate")
        self.refresh()
        if too_late := self.of(subject.nodule).too_late:
            raise UsageError(f"{too_late}: an estimate now would not be the reader's own first one.", "estimate")
        self._write("estimated", subject, {"percent": percent})

    def reveal(self, subject: Subject, result: NoduleResult, card: ModelCard, show_anyway: bool = False) -> None:
        """Write down that a number is shown, then it may be; once for each number. A number that is another than the
        one before is not decided on yet.

        show_anyway: that the reader has it shown in spite of a red gate. Raises UsageError: nothing was scored, no
        estimate yet, a red gate; InputError: it cannot be stored.
        """
        if result.probability is None:
            raise UsageError("The nodule was not scored: there is no number to show.", "no-number")
        self.refresh()
        review = self.of(subject.nodule)
        if withheld := self._withheld(review, result.gate, result.gate_reasons, show_anyway):
            raise UsageError(withheld, "hidden")
        facts = {**result_facts(result, card), "override": result.gate == "red"}
        before = review.result
        if before is None or any(before.get(key) != facts[key] for key in _SAME):
            self._write("revealed", subject, facts)

    def decide(
        self,
        nodule: str,
        decision: str,
        corrected: Sequence[str] = (),
        percent: float | None = None,
        prevalence: float | None = None,
    ) -> None:
        """Accept, correct or reject the number that was shown last (``review.DECISIONS``).

        corrected: what of it (``review.CORRECTABLE``), of a correction at least one. percent: the reader's probability
        instead. prevalence: the one that the number was adjusted to beside, 0 to 1; None of none. Raises UsageError:
        unknown words, a number that nobody has seen, no observer; InputError: it cannot be stored.
        """
        if problem := _decision_problem(decision, corrected, percent):
            raise UsageError(problem, "decision")
        self.refresh()
        review = self.of(nodule)
        if review.result is None:
            raise UsageError("The number was not shown yet: nothing can be decided on it.", "hidden")
        if read_observer(self.home) is None:
            raise UsageError("Nobody is named as the observer. Enter name and organization once.", "observer")
        about = {key: value for key, value in review.result.items() if key not in _OF_ENTRIES}
        said = {"decision": decision, "corrected": list(corrected), "percent": percent, "prevalence": prevalence}
        self._write("decided", review, {**said, "result": about})

    def outcome(self, nodule: str, outcome: str, date: str | None = None) -> None:
        """Enter what the nodule turned out to be ("benign" or "malignant"), and when (YYYY-MM-DD); the last one counts.

        Raises UsageError: another word, no date, a date to come, a nodule that the log does not know; InputError: it
        cannot be stored.
        """
        if outcome not in OUTCOMES:
            raise UsageError(f"'{outcome}' is no outcome; these are {', '.join(OUTCOMES)}.", "outcome")
        if date is not None and not _is_past_day(date):
            raise UsageError(f"'{date}' is no day up to today, written YYYY-MM-DD.", "outcome")
        self.refresh()
        if nodule not in self._reviews:
            raise UsageError(
                f"The audit log knows no nodule {nodule}. `maemc review list` shows those it knows.", "nodule"
            )
        self._write("outcome", self.of(nodule), {"outcome": outcome, "date": date})

    def _write(self, event: str, subject: Subject | Review, facts: dict[str, Any]) -> None:
        observer = read_observer(self.home)
        known = {"nodule": subject.nodule, "volume": subject.volume, "patient": subject.patient}
        who = {"observer": observer.pseudonym(pseudonym_key(self.home)) if observer else None}
        self.log.append(event, {**known, **who, **facts})
        self.refresh()


_OF_ENTRIES = ("schema", "time", "event", "previous", "nodule", "volume", "patient", "observer")


def _decision_problem(decision: str, corrected: Sequence[str], percent: float | None) -> str:
    """Why it is no decision, in a sentence; empty where it is one."""
    if decision not in DECISIONS:
        return f"'{decision}' is no decision; these are {', '.join(DECISIONS)}."
    if (decision == CORRECTED) != bool(corrected) or not set(corrected) <= set(CORRECTABLE):
        return f"A correction, and nothing else, names what was corrected: {', '.join(CORRECTABLE)}."
    if percent is None:
        return "A corrected probability needs the reader's own, 0 to 100 (%)." if "probability" in corrected else ""
    if "probability" not in corrected or not is_percent(percent):
        return "A probability is given with its correction alone, as a number from 0 to 100 (%)."
    return ""


def _is_past_day(text: str) -> bool:
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) is not None and day <= datetime.date.today()
