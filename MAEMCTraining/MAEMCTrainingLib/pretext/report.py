"""The evaluation of a pre-training as a report: its tables, what was aimed at, what to know."""

from collections.abc import Iterable
from itertools import product
from typing import Any

from MAEMCLib.report.sections import Cell, Metric, Note, Notes, Report, Section, Table
from MAEMCLib.results import DISCLAIMER

from ..statistics.intervals import RESAMPLES
from .filling import VISIBLE_MEAN
from .gray_levels import HIDDEN, MEASURES, WHOLE

PLANES = ("axial", "coronal")
NETWORK, UNTRAINED, EVERYWHERE = "network", "network before training", "network, visible pixels too"
TRAINING_MEAN = "training mean per position"
LARGEST_MSE_RATIO, LARGEST_NCE_RATIO, FEWEST_TIMES_CHANCE = 0.7, 0.8, 10.0
"""What a pre-training should reach: network / visible mean; InfoNCE / ln(1 + negatives); retrieval / chance."""


def targets(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What is aimed at, what was reached. The contrast is assessed as it was trained, with masks."""
    over, masked = report["network_over"]["axial"], report.get("contrast", {}).get(NETWORK, {}).get("masked", {})
    rows = [
        (f"hidden pixels, axial: network / {VISIBLE_MEAN}", over[VISIBLE_MEAN], "at most", LARGEST_MSE_RATIO),
        ("InfoNCE / ln(1 + negatives)", masked.get("info_nce_over_chance"), "at most", LARGEST_NCE_RATIO),
        ("own coronal key first / chance", masked.get("times_chance"), "at least", FEWEST_TIMES_CHANCE),
    ]
    found = []
    for what, metric, sense, target in rows:
        if metric is not None:
            value = metric["value"]
            met = value is not None and (value <= target if sense == "at most" else value >= target)
            found.append({"what": what, "value": value, "sense": sense, "target": target, "met": met})
    return found


def notes(report: dict[str, Any]) -> list[str]:
    """How the figures were made, and where they say less than they seem to."""
    lines = [
        "Squared errors are of standardized pixels: 1 is the variance of the training's own regions.",
        f"Plain centered views, {report['masks_per_case']} masks a case, the same for every row; the coronal plane "
        "goes through the momentum encoder and the shared decoder.",
        "Gray levels: 0 to 255 of the window, one mask a case, visible pixels as they are. PSNR: the cases' mean.",
        f"Intervals: 95 %, {RESAMPLES} bootstrap samples of the held-out patients; the keys of retrieval stay.",
    ]
    known, trained_on = report["training_cases"]
    if 0 < known < trained_on:
        lines.append(f"Of the {trained_on} cases of the pre-training {known} were given: the training mean is theirs.")
    contrast = report.get("contrast", {}).get(NETWORK)
    if contrast and contrast["negatives"]:
        lines.append(
            "Stored keys are of augmented views, by earlier states of the momentum encoder: that alone lowers InfoNCE. "
            "Finding the own key among keys of one state, without augmentation, is the harder proof."
        )
    if contrast and contrast["negatives"] < contrast["queue"]:
        lines.append(
            f"The queue holds {contrast['negatives']} of {contrast['queue']} keys: the training was too short to fill "
            "it, and InfoNCE against few negatives says little."
        )
    if contrast and not report["contrast"][UNTRAINED]["negatives"]:
        lines.append("InfoNCE before training is left out: it needs keys of the pre-training's own cases.")
    if report["patients"] < FEWEST_TIMES_CHANCE:
        lines.append(f"With {report['patients']} held-out patients, finding every key is not 10 times chance.")
    return [*lines, DISCLAIMER]


def pretext_report(report: dict[str, Any]) -> Report:
    """What pretext.json holds, for people."""
    facts = (
        f"{report['method']}, on {report['cases']} cases of {report['patients']} patients that it has not seen "
        f"({report['left_out_as_seen']} cases of patients that it has seen are left out)."
    )
    reached = [
        (row["what"], row["value"], f"{row['sense']} {row['target']:g}", "met" if row["met"] else "NOT met")
        for row in report["targets"]
    ]
    missing = [Note(f"No row '{name}': {reason}.", "soft") for name, reason in report["unavailable"].items()]
    return Report(
        f"Pretext of {report['pretraining']}",
        [
            Section("", [Note(facts, "soft")]),
            Section("Mean squared error on hidden pixels", [_by_plane(report["hidden_pixel_mse"])]),
            Section("Network divided by", [_by_plane(report["network_over"])]),
            *_gray_levels(report["gray_levels"]),
            *([_contrast(report["contrast"])] if "contrast" in report else []),
            Section("Targets", [Table(reached, ("", "reached", "wanted", "")), *missing]),
            Section("Notes", [Notes(report["notes"])]),
        ],
    )


def _by_plane(figures: dict[str, Any]) -> Table:
    rows = [(row, *(Metric.of(figures[plane][row]) for plane in PLANES)) for row in figures["axial"]]
    return Table(rows, ("", *PLANES))


def _gray_levels(levels: dict[str, Any]) -> list[Section]:
    sections = []
    for plane, pixels in product(PLANES, (HIDDEN, WHOLE)):
        heads = {key: head for key, head in MEASURES.items() if key in levels[plane][NETWORK][pixels]}
        rows = _rows({row: own[pixels] for row, own in levels[plane].items()}, heads)
        table = Table(rows, ("", *heads.values()), digits=2)
        sections.append(Section(f"Gray levels, {plane}, {pixels}", [table]))
    return sections


def _contrast(contrast: dict[str, Any]) -> Section:
    columns = {
        "info_nce": "InfoNCE",
        "info_nce_over_chance": "/ ln(1 + negatives)",
        "own_key_first": "own key first",
        "times_chance": "/ chance",
    }
    rows = {
        f"{name}, {way}": figures[way]
        for name, figures in contrast.items()
        for way in ("masked", "unmasked")
        if way in figures
    }
    title = f"Contrast with {contrast[NETWORK]['negatives']} stored keys"
    return Section(title, [Table(_rows(rows, columns), ("", *columns.values()))])


def _rows(figures: dict[str, dict[str, Any]], columns: Iterable[str]) -> list[tuple[Cell, ...]]:
    return [(name, *(Metric.of(row.get(key)) for key in columns)) for name, row in figures.items()]
