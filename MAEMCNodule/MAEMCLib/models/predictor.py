"""From cases to probabilities: the classifier members of a bundle on one device."""

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..applicability import FeatureDistance, branch_distances, case_distance, percentile
from ..cases.values import CHOICE, NUMBER, ClinicalField, ClinicalValues
from ..errors import ArchitectureError, InputError, ModelError
from ..inputs.input import Prepared
from ..inputs.jitter import jittered
from ..machine.device import choose_device, placed, without_tf32
from ..measures.middle_slice import measured_values
from ..measures.outline import shipped_outliner
from ..networks.classifier import Classifier, mean_of
from ..networks.configuration import MIDDLE_SLICE
from ..networks.heads import head_named
from ..presence.detector import presence
from ..results import MEASURED, Prediction
from .beside import beside_of
from .bundle import ModelBundle
from .card import ModelCard, branch_source
from .tensor_header import FLOATS, TensorHeader

BATCH = 16
"""Images, or cases, computed at once: enough to feed a GPU, few enough for 4 GB of its memory with ViT-L."""


@dataclass(frozen=True)
class Observations:
    """What the networks are given of B cases with K images each: planes, or angles of a picture.

    images: (N, side, side) float32, those that were observed, case by case. seen: (B, K) bool, which they are.
    values, given: (B, A) float32 and bool, the clinical values, or what is measured of the region.
    """

    images: np.ndarray
    seen: Tensor
    values: Tensor
    given: Tensor


