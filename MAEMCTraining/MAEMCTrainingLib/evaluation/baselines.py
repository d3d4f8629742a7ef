"""What a model has to beat: always the commoner class, the nodule's size alone, its mean density by distance from the
point, an encoder that has learned nothing; of 2-D pictures a random forest on the central pixels. All are fitted in the
job's folds. Beside them, how far a job's own cases lie from what its models know.

Of a network that is shown the observed slices alone, also what is told by which slices these are: were that much, it
could have learned how large the file is, and not what is in it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from MAEMCLib.applicability import PERCENTILES, branch_distances, case_distance
from MAEMCLib.images.gray import crop_resized
from MAEMCLib.inputs.region import SIDE, SLICES
from MAEMCLib.networks.configuration import TILES
from MAEMCLib.networks.heads.measured import terms
from MAEMCLib.networks.vit import build_encoder

from ..classifiers.fold_model import FoldTraining, fold_folder, load_fold, probabilities_of
from ..classifiers.starting_point import SCRATCH
from ..classifiers.task import features, trained_branches
from ..data.cohort import Cohort
from ..data.folds import Fold
from ..data.kinds.montage_views import regions
from ..data.kinds.nodule import KIND as NODULE
from ..data.kinds.picture import KIND as PICTURE
from ..engine.checkpoints import read_tensors
from ..statistics.logistic import FEATURE_PENALTY, fit_logistic
from ..statistics.operating_points import FEWEST_CASES

MAJORITY, SIZE, VALUES = "majority class", "size alone", "clinical values alone (logistic)"
MEASURED = "size and attenuation alone, as measured"
FROZEN, FOREST = "pre-trained encoder, frozen", "random forest on the central pixels"
CENTRAL_PIXELS = 32
TREES = 300
PROFILE_MM = 24
_RADII = np.linspace(0.2, 2.6, 24)


def baselines_of(
    trained: FoldTraining, results: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(cases, C) probabilities by name of the baseline, of the cases that a fold tests, and why one is missing.
    results: of the folds."""
    cohort, division, run = trained.cohort, trained.division, trained.run
    labels, folds, main = cohort.labels, division.folds, cohort.main
    classes = int(labels.max()) + 1
    learned_from = folds[0].train if division.by_split else division.evaluated
    shares = np.bincount(labels[learned_from], minlength=classes) / len(learned_from)
    others, unavailable = {MAJORITY: np.tile(shares, (len(labels), 1))}, {}
    if cohort.fields:
        values, given, attributes = cohort.values, cohort.given, cohort.attributes
        others[VALUES] = logistic(lambda known: tabular_features(values, given, attributes, known), labels, folds)
    elif cohort.values.shape[1]:
        others[MEASURED] = logistic(measured_features(cohort.values, cohort.given), labels, folds)
    sizes = [case.diameter_mm for case in main.cases]
    if missing := sizes.count(None):
        unavailable[SIZE] = f"{missing} cases have no diameter_mm in the manifest"
    else:
        others[SIZE] = logistic(np.array(sizes, dtype=float)[:, None], labels, folds)
    if main.kind is PICTURE:
        upright = trained.images.presentations[""].upright()
        pictures = [upright.plain(case) for case in range(len(labels))]
        others[FOREST] = central_forest(pictures, labels, folds)
    if main.kind is NODULE:
        profiles = radial_profiles(main)
        others["radial profile, by mm"] = logistic(profiles, labels, folds)
        if missing:
            unavailable["radial profile, by radius"] = unavailable[SIZE]
        else:
            others["radial profile, by radius"] = logistic(by_radius(profiles, np.array(sizes)), labels, folds)
        middle = [[regions(main, case)[0, SLICES // 2]] for case in range(len(main))]
        others[FOREST] = central_forest(middle, labels, folds)
        if run.encoder.skips_unobserved:
            others |= {name: logistic(shown, labels, folds) for name, shown in observed_patterns(trained).items()}
    untrained = build_encoder(run.encoder, seed=run.seed + 1)
    values = features(untrained, trained.images, np.arange(len(main)), trained.session.device).flatten(1).numpy()
    others["untrained encoder, frozen"] = logistic(values, labels, folds, FEATURE_PENALTY)
    if trained.session.job.settings["from"] == SCRATCH:
        unavailable[FROZEN] = "trained from scratch"
    frozen = [row for result in results for row in result.get("frozen", [])]
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
    if sum(len(cases) for _, cases in folds) < FEWEST_CASES:
        return []
    if not all((fold_folder(folder, fold.number) / "statistics.safetensors").exists() for fold, _ in folds):
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


def logistic(
    features: np.ndarray | Callable[[np.ndarray], np.ndarray],
    labels: np.ndarray,
    folds: Sequence[Fold],
    penalty: float = 1.0,
) -> np.ndarray:
    """(cases, C) out-of-fold probabilities of a logistic model (``fit_logistic``) on features (cases, values).

    features: a function where they depend on the cases that a fold trains on, which it gets.
    """
    table = np.zeros((len(labels), int(labels.max()) + 1))
    for fold in folds:
        training = _training(fold)
        values = features(training) if callable(features) else features
        model, mean, deviation = fit_logistic(values[training], labels[training], penalty)
        table[np.ix_(fold.test, model.classes_)] = model.predict_proba((values[fold.test] - mean) / deviation)
    return table


def _training(fold: Fold) -> np.ndarray:
    """All that is not tested on: a baseline without early stopping needs no validation part."""
    return np.concatenate([fold.train, fold.validation])


def shell_means(values: np.ndarray, distances_mm: np.ndarray) -> np.ndarray:
    """(24,) mean of the values in shells of 1 mm about a point; both arrays of one shape.

    The innermost 2 mm are one shell, the first: a sample always lies in it.
    """
    shell = np.maximum(distances_mm.astype(int), 1) - 1
    inside = shell < PROFILE_MM
    return np.bincount(shell[inside], values[inside], PROFILE_MM) / np.bincount(shell[inside], minlength=PROFILE_MM)


def radial_profiles(cohort: Cohort) -> np.ndarray:
    """(cases, 24) mean HU at 1, 2 ... mm from the point, over the samples of both stacks of a region."""
    step = cohort.settings.slice_step_mm
    across = (np.arange(SLICES) - (SLICES - 1) / 2) * step
    along = np.arange(SIDE) - (SIDE - 1) / 2
    z, y, x = np.meshgrid(across, along, along, indexing="ij")
    distances = np.sqrt(x**2 + y**2 + z**2)
    both = np.stack([distances, distances])
    return np.array([shell_means(regions(cohort, index), both) for index in range(len(cohort.cases))])


def by_radius(profiles: np.ndarray, diameters_mm: np.ndarray) -> np.ndarray:
    """(cases, 24) the profiles at 0.2 ... 2.6 radii of each nodule, where its size cannot blur them."""
    distances = np.arange(PROFILE_MM) + 1.0
    radii = 0.5 * np.asarray(diameters_mm, float)
    return np.array([np.interp(_RADII * r, distances, profile) for r, profile in zip(radii, profiles, strict=True)])


def observed_patterns(trained: FoldTraining) -> dict[str, np.ndarray]:
    """Which of the slices that the classifier is shown were observed, (cases, slices) of 0 and 1: as scoring finds
    them, and as the first epoch of training shows them, where some are left out at random."""
    images, shown, seed = trained.images, trained.run.encoder.shown, trained.run.seed
    side = images.side // TILES

    def pattern(image: np.ndarray) -> np.ndarray:
        corners = image[::side, ::side].ravel()  # of the montage's slices, in their order
        return np.isfinite(corners[list(shown)]).astype(float)

    every = range(len(trained.cohort))
    return {
        "observed slices alone": np.stack([pattern(images.plain(case)[0][0]) for case in every]),
        "observed slices alone, as training shows them": np.stack(
            [pattern(images.augmented(case, 0, seed, 0, False)[0]) for case in every]
        ),
    }


def central_forest(cases: Sequence[Sequence[np.ndarray]], labels: np.ndarray, folds: Sequence[Fold]) -> np.ndarray:
    """(cases, C) out-of-fold probabilities of a random forest on the pixels of the central half, at 32 x 32, of the
    square pictures of each case: of a nodule the middle axial slice.

    Every picture is a sample in training; a case's probability is the mean over its pictures.
    """
    from sklearn.ensemble import RandomForestClassifier

    pixels, owners = [], []
    for case, pictures in enumerate(cases):
        for image in pictures:
            middle = len(image) / 2
            pixels.append(crop_resized(image, (middle, middle), middle, CENTRAL_PIXELS).ravel())
            owners.append(case)
    values, owner = np.array(pixels), np.array(owners)
    probabilities = np.zeros((len(labels), int(labels.max()) + 1))
    for fold in folds:
        training = np.isin(owner, _training(fold))
        forest = RandomForestClassifier(TREES, class_weight="balanced", min_samples_leaf=2, random_state=0)
        forest.fit(values[training], labels[owner[training]])
        tested = np.isin(owner, fold.test)
        total = np.zeros_like(probabilities)
        np.add.at(total, np.ix_(owner[tested], forest.classes_), forest.predict_proba(values[tested]))
        counts = np.bincount(owner[tested], minlength=len(labels))
        probabilities[fold.test] = total[fold.test] / counts[fold.test, None]
    return probabilities


def measured_features(values: np.ndarray, given: np.ndarray) -> np.ndarray:
    """(cases, 3) what the measured head reads; of nodules that were not outlined the mean of the others."""
    found = terms(torch.from_numpy(values)).numpy()
    known = given.all(axis=1)
    found[~known] = found[known].mean(axis=0)
    return found


def tabular_features(values: np.ndarray, given: np.ndarray, attributes: Sequence[int], known: np.ndarray) -> np.ndarray:
    """Clinical values as columns for a linear model, (cases, columns).

    values, given: (cases, A) as the network takes them. attributes: choices of each, 0 for a number. known: the cases
    that a missing number's mean is taken of. A number that is missing is replaced by that mean, which a column of its
    own says; a choice that is missing is none of the choices.
    """
    columns = []
    for a, choices in enumerate(attributes):
        there = given[:, a]
        if choices:
            columns += [(there & (values[:, a] == choice)).astype(float) for choice in range(choices)]
            continue
        mean = values[known][there[known], a].mean() if there[known].any() else 0.0
        columns.append(np.where(there, values[:, a], mean))
        if not there.all():
            columns.append((~there).astype(float))
    return np.stack(columns, axis=1)
