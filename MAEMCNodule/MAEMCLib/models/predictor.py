"""From regions or pictures to probabilities: the classifier members of a bundle on one device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import InputError, ModelError, UsageError
from ..images.gray import prepare, views
from ..inputs.montage import normalize, resized, to_montage
from ..inputs.region import SIDE, SLICES, NoduleROI
from ..machine.device import choose_device
from ..machine.precision import placed, without_tf32
from ..networks.heads.linear import LinearHead
from ..picture_scoring import PreparedPicture
from .bundle import ModelBundle
from .card import ModelCard
from .loading import load_members
from .ood import FeatureDistance, case_distance, percentile

BATCH = 16
"""Images computed at once: enough to feed a GPU, few enough for 4 GB of its memory with ViT-L."""


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
        encoder = self.card.encoder
        self.side = encoder.image_size
        if self.card.input == "picture" and self.card.preprocessing.image_size != self.side:
            raise ModelError(
                f"The model {self.card.id} prepares pictures of {self.card.preprocessing.image_size} pixels, but its "
                f"network takes {self.side}. Get the model again.",
                "architecture",
            )
        members = load_members(bundle, "classifier", lambda: LinearHead(encoder, len(self.card.classes)))
        self.members = [placed(member, self.device) for member in members]
        for member in self.members:
            member.head.float()
        self.planes = self.card.planes
        width = self.members[0].encoder.width
        self.distances = _distances(bundle, self.planes, width) if self.card.training_distances else []

    def predict(
        self, cases: list[NoduleROI] | list[PreparedPicture], progress: Callable[[float], None] | None = None
    ) -> list[Prediction]:
        """Score regions, or pictures where the model's input is that. progress is called with the share done.

        On a GPU without enough memory the model moves to the CPU, once, and each result says so.
        Raises InputError for a region of the wrong shape, UsageError for a region given to a model of pictures.
        """
        started = time.perf_counter()
        images = np.concatenate([self._images(case) for case in cases])
        try:
            logits, tokens = self._outputs(images, progress)
        except torch.OutOfMemoryError:
            self.notice = f"{self.device} ran out of memory; computed on the CPU instead."
            self.device = "cpu"
            self.members = [placed(member, "cpu") for member in self.members]
            torch.cuda.empty_cache()
            logits, tokens = self._outputs(images, progress)
        calibrated = self._calibrated(self._of_cases(logits, len(cases)))
        percentiles = self._percentiles(tokens, len(cases))
        seconds = (time.perf_counter() - started) / len(cases)
        return [self._prediction(calibrated[:, case], percentiles[case], seconds) for case in range(len(cases))]

    def reference_logits(self, case: NoduleROI | PreparedPicture) -> np.ndarray:
        """(members, 1): a case's logits before calibration, of the positive class minus that of the other."""
        return self._of_cases(self._outputs(self._images(case), None)[0], 1)

    def _of_cases(self, logits: np.ndarray, cases: int) -> np.ndarray:
        """(members, images) -> (members, cases): the mean of the logits of planes (as published; the card's "fusion"),
        or of angles."""
        return logits.reshape(len(self.members), cases, -1).mean(axis=2)

    def _images(self, case: NoduleROI | PreparedPicture) -> np.ndarray:
        """(planes or angles, side, side) float32: all that the network is shown of a case."""
        first = self.image(case, self.planes[0])
        if self.card.input == "picture":
            return views(case.gray, self.card.preprocessing)
        return np.stack([first, *(self.image(case, plane) for plane in self.planes[1:])])

    def image(self, case: NoduleROI | PreparedPicture, plane: str) -> np.ndarray:
        """(side, side) float32: one plane of a nodule, or a picture upright. Raises InputError, UsageError."""
        if self.card.input == "picture":
            if not isinstance(case, PreparedPicture):
                raise UsageError(f"The model {self.card.id} scores 2-D pictures, not nodules in a CT.", "input-kind")
            return prepare(case.gray, self.card.preprocessing)
        return resized(montage(getattr(case, plane), self.card), self.side)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """(M, side, side) network input -> (M,): each image's probability of the positive class, as ``predict`` has it.

        For images that are no case of their own, such as one with places taken out of it.
        """
        logits = np.clip(self._calibrated(self._outputs(images, None)[0]), -700, 700)
        return (1.0 / (1.0 + np.exp(-logits))).mean(axis=0)

    def _calibrated(self, logits: np.ndarray) -> np.ndarray:
        calibration = self.card.values["calibration"]
        return logits * calibration["slope"] + calibration["intercept"]

    def _percentiles(self, tokens: list[np.ndarray], cases: int) -> list[float | None]:
        """Each case's place among the training cases' distances; the members' distances are averaged."""
        if not self.distances:
            return [None] * cases
        found = []
        for member, distances in zip(tokens, self.distances, strict=True):
            by_plane = member.reshape(cases, len(self.planes), -1, member.shape[-1]).mean(axis=2)  # over angles
            found.append(case_distance({p: by_plane[:, n] for n, p in enumerate(self.planes)}, distances))
        reference = self.card.training_distances
        return [percentile(value, reference) for value in np.mean(found, axis=0)]

    def _outputs(
        self, images: np.ndarray, progress: Callable[[float], None] | None
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """(M, side, side) -> (members, M) float64: logit of the positive class minus that of the other; and each
        member's features (M, width) float64."""
        rows, tokens = [], []
        with torch.inference_mode(), without_tf32():
            for number, member in enumerate(self.members):
                weight = next(member.encoder.parameters())
                parts, seen = [], []
                # What the layer reads is what the distance is measured on.
                hook = member.head.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
                for start in range(0, len(images), BATCH):
                    batch = torch.from_numpy(images[start : start + BATCH]).unsqueeze(1)
                    parts.append(member.logits(batch.to(weight.device, weight.dtype)).double().cpu())
                    if progress is not None:
                        done = number + min(start + BATCH, len(images)) / len(images)
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


def _distances(bundle: ModelBundle, planes: tuple[str, ...], width: int) -> list[dict[str, FeatureDistance]]:
    """Each member's distance to its training cases, by plane; width: of the features. Raises ModelError."""
    made = []
    for tensors in bundle.weights("statistics"):
        try:
            count = tensors["count"].item()
            if any(tensors[f"{p}_mean"].shape != (width,) for p in planes):
                raise ValueError(f"they are not of {width} features")
            made.append(
                {p: FeatureDistance.of(tensors[f"{p}_mean"], tensors[f"{p}_covariance"], count) for p in planes}
            )
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
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
    return to_montage(normalize(stack, card.preprocessing))
