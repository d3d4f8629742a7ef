"""Makes the shipped detector: three members by patient, their thresholds, and the figures out of fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.files.atomic import replacing, write_json
from MAEMCLib.presence.detector import Detector, scaled, stored_members
from MAEMCLib.presence.findings import PRESENT
from MAEMCLib.presence.network import PresenceNetwork
from MAEMCLib.presence.patch import Patch

from .gathering import PointSet, cube_points, slab_points
from .organs import ORGANS, organ_points
from .points import NODULE
from .tissue import KINDS
from .training import logits_of, train

FOLDS, INNER_PART = 3, 7
"""Folds by patient; of each one's training patients one in so many sets the threshold."""
MISSED, LARGE_MM = 0.045, 6.0
"""The share of clicks on nodules that may lie below the threshold on the inner patients; nodules from this long axis on
are told apart in the table."""
NEAR_SHARE = 0.25
"""Of its diameter: clicks so near a nodule's middle are told apart as well; the others lie at all heights of it."""
SEED = 0


@dataclass(frozen=True)
class Fold:
    """A member, the threshold of its logits, and what it makes of the points (all of them, numbers 0 to 1) of patients
    that it has not seen. tested, cubes: their numbers in both sets."""

    member: PresenceNetwork
    threshold: float
    tested: np.ndarray
    found: np.ndarray
    cubes: np.ndarray
    of_cubes: np.ndarray


def make_detector(
    slabs: Path, cubes: Path, output: Path, told: Callable[[str, int, int], None], line: Callable[[str], None]
) -> dict[str, Any]:
    """Write presence.safetensors and presence.json into a folder; returns the figures.

    What is done is kept there and not done again: the points, and each member. Raises InputError: what ``slab_points``
    and ``cube_points`` raise; a folder that cannot be written.
    """
    from safetensors.torch import save_file

    output.mkdir(parents=True, exist_ok=True)
    drawn = _kept(output / "slabs.npz", lambda: slab_points(slabs, SEED, lambda *at: told("slabs: patient", *at)))
    whole = _kept(output / "cubes.npz", lambda: cube_points(cubes, SEED))
    folds = train_folds(drawn, whole, output, line)
    tensors = stored_members([fold.member for fold in folds], [fold.threshold for fold in folds])
    with replacing(output / "presence.safetensors") as temporary:
        save_file(tensors, temporary)
    figures = judged(drawn, whole, folds) | {"phantom": judged_organs(output / "presence.safetensors")}
    write_json(output / "presence.json", figures)
    return figures


def _kept(path: Path, make: Callable[[], PointSet]) -> PointSet:
    if not path.is_file():
        make().save(path)
    return PointSet.load(path)


def _member(path: Path, make: Callable[[], PresenceNetwork]) -> PresenceNetwork:
    from safetensors.torch import load_file, save_file

    if not path.is_file():
        with replacing(path) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in make().state_dict().items()}, temporary)
    member = PresenceNetwork()
    member.load_state_dict(load_file(path))
    return member.eval()


def patient_parts(patients: Sequence[str], seed: int) -> tuple[dict[str, int], dict[str, bool]]:
    """For each patient the fold that tests it, and whether it sets thresholds where it is not tested."""
    names = np.unique(patients)
    rng = np.random.default_rng(seed)
    folds, inner = (rng.permutation(names) for _ in range(2))
    return (
        {str(name): place % FOLDS for place, name in enumerate(folds)},
        {str(name): place % INNER_PART == 0 for place, name in enumerate(inner)},
    )


def train_folds(drawn: PointSet, whole: PointSet, output: Path, line: Callable[[str], None]) -> list[Fold]:
    """A member for each fold of patients; cubes go with the fold of their patient and train nothing."""
    patients = [point.patient for point in drawn.points]
    parts, sets_threshold = patient_parts(patients, SEED)
    own, inner = np.array([parts[p] for p in patients]), np.array([sets_threshold[p] for p in patients])
    diameters = np.array([point.diameter_mm for point in drawn.points])
    of_cubes = np.array([parts.get(point.patient, 0) for point in whole.points])  # 0: seen by none
    folds = []
    for number in range(FOLDS):
        learned = np.flatnonzero((own != number) & ~inner)
        chosen = np.flatnonzero((own != number) & inner)
        tested = np.flatnonzero(own == number)
        cubes = np.flatnonzero(of_cubes == number)
        say = partial(_say, line, number)
        make = partial(train, drawn.patches.of(learned), diameters[learned], SEED + number, say)
        member = _member(output / f"member-{number}.safetensors", make)
        inside = chosen[drawn.patches.nodule[chosen]]
        threshold = float(np.quantile(logits_of(member, drawn.patches.of(inside)), MISSED))
        found = scaled(logits_of(member, drawn.patches.of(tested)), threshold)
        on_cubes = scaled(logits_of(member, whole.patches.of(cubes)), threshold)
        folds.append(Fold(member, threshold, tested, found, cubes, on_cubes))
    return folds


