"""A comparison of two networks as a page, and everything that is written of it."""

from __future__ import annotations

import contextlib
import json
import re
from html import escape
from pathlib import Path
from typing import Any

from MAEMCLib.files.atomic import replacing
from MAEMCLib.results import DISCLAIMER

from ..evaluation.bootstrap import RESAMPLES
from ..evaluation.html import page, picture, png_of, table
from ..evaluation.tables import cell
from .embedding import SHUFFLES
from .figures import SPACES, Drawn, cka_figure, embedding_figure, maps_figure, named


def write_comparison(output: Path, report: dict[str, Any], drawn: Drawn) -> None:
    """Write comparison.json, comparison.html and the pictures; those of a comparison that was here before go.

    All of it is made before the first file is written. Raises InputError where the disk does not take it.
    """
    pictures = {"cka.png": png_of(cka_figure(report))}
    for coloring, row in zip(drawn.colorings, report["classes"], strict=True):
        row["picture"] = f"tsne-{len(pictures)}-{re.sub(r'[^A-Za-z0-9]+', '-', coloring.name)}.png"
        pictures[row["picture"]] = png_of(embedding_figure(report, drawn, coloring))
    if drawn.examples is not None:
        pictures["maps.png"] = png_of(maps_figure(report, drawn))
    report["notes"] = notes(report)
    files = pictures | {
        "comparison.html": page("MAEMC: two networks", _parts(report, pictures)).encode(),
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


def _parts(report: dict[str, Any], pictures: dict[str, bytes]) -> list[str]:
    parts = [
        f"<h1>{escape(report['a']['name'])} and {escape(report['b']['name'])} on the same cases</h1>",
        f"<p class='soft'>{escape(_what(report))}</p>",
        f"<p class='notice'>{DISCLAIMER}</p>",
    ]
    if any(report[which]["patients_seen"] or report[which]["patients_unknown"] for which in ("a", "b")):
        text = "Features of patients that a network was trained on look better than those of others."
        parts.append(f"<p class='notice'>{text} Whom each network has seen stands in the table below.</p>")
    parts += [_networks(report), "<h2>Which layers agree?</h2>", picture(pictures["cka.png"], "CKA of the layers")]
    for row in report["classes"]:
        parts += [f"<h2>Cases by {escape(row['name'])}</h2>", *_classes(report, row, pictures[row["picture"]])]
    parts += ["<h2>Do they look at the same places?</h2>", *_maps(report, pictures)]
    parts += ["<h2>Notes</h2>", "<ul>", *(f"<li>{escape(note)}</li>" for note in report["notes"]), "</ul>"]
    return [*parts, f"<p class='notice'>{DISCLAIMER}</p>"]


def _what(report: dict[str, Any]) -> str:
    data = report["data"]
    return f"{data['cases']} cases of {data['patients']} patients of {data['name']}: {data['image']}."


def _networks(report: dict[str, Any]) -> str:
    rows = []
    for name, key in (("What it is", "what"), ("Architecture", "architecture"), ("Patients", "patients")):
        rows.append((name, report["a"][key], report["b"][key]))
    shown = (f"{report[which]['shown']}, {report[which]['side']} pixels" for which in ("a", "b"))
    rows.insert(2, ("Is shown", *shown))
    return table(("", named(report, "a"), named(report, "b")), rows, wrapped=True)


def _classes(report: dict[str, Any], row: dict[str, Any], png: bytes) -> list[str]:
    parts = [picture(png, f"t-SNE by {row['name']}")]
    if row["reason"]:
        return [*parts, f"<p class='soft'>No figures: {escape(row['reason'])}.</p>"]
    counted = ", ".join(f"{name} ({count})" for name, count in list(row["counts"].items())[:12])
    more = f" and {len(row['counts']) - 12} rarer values" if len(row["counts"]) > 12 else ""
    unknown = f"; {row['unknown']} without a value, gray, not counted" if row["unknown"] else ""
    parts.append(f"<p class='soft'>{escape(counted + more + unknown)}.</p>")
    heads = ["", "Nearest neighbor of the same class"]
    keys = ["nearest"]
    if row["unseen"] is not None:
        heads.append(f"The same of the {row['unseen']} cases whose patients neither network has seen")
        keys.append("nearest_of_unseen")
    heads += ["The same in the t-SNE", "Correlation of the t-SNE's coordinates", "95 % by chance below"]
    keys.append("nearest_in_tsne")
    rows = []
    for space, name in zip(SPACES, ("pixels", named(report, "a"), named(report, "b")), strict=True):
        figures = row["spaces"][space]
        pairs = (figures.get(key) for key in ("correlation", "correlation_by_chance"))
        texts = ("-" if pair is None else ", ".join(f"{value:.2f}" for value in pair) for pair in pairs)
        rows.append((name, *(cell(figures.get(key)) for key in keys), *texts))
    shares = [f"{row['majority']:.3f}"] + ([f"{row['majority_of_unseen']:.3f}"] if row["unseen"] is not None else [])
    rows.append(("the most frequent class", *shares, f"{row['majority']:.3f}", "", ""))
    return [*parts, table(heads, rows)]


def _maps(report: dict[str, Any], pictures: dict[str, bytes]) -> list[str]:
    maps = report["maps"]
    if maps["reason"]:
        return [f"<p>Left out: {escape(maps['reason'])}.</p>"]
    share, chance = maps["share"], maps["by_independent_places"]
    rows = [
        (f"IoU of the highest {share:.0%} of the two maps of a case", cell(maps["iou"])),
        ("the same of maps of different patients' cases", cell(maps["iou_of_different_patients"])),
        ("difference", cell(maps["difference"])),
        (f"two areas of {share:.0%} that know nothing of each other", f"{chance:.3f}"),
    ]
    flat = f"; {maps['flat']} are left out, as one of their maps is flat" if maps["flat"] else ""
    parts = [f"<p class='soft'>{escape(maps['kind'])}, mean over {maps['cases']} cases{flat}.</p>"]
    if "maps.png" in pictures:
        parts.append(picture(pictures["maps.png"], "maps of both networks"))
    return [*parts, table((), rows)]


def format_comparison(report: dict[str, Any]) -> str:
    """The main figures as text."""
    data, cka = report["data"], report["cka"]
    lines = [f"{data['cases']} cases of {data['patients']} patients, {data['image']}"]
    for which in ("a", "b"):
        lines.append(f"{named(report, which)}: {report[which]['what']}. {report[which]['patients']}")
    if cka["diagonal"] is not None:
        lines += ["", "CKA of the same layers"]
        lines += [
            f"  {name:<16} {'-' if value is None else format(value, '.3f')}"
            for name, value in zip(cka["layers_a"], cka["diagonal"], strict=True)
        ]
    for row in report["classes"]:
        if row["reason"]:
            lines += ["", f"No figures by {row['name']}: {row['reason']}."]
            continue
        lines += ["", f"Nearest neighbor among other patients is of the same {row['name']}"]
        for space, name in zip(SPACES, ("pixels", named(report, "a"), named(report, "b")), strict=True):
            lines.append(f"  {name:<34} {cell(row['spaces'][space].get('nearest'))}")
        lines.append(f"  {'the most frequent class':<34} {row['majority']:.3f}")
    maps = report["maps"]
    if maps["reason"]:
        lines += ["", f"No maps: {maps['reason']}."]
    else:
        lines += ["", f"IoU of the maps ({maps['kind']}): {cell(maps['iou'])}"]
        lines.append(f"  of different patients' cases: {cell(maps['iou_of_different_patients'])}")
    return "\n".join([*lines, "", DISCLAIMER])
