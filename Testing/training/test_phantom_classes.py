"""What tells the phantom's two classes apart: only shape in the matched grade, almost anything in the easy one.

The bounds leave room for chance: with 440 cases an AUC of 0.5 has a standard error of 0.028.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import pytest
import torch
from MAEMCLib.inputs.nodule import Preprocessing, normalize
from MAEMCLib.inputs.region import cut_roi
from MAEMCTrainingLib.evaluation.baselines import by_radius, shell_means
from MAEMCTrainingLib.experiments.small_cnn import SmallCNN
from MAEMCTrainingLib.phantom.case import PhantomConfiguration, plan_case, render_volume
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

pytestmark = pytest.mark.soak
TRAINING_CASES, HELD_OUT = 290, 150
EPOCHS = 60
CENTRAL = slice(4, 21)  # the slices that cut a nodule of 16 mm, of 25


class Cases(NamedTuple):
    """N cases: stacks (N, 2, 25, 50, 50) HU, labels, (diameter, place), mean HU per mm of distance from the point."""

    stacks: np.ndarray
    labels: np.ndarray
    covariates: np.ndarray
    profiles: np.ndarray


def draw_cases(grade: str, count: int) -> Cases:
    configuration = PhantomConfiguration(count, seed=7, grade=grade, field="region")
    plans = [plan_case(index, configuration) for index in range(count)]
    stacks, labels, covariates, profiles = [], [], [], []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for plan, volume in zip(plans, pool.map(render_volume, plans, chunksize=4), strict=True):
            nodule = plan.nodule
            roi = cut_roi(volume, nodule.center)
            stacks.append(np.stack([roi.axial, roi.coronal]).astype(np.int16))
            labels.append(nodule.label)
            covariates.append((nodule.diameter_mm, *nodule.center))
            profiles.append(radial_profile(volume, nodule.center))
    return Cases(*(np.array(column) for column in (stacks, labels, covariates, profiles)))


def radial_profile(volume, point) -> np.ndarray:
    """Mean HU in shells of 1 mm about a point."""
    k, j, i = np.indices(volume.array.shape, sparse=True)
    index, spacing = volume.to_index(np.array(point)), volume.spacing
    squares = [((axis - c) * s) ** 2 for axis, c, s in zip((i, j, k), index, spacing, strict=True)]
    return shell_means(volume.array, np.sqrt(squares[0] + squares[1] + squares[2]))


def out_of_fold_auc(features: np.ndarray, labels: np.ndarray) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    predicted = cross_val_predict(model, features, labels, cv=folds, method="predict_proba")[:, 1]
    return roc_auc_score(labels, predicted)


def relative(cases: Cases) -> np.ndarray:
    """The profiles over distance in radii of the nodule."""
    return by_radius(cases.profiles, cases.covariates[:, 0])


@pytest.fixture(scope="module")
def matched() -> Cases:
    return draw_cases("matched", TRAINING_CASES + HELD_OUT)


@pytest.fixture(scope="module")
def easy() -> Cases:
    return draw_cases("easy", 120)


def test_matched_size_place_and_density_do_not_tell(matched):
    mean_hu = matched.stacks.reshape(len(matched.stacks), -1).mean(axis=1)
    auc = out_of_fold_auc(np.column_stack([matched.covariates, mean_hu]), matched.labels)
    print(f"matched: size, place and mean HU give AUC {auc:.3f}")
    assert auc < 0.65


def test_matched_mean_profile_does_not_tell(matched):
    """Neither per mm nor per radius of the nodule, alone or with its size."""
    features = {
        "per mm": matched.profiles,
        "per radius": relative(matched),
        "per mm, with size": np.column_stack([matched.profiles, matched.covariates[:, :1]]),
    }
    for name, values in features.items():
        auc = out_of_fold_auc(values, matched.labels)
        print(f"matched: radial mean-HU profile {name} gives AUC {auc:.3f}")
        assert auc < 0.70, name


def test_easy_mean_profile_tells(easy):
    """Why no claim is made from the easy grade: no network is needed for it."""
    auc = out_of_fold_auc(relative(easy), easy.labels)
    print(f"easy: radial mean-HU profile per radius gives AUC {auc:.3f}")
    assert auc >= 0.90


def test_matched_shape_tells_a_small_network(matched):
    """Trained on two thirds of the cases with flips, turns and shifts, it ranks the others."""
    torch.manual_seed(0)
    images = torch.from_numpy(normalize(matched.stacks.astype(np.float32), Preprocessing(mean=0.35, std=0.3)))
    labels = torch.from_numpy(matched.labels).long()
    network, batch = SmallCNN(0), 32
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    steps = EPOCHS * -(-TRAINING_CASES // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for members in torch.randperm(TRAINING_CASES).split(batch):
            stacks = images[members][:, :, CENTRAL][:, :, torch.randperm(17)[:4]]
            stacks = torch.rot90(stacks, int(torch.randint(4, ())), (3, 4))
            stacks = stacks.flip(-1) if torch.rand(()) < 0.5 else stacks
            stacks = stacks.roll(torch.randint(-2, 3, (2,)).tolist(), (3, 4))
            loss = nn.functional.cross_entropy(network.of_slices(stacks.flatten(1, 2)), labels[members])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        parts = images[TRAINING_CASES:].split(batch)
        logits = torch.cat([network.of_slices(part[:, :, CENTRAL].flatten(1, 2)) for part in parts])
        logits = logits[:, 1] - logits[:, 0]
    auc = roc_auc_score(matched.labels[TRAINING_CASES:], logits.numpy())
    print(f"matched: a small network gives AUC {auc:.3f} on {HELD_OUT} held-out cases")
    assert auc >= 0.95
