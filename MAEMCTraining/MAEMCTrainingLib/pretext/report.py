"""The evaluation of a pre-training in words: what was aimed at, what to know, the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..evaluation.bootstrap import RESAMPLES
from .filling import VISIBLE_MEAN
from .gray_levels import HIDDEN, MEASURES, WHOLE

PLANES = ("axial", "coronal")
NETWORK, UNTRAINED, EVERYWHERE = "network", "network before training", "network, visible pixels too"
TRAINING_MEAN = "training mean per position"
LARGEST_MSE_RATIO, LARGEST_NCE_RATIO, FEWEST_TIMES_CHANCE = 0.7, 0.8, 10.0
"""What a pre-training should reach: network / visible mean; InfoNCE / ln(1 + negatives); retrieval / chance."""


def targets(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What is aimed at, what was reached. The contrast is judged as it was trained, with masks."""
    rows = [
        (
            f"hidden pixels, axial: network / {VISIBLE_MEAN}",
            report["network_over"]["axial"][VISIBLE_MEAN],
            "at most",
            LARGEST_MSE_RATIO,
        )
    ]
    masked = report.get("contrast", {}).get(NETWORK, {}).get("masked", {})
    if "info_nce_over_chance" in masked:
        rows.append(("InfoNCE / ln(1 + negatives)", masked["info_nce_over_chance"], "at most", LARGEST_NCE_RATIO))
    if "times_chance" in masked:
        rows.append(("own coronal key first / chance", masked["times_chance"], "at least", FEWEST_TIMES_CHANCE))
    return [
        {"what": what, "value": metric["value"], "sense": sense, "target": target, "met": _met(metric, sense, target)}
        for what, metric, sense, target in rows
    ]


def _met(metric: dict[str, Any], sense: str, target: float) -> bool:
    if metric["value"] is None:
        return False
    return metric["value"] <= target if sense == "at most" else metric["value"] >= target


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
    return [*lines, "Research only, not for clinical use."]


def format_pretext_table(report: dict[str, Any]) -> str:
    """The report as a table of text."""
    lines = [
        f"{report['pretraining']} ({report['method']}) on {report['cases']} cases of {report['patients']} patients "
        f"that it has not seen ({report['left_out_as_seen']} cases of patients that it has seen are left out)",
        "",
        _line("mean squared error on hidden pixels", PLANES),
    ]
    errors = report["hidden_pixel_mse"]
    lines += [_line(row, [_cell(errors[plane][row]) for plane in PLANES]) for row in errors["axial"]]
    ratios = report["network_over"]
    lines += ["", _line("network divided by", PLANES)]
    lines += [_line(row, [_cell(ratios[plane][row]) for plane in PLANES]) for row in ratios["axial"]]
    lines += ["", *_gray_level_lines(report["gray_levels"])]
    if "contrast" in report:
        lines += ["", *_contrast_lines(report["contrast"])]
    lines += ["", "Targets"]
    for target in report["targets"]:
        reached = "met" if target["met"] else "NOT met"
        value = "-" if target["value"] is None else f"{target['value']:.3f}"
        lines.append(f"  {target['what']}: {value}, {target['sense']} {target['target']:g} wanted: {reached}")
    lines += [f"No row '{name}': {reason}." for name, reason in report["unavailable"].items()]
    return "\n".join([*lines, "", *report["notes"]])


def _gray_level_lines(levels: dict[str, Any]) -> list[str]:
    lines = []
    for plane in PLANES:
        for pixels in (HIDDEN, WHOLE):
            heads = [head for key, head in MEASURES.items() if key in levels[plane][NETWORK][pixels]]
            lines.append(_line(f"gray levels, {plane}, {pixels}", heads))
            for row, figures in levels[plane].items():
                found = figures[pixels]
                lines.append(_line(f"  {row}", [_cell(found[key], 2) for key in MEASURES if key in found]))
    return lines


def _contrast_lines(contrast: dict[str, Any]) -> list[str]:
    columns = {
        "info_nce": "InfoNCE",
        "info_nce_over_chance": "/ ln(1 + negatives)",
        "own_key_first": "own key first",
        "times_chance": "/ chance",
    }
    lines = [_line(f"contrast with {contrast[NETWORK]['negatives']} stored keys", list(columns.values()))]
    for name, figures in contrast.items():
        for way in ("masked", "unmasked"):
            if way in figures:
                cells = [_cell(figures[way].get(key, {"value": None})) for key in columns]
                lines.append(_line(f"{name}, {way}", cells))
    return lines


def _line(name: str, cells: Sequence[str]) -> str:
    return f"{name:<42}" + "".join(f"  {cell:>20}" for cell in cells)


def _cell(metric: dict[str, Any], digits: int = 3) -> str:
    if metric["value"] is None:
        return "-"
    return " ".join((f"{metric['value']:.{digits}f}", f"({metric['low']:.{digits}f}-{metric['high']:.{digits}f})"))
