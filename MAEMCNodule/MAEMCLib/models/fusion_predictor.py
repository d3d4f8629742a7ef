"""From regions and clinical values to probabilities: the members of a fusion bundle on one device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..cases.values import CHOICE, NUMBER, ClinicalCase, ClinicalField
from ..errors import InputError, ModelError
from ..inputs.montage import resized
from ..machine.device import choose_device
from ..machine.precision import placed, without_tf32
from ..networks.heads.graph import GraphHead
from .bundle import ModelBundle
from .card import ModelCard
from .fusion_graph import branch_source, graph_of
from .loading import load_members
from .predictor import BATCH, Prediction, Predictor, montage


@dataclass(frozen=True)
class FusionPrediction(Prediction):
    """class_probabilities: of every class, by name, where there are more than two; probability, interval and members
    are then those of the most probable one."""

    class_probabilities: dict[str, float] | None = None


def value_tensors(
    cases: Sequence[Mapping[str, float | str | None]], asked: Sequence[ClinicalField]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clinical values as the network takes them, (cases, A) float32 and bool: a number, or the index of a choice."""
    read = [one for one in asked if one.kind in (NUMBER, CHOICE)]
    values, given = np.zeros((len(cases), len(read)), np.float32), np.zeros((len(cases), len(read)), bool)
    for row, case in enumerate(cases):
        for column, one in enumerate(read):
            value = case.get(one.name)
            if value is not None:
                given[row, column] = True
                values[row, column] = one.choices.index(value) if one.kind == CHOICE else value
    return torch.from_numpy(values), torch.from_numpy(given)


class FusionPredictor:
    """A loaded fusion bundle, ready to score, with the surface of ``predict.Predictor``.

    Raises ModelError where the weights do not fit the architecture that the card states.
    """

    def __init__(self, bundle: ModelBundle, device: str = "auto") -> None:
        self.bundle = bundle
        self.card: ModelCard = bundle.card
        self.device = choose_device(device).name
        self.notice = ""
        self.asked = self.card.clinical
        encoder = self.card.encoder
        self.side = encoder.image_size
        self.graph = graph_of(self.card.values, self.asked, self.card.id)
        members = load_members(
            bundle, "classifier", lambda: GraphHead(encoder, len(self.card.classes), graph=self.graph)
        )
        self.members = [placed(member, self.device) for member in members]

    def predict(
        self, cases: list[ClinicalCase], progress: Callable[[float], None] | None = None
    ) -> list[FusionPrediction]:
        """Score regions with what is known beside them. progress is called with the share done.

        Raises InputError for a region of the wrong shape or where nothing at all was observed of a case.
        """
        started = time.perf_counter()
        images, seen = self._images(cases)
        values, given = value_tensors([case.values.values for case in cases], self.asked)
        if not (seen.any(dim=1) | given.any(dim=1)).all():
            raise InputError(
                f"Nothing that the model {self.card.id} reads was given: neither an image nor a value. "
                "Give at least one.",
                "nothing-given",
            )
        try:
            logits = self._logits(images, seen, values, given, progress)
        except torch.OutOfMemoryError:
            self.notice = f"{self.device} ran out of memory; computed on the CPU instead."
            self.device = "cpu"
            self.members = [placed(member, "cpu") for member in self.members]
            torch.cuda.empty_cache()
            logits = self._logits(images, seen, values, given, progress)
        if not np.isfinite(logits).all():
            raise ModelError(
                f"The model {self.card.id} gives no finite result. Get it again from its source.", "weights"
            )
        seconds = (time.perf_counter() - started) / len(cases)
        return [self._prediction(logits[:, case], seconds) for case in range(len(cases))]

    def reference_logits(self, case: ClinicalCase) -> np.ndarray:
        """(members, classes - 1): a case's fused logits before calibration, over that of the first class."""
        images, seen = self._images([case])
        values, given = value_tensors([case.values.values], self.asked)
        logits = self._logits(images, seen, values, given, None)[:, 0]
        return logits[:, 1:] - logits[:, :1]

    def _images(self, cases: Sequence[ClinicalCase]) -> tuple[torch.Tensor, torch.Tensor]:
        """(cases, K, 1, S, S) and (cases, K) bool; nothing is drawn in the place of a series that was not given."""
        images = np.zeros((len(cases), len(self.graph.branches), self.side, self.side), np.float32)
        seen = np.zeros(images.shape[:2], bool)
        for row, case in enumerate(cases):
            for number, branch in enumerate(self.graph.branches):
                series, plane = branch_source(branch)
                region = case.values.regions.get(series) if series else case.roi
                if region is not None:
                    images[row, number] = resized(montage(getattr(region, plane), self.card), self.side)
                    seen[row, number] = True
                elif case.values.values.get(series) is not None:
                    raise InputError(
                        f"The series {series} was named, but its region did not come with it. Send both.", "series"
                    )
        return torch.from_numpy(images)[:, :, None], torch.from_numpy(seen)

    def _logits(
        self,
        images: torch.Tensor,
        seen: torch.Tensor,
        values: torch.Tensor,
        given: torch.Tensor,
        progress: Callable[[float], None] | None,
    ) -> np.ndarray:
        """(members, cases, classes) float64, the fused logits."""
        rows = []
        with torch.inference_mode(), without_tf32():
            for number, member in enumerate(self.members):
                kind = next(member.parameters()).dtype
                parts = []
                for start in range(0, len(images), BATCH):
                    batch = [part[start : start + BATCH].to(self.device) for part in (images, seen, values, given)]
                    parts.append(member(batch[0].to(kind), *batch[1:]).fused.double().cpu())
                    if progress is not None:
                        done = number + min(start + BATCH, len(images)) / len(images)
                        progress(done / len(self.members))
                rows.append(torch.cat(parts).numpy())
        return np.stack(rows)

    def _prediction(self, logits: np.ndarray, seconds: float) -> FusionPrediction:
        """logits: (members, classes). The mean over members of their probabilities."""
        classes = self.card.classes
        if len(classes) == 2:
            calibration = self.card.values["calibration"]
            margins = (logits[:, 1] - logits[:, 0]) * calibration["slope"] + calibration["intercept"]
            members = tuple(1.0 / (1.0 + math.exp(-value)) if value > -700 else 0.0 for value in margins.tolist())
            by_class = None
        else:
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
            table = shifted / shifted.sum(axis=1, keepdims=True)
            by_class = dict(zip(classes, table.mean(axis=0).tolist(), strict=True))
            members = tuple(table[:, classes.index(max(by_class, key=by_class.get))].tolist())
        several = len(members) > 1
        return FusionPrediction(
            probability=sum(members) / len(members),
            interval_low=min(members) if several else None,
            interval_high=max(members) if several else None,
            interval_kind="members" if several else None,
            members=members,
            device=self.device,
            seconds=seconds,
            notice=self.notice,
            class_probabilities=by_class,
        )


def new_predictor(bundle: ModelBundle, device: str):
    """As ``open_predictor``, but whatever it computes: for the reference case itself."""
    if bundle.card.fusion == "graph":
        return FusionPredictor(bundle, device)
    return Predictor(bundle, device)
