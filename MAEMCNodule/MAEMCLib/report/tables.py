"""Results as CSV and as one JSON document, and parts of them in words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..cases.values import GIVEN, SERIES
from ..files.atomic import replacing, write_json
from ..files.spreadsheet import RowWriter
from ..models.card import ModelCard
from ..results import COLUMNS, DISCLAIMER, NoduleResult


def results_document(results: list[NoduleResult], card: ModelCard, device: str | None) -> dict:
    """The JSON document of ``--json`` and results.json. What was not computed is null."""
    return {
        "schema": 1,
        "model": {"id": card.id, "version": card.version, "sha256": card.sha256},
        "device": device,
        "disclaimer": DISCLAIMER,
        "nodules": [_unnamed(result, card).to_json() for result in results],
    }


def write_results(folder: Path, results: list[NoduleResult], card: ModelCard, device: str | None) -> None:
    """results.csv and results.json in a folder, each whole or not at all. Raises InputError."""
    write_csv(folder / "results.csv", (_unnamed(result, card).to_row() for result in results))
    write_json(folder / "results.json", results_document(results, card, device))


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
        writer.rows([row[column] for column in COLUMNS] for row in rows)


def about(card: ModelCard) -> str:
    """One line on the model: what it is, its threshold, whether it is calibrated."""
    state = "calibrated" if card.calibration.calibrated else "not calibrated"
    sentences = re.split(r"(?<=[.!?])\s+", card.intended_use)
    use = " ".join(one for one in sentences if "not for clinical use" not in one)  # the disclaimer says it
    rule = "the likeliest class" if card.threshold is None else f"class at {card.threshold:.2f}"
    return f"{card.title} ({card.id} {card.version}); {state}; {rule}. {use}".rstrip()


def classes_text(probabilities: dict[str, float]) -> str:
    """``cyst 0.49, myeloma 0.30, metastasis 0.21``: the probability of each of several classes, likeliest first."""
    return ", ".join(
        f"{name} {probabilities[name]:.2f}" for name in sorted(probabilities, key=lambda n: -probabilities[n])
    )


def clinical_text(values: dict[str, float | str | None] | None) -> str:
    """``age 70, sex male, image_2 Venous``: what was read beside the CT; what was left out is left out."""
    known = {name: value for name, value in (values or {}).items() if value is not None}
    texts = {name: f"{value:g}" if isinstance(value, float) else value for name, value in known.items()}
    return ", ".join(f"{name} {text}" for name, text in texts.items())


def point_text(result: NoduleResult) -> str:
    """The position in mm, LPS."""
    return "-" if result.point_lps is None else ", ".join(f"{value:.1f}" for value in result.point_lps)
