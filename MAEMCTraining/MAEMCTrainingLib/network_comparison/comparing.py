"""Two networks on the same cases: which layers agree, what tells the classes apart, where they look.

The analysis of Wolf et al. 2024 (arXiv:2410.14524), by one command for "pre-trained and fine-tuned", "all slices and
reduced" and "trained and random".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from MAEMCLib.errors import InputError, UsageError

from ..data.cohort import Cohort, join
from ..data.sources import Source
from ..engine.rng import generator
from .cka import FEWEST_CASES, MinibatchCKA
from .colorings import Coloring, check_columns, colorings_of
from .compared_maps import enlarged, kind_of_map, place_maps_of, reason_against_maps
from .compared_network import ComparedNetwork, open_networks
from .embedding import class_figures, majority_share, perplexity_for, tsne
from .figures import SPACES, Drawn, MapExamples
from .layers import layer_grams, layer_names
from .map_overlap import SHARE, highest_part, overlap_figures
from .page import write_comparison

SCHEMA = 1
MINIBATCH = 64
EXAMPLES = 5
_SEED = 20255
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Seen:
    """What both networks make of the cases, in order.

    pixels: (cases, S * S) float32, as the first network is shown them. features: of each network (cases, width).
    cka: (layers of the first, layers of the second). maps: of each network (cases, g, g), or None.
    """

    pixels: np.ndarray
    features: tuple[np.ndarray, np.ndarray]
    cka: np.ndarray
    maps: tuple[np.ndarray, np.ndarray] | None


def compare_networks(
    first: str,
    second: str,
    data: Path,
    output: Path,
    home: Path,
    device: torch.device,
    columns: Sequence[str],
    cases: int,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Compare and write comparison.json, comparison.html and the pictures to the folder ``output``; what the first
    holds. Nothing but a cache of the data is written before everything is computed.

    first, second: as ``open_networks`` takes them. cases: how many are drawn at most; each by one image: the axial
    montage of a nodule (the coronal one where a network reads no other), the middle picture of several.

    Raises what ``open_networks`` and ``check_columns`` raise; InputError: data of another kind or slice step than the
    networks', fewer than 4 cases.
    """
    if cases < FEWEST_CASES:
        raise UsageError(f"--cases is {cases}; the comparison needs at least {FEWEST_CASES}.", "cases")
    networks = open_networks(first, second)
    source = Source(data)
    _check_kind(networks[0], source)
    check_columns(source, columns)
    cache = source.open(output / "caches", home, lambda done, total: progress("Cutting", done, total))
    everyone = join([cache])
    cohort = _drawn(everyone, cases)
    _check_cases(networks, cohort)
    colorings = colorings_of(cohort, columns)
    reason = reason_against_maps(networks)
    seen = _look(networks, cohort, device, not reason, progress)
    planes = {}
    for space, values in zip(SPACES, (seen.pixels, *seen.features), strict=True):
        progress(f"t-SNE {len(planes) + 1} of {len(SPACES)}", 0, 0)
        planes[space] = tsne(values)
    report = {
        "schema": SCHEMA,
        "a": _facts(networks[0], cohort),
        "b": _facts(networks[1], cohort),
        "data": {
            "name": "a cache" if data.is_dir() else "a manifest",
            "cases": len(cohort),
            "of_cases": len(everyone),
            "patients": len(np.unique(cohort.patients)),
            "image": _image(networks),
            "left_out": [item["row"] for item in cache.left_out],
        },
        "cka": _cka(networks, seen.cka, len(cohort)),
        "classes": _classes(networks, cohort, colorings, seen, planes, progress),
        "perplexity": perplexity_for(len(cohort)),
        "same": [space for space, plane in planes.items() if plane is None],
    }
    report["maps"], examples = {"reason": reason}, None
    if seen.maps is not None:
        report["maps"], examples = _maps(networks, seen.maps, cohort.patients)
    progress("Drawing", 0, 0)
    write_comparison(output, report, Drawn(colorings, planes, seen.pixels, examples))
    return report