class Predictor:
    """A loaded bundle, ready to score. Loading is slow, scoring fast: keep it.

    halves: whether its weights are stored in half precision.

    Raises ModelError where the weights do not fit the architecture that the card states.
    """

    def __init__(self, bundle: ModelBundle, device: str = "auto") -> None:
        self.bundle = bundle
        self.card: ModelCard = bundle.card
        self.notice = ""
        self.side = self.card.encoder.image_size
        self.card.kind.check_side(self.card.preprocessing, self.side, self.card.id)
        self.sources = _sources(self.card)
        with torch.device("meta"):
            network = self._network()
        loaded = load_members(bundle, "classifier", network)
        self.halves = next(loaded[0].parameters()).dtype in (torch.bfloat16, torch.float16)
        self.device = choose_device(device).name
        self.members = [placed(member, self.device) for member in loaded]
        for member in self.members:
            for name, part in member.named_children():
                if name != "encoder" and not member.RELATES:  # rounding its few products is what moves a logit most
                    part.float()
        width = self.members[0].encoder.width
        self.distances = _distances(bundle, self.branches, width) if self.card.training_distances else []
        self.beside = beside_of(bundle, width)

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of the images of a case that the networks see."""
        return tuple(self.sources)

    def _network(self) -> Classifier:
        card = self.card
        head = head_named(card.head)
        if head.RELATES is not (card.graph is not None):
            raise ArchitectureError(
                f"The head {card.head} of {card.id} does not go with its fusion {card.fusion}. Get the model again.",
            )
        if head.MEASURES and card.input != "nodule":
            raise ArchitectureError(
                f"The head {card.head} of {card.id} measures nodules, and the model scores {card.kind.described}. Get "
                "the model again.",
            )
        return head(card.encoder, len(card.classes), graph=card.graph)

    def predict(self, cases: Sequence[Prepared], progress: Callable[[float], None] | None = None) -> list[Prediction]:
        """Score cases. progress is called with the share done.

        On a GPU without enough memory the model moves to the CPU, once, and each result says so.
        Raises InputError for a region of the wrong shape, or where nothing at all was observed of a case; ModelError
        for a result that is not finite.
        """
        started = time.perf_counter()
        observed = self._observed(cases)
        try:
            logits, features = self._outputs(observed, progress)
        except torch.OutOfMemoryError:
            self.notice = f"{self.device} ran out of memory; computed on the CPU instead."
            self.device = "cpu"
            self.members = [placed(member, "cpu") for member in self.members]
            torch.cuda.empty_cache()
            logits, features = self._outputs(observed, progress)
        if not np.isfinite(logits).all():
            raise ModelError(
                f"The model {self.card.id} gives no finite result. Get it again from its source.", "weights"
            )
        percentiles = self._percentiles(features, observed.seen)
        told = self.beside.told(mean_features(features, observed.seen), observed.seen.any(dim=1).numpy())
        found = [replace(self._prediction(logits[:, n], percentiles[n]), **told[n]) for n in range(len(cases))]
        found = self._with_measured(observed, found)
        found = self._at_points(cases, found)
        seconds = (time.perf_counter() - started) / len(cases)
        return [replace(one, seconds=seconds) for one in found]

    def _with_measured(self, observed: Observations, found: list[Prediction]) -> list[Prediction]:
        """The same, with what was measured and the probability that it gives without the images."""
        if not self.members[0].MEASURES or len(self.card.classes) > 2:
            return found
        values = observed.values.to(self.members[0].beside.weight).double()
        logits = np.stack([member.of_values(values).cpu().numpy() for member in self.members])
        alone = self._class_probabilities(logits)[..., 1].mean(axis=0)
        return [
            replace(one, measured=dict(zip(MEASURED, (*map(float, own), float(p)), strict=True))) if there else one
            for one, own, p, there in zip(found, observed.values, alone, observed.given.all(dim=1), strict=True)
        ]

    def _at_points(self, cases: Sequence[Prepared], found: list[Prediction]) -> list[Prediction]:
        """The same, with whether a nodule is present, and the range of what is scored beside the point."""
        known = [number for number, case in enumerate(cases) if case.patch is not None]
        for number, present in zip(known, presence([cases[number].patch for number in known]), strict=True):
            found[number] = replace(found[number], nodule_present=present)
        moved = [
            (number, replace(case, region=region))
            for number, case in enumerate(cases)
            if case.margin is not None and not case.values.regions and len(self.card.classes) == 2
            for region in jittered(case.margin, self.card.preprocessing.slice_step_mm)
        ]
        if not moved:
            return found
        scored = self.probabilities(self._observed([case for _, case in moved]))[:, 1]
        for number in {number for number, _ in moved}:
            own = found[number].probability
            every = [own, *(float(p) for (of, _), p in zip(moved, scored, strict=True) if of == number)]
            found[number] = replace(found[number], jitter_low=min(every), jitter_high=max(every))
        return found

    def outline(self, planes: np.ndarray, first_mm: float, step_mm: float) -> np.ndarray:
        """The logits of a nodule's outline in the planes of a ``measures.field.Field``. The network for it is the same
        for all bundles, and so small that it stays on the CPU."""
        return shipped_outliner().logits(planes, first_mm, step_mm)

    def reference_logits(self, case: Prepared) -> np.ndarray:
        """(members, classes - 1): a case's logits before calibration, over that of the first class."""
        logits = self._outputs(self._observed([case]), None)[0][:, 0]
        return logits[:, 1:] - logits[:, :1]

    def image(self, case: Prepared, plane: str, series: str = "") -> np.ndarray | None:
        """(side, side) float32: an image of a case, upright; None where the series was not observed."""
        views = self._views(case, series, plane)
        return None if views is None else np.array(views[0])

    def alone(self, images: np.ndarray, branch: str, values: ClinicalValues) -> Observations:
        """(M, side, side) network input of a branch, each with a case's values and without its other images: for
        images that are no case of their own, such as one with places taken out of it, in which nothing is measured."""
        seen = torch.zeros(len(images), len(self.branches), dtype=torch.bool)
        seen[:, self.branches.index(branch)] = True
        known, given = value_tensors([values.values] * len(images), self.card.clinical)
        return Observations(images, seen, known, given)

    def probabilities(self, observed: Observations) -> np.ndarray:
        """(B, classes): each class's probability, as ``predict`` has it."""
        return self._class_probabilities(self._outputs(observed, None)[0]).mean(axis=0)

    def features(self, cases: Sequence[Prepared]) -> np.ndarray:
        """(members, B, width) float64: what each member makes of a case, mean over the images that were observed."""
        observed = self._observed(cases)
        return mean_features(self._outputs(observed, None)[1], observed.seen)

    def _views(self, case: Prepared, series: str, plane: str) -> np.ndarray | None:
        """(views, side, side): all that is shown of a plane; None where nothing of it was observed. Raises
        InputError."""
        region = case.values.regions.get(series) if series else case.region
        if region is not None:
            shown = self.card.kind.images(region, plane, self.card.preprocessing, self.side)
            return shown if self.card.kind.observes(region, plane, self.card) else None
        if case.values.values.get(series) is not None:
            raise InputError(
                f"The series {series} was named, but its region did not come with it. Send both.", "series"
            )
        return None

    def _observed(self, cases: Sequence[Prepared]) -> Observations:
        """Nothing is drawn in the place of a series that was not given."""
        images, seen = [], []
        for case in cases:
            views = [self._views(case, *source) for source in self.sources.values()]
            observed = [view for view in views if view is not None]
            images += observed
            seen.append(np.repeat([view is not None for view in views], max(map(len, observed), default=1)))
        values, given = self._values(cases)
        seen = torch.from_numpy(np.stack(seen))
        if not (seen.any(dim=1) | given.any(dim=1)).all():
            raise InputError(
                f"Nothing that the model {self.card.id} reads was given: neither an image nor a value. "
                "Give at least one.",
                "nothing-given",
            )
        none = np.zeros((0, self.side, self.side), np.float32)
        return Observations(np.concatenate([none, *images]), seen, values, given)

    def _values(self, cases: Sequence[Prepared]) -> tuple[Tensor, Tensor]:
        """(B, A) float32 and bool: what was asked for, or what the head has measured."""
        if not self.members[0].MEASURES:
            return value_tensors([case.values.values for case in cases], self.card.clinical)
        found = measured_values(np.stack([case.region.axial[MIDDLE_SLICE] for case in cases]))
        return tuple(map(torch.from_numpy, found))

    def _outputs(
        self, observed: Observations, progress: Callable[[float], None] | None
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """(members, B, classes) float64, the logits; and each member's features (B, K, width) float64, zero where
        nothing was seen."""
        logits, features = [], []
        with torch.inference_mode(), without_tf32():
            for number, member in enumerate(self.members):
                weight = next(member.encoder.parameters())
                beside = (observed.seen, observed.values, observed.given)
                seen, values, given = (part.to(weight.device) for part in beside)
                encoded = weight.new_zeros(*seen.shape, member.encoder.width)
                parts = []
                for start in range(0, len(observed.images), BATCH):
                    batch = torch.from_numpy(observed.images[start : start + BATCH]).unsqueeze(1)
                    parts.append(member.encoder.features(batch.to(weight)))
                    if progress is not None:
                        done = number + min(start + BATCH, len(observed.images)) / len(observed.images)
                        progress(done / len(self.members))
                if parts:
                    encoded[seen] = torch.cat(parts)
                output = member.of_features(encoded, seen, values, given)
                fused = output.fused.cpu().double()
                if not member.RELATES:  # of a few images the mean is exact in double precision
                    fused = mean_of(output.branches.cpu().double(), output.observed.cpu())
                logits.append(fused.numpy())
                features.append(encoded.cpu().double().numpy())
        return np.stack(logits), features

    def _class_probabilities(self, logits: np.ndarray) -> np.ndarray:
        """(members, ..., classes) logits -> probabilities; of two classes calibrated."""
        if logits.shape[-1] == 2:
            positive = 1.0 / (1.0 + np.exp(-np.clip(self.card.calibration.margins(logits), -700, 700)))
            return np.stack([1.0 - positive, positive], axis=-1)
        shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return shifted / shifted.sum(axis=-1, keepdims=True)

    def _percentiles(self, features: list[np.ndarray], seen: Tensor) -> list[float | None]:
        """Each case's place among the training cases' distances; the members' distances are averaged."""
        if not self.distances:
            return [None] * len(seen)
        shape = (len(seen), len(self.branches), -1)
        observed = dict(zip(self.branches, seen.numpy().reshape(shape)[..., 0].T, strict=True))
        measured = []
        for member, distances in zip(features, self.distances, strict=True):
            by_branch = member.reshape(*shape, member.shape[-1]).mean(axis=2)  # over angles
            tokens = {branch: by_branch[:, number] for number, branch in enumerate(self.branches)}
            measured.append(case_distance(tokens, distances, observed))
        reference = self.card.training_distances
        return [percentile(value, reference) if np.isfinite(value) else None for value in np.mean(measured, axis=0)]

    def _prediction(self, logits: np.ndarray, ood_percentile: float | None) -> Prediction:
        """logits: (members, classes). The mean over members of their probabilities."""
        classes, by_class = self.card.classes, None
        if len(classes) == 2:
            members = tuple(map(_sigmoid, self.card.calibration.margins(logits).tolist()))
        else:
            table = self._class_probabilities(logits)
            by_class = dict(zip(classes, table.mean(axis=0).tolist(), strict=True))
            members = tuple(table[:, classes.index(max(by_class, key=by_class.get))].tolist())
        interval = (min(members), max(members), "members") if len(members) > 1 else (None, None, None)
        return Prediction(
            sum(members) / len(members),
            *interval,
            members=members,
            device=self.device,
            seconds=0.0,
            notice=self.notice,
            ood_percentile=ood_percentile,
            class_probabilities=by_class,
        )


def mean_features(features: Sequence[np.ndarray], seen: Tensor) -> np.ndarray:
    """(B, K, width) of each member -> (members, B, width), the mean over what was seen (B, K); zeros of nothing."""
    weight = seen.numpy()[None, ..., None]
    return (np.stack(features) * weight).sum(axis=2) / np.maximum(weight.sum(axis=2), 1)


def value_tensors(
    cases: Sequence[Mapping[str, float | str | None]], fields: Sequence[ClinicalField]
) -> tuple[Tensor, Tensor]:
    """Clinical values as the network takes them, (cases, A) float32 and bool: a number, or the index of a choice."""
    read = [one for one in fields if one.kind in (NUMBER, CHOICE)]
    values, given = np.zeros((len(cases), len(read)), np.float32), np.zeros((len(cases), len(read)), bool)
    for row, case in enumerate(cases):
        for column, one in enumerate(read):
            value = case.get(one.name)
            if value is not None:
                given[row, column] = True
                values[row, column] = one.choices.index(value) if one.kind == CHOICE else value
    return torch.from_numpy(values), torch.from_numpy(given)


def _sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value > -700 else 0.0


def _sources(card: ModelCard) -> dict[str, tuple[str, str]]:
    """Each branch's (series, plane); the series of the image that is scored is ""."""
    if card.graph is None:
        return {plane: ("", plane) for plane in card.kind.planes[card.fusion]}
    return {branch: branch_source(branch) for branch in card.graph.branches}


def _distances(bundle: ModelBundle, branches: tuple[str, ...], width: int) -> list[dict[str, FeatureDistance]]:
    """Each member's distance to its training cases, by branch; width: of the features. Raises ModelError."""
    made = []
    for tensors in bundle.weights("statistics"):
        try:
            if any(tensors[f"{b}_mean"].shape != (width,) for b in branches):
                raise ValueError(f"they are not of {width} features")
            made.append(branch_distances(tensors, branches))
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise ModelError(
                f"The feature statistics of {bundle.card.id} cannot be used ({error}). Get the model again.", "weights"
            ) from error
    return made


def load_members(bundle: ModelBundle, role: str, network: nn.Module) -> list[nn.Module]:
    """The members with a role, on the CPU, in their own precision. network: one, on the "meta" device.

    Its copies are filled by assignment: a network that the weights do not fit takes no memory, and one that they fit
    has them in memory once (ViT-L: 1.2 GB in float32). Raises ModelError naming what does not fit.
    """
    members = []
    for name in bundle.card.members(role):
        empty = copy.deepcopy(network)
        header = bundle.header(name)
        _check_fit(header, empty.state_dict(), bundle.card.id)
        empty.load_state_dict(bundle.tensors(name), assign=True)
        (kind,) = {tensor.dtype for tensor in empty.state_dict().values() if tensor.is_floating_point()}
        members.append(empty.to(dtype=kind).eval().requires_grad_(False))
    return members


def _check_fit(header: Mapping[str, TensorHeader], expected: Mapping[str, Tensor], model: str) -> None:
    wrong = sorted(set(expected) ^ set(header)) or sorted(
        name for name, tensor in header.items() if tensor.shape != tuple(expected[name].shape)
    )
    # A batch norm counts its batches in a whole number; all else is of one floating type.
    kinds = {tensor.dtype for name, tensor in header.items() if not name.endswith("num_batches_tracked")}
    if wrong or len(kinds) != 1 or not kinds <= FLOATS:
        what = f"tensors of type {', '.join(sorted(kinds))}"
        if wrong:
            first = "".join(letter if letter.isprintable() else "?" for letter in wrong[0][:80])  # a stranger's name
            what = f"{len(wrong)} tensors differ, first {first}"
        raise ModelError(
            f"The weights of {model} do not fit its architecture ({what}). Get the model again.", "weights"
        )
