"""Scored nodules or pictures as a report: the page with figures and what the model is, and the terminal's table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..figures.nodule import scale_figure
from ..models.card import ModelCard
from ..results import NoduleResult
from .card import card_sections
from .formats import render
from .sections import Figure, Mark, Note, Report, Section, Table
from .tables import about, classes_text, clinical_text, point_text

Scored = tuple[NoduleResult, Path | None]
"""A result with the PNG of its figure, where it has one."""


def score_report(results: Sequence[Scored], card: ModelCard) -> Report:
    """The report of results, each with its figure on a scale, and the model's card."""
    made = f"{results[0][0].time}, " if results else ""
    sections = [Section("", [Note(f"{made}{card.title} ({card.id} {card.version})", "soft"), _table(results, card)])]
    sections += [_one(result, figure) for result, figure in results if result.status != "failed"]
    spread = "Spread: the lowest and the highest probability of the fold models, where the model has several."
    return Report(
        card.kind.title, [*sections, Section("The model", [Note(about(card)), Note(spread)]), *card_sections(card)]
    )


def results_table(results: Sequence[NoduleResult], card: ModelCard) -> str:
    """The table for the terminal: a row a nodule or picture, its warnings below it, then what the number is and is not.

    Why a nodule failed is for stderr to say.
    """
    table = _table([(result, None) for result in results], card)
    return render(Report("", [Section("", [table]), Section("", [Note(about(card))])]), "txt")


def _table(results: Sequence[Scored], card: ModelCard) -> Table:
    heads = (card.kind.noun, "probability", "spread", "class", "gate", "L, P, S (mm)")
    rows = [(*_cells(result), point_text(result)) for result, _ in results]
    if card.kind.located:
        return Table(rows, heads, style="scores")
    return Table([row[:-1] for row in rows], heads[:-1], style="scores")


def _cells(result: NoduleResult) -> tuple[str, float | None, str, Mark, Mark]:
    if result.status == "failed":
        return result.nodule_id, None, "-", Mark("failed"), Mark(f"not scored: {result.message}", "grey")
    classes = [classes_text(result.class_probabilities)] if result.class_probabilities else []
    gate = Mark(result.gate or "", result.gate or "", [warning.message for warning in result.warnings])
    return result.nodule_id, result.probability, result.spread_text or "-", Mark(result.class_name, "", classes), gate


def _one(result: NoduleResult, figure: Path | None) -> Section:
    parts: list[Note | Figure] = [Figure.drawn(scale_figure(result), "probability scale", "scale")]
    if known := clinical_text(result.clinical):
        parts.append(Note(f"Read beside the CT: {known}"))
    if figure:
        parts.append(Figure(figure.read_bytes(), "figure"))
    return Section(result.nodule_id, parts)
