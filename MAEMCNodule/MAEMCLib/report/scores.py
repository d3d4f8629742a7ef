"""Scored nodules or pictures: the page with figures and what the model is, the terminal's table, CSV and JSON."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..cases.values import GIVEN, SERIES
from ..files.atomic import replacing, write_json
from ..files.spreadsheet import RowWriter
from ..models.card import ModelCard
from ..results import COLUMNS, DISCLAIMER, NoduleResult
from .card import card_sections
from .clinical import examination_parts
from .formats import render
from .measures import size_text
from .nodule_page import NodulePage, classes_text, page_sections
from .nodule_page import clinical_text as clinical_text  # for those who show a row in other ways
from .sections import Mark, Note, Part, Report, Section, Table


def score_report(pages: Sequence[NodulePage], card: ModelCard, patient: str = "") -> Report:
    """The report of an examination: an overview where it has several nodules, a page a nodule, and the model's card.

    pages: of all nodules, those that could not be scored too. patient: as the report names the patient, a pseudonym
    unless the user wants otherwise; empty, nobody is named.
    """
    results = [page.result for page in pages]
    scored = [page for page in pages if page.result.status != "failed"]
    named = f"Patient {patient}. " if patient else ""
    made = f"{results[0].time}, " if results else ""
    head: list[Part] = [Note(f"{named}{made}{card.title} ({card.id} {card.version})", "soft")]
    if len(pages) != 1 or not scored:
        head += [_table(results, card)]
        head += examination_parts([page.result.to_json() for page in scored], [page.clinical for page in scored])
    sections = [section for page in scored for section in page_sections(page, card, len(pages))]
    if len(pages) == 1 and scored:
        sections[0] = replace(sections[0], page=False)
    model = Section("The model", [Note(about(card))], detail=True)
    return Report(
        card.kind.title,
        [Section("", head), *sections, model, *(replace(one, detail=True) for one in card_sections(card))],
    )


def results_table(results: Sequence[NoduleResult], card: ModelCard) -> str:
    """The table for the terminal: a row a nodule or picture, its warnings below it, then what the number is and is not.

    Why a nodule failed is for stderr to say.
    """
    table = _table(results, card)
    return render(Report("", [Section("", [table]), Section("", [Note(about(card))])]), "txt")


def _table(results: Sequence[NoduleResult], card: ModelCard) -> Table:
    heads = (card.kind.noun, "probability", "spread", "class", "gate")
    rows = [_cells(result) for result in results]
    if card.kind.located:
        heads = (*heads, "size", "L, P, S (mm)")
        places = [(size_text(vars(result)), point_text(result)) for result in results]
        rows = [(*row, *place) for row, place in zip(rows, places, strict=True)]
    return Table(rows, heads, style="scores")


def _cells(result: NoduleResult) -> tuple[str, float | None, str, Mark, Mark]:
    if result.status == "failed":
        return result.nodule_id, None, "-", Mark("failed"), Mark(f"not scored: {result.message}", "grey")
    classes = [classes_text(result.class_probabilities)] if result.class_probabilities else []
    gate = Mark(result.gate or "", result.gate or "", [warning.message for warning in result.warnings])
    return result.nodule_id, result.probability, result.spread_text or "-", Mark(result.class_name, "", classes), gate


def results_document(results: list[NoduleResult], card: ModelCard, device: str | None) -> dict:
    """The JSON document of ``--json`` and results.json. What was not computed is null."""
    return {
        "schema": 1,
        "model": {"id": card.id, "version": card.version, "sha256": card.sha256},
        "device": device,
        "disclaimer": DISCLAIMER,
        "nodules": [_unnamed(result, card).to_json() for result in results],
    }


def write_results(folder: Path, results: list[NoduleResult], card: ModelCard, device: str | None) -> dict:
    """results.csv and results.json in a folder, each whole or not at all; returns the latter's document. Raises
    InputError."""
    rows, document = [_unnamed(result, card).to_row() for result in results], results_document(results, card, device)
    write_csv(folder / "results.csv", rows)
    write_json(folder / "results.json", document)
    return document


def _unnamed(result: NoduleResult, card: ModelCard) -> NoduleResult:
    """The result without the names of further series: a volume is often named by DICOM's free text."""
    series = [one.name for one in card.clinical if one.kind == SERIES]
    known = result.clinical or {}
    given = {name: GIVEN for name in series if known.get(name) is not None}
    return replace(result, clinical={**known, **given}) if given else result


def write_csv(path: Path, rows: Iterable[dict[str, str]]) -> None:
    """All rows with a header, replacing the file in one step. Raises InputError."""
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = RowWriter(stream)
        writer.row(COLUMNS)
        writer.rows([[row[column] for column in COLUMNS] for row in rows])


def about(card: ModelCard) -> str:
    """One line on the model: what it is, what its number is called, its threshold, whether it is calibrated."""
    state = "calibrated" if card.calibration.calibrated else "not calibrated"
    sentences = re.split(r"(?<=[.!?])\s+", card.intended_use)
    use = " ".join(one for one in sentences if "not for clinical use" not in one)  # the disclaimer says it
    rule = "the likeliest class" if card.threshold is None else f"class at {card.threshold:.2f}"
    return f"{card.title} ({card.id} {card.version}): {card.probability_name}, {state}; {rule}. {use}".rstrip()


def point_text(result: NoduleResult) -> str:
    """The position in mm, LPS."""
    return "-" if result.point_lps is None else ", ".join(f"{value:.1f}" for value in result.point_lps)