def _say(line: Callable[[str], None], number: int, text: str) -> None:
    line(f"member {number + 1} of {FOLDS}, {text}")


def judged(drawn: PointSet, whole: PointSet, folds: Sequence[Fold]) -> dict[str, Any]:
    """All figures, out of fold: each share with the number of points and of patients behind it."""
    found, cubes = np.zeros(len(drawn.points)), np.full(len(whole.points), np.nan)
    for fold in folds:
        found[fold.tested], cubes[fold.cubes] = fold.found, fold.of_cubes
    kind = np.array([point.kind for point in drawn.points])
    size = np.array([point.diameter_mm for point in drawn.points])
    nodule, said = kind == NODULE, found >= PRESENT
    shares = {"nodules, all": _share(drawn, nodule, said)}
    for low, high in ((0, 4), (4, 6), (6, 10), (10, 20), (20, np.inf)):
        band = nodule & (size >= low) & (size < high)
        shares[f"nodules of {low} to {high:g} mm" if np.isfinite(high) else f"nodules from {low} mm"] = _share(
            drawn, band, said
        )
    shares["nodules from 6 mm"] = _share(drawn, nodule & (size >= LARGE_MM), said)
    beside = np.array([np.linalg.norm(point.middle) for point in drawn.points])
    near = nodule & (beside <= NEAR_SHARE * size)
    shares["near their middle"] = _share(drawn, near, said)
    shares["near their middle, from 6 mm"] = _share(drawn, near & (size >= LARGE_MM), said)
    shares["cubes' nodules, all slices"] = _share(whole, np.ones(len(cubes), bool), cubes >= PRESENT)
    for name in KINDS:
        shares[f"no nodule: {name}"] = _share(drawn, kind == name, ~said)
    return {
        "schema": 1,
        "shares": shares,
        "auc": _auc(nodule, found),
        "auc_of_place_and_pattern": _place_auc(drawn),
        "points": {name: int((kind == name).sum()) for name in (NODULE, *KINDS)},
        "lung_share_of_points_in_no_nodule": float((kind == "lung").sum() / max((~nodule).sum(), 1)),
        "unchecked_share": float(np.mean([point.unchecked for point in drawn.points])),
        "thresholds": [fold.threshold for fold in folds],
    }


def judged_organs(weights: Path) -> dict[str, Any]:
    """The share of points of a whole synthetic chest that rules and stored weights judge rightly, and that of the rules
    alone."""
    drawn, ruled = organ_points(SEED)
    none = ruled | (presence_of(weights, drawn) < PRESENT)
    kinds = np.array([point.kind for point in drawn.points])
    found = {}
    for kind in (*ORGANS, NODULE):
        own = kinds == kind
        right = ~none if kind == NODULE else none
        found[kind] = {"value": float(right[own].mean()), "n": int(own.sum()), "by_rules": float(ruled[own].mean())}
    return found


def _share(drawn: PointSet, chosen: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """The share of chosen points that are judged rightly, with its 95 % interval by drawing patients."""
    patients = np.array([point.patient for point in drawn.points])[chosen]
    hits = right[chosen].astype(float)
    names, owner = np.unique(patients, return_inverse=True)
    if not len(names):
        return {"value": None, "low": None, "high": None, "n": 0, "patients": 0}
    sums, counts = np.bincount(owner, hits), np.bincount(owner)
    draws = np.random.Generator(np.random.Philox(3)).integers(len(names), size=(1000, len(names)))
    low, high = np.quantile(sums[draws].sum(axis=1) / counts[draws].sum(axis=1), (0.025, 0.975))
    value = float(hits.mean())
    return {"value": value, "low": float(low), "high": float(high), "n": len(hits), "patients": len(names)}


def _auc(nodule: np.ndarray, found: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(nodule, found))


def _place_auc(drawn: PointSet) -> float:
    """How well place and observed slices alone tell both classes apart, out of fold by patient: trees that may be as
    crooked as they like. 0.5 is nothing."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import GroupKFold, cross_val_predict

    patients = [point.patient for point in drawn.points]
    model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    said = cross_val_predict(
        model, drawn.features, drawn.patches.nodule, groups=patients, cv=GroupKFold(3), method="predict_proba"
    )
    return _auc(drawn.patches.nodule, said[:, 1])


def presence_of(weights: Path, drawn: PointSet) -> np.ndarray:
    """(N,) what stored weights make of points."""
    hu, observed = drawn.patches.hu, drawn.patches.observed
    return np.array(Detector(weights).presence([Patch(*one) for one in zip(hu, observed, strict=True)]))
