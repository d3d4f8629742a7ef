"""A comparison of two networks as a report, and everything that is written of it."""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from MAEMCLib.files.atomic import replacing
from MAEMCLib.report.formats import render
from MAEMCLib.report.sections import Cell, Figure, Metric, Note, Notes, Part, Report, Section, Table
from MAEMCLib.results import DISCLAIMER

from ..statistics.intervals import RESAMPLES
from .colorings import Coloring
from .embedding import SHUFFLES
from .figures import SPACES, MapExamples, Planes, cka_figure, embedding_figure, maps_figure, named


def write_comparison(
    output: Path, report: dict[str, Any], colorings: Sequence[Coloring], planes: Planes, examples: MapExamples | None
) -> None:
    """Write comparison.json, comparison.html and the figures; those of a comparison that was here before go.

    All of it is made before the first file is written. Raises InputError where the disk does not take it.
    """
    figures = {"cka.png": Figure.drawn(cka_figure(report), "CKA of the layers")}
    for coloring, row in zip(colorings, report["classes"], strict=True):
        row["picture"] = f"tsne-{len(figures)}-{re.sub(r'[^A-Za-z0-9]+', '-', coloring.name)}.png"
        figures[row["picture"]] = Figure.drawn(embedding_figure(report, planes, coloring), f"t-SNE by {row['name']}")
    if examples is not None:
        figures["maps.png"] = Figure.drawn(maps_figure(report, examples), "maps of both networks")
    report["notes"] = notes(report)
    files = {name: figure.png for name, figure in figures.items()} | {
        "comparison.html": render(comparison_report(report, figures), "html").encode(),
        "comparison.json": (json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(),
    }
    for name, content in files.items():
        with replacing(output / name) as temporary:
            temporary.write_bytes(content)
    for path in (*output.glob("tsne-*.png"), output / "maps.png"):
        if path.name not in files:
            with contextlib.suppress(OSError):
                path.unlink()


def notes(report: dict[str, Any]) -> list[str]:
    """How the figures were made, and where they say less than they seem to."""
    data = report["data"]
    lines = [
        f"{data['cases']} of {data['of_cases']} cases, {data['image']}, as each network is shown it when it scores.",
        f"CKA: linear, unbiased, gathered over {report['cka']['minibatches']} minibatches (Kornblith et al. 2019; "
        "Nguyen et al. 2021); a layer's activations at all places and channels, flattened. 1: the same up to turns and "
        "scale; about 0, on either side: nothing in common. Layers that say the same of all cases have none. "
        "No interval is given.",
        "Two networks that never met the data share much of it too: what the pixels have in common passes through "
        "random layers. Compare with scratch to see what of a value is owed to training.",
        f"t-SNE: scikit-learn, perplexity {report['perplexity']:.3g}, started from principal components, a fixed seed. "
        "Its axes, and the distances between groups, mean nothing.",
        "Correlation: of each t-SNE coordinate with the class, absolute (Pearson for two classes, the correlation "
        f"ratio for more); by chance: what 95 % of {SHUFFLES} random assignments of the classes to cases stay below. "
        "Where patients have several cases, which are alike, chance reaches further than that.",
        "Nearest neighbor: Euclidean, among the cases of other patients, in the pixels or features themselves and in "
        "the t-SNE; beside it the share of the most frequent class.",
        f"Intervals: 95 %, {RESAMPLES} bootstrap samples of patients; neighbors are looked for once, among all.",
    ]
    maps = report["maps"]
    if not maps["reason"]:
        grids = " and ".join(f"{side} x {side}" for side in dict.fromkeys(maps["grids"]))
        lines.append(
            f"{maps['kind'][0].upper()}{maps['kind'][1:]}: maps of {grids} places, enlarged; the highest part is what "
            f"reaches the map's {1 - maps['share']:.0%} quantile and is above its lowest value."
        )
        if min(maps["grids"]) < 5:
            lines.append("Maps of so few places cannot tell a nodule from what lies beside it.")
    if report["data"]["left_out"]:
        lines.append(f"{len(report['data']['left_out'])} cases of the data could not be read and are left out.")
    return [*lines, DISCLAIMER]


def comparison_report(report: dict[str, Any], figures: Mapping[str, Figure] = MappingProxyType({})) -> Report:
    """What comparison.json holds, for people. figures: by the names of their files; the terminal has none."""
    names = [report[which]["name"] for which in ("a", "b")]
    data = report["data"]
    what = f"{data['cases']} cases of {data['patients']} patients of {data['name']}: {data['image']}."
    first: list[Part] = [Note(what, "soft")]
    cka, layers = report["cka"], []
    if cka["diagonal"] is not None:
        rows = list(zip(cka["layers_a"], cka["diagonal"], strict=True))
        layers.append(Table(rows, ("layer", "CKA of the same layers")))
    if any(report[which]["patients_seen"] or report[which]["patients_unknown"] for which in ("a", "b")):
        text = "Features of patients that a network was trained on look better than those of others."
        first.append(Note(f"{text} Whom each network has seen stands in the table below.", "notice"))
    return Report(
        f"{names[0]} and {names[1]} on the same cases",
        [
            Section("", [*first, _networks(report)]),
            Section("Which layers agree?", [*_drawn(figures, "cka.png"), *layers]),
            *(Section(f"Cases by {row['name']}", _classes(report, row, figures)) for row in report["classes"]),
            Section("Do they look at the same places?", _maps(report, figures)),
            Section("Notes", [Notes(report["notes"])], detail=True),
        ],
    )


def _drawn(figures: Mapping[str, Figure], name: str) -> list[Part]:
    return [figures[name]] if name in figures else []


def _networks(report: dict[str, Any]) -> Table:
    texts = {
        "What it is": "{what}",
        "Architecture": "{architecture}",
        "Is shown": "{shown}, {side} pixels",
        "Patients": "{patients}",
    }
    rows = [(title, *(text.format(**report[which]) for which in ("a", "b"))) for title, text in texts.items()]
    return Table(rows, ("", named(report, "a"), named(report, "b")), style="wrapped")


def _classes(report: dict[str, Any], row: dict[str, Any], figures: Mapping[str, Figure]) -> list[Part]:
    parts = _drawn(figures, row.get("picture", ""))
    if row["reason"]:
        return [*parts, Note(f"No figures: {row['reason']}.", "soft")]
    counted = ", ".join(f"{name} ({count})" for name, count in list(row["counts"].items())[:12])
    more = f" and {len(row['counts']) - 12} rarer values" if len(row["counts"]) > 12 else ""
    unknown = f"; {row['unknown']} without a value, gray, not counted" if row["unknown"] else ""
    unseen = row["unseen"] is not None
    columns = {"nearest": "Nearest neighbor of the same class"}
    if unseen:
        columns["nearest_of_unseen"] = f"Of the {row['unseen']} cases whose patients neither network has seen"
    columns["nearest_in_tsne"] = "The same in the t-SNE"
    rows: list[tuple[Cell, ...]] = []
    for space, name in zip(SPACES, ("pixels", named(report, "a"), named(report, "b")), strict=True):
        measured = row["spaces"][space]
        pairs = (measured.get(key) for key in ("correlation", "correlation_by_chance"))
        texts = ("-" if pair is None else ", ".join(f"{value:.2f}" for value in pair) for pair in pairs)
        rows.append((name, *(Metric.of(measured.get(key)) for key in columns), *texts))
    shares = [row["majority"], *([row["majority_of_unseen"]] if unseen else []), row["majority"]]
    rows.append(("the most frequent class", *shares, "", ""))
    heads = ("", *columns.values(), "Correlation of the t-SNE's coordinates", "95 % by chance below")
    return [*parts, Note(f"{counted}{more}{unknown}.", "soft"), Table(rows, heads, style="wrapped")]


def _maps(report: dict[str, Any], figures: Mapping[str, Figure]) -> list[Part]:
    maps = report["maps"]
    if maps["reason"]:
        return [Note(f"Left out: {maps['reason']}.")]
    share = maps["share"]
    rows: list[tuple[Cell, ...]] = [
        (f"IoU of the highest {share:.0%} of the two maps of a case", Metric.of(maps["iou"])),
        ("the same of maps of different patients' cases", Metric.of(maps["iou_of_different_patients"])),
        ("difference", Metric.of(maps["difference"])),
        (f"two areas of {share:.0%} that know nothing of each other", maps["by_independent_places"]),
    ]
    flat = f"; {maps['flat']} are left out, as one of their maps is flat" if maps["flat"] else ""
    note = Note(f"{maps['kind']}, mean over {maps['cases']} cases{flat}.", "soft")
    return [note, *_drawn(figures, "maps.png"), Table(rows, ("", "IoU"))]
