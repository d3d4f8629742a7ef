"""``maemc review ...``: what was decided on results, outcomes, and how reader and model fared here."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from ..errors import UsageError
from ..files.atomic import home
from ..results import DISCLAIMER
from ..review.observer import Observer, store_observer
from ..review.review import REVEALED, Review
from ..review.reviews import Reviews


def review_list(arguments: Namespace) -> int:
    """``maemc review list``: a row a nodule; a number that its reader has not seen stays hidden here too."""
    from ..report.formats import render
    from ..report.sections import Note, Report, Section, Table

    reviews = Reviews(home())
    heads = ("nodule", "state", "own estimate", "number", "gate", "model", "decision", "outcome")
    notes = [Note(text) for text in _log_problems(reviews)]
    print(render(Report("", [Section("", [Table([review_row(one) for one in reviews.all()], heads), *notes])]), "txt"))
    return 0


def review_decide(arguments: Namespace) -> int:
    """``maemc review accept`` and ``reject``."""
    _name_observer(arguments)
    Reviews(home()).decide(arguments.nodule, arguments.decision)
    return 0


def review_outcome(arguments: Namespace) -> int:
    """``maemc review outcome``."""
    Reviews(home()).outcome(arguments.nodule, arguments.outcome, arguments.date)
    return 0


def review_calibration(arguments: Namespace) -> int:
    """``maemc review calibration``: the figure of reader and model against outcomes."""
    from ..figures.local_calibration import local_calibration_figure
    from ..figures.nodule import save_figure
    from ..models.store import find_model, read_card
    from ..review.local_calibration import local_calibration

    card = read_card(find_model(arguments.model))
    found = local_calibration(Reviews(home()).all(), card.sha256)
    name = f"{card.id} {card.version}\n{card.probability_name}"
    save_figure(local_calibration_figure(found, name), Path(arguments.output))
    print("\n".join([*found.notes, f"Written to {arguments.output}. {DISCLAIMER}"]))
    return 0


def review_row(review: Review) -> tuple[str | float | None, ...]:
    """What the list says of a nodule."""
    result, shown = review.result or {}, review.state == REVEALED
    model = result.get("model", {})
    outcome = " ".join(filter(None, [review.outcome, review.outcome_date]))
    return (
        review.nodule,
        review.state,
        None if review.estimate_percent is None else f"{review.estimate_percent:g} %",
        result.get("probability") if shown else "hidden",
        result.get("gate"),
        f"{model.get('id')} {model.get('version')}" if model else None,
        review.decision["decision"] if review.decision else None,
        outcome or None,
    )


def _log_problems(reviews: Reviews) -> list[str]:
    texts = []
    if lines := reviews.log.damaged:
        texts.append(f"Lines of {reviews.log.path.name} that are torn or no entries: {_numbers(lines)}.")
    if lines := reviews.log.unchained:
        texts.append(
            f"Lines of {reviews.log.path.name} that do not follow the line before them, which was changed or taken "
            f"out: {_numbers(lines)}."
        )
    return texts


def _numbers(lines: list[int]) -> str:
    more = f" and {len(lines) - 10} more" if len(lines) > 10 else ""
    return ", ".join(map(str, lines[:10])) + more


def _name_observer(arguments: Namespace) -> None:
    if arguments.observer is None and arguments.organization is None:
        return
    if None in (arguments.observer, arguments.organization):
        raise UsageError("--observer and --organization belong together.", "observer")
    store_observer(home(), Observer(arguments.observer, arguments.organization))
