"""From regions to probabilities: the classifier members of a bundle on one device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from .bundle import ModelBundle
from .device import choose_device
from .errors import InputError, ModelError
from .familiarity import FeatureDistance, case_distance, percentile
from .model_card import ModelCard
from .montage import normalise, resized, to_montage
from .networks.classifier import Classifier
from .networks.encoders import encoder_configuration
from .roi import SIDE, SLICES, NoduleROI

BATCH = 16
"""Montages computed at once: enough to feed a GPU, few enough for 4 GB of its memory with ViT-L."""


@dataclass(frozen=True)
class Prediction:
    """probability: of the positive class, calibrated where the bundle is, mean over its members.

    interval_low, interval_high: lowest and highest member ("members"); None where the bundle has one member.
    members: each member's probability. notice: what the reader should know of how it was computed, else empty.
    ood_percentile: share of the training's cases, in percent, whose features lie nearer to what the members know;
    None where the bundle does not say how far those lie.
    """

    probability: float
    interval_low: float | None
    interval_high: float | None
    interval_kind: str | None
    members: tuple[float, ...]
    device: str
    seconds: float
    notice: str = ""
    ood_percentile: float | None = None


class Predictor:
    """A loaded bundle, ready to score. Loading is slow, scoring fast: keep it.

    Raises ModelError where the weights do not fit the architecture that the card states.
    """

    def __init__(self, bundle: ModelBundle, device: str = "auto") -> None:
        self.bundle = bundle
        self.card: ModelCard = bundle.card
        self.device = choose_device(device).name
        self.notice = ""
        encoder = encoder_configuration(self.card.values["architecture"].get("encoder"))
        self.side = encoder.image_size
        self.members = [
            build(lambda: Classifier(encoder, len(self.card.classes)), tensors, self.card).to(self.device)
            for tensors in bundle.weights("classifier")
        ]
        for member in self.members:
            member.head.float()
        self.planes = ("axial", "coronal") if self.card.fusion == "mean" else (self.card.fusion,)
        self.distances = _distances(bundle, self.planes) if self.card.training_distances else []

    def predict(self, rois: list[NoduleROI], progress: Callable[[float], None] | None = None) -> list[Prediction]:
        """Score regions. progress is called with the share done. Raises InputError for a region of the wrong shape.

        On a GPU without enough memory the model moves to the CPU, once, and each result says so.
        """
        started = time.perf_counter()
        montages = np.stack(
            [resized(montage(getattr(roi, plane), self.card), self.side) for roi in rois for plane in self.planes]
        )
        try:
            logits, tokens = self._outputs(montages, progress)
        except torch.OutOfMemoryError:
            self.notice = f"{self.device} ran out of memory; computed on the CPU instead."
            self.device = "cpu"
            self.members = [member.to("cpu") for member in self.members]
            torch.cuda.empty_cache()
            logits, tokens = self._outputs(montages, progress)
        # (members, nodules): the mean of the planes' logits, methods as published; see the card's "fusion"
        logits = logits.reshape(len(self.members), len(rois), len(self.planes)).mean(axis=2)
        calibration = self.card.values["calibration"]
        calibrated = logits * calibration["slope"] + calibration["intercept"]
        percentiles = self._percentiles(tokens, len(rois))
        seconds = (time.perf_counter() - started) / len(rois)
        return [self._prediction(calibrated[:, nodule], percentiles[nodule], seconds) for nodule in range(len(rois))]

    def _percentiles(self, tokens: list[np.ndarray], nodules: int) -> list[float | None]:
        """Each nodule's place among the training cases' distances; the members' distances are averaged."""
        if not self.distances:
            return [None] * nodules
        found = []
        for member, distances in zip(tokens, self.distances, strict=True):
            by_plane = member.reshape(nodules, len(self.planes), -1)
            found.append(case_distance({p: by_plane[:, n] for n, p in enumerate(self.planes)}, distances))
        reference = self.card.training_distances
        return [percentile(value, reference) for value in np.mean(found, axis=0)]

    def _outputs(
        self, montages: np.ndarray, progress: Callable[[float], None] | None
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """(M, 250, 250) -> (members, M) float64: logit of the positive class minus that of the other; and each
        member's class tokens (M, width) float64."""
        rows, tokens = [], []
        with torch.inference_mode():
            for number, member in enumerate(self.members):
                weight = next(member.encoder.parameters())
                parts, seen = [], []
                # What the layer reads is what the distance is measured on.
                hook = member.head.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
                for start in range(0, len(montages), BATCH):
                    batch = torch.from_numpy(montages[start : start + BATCH]).unsqueeze(1)
                    parts.append(member(batch.to(weight.device, weight.dtype)).double().cpu())
                    if progress is not None:
                        done = number + min(start + BATCH, len(montages)) / len(montages)
                        progress(done / len(self.members))
                hook.remove()
                both = torch.cat(parts)
                rows.append((both[:, 1] - both[:, 0]).numpy())
                tokens.append(torch.cat(seen).double().cpu().numpy())
        return np.stack(rows), tokens

    def _prediction(self, logits: np.ndarray, ood_percentile: float | None, seconds: float) -> Prediction:
        if not np.isfinite(logits).all():
            raise ModelError(
                f"The model {self.card.id} gives no finite result. Get it again from its source.", "weights"
            )
        members = tuple(1.0 / (1.0 + math.exp(-value)) if value > -700 else 0.0 for value in logits.tolist())
        several = len(members) > 1
        return Prediction(
            probability=sum(members) / len(members),
            interval_low=min(members) if several else None,
            interval_high=max(members) if several else None,
            interval_kind="members" if several else None,
            members=members,
            device=self.device,
            seconds=seconds,
            notice=self.notice,
            ood_percentile=ood_percentile,
        )


def _distances(bundle: ModelBundle, planes: tuple[str, ...]) -> list[dict[str, FeatureDistance]]:
    """Each member's distance to its training cases, by plane. Raises ModelError."""
    made = []
    for tensors in bundle.weights("statistics"):
        try:
            count = float(tensors["count"])
            made.append(
                {p: FeatureDistance.of(tensors[f"{p}_mean"], tensors[f"{p}_covariance"], count) for p in planes}
            )
        except (KeyError, ValueError) as error:
            raise ModelError(
                f"The feature statistics of {bundle.card.id} cannot be used ({error}). Get the model again.", "weights"
            ) from error
    return made


def montage(stack: np.ndarray, card: ModelCard) -> np.ndarray:
    """(25, 50, 50) HU -> (250, 250) network input. Raises InputError for another shape or values not finite."""
    if stack.shape != (SLICES, SIDE, SIDE):
        raise InputError(f"A region has the shape {stack.shape}; {(SLICES, SIDE, SIDE)} is needed.", "shape")
    if not np.isfinite(stack).all():
        raise InputError("A region holds values that are not numbers (NaN or infinity).", "not-finite")
    return to_montage(normalise(stack, card.preprocessing))


def configuration(kind: type, card: ModelCard, part: str):
    """The dataclass of one part of the card's architecture. Raises ModelError where it is missing or unknown."""
    values = card.values["architecture"].get(part)
    try:
        return kind(**values)
    except TypeError as error:
        raise ModelError(
            f"The model {card.id} has an architecture unknown to this version ({part}: {values}). Update MAEMC.",
            "architecture",
        ) from error


def build(network, tensors: dict[str, torch.Tensor], card: ModelCard) -> torch.nn.Module:
    """Fill a network with a member's tensors, in their own precision. network: a function that makes it.

    Made on the "meta" device and filled by assignment, so that weights are in memory once (ViT-L: 1.2 GB in float32).
    Raises ModelError naming what does not fit.
    """
    with torch.device("meta"):
        empty = network()
    expected = empty.state_dict()
    wrong = sorted(set(expected) ^ set(tensors)) or [
        name for name, tensor in tensors.items() if tensor.shape != expected[name].shape
    ]
    # A batch norm counts its batches in a whole number; all else is of one floating type.
    kinds = {tensor.dtype for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    if wrong or len(kinds) != 1 or not next(iter(kinds)).is_floating_point:
        what = f"{len(wrong)} tensors differ, first {wrong[0]}" if wrong else f"tensors of type {kinds}"
        raise ModelError(
            f"The weights of {card.id} do not fit its architecture ({what}). Get the model again.", "weights"
        )
    empty.load_state_dict(tensors, assign=True)
    return empty.to(dtype=kinds.pop()).eval().requires_grad_(False)
