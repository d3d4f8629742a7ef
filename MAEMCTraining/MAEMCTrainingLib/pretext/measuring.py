"""How well a pre-training does its own task on patients that it has never seen.

Masked pixels are set beside what fills them without learning, the contrast beside chance, and all of it beside the
network of the same configuration before its first step.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import make_folder, replacing, write_json
from MAEMCLib.inputs.nodule import Preprocessing, from_montage, to_montage
from MAEMCLib.inputs.region import SIDE
from MAEMCLib.networks.configuration import TILES
from MAEMCLib.networks.vit import unpatchify
from torch import nn

from ..data.cohort import Cohort
from ..data.kinds.montage_views import View, montage_pair
from ..data.kinds.nodule import KIND as NODULE
from ..engine.rng import generator
from ..pretraining.preview import masked_pixels, montage_figure, save_png
from ..pretraining.run import PretrainedJob, build_method
from ..statistics.intervals import two_class_samples, with_interval
from .contrast import fill_queue, own_key_first, queries_and_keys, queue_losses
from .filling import FILLINGS, INTERPOLATION
from .gray_levels import gray_level_errors, gray_levels, peak_signal_to_noise
from .report import EVERYWHERE, NETWORK, PLANES, TRAINING_MEAN, UNTRAINED, notes, targets

MASKS = 4
"""Masks drawn for each case."""
_SEED = 20253
_CHUNK = 16
_IMAGES = 3


def evaluate_pretext(
    pretrained: PretrainedJob,
    cohort: Cohort,
    output: Path,
    device: torch.device,
    training: Cohort | None = None,
) -> dict[str, Any]:
    """Write pretext.json and pretext.png to the folder ``output``, and return what the former holds.

    cohort: any cases; those of patients that the pre-training saw are left out and counted. training: cases of the
    pre-training; of them come the mean of each position and the keys for the network before training, and without
    them these rows are left out, with the reason.

    The plain centered view of each region is taken, for both planes, with ``MASKS`` masks a case, the same for every
    row. Raises InputError: a method that reconstructs nothing, slices that were not observed, pseudonyms of another
    key, another slice step, no patient left, a place that cannot be written.
    """
    run, preprocessing = pretrained.run, pretrained.preprocessing
    _check_method(pretrained, cohort)
    held_out, seen = _held_out(pretrained, cohort)
    known = None if training is None else _known(pretrained, training)
    pairs = _pairs(held_out, preprocessing)
    noise = np.array([_noise(case, pretrained.module.mask_cells) for case in range(len(held_out))])
    untrained = build_method(run)
    networks = {NETWORK: pretrained.module.to(device).eval(), UNTRAINED: untrained.to(device).eval()}
    mean_pair = _pairs(known, preprocessing).mean(axis=0, dtype=np.float64) if known else None
    errors = masked_pixel_errors(networks, pairs, noise, mean_pair)
    weights = two_class_samples(np.zeros(len(held_out)), held_out.patients)
    report: dict[str, Any] = {
        "pretraining": pretrained.folder.name,
        "method": run.method,
        "cases": len(held_out),
        "patients": len(np.unique(held_out.patients)),
        "left_out_as_seen": seen,
        "masks_per_case": MASKS,
        "training_cases": [len(known) if known else 0, pretrained.cohort["cases"]],
        "hidden_pixel_mse": {
            plane: {row: _metric(weights, values) for row, values in rows.items()} for plane, rows in errors.items()
        },
        "network_over": {
            plane: {row: _metric(weights, rows[NETWORK], rows[row]) for row in rows if row not in (NETWORK, EVERYWHERE)}
            for plane, rows in errors.items()
        },
    }
    report["gray_levels"] = _gray_levels(networks, pairs, noise[:, :1], mean_pair, preprocessing, weights)
    if pretrained.module.CONTRASTS_PLANES:
        if known:
            fill_queue(untrained, pretrained, known, device)
        report["contrast"] = {
            name: _contrast(module, pairs, noise, held_out.patients, weights, device)
            for name, module in networks.items()
        }
    report["targets"] = targets(report)
    report["unavailable"] = {} if known else {TRAINING_MEAN: "the pre-training's own cases were not given"}
    report["notes"] = notes(report)
    make_folder(output)
    with replacing(output / "pretext.png") as temporary:
        save_png(_figure(pretrained, pairs, noise), temporary)
    write_json(output / "pretext.json", report)
    return report


def _check_method(pretrained: PretrainedJob, cohort: Cohort) -> None:
    run = pretrained.run
    if pretrained.module.reconstruct is None:
        raise InputError(f"The method {run.method} reconstructs nothing, so there is no pretext to evaluate.", "method")
    if not pretrained.kind is cohort.kind is NODULE or run.encoder.image_size != SIDE * TILES:
        raise InputError(
            "The pretext is evaluated on montages of 250 pixels, whose neighboring slices give its baselines; this "
            "pre-training learned from other images.",
            "method",
        )


def _held_out(pretrained: PretrainedJob, cohort: Cohort) -> tuple[Cohort, int]:
    """The cases of patients that the pre-training did not see, and how many others there are."""
    seen = _seen(pretrained, cohort, "whether it has seen these patients")
    if pretrained.preprocessing.slice_step_mm != cohort.settings.slice_step_mm:
        raise InputError(
            f"The pre-training's slices are {pretrained.preprocessing.slice_step_mm:g} mm apart, these are "
            f"{cohort.settings.slice_step_mm} mm apart. Build the cache with the same --slice-step.",
            "slice-step",
        )
    if seen.all():
        raise InputError(
            f"The pre-training has seen every patient of these {len(cohort)} cases, so there is none to evaluate on. "
            "Give data of other patients.",
            "no-held-out",
        )
    return cohort.subset(np.flatnonzero(~seen)), int(seen.sum())


def _known(pretrained: PretrainedJob, training: Cohort) -> Cohort | None:
    """The cases of ``training`` that the pre-training saw; None where there are none."""
    members = np.flatnonzero(_seen(pretrained, training, "which of the training cases it has seen"))
    return training.subset(members) if len(members) else None


def _seen(pretrained: PretrainedJob, cohort: Cohort, question: str) -> np.ndarray:
    """(cases,) bool: whether the pre-training saw the patient. Raises InputError where the ``question`` is open."""
    if pretrained.cohort["pseudonym_key"] != cohort.pseudonym_key:
        raise InputError(
            f"The pre-training's pseudonyms were made with another key, so nobody can tell {question}. "
            "Build the cache with the MAEMC_HOME that the pre-training had.",
            "pseudonym-key",
        )
    patients = set(pretrained.cohort["pseudonyms"])
    return np.array([case.patient in patients for case in cohort.cases])


def _noise(case: int, cells: int) -> list[np.ndarray]:
    """``MASKS`` times (2, cells) float32: what decides the masks of one case, in both planes."""
    return [generator(_SEED, "pretext", mask, case).random((2, cells), dtype=np.float32) for mask in range(MASKS)]


def _pairs(cohort: Cohort, preprocessing: Preprocessing) -> np.ndarray:
    """(cases, 2, 250, 250) the plain views, as network input. Raises InputError where a network that leaves out what
    was not observed has nothing to reconstruct there."""
    parts = [case for case in cohort.cases if not all(case.facts.slices(plane).all() for plane in (0, 1))]
    if preprocessing.skip_unobserved and parts:
        raise InputError(
            f"{len(parts)} of {len(cohort)} regions lack slices that this network leaves out, so that their "
            "reconstruction cannot be compared with others. Give cases of whole CTs, such as lidc-cubes.",
            "slices-missing",
        )
    return np.stack([montage_pair(cohort.array(case), View(), preprocessing)[0] for case in range(len(cohort))])


@torch.no_grad()
def masked_pixel_errors(
    networks: dict[str, nn.Module], pairs: np.ndarray, noise: np.ndarray, mean_pair: np.ndarray | None
) -> dict[str, dict[str, np.ndarray]]:
    """{plane: {row: (cases,)}}, the mean squared error on the masked pixels of each case, over all its masks.

    pairs: (cases, 2, 250, 250) network input; noise: (cases, masks, 2, N). Axial goes through the encoder, coronal
    through the momentum encoder where the method has one, both through its decoder. What is masked comes from the
    first network and is the same for all rows; its row ``EVERYWHERE`` also counts the visible pixels, as predicted.
    """
    errors: dict[str, dict[str, np.ndarray]] = {name: defaultdict(lambda: np.zeros(len(pairs))) for name in PLANES}
    first = next(iter(networks))
    for name, part, target, masked, filled in _filled(networks, pairs, noise, mean_pair):
        for row, values in filled.items():
            errors[name][row][part] += _mean_square(values - target, masked)
        errors[name][EVERYWHERE][part] += _mean_square(filled[first] - target, np.ones_like(masked))
    return {name: {row: total / noise.shape[1] for row, total in sums.items()} for name, sums in errors.items()}


def _filled(
    networks: dict[str, nn.Module], pairs: np.ndarray, noise: np.ndarray, mean_pair: np.ndarray | None
) -> Iterator[tuple[str, slice, np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
    """For each plane, mask and a few cases: the plane's name, which cases, and as stacks (B, 25, 50, 50) the target,
    what was masked, and what each row puts in its place. What is masked comes from the first network."""
    first = next(iter(networks))
    device = next(networks[first].parameters()).device
    for plane, name in enumerate(PLANES):
        for mask in range(noise.shape[1]):
            for start in range(0, len(pairs), _CHUNK):
                part = slice(start, start + _CHUNK)
                images = torch.from_numpy(pairs[part, plane]).to(device)[:, None]
                draws = torch.from_numpy(noise[part, mask, plane]).to(device)
                found = {row: module.reconstruct(images, draws, name) for row, module in networks.items()}
                masked = from_montage(masked_pixels(*found[first]))
                target = from_montage(pairs[part, plane])
                filled = {row: from_montage(_montages(prediction)) for row, (prediction, _) in found.items()}
                filled |= {} if mean_pair is None else {TRAINING_MEAN: from_montage(mean_pair[plane])}
                filled |= {row: fill(target, ~masked) for row, fill in FILLINGS.items()}
                yield name, part, target, masked, filled


@torch.no_grad()
def _gray_levels(
    networks: dict[str, nn.Module],
    pairs: np.ndarray,
    noise: np.ndarray,
    mean_pair: np.ndarray | None,
    preprocessing: Preprocessing,
    weights: np.ndarray,
) -> dict[str, Any]:
    """{plane: {row: {pixels: {measure: metric}}}} of ``gray_level_errors``; of one mask a case."""
    values: dict[tuple[str, str, str, str], np.ndarray] = defaultdict(lambda: np.zeros(len(pairs)))
    for name, part, target, masked, filled in _filled(networks, pairs, noise, mean_pair):
        levels = gray_levels(target, preprocessing)
        for row, stacks in filled.items():
            found = gray_level_errors(levels, gray_levels(np.broadcast_to(stacks, target.shape), preprocessing), masked)
            for pixels, measures in found.items():
                for measure, figures in measures.items():
                    values[name, row, pixels, measure][part] = figures
    report: dict[str, Any] = {}
    for (name, row, pixels, measure), figures in values.items():
        place = report.setdefault(name, {}).setdefault(row, {}).setdefault(pixels, {})
        place[measure] = _metric(weights, figures)
        if measure == "mse":
            peak = float(peak_signal_to_noise(figures.mean()))
            place["psnr_of_mean_mse"] = peak if math.isfinite(peak) else None
    return report


def _montages(prediction: torch.Tensor) -> np.ndarray:
    return unpatchify(prediction.float())[:, 0].cpu().numpy()


def _mean_square(difference: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """(cases,) over the counted pixels of each."""
    axes = (1, 2, 3)
    return np.square(difference).sum(axis=axes, where=counted, dtype=np.float64) / counted.sum(axis=axes)


def _contrast(
    module: nn.Module,
    pairs: np.ndarray,
    noise: np.ndarray,
    patients: np.ndarray,
    weights: np.ndarray,
    device: torch.device,
) -> dict[str, Any]:
    """InfoNCE against the stored keys, and how often the own coronal key is found first among those of all patients.

    "masked" as in training, the mean over the masks; "unmasked" with every patch visible, as in scoring.
    """
    negatives = int(module.queue.filled)
    chance = math.log(1 + negatives)
    one_each = np.unique(patients, return_index=True)[1]  # keys of different patients: their first cases
    ways = {"masked": [noise[:, mask] for mask in range(noise.shape[1])]}
    if module.flattening.kind != "flatten":  # which is tied to one number of patches
        ways["unmasked"] = [None]
    found: dict[str, Any] = {"negatives": negatives, "queue": module.queue.size, "chance_info_nce": chance}
    for way, masks in ways.items():
        both = [queries_and_keys(module, pairs, mask, device) for mask in masks]
        found[way] = {}
        if negatives:
            loss = np.mean([queue_losses(module, *vectors) for vectors in both], axis=0)
            found[way]["info_nce"] = _metric(weights, loss)
            found[way]["info_nce_over_chance"] = _metric(weights, loss / chance)
        if len(one_each) > 1:
            first = np.mean([own_key_first(queries[one_each], keys[one_each]) for queries, keys in both], axis=0)
            found[way]["own_key_first"] = _metric(weights[:, one_each], first)
            found[way]["times_chance"] = _metric(weights[:, one_each], first * len(one_each))
    return found


def _metric(weights: np.ndarray, values: np.ndarray, over: np.ndarray | None = None) -> dict[str, Any]:
    """The mean over cases, or the ratio of two means, with its interval. weights: all cases, then each bootstrap's."""
    below = weights @ (np.ones(len(values)) if over is None else over)
    return asdict(with_interval((weights @ values) / below, len(values)))


@torch.no_grad()
def _figure(pretrained: PretrainedJob, pairs: np.ndarray, noise: np.ndarray) -> Any:
    """Target, masked, network, interpolation of the axial plane of a few cases, each with its first mask."""
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(_IMAGES, len(pairs))).round().astype(int))
    network = {NETWORK: pretrained.module}
    _, _, targets, masked, filled = next(_filled(network, pairs[chosen], noise[chosen, :1], None))
    reconstructed = np.where(masked, filled[NETWORK], targets)
    parts = map(to_montage, (targets, masked, reconstructed, filled[INTERPOLATION]))
    rows = [
        [(target, None), (target, covered), (network, None), (line, None)]
        for target, covered, network, line in zip(*parts, strict=True)
    ]
    return montage_figure(
        rows,
        ["target", "masked", NETWORK, INTERPOLATION],
        [f"held-out case {number + 1}" for number in chosen],
        pretrained.preprocessing,
        "Axial montages; visible pixels as they are. Research only, not for clinical use.",
    )
