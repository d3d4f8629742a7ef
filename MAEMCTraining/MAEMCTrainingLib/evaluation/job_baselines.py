"""What a job's model is set beside: baselines in the same folds, and how far its own cases lie from what it knows."""

from __future__ import annotations

import numpy as np
from MAEMCLib.models.ood import PERCENTILES, branch_distances, case_distance
from MAEMCLib.networks.encoders import build_encoder

from ..classifiers.fold_model import FoldTraining, features, fold_folder, fold_result, load_fold, trained_branches
from ..classifiers.starting_point import SCRATCH
from ..data.kinds.nodule import KIND as NODULE
from ..data.kinds.picture import KIND as PICTURE
from ..engine.checkpoints import read_tensors
from ..statistics.logistic import FEATURE_PENALTY
from ..statistics.operating_points import FEWEST_CASES
from .baselines import (
    FROZEN,
    MAJORITY,
    SIZE,
    VALUES,
    by_radius,
    central_forest,
    logistic,
    radial_profiles,
    tabular_features,
)
from .out_of_fold import probabilities_of


def baselines_of(trained: FoldTraining) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(cases, C) probabilities by name of the baseline, of the cases that a fold tests, and why one is missing."""
    cohort, division, run = trained.cohort, trained.division, trained.run
    labels, folds, main = cohort.labels, division.folds, cohort.main
    classes = int(labels.max()) + 1
    learned_from = folds[0].train if division.by_split else division.evaluated
    shares = np.bincount(labels[learned_from], minlength=classes) / len(learned_from)
    others, unavailable = {MAJORITY: np.tile(shares, (len(labels), 1))}, {}
    if cohort.fields:
        values, given, attributes = cohort.values, cohort.given, cohort.attributes
        others[VALUES] = logistic(lambda known: tabular_features(values, given, attributes, known), labels, folds)
    sizes = [case.diameter_mm for case in main.cases]
    if missing := sizes.count(None):
        unavailable[SIZE] = f"{missing} cases have no diameter_mm in the manifest"
    else:
        others[SIZE] = logistic(np.array(sizes, dtype=float)[:, None], labels, folds)
    if main.kind is PICTURE:
        upright = trained.images.presentations[""].upright()
        others["random forest on the central pixels"] = central_forest(upright, labels, folds)
    if main.kind is NODULE:
        profiles = radial_profiles(main)
        others["radial profile, by mm"] = logistic(profiles, labels, folds)
        if missing:
            unavailable["radial profile, by radius"] = unavailable[SIZE]
        else:
            others["radial profile, by radius"] = logistic(by_radius(profiles, np.array(sizes)), labels, folds)
    untrained = build_encoder(run.encoder, seed=run.seed + 1)
    values = features(untrained, trained.images, np.arange(len(main)), trained.session.device).flatten(1).numpy()
    others["untrained encoder, frozen"] = logistic(values, labels, folds, FEATURE_PENALTY)
    if trained.session.job.settings["from"] == SCRATCH:
        unavailable[FROZEN] = "trained from scratch"
    frozen = [row for fold in folds for row in fold_result(trained.session.job.folder, fold.number).get("frozen", [])]
    if frozen:
        place = {case.case_id: index for index, case in enumerate(main.cases)}
        others[FROZEN] = np.full((len(main), classes), np.nan)
        for row in frozen:
            others[FROZEN][place[row["case_id"]]] = probabilities_of(row)
    return {name: values[division.evaluated] for name, values in others.items()}, unavailable


def training_distances(trained: FoldTraining) -> list[float]:
    """Percentiles 0 ... 100 of the distances of all cases, each to the cases that its fold's model was trained on.

    Out of fold: a model's own training cases lie nearer to their mean than any new case does. The manifest's test rows
    choose nothing, so that with its split the distances are those of the validation rows. Empty below 20 cases, and
    where a job keeps no statistics of the features of all branches.
    """
    cohort, division, run, folder = trained.cohort, trained.division, trained.run, trained.session.job.folder
    folds = [(fold, fold.validation if division.by_split else fold.test) for fold in division.folds]
    known = all((fold_folder(folder, fold.number) / "statistics.safetensors").exists() for fold, _ in folds)
    if not known or sum(len(cases) for _, cases in folds) < FEWEST_CASES:
        return []
    numbers = trained_branches(getattr(run, "fusion", "mean"), cohort.branches)
    found = []
    for fold, cases in folds:
        statistics = read_tensors(fold_folder(folder, fold.number) / "statistics.safetensors")
        encoder = load_fold(trained.session.job, fold.number).encoder
        values = features(encoder, trained.images, cases, trained.session.device).numpy()
        planes = {cohort.branches[number]: number for number in numbers}
        if any(f"{plane}_mean" not in statistics for plane in planes):
            return []
        distances = branch_distances(statistics, planes)
        seen = {plane: cohort.seen[cases, number] for plane, number in planes.items()}
        found.append(case_distance({plane: values[:, number] for plane, number in planes.items()}, distances, seen))
    return np.percentile(np.concatenate(found), PERCENTILES).round(6).tolist()
