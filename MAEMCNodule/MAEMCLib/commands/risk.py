"""``maemc risk NAME``: a clinical score; its options are made from the fields that the score asks for."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from ..clinical.fields import CHOICE, FLAG, Field
from ..clinical.score import Result, Score
from ..clinical.scores import SCORES
from ..report.formats import render
from ..report.sections import Notes, Report, Section, Table
from ..results import DISCLAIMER


def add_scores(actions, add_command: Callable[..., ArgumentParser]) -> None:
    """A command for each score. add_command: adds one with its name, what it runs and a text."""
    for score in SCORES.values():
        command = add_command(actions, score.name, risk, f"{score.title}: {score.source}".replace("%", "%%"))
        command.set_defaults(score=score)
        command.add_argument("--json", action="store_true", help="print one JSON document")
        for one in score.all_fields:
            _add_option(command, one)


def _add_option(command: ArgumentParser, one: Field) -> None:
    text = f"{one.title}; {one.hint}" if one.hint else one.title
    if one.kind == FLAG:
        command.add_argument(one.option, dest=f"value_{one.name}", action="store_true", help=text.replace("%", "%%"))
        return
    if one.kind == CHOICE:
        metavar = "|".join(one.choices)
    else:
        text = f"{text} ({one.allowed})"
        metavar = "VALUE" if one.many == 1 else tuple(f"V{number + 1}" for number in range(one.many))
    if one.default is not None:
        text = f"{text}; default: {one.default}"
    nargs = None if one.many == 1 else one.many
    command.add_argument(
        one.option, dest=f"value_{one.name}", metavar=metavar, nargs=nargs, help=text.replace("%", "%%")
    )


def risk(arguments: Namespace) -> int:
    """The command."""
    score: Score = arguments.score
    given = {one.name: getattr(arguments, f"value_{one.name}") for one in score.all_fields}
    result = score.evaluate(given)
    if arguments.json:
        document = {"schema": 1, "disclaimer": DISCLAIMER, **result.to_json()}
        print(json.dumps(document, ensure_ascii=False, allow_nan=False))
    elif not arguments.quiet:
        print(render(_report(score, result), "txt"))
    return 0


def _report(score: Score, result: Result) -> Report:
    variant = "" if result.variant is None else f", {result.variant}"
    by_name = {one.name: one for one in score.all_fields}
    rows: list[tuple[str, str | float | None]] = []
    if not result.applicable:
        rows.append(("Not applicable", result.reason))
    if result.probability is not None:
        rows.append(("Probability of cancer", f"{result.probability:.1%}"))
    rows += [(_measure_name(name), _measure(value)) for name, value in result.measures.items()]
    if result.applicable:
        rows += [("Category", result.category), ("Recommendation", result.recommendation)]
    if result.edge is not None:
        rows.append(("Nearest other category", result.edge.text))
    if result.sentence is not None:
        rows.append(("For the report", result.sentence))
    rows.append(("From", "; ".join(by_name[name].text(value) for name, value in result.inputs.items())))
    rows.append(("Source", result.source))
    notes = [Section("", [Notes(result.notes)])] if result.notes else []
    return Report(f"{result.title}{variant}", [Section("", [Table(rows)]), *notes])


def _measure_name(name: str) -> str:
    """``Mean diameter, mm``: of ``mean_diameter_mm``."""
    words, _, unit = name.rpartition("_")
    return f"{words.replace('_', ' ').capitalize()}, {'%' if unit == 'percent' else unit}"


def _measure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
