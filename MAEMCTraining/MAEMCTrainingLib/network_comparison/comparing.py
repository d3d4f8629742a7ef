"""Two networks on the same cases: which layers agree, what tells the classes apart, where they look.

The analysis of Wolf et al. 2024 (arXiv:2410.14524), by one command for "pre-trained and fine-tuned", "all slices and
reduced" and "trained and random".
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from MAEMCLib.errors import InputError, UsageError

from ..classifiers.cases import PICTURE
from ..data.cohort import Cohort, join
from ..data.sources import Source
from ..engine.rng import generator
from .cka import FEWEST_CASES, minibatch_cka
from .colorings import Coloring, check_columns, colorings_of
from .compared_maps import compare_maps, place_maps_of, reason_against_maps
from .compared_network import Answers, ComparedNetwork, open_networks
from .embedding import class_figures, majority_share, perplexity_for, tsne
from .figures import SPACES
from .layers import layer_grams, layer_names
from .page import write_comparison

SCHEMA = 1
MINIBATCH = 64
_SEED = 20255
Progress = Callable[[str, int, int], None]


def compare_networks(
    networks: tuple[str, str],
    data: Path,
    output: Path,
    home: Path,
    device: torch.device,
    columns: Sequence[str],
    cases: int,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Compare and write comparison.json, comparison.html and the figures to the folder ``output``; what the first
    holds. Nothing but a cache of the data is written before everything is computed.

    networks: as ``open_networks`` takes them. cases: how many are drawn at most; each by one image: the axial montage
    of a nodule (the coronal one where a network reads no other), the middle picture of several.

    Raises what ``open_networks`` and ``check_columns`` raise; InputError: data of another kind or slice step than the
    networks', fewer than 4 cases.
    """
    if cases < FEWEST_CASES:
        raise UsageError(f"--cases is {cases}; the comparison needs at least {FEWEST_CASES}.", "cases")
    pair = open_networks(*networks)
    source = Source(data)
    _check_kind(pair[0], source)
    check_columns(source, columns)
    cache = source.open(output / "caches", home, lambda done, total: progress("Cutting", done, total))
    everyone = cohort = join([cache])
    if len(cohort) > cases:
        cohort = cohort.subset(np.sort(generator(_SEED, "cases").permutation(len(cohort))[:cases]))
    _check_cases(pair, cohort)
    colorings = colorings_of(cohort, columns)
    reason = reason_against_maps(pair)
    plane = next(plane for plane in pair[0].planes if plane in pair[1].planes)
    answers = [_answers(network, plane, cohort, device, not reason, progress) for network in pair]
    one, two = answers
    spaces = dict(zip(SPACES, (one.pixels, one.features, two.features), strict=True))
    embedded = _embedded(spaces, progress)
    report = {
        "schema": SCHEMA,
        "a": _facts(pair[0], cohort),
        "b": _facts(pair[1], cohort),
        "data": {
            "name": "a cache" if data.is_dir() else "a manifest",
            "cases": len(cohort),
            "of_cases": len(everyone),
            "patients": len(np.unique(cohort.patients)),
            "image": "the middle picture of each case" if plane == PICTURE else f"the {plane} plane of each nodule",
            "left_out": [item["row"] for item in cache.left_out],
        },
        "cka": _cka(pair, answers),
        "classes": _classes(pair, cohort, colorings, spaces, embedded, progress),
        "perplexity": perplexity_for(len(cohort)),
        "same": [space for space, places in embedded.items() if places is None],
    }
    report["maps"], examples = {"reason": reason}, None
    if not reason:
        report["maps"], examples = compare_maps(pair, answers, cohort.patients)
    progress("Drawing", 0, 0)
    write_comparison(output, report, colorings, embedded, examples)
    return report


def _check_kind(network: ComparedNetwork, source: Source) -> None:
    if source.kind is not network.kind:
        ours, theirs = source.kind.title, network.kind.title
        raise InputError(f"{source.path} holds {ours}, but the networks look at {theirs}. Give such data.", "kind")


