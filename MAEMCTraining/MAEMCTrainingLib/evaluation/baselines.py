"""What a model has to beat: always the commoner class, the nodule's size alone, its mean density by distance from the
point, an encoder that has learned nothing; of 2-D pictures a random forest on the central pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from MAEMCLib.images.gray import crop_resized
from MAEMCLib.inputs.region import SIDE, SLICES

from ..data.cohort import Cohort
from ..data.folds import Fold
from ..data.kinds.kind import Presentation
from ..data.kinds.nodule import regions
from ..statistics.logistic import fit_logistic

MAJORITY, SIZE, VALUES = "majority class", "size alone", "clinical values alone (logistic)"
FROZEN = "pre-trained encoder, frozen"
CENTRAL_PIXELS = 32
TREES = 300
PROFILE_MM = 24
_RADII = np.linspace(0.2, 2.6, 24)


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
    return np.array([shell_means(regions(cohort, index), both) for index in range(len(cohort))])


def by_radius(profiles: np.ndarray, diameters_mm: np.ndarray) -> np.ndarray:
    """(cases, 24) the profiles at 0.2 ... 2.6 radii of each nodule, where its size cannot blur them."""
    distances = np.arange(PROFILE_MM) + 1.0
    radii = 0.5 * np.asarray(diameters_mm, float)
    return np.array([np.interp(_RADII * r, distances, profile) for r, profile in zip(radii, profiles, strict=True)])


def central_forest(presentation: Presentation, labels: np.ndarray, folds: Sequence[Fold]) -> np.ndarray:
    """(cases, C) out-of-fold probabilities of a random forest on the pixels of the view's central half, at 32 x 32.

    Every picture is a sample in training; a case's probability is the mean over its pictures.
    """
    from sklearn.ensemble import RandomForestClassifier

    pixels, owners = [], []
    for case in range(len(labels)):
        for image in presentation.plain(case):
            middle = len(image) / 2
            pixels.append(crop_resized(image, (middle, middle), middle, CENTRAL_PIXELS).ravel())
            owners.append(case)
    values, cases = np.array(pixels), np.array(owners)
    probabilities = np.zeros((len(labels), int(labels.max()) + 1))
    for fold in folds:
        training = np.isin(cases, _training(fold))
        forest = RandomForestClassifier(TREES, class_weight="balanced", min_samples_leaf=2, random_state=0)
        forest.fit(values[training], labels[cases[training]])
        tested = np.isin(cases, fold.test)
        total = np.zeros_like(probabilities)
        np.add.at(total, np.ix_(cases[tested], forest.classes_), forest.predict_proba(values[tested]))
        counts = np.bincount(cases[tested], minlength=len(labels))
        probabilities[fold.test] = total[fold.test] / counts[fold.test, None]
    return probabilities


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