def _check_kind(network: ComparedNetwork, source: Source) -> None:
    if network.flat != (flat := source.kind.name == "picture"):
        ours, theirs = (("nodules in CT", "2-D pictures")[kind] for kind in (flat, network.flat))
        raise InputError(f"{source.path} holds {ours}, but the networks look at {theirs}. Give such data.", "kind")


def _check_cases(networks: Sequence[ComparedNetwork], cohort: Cohort) -> None:
    if len(cohort) < FEWEST_CASES:
        raise InputError(
            f"The data hold {len(cohort)} cases, and the comparison needs at least {FEWEST_CASES}. Add some.",
            "too-few-cases",
        )
    for network in networks:
        if not network.flat and network.preprocessing.slice_step_mm != cohort.settings.slice_step_mm:
            wanted, step = network.preprocessing.slice_step_mm, cohort.settings.slice_step_mm
            raise InputError(
                f"The slices of {network.name} are {wanted:g} mm apart, these are {step} mm apart. "
                f"Build a cache with --slice-step {wanted:g} and give that.",
                "slice-step",
            )


def _drawn(cohort: Cohort, cases: int) -> Cohort:
    if len(cohort) <= cases:
        return cohort
    return cohort.subset(np.sort(generator(_SEED, "cases").permutation(len(cohort))[:cases]))


def _plane(networks: Sequence[ComparedNetwork]) -> str:
    return next(plane for plane in networks[0].planes if plane in networks[1].planes)


def _image(networks: Sequence[ComparedNetwork]) -> str:
    return "the middle picture of each case" if networks[0].flat else f"the {_plane(networks)} plane of each nodule"