def _check_cases(networks: Sequence[ComparedNetwork], cohort: Cohort) -> None:
    if len(cohort) < FEWEST_CASES:
        raise InputError(
            f"The data hold {len(cohort)} cases, and the comparison needs at least {FEWEST_CASES}. Add some.",
            "too-few-cases",
        )
    for network in networks:
        wanted = getattr(network.preprocessing, "slice_step_mm", None)
        if wanted is not None and wanted != cohort.settings.slice_step_mm:
            raise InputError(
                f"The slices of {network.name} are {wanted:g} mm apart, these are {cohort.settings.slice_step_mm} mm "
                f"apart. Build a cache with --slice-step {wanted:g} and give that.",
                "slice-step",
            )


def _answers(
    network: ComparedNetwork, plane: str, cohort: Cohort, device: torch.device, mapped: bool, progress: Progress
) -> Answers:
    """Show the cases to a network at its own side and normalized as it is used to, a minibatch at a time, each drawn
    from all cases."""
    presentation = cohort.present(network.augmentation, network.preprocessing, network.side).upright()
    order, done = generator(_SEED, "minibatches").permutation(len(cohort)), 0
    pixels, features, grams, maps = [], [], [], []
    network.module.to(device)
    for batch in np.array_split(order, -(-len(order) // MINIBATCH)):
        progress("Showing", done, len(cohort))
        plain = [presentation.plain(int(case)) for case in batch]
        middle = len(presentation.planes) == 1  # of several pictures of a case
        images = np.stack([p[len(p) // 2 if middle else presentation.planes.index(plane)] for p in plain])
        tensor = torch.from_numpy(images)[:, None].to(device)
        of_layers, of_all = layer_grams(network.encoder, tensor)
        pixels.append(images.reshape(len(images), -1))
        features.append(of_all)
        grams.append(of_layers)
        if mapped:
            maps.append(place_maps_of(network, tensor))
        done += len(batch)
    progress("Showing", done, len(cohort))
    back = np.argsort(order)
    in_order = [np.concatenate(parts)[back] if parts else None for parts in (pixels, features, maps)]
    return Answers(in_order[0], in_order[1], grams, in_order[2])


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


def _cka(networks: Sequence[ComparedNetwork], answers: Sequence[Answers]) -> dict[str, Any]:
    names = [layer_names(network.encoder) for network in networks]
    values = minibatch_cka(zip(*(one.grams for one in answers), strict=True))
    table = [[None if np.isnan(value) else float(value) for value in row] for row in values]
    return {
        "layers_a": names[0],
        "layers_b": names[1],
        "values": table,
        "diagonal": [table[place][place] for place in range(len(table))] if names[0] == names[1] else None,
        "minibatches": len(answers[0].grams),
    }


def _classes(
    networks: Sequence[ComparedNetwork],
    cohort: Cohort,
    colorings: Sequence[Coloring],
    spaces: dict[str, np.ndarray],
    embedded: dict[str, np.ndarray | None],
    progress: Progress,
) -> list[dict[str, Any]]:
    """For each coloring its counts, and the figures of each space or the reason why there are none."""
    # Cases of patients that neither network learned from; None where that cannot be known.
    seen = [None if network.unknown else network.seen(cohort) for network in networks]
    unseen = None if any(part is None for part in seen) else ~(seen[0] | seen[1])
    rows = []
    for coloring in colorings:
        row: dict[str, Any] = {"name": coloring.name, "counts": coloring.counts}
        known = coloring.known
        row |= {"unknown": int((~known).sum()), "reason": coloring.reason_against(cohort.patients), "spaces": {}}
        rows.append(row)
        if row["reason"]:
            continue
        part = None if unseen is None else unseen[known]
        if part is not None and not 0 < part.sum() < len(part):
            part = None
        row["majority"] = majority_share(coloring.numbers)
        row["unseen"] = None if part is None else int(part.sum())
        row["majority_of_unseen"] = None if part is None else majority_share(coloring.numbers[part])
        for space, values in spaces.items():
            progress(f"Neighbors by {coloring.name}", 0, 0)
            places = embedded[space]  # None where all cases are the same: nobody is nearer than the others
            row["spaces"][space] = (
                {}
                if places is None
                else class_figures(values[known], places[known], coloring.numbers, cohort.patients[known], part)
            )
    return rows


def _embedded(spaces: dict[str, np.ndarray], progress: Progress) -> dict[str, np.ndarray | None]:
    """The t-SNE (cases, 2) of each space; None where all cases are the same."""
    embedded = {}
    for space, values in spaces.items():
        progress(f"t-SNE {len(embedded) + 1} of {len(spaces)}", 0, 0)
        embedded[space] = tsne(values)
    return embedded