def _look(
    networks: Sequence[ComparedNetwork], cohort: Cohort, device: torch.device, mapped: bool, progress: Progress
) -> Seen:
    """Show the cases to both networks, a minibatch at a time, each drawn from all cases."""
    order = generator(_SEED, "minibatches").permutation(len(cohort))
    agreement = MinibatchCKA()
    pixels, features, maps, done = [], ([], []), ([], []), 0
    for network in networks:
        network.module.to(device)
    for batch in np.array_split(order, -(-len(order) // MINIBATCH)):
        progress("Showing", done, len(cohort))
        grams = []
        for place, (network, images) in enumerate(zip(networks, _images(networks, cohort, batch), strict=True)):
            if place == 0:
                pixels.append(images.reshape(len(images), -1))
            tensor = torch.from_numpy(images)[:, None].to(device)
            of_layers, of_all = layer_grams(network.encoder, tensor)
            grams.append(of_layers)
            features[place].append(of_all)
            if mapped:
                maps[place].append(place_maps_of(network, tensor))
        agreement.add(*grams)
        done += len(batch)
    progress("Showing", done, len(cohort))
    back = np.argsort(order)
    return Seen(
        np.concatenate(pixels)[back],
        tuple(np.concatenate(parts)[back] for parts in features),
        agreement.values(),
        tuple(np.concatenate(parts)[back] for parts in maps) if mapped else None,
    )


def _images(networks: Sequence[ComparedNetwork], cohort: Cohort, cases: np.ndarray) -> Iterator[np.ndarray]:
    """(cases, S, S) float32 for each network, at its own side and normalized as it is used to."""
    for network in networks:
        upright = replace(network.preprocessing, angles=1) if network.flat else network.preprocessing
        presentation = cohort.present(network.augmentation, upright, network.side)
        plane = None if network.flat else presentation.planes.index(_plane(networks))
        plain = (presentation.plain(int(case)) for case in cases)
        yield np.stack([images[len(images) // 2 if plane is None else plane] for images in plain])


def _facts(network: ComparedNetwork, cohort: Cohort) -> dict[str, Any]:
    seen = network.seen(cohort)
    patients = len(np.unique(cohort.patients))
    known = None if seen is None else len(np.unique(cohort.patients[seen]))
    if seen is None:
        text = "Its pseudonyms were made with another key (MAEMC_HOME): whether it was trained on these patients "
        text += "cannot be known."
    elif not network.trained_on and not network.unknown:
        text = "It was trained on no patient."
    else:
        text = f"It was trained on {known} of the {patients} patients shown."
        if network.unknown:
            text = f"{network.unknown} " + (f"At least {known} of the {patients} shown were." if known else "")
    return {
        "name": network.name,
        "what": network.what,
        "architecture": network.architecture,
        "side": network.side,
        "shown": network.shown,
        "patients_seen": known,
        "patients_unknown": bool(network.unknown) or seen is None,
        "patients": text.strip(),
    }


def _cka(networks: Sequence[ComparedNetwork], values: np.ndarray, cases: int) -> dict[str, Any]:
    names = [layer_names(network.encoder) for network in networks]
    table = [[None if np.isnan(value) else float(value) for value in row] for row in values]
    return {
        "layers_a": names[0],
        "layers_b": names[1],
        "values": table,
        "diagonal": [table[place][place] for place in range(len(table))] if names[0] == names[1] else None,
        "minibatches": -(-cases // MINIBATCH),
    }


def _classes(
    networks: Sequence[ComparedNetwork],
    cohort: Cohort,
    colorings: Sequence[Coloring],
    seen: Seen,
    planes: dict[str, np.ndarray | None],
    progress: Progress,
) -> list[dict[str, Any]]:
    """For each coloring its counts, and the figures of each space or the reason why there are none."""
    unseen, found = _unseen(networks, cohort), []
    for coloring in colorings:
        row: dict[str, Any] = {"name": coloring.name, "counts": coloring.counts}
        known = coloring.known
        row |= {"unknown": int((~known).sum()), "reason": coloring.reason_against(cohort.patients), "spaces": {}}
        if not row["reason"]:
            part = None if unseen is None else unseen[known]
            part = part if part is not None and 0 < part.sum() < len(part) else None
            row["majority"] = majority_share(coloring.numbers)
            row["unseen"] = None if part is None else int(part.sum())
            row["majority_of_unseen"] = None if part is None else majority_share(coloring.numbers[part])
            for space, values in zip(SPACES, (seen.pixels, *seen.features), strict=True):
                progress(f"Neighbors by {coloring.name}", 0, 0)
                if planes[space] is None:  # all cases are the same: nobody is nearer than the others
                    row["spaces"][space] = {}
                    continue
                row["spaces"][space] = class_figures(
                    values[known], planes[space][known], coloring.numbers, cohort.patients[known], part
                )
        found.append(row)
    return found


def _unseen(networks: Sequence[ComparedNetwork], cohort: Cohort) -> np.ndarray | None:
    """(cases,) bool: of patients that neither network learned from; None where that cannot be known."""
    parts = [None if network.unknown else network.seen(cohort) for network in networks]
    return None if any(part is None for part in parts) else ~(parts[0] | parts[1])


def _maps(
    networks: Sequence[ComparedNetwork], grids: tuple[np.ndarray, np.ndarray], patients: np.ndarray
) -> tuple[dict[str, Any], MapExamples | None]:
    """The overlap of the maps at the larger network's side, and a few cases of it to be drawn."""
    side = max(network.side for network in networks)
    maps = [enlarged(network, values, side) for network, values in zip(networks, grids, strict=True)]
    parts = [highest_part(values) for values in maps]
    report = {
        "reason": "",
        "kind": kind_of_map(networks[0]),
        "share": SHARE,
        "grids": [values.shape[-1] for values in grids],
        **overlap_figures(*parts, patients),
    }
    usable = np.flatnonzero(parts[0].any(axis=(1, 2)) & parts[1].any(axis=(1, 2)))
    if not len(usable):
        return report, None
    chosen = usable[np.unique(np.linspace(0, len(usable) - 1, EXAMPLES).round().astype(int))]
    return report, MapExamples(chosen, tuple(m[chosen] for m in maps), tuple(p[chosen] for p in parts))
