"""One fold of a classifier as a task of the training loop, and what its network makes of cases.

A head that looks at each branch by itself is trained on one at a time: a sample is a case and one of its branches. A
head that relates them is trained on all of a case at once, and its loss is the cross-entropy of the fused logits plus
the mean cross-entropy of the observed branches' own. What decides on the epoch is what scoring gives, without what is
measured: beside that, the loss hardly tells one epoch of the network from another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from MAEMCLib.errors import InputError
from MAEMCLib.networks.classifier import Classifier, Logits
from MAEMCLib.networks.configuration import GraphConfiguration
from MAEMCLib.networks.heads import head_named
from MAEMCLib.networks.heads.measured import terms
from torch import Tensor, nn

from ..data.cohort import Settings
from ..data.folds import Fold
from ..engine.optimization import NamedParameter, class_weights, layer_scale
from ..engine.rng import generator
from ..engine.task import Sample, Task
from ..statistics.logistic import fit_classes
from ..statistics.metrics import macro_auc_row
from .cases import CaseImages, LabeledCohort
from .presets import ClassifierConfiguration

TOGETHER = 64
"""Images that pass through the network at once, or all of one case."""
CASES_TOGETHER = 16
"""Cases that pass through a head at once."""


@dataclass
class LabeledBatch:
    """images (B, K, 1, S, S) normalized, seen (B, K), values and given (B, A), labels (B,), weights (B,) of classes."""

    images: Tensor
    seen: Tensor
    values: Tensor
    given: Tensor
    labels: Tensor
    weights: Tensor

    def to(self, device: torch.device | str) -> LabeledBatch:
        """The same batch on another device."""
        return LabeledBatch(*(part.to(device, non_blocking=True) for part in vars(self).values()))

    def __len__(self) -> int:
        return len(self.labels)


class ClassifierTask(Task):
    """One fold: a classifier on the cases of its training part."""

    phase = "finetune"
    divisible = True

    def __init__(
        self,
        cohort: LabeledCohort,
        fold: Fold,
        run: ClassifierConfiguration,
        preprocessing: Settings,
        encoder_state: dict[str, Tensor] | None,
    ) -> None:
        self.cohort, self.fold, self.run = cohort, fold, run
        self.images = CaseImages(cohort, run.augmentation, preprocessing, run.encoder.image_size)
        self.branches = trained_branches(getattr(run, "fusion", "mean"), cohort.branches)
        counts = np.bincount(cohort.labels[fold.train], minlength=len(cohort.classes))
        self.weights = class_weights(counts) if run.class_weights else np.ones(len(counts))
        self.seed = int(generator(run.seed, "fold", 0, fold.number).integers(2**31))
        self.module = self.network()
        self.relates = self.module.RELATES
        self.groups = [self.branches] if self.relates else [(branch,) for branch in self.branches]
        self.samples = len(fold.train) * len(self.groups)
        self.images_per_sample = len(self.groups[0])
        if encoder_state is not None:
            drawn = self.module.encoder.state_dict()
            anew = run.new_patch_embedding and not run.linear_probe
            embedding = {name: drawn[name] for name in drawn if anew and name.startswith("patch_embed.")}
            self.module.encoder.load_state_dict(encoder_state | embedding)
        if run.linear_probe:
            self.module.freeze()

    def network(self) -> Classifier:
        """With its first values."""
        head, run, cohort = head_named(self.run.head), self.run, self.cohort
        if not head.RELATES:
            network = head(run.encoder, len(cohort.classes), self.seed)
            if head.MEASURES:
                network.set_model(*measures_model(cohort, self.fold.train))
            return network
        graph = GraphConfiguration(cohort.branches, cohort.attributes, run.width, run.rounds)
        network = head(run.encoder, len(cohort.classes), self.seed, graph)
        network.set_standardization(*standardization(cohort, self.fold.train))
        return network

    def parameters(self) -> list[NamedParameter]:
        """All that learn, the deeper in the encoder the slower; at first the head alone, where that is asked for."""
        run, depth = self.run, getattr(self.run.encoder, "depth", 0)
        decay = run.optimization.layer_decay if depth else 1.0  # of transformers; others learn at one rate
        parameters = []
        for name, parameter in self.module.named_parameters():
            if parameter.requires_grad:
                scale, start = 1.0, 0
                if name.startswith("encoder."):
                    scale, start = layer_scale(name, depth, decay) * run.encoder_rate, run.frozen_epochs
                parameters.append(NamedParameter(name, parameter, scale, start))
        return parameters

    def shown(self, sample: int) -> tuple[int, tuple[int, ...]]:
        """The case of a sample, and the branches of it that are shown."""
        case, group = divmod(sample, len(self.groups))
        return int(self.fold.train[case]), self.groups[group]

    def names(self, samples: Sequence[Sample]) -> list[str]:
        """The cases of a batch."""
        return [self.cohort.cases[self.shown(number)[0]].where for _, number in samples]

    def batch(self, samples: Sequence[Sample]) -> tuple[LabeledBatch, dict[str, float]]:
        """Augmented images of one batch; the padded share, and of several branches the share that was observed."""
        side = self.run.encoder.image_size
        images = np.zeros((len(samples), self.images_per_sample, side, side), np.float32)
        seen = np.zeros(images.shape[:2], bool)
        cases, padded = [], []
        for row, (epoch, number) in enumerate(samples):
            case, group = self.shown(number)
            cases.append(case)
            for slot, branch in enumerate(group):
                seen[row, slot] = self.cohort.seen[case, branch]
                if seen[row, slot]:
                    images[row, slot], outside = self.images.augmented(case, branch, self.seed, epoch, self.relates)
                    padded.append(outside)
        known, labels = np.array(cases), self.cohort.labels[cases]
        given = self.cohort.given[known] & self.relates  # what is measured is withheld (heads.measured)
        parts = (seen, self.cohort.values[known], given, labels)
        weights = torch.from_numpy(self.weights[labels].astype(np.float32))
        batch = LabeledBatch(torch.from_numpy(images)[:, :, None], *map(torch.from_numpy, parts), weights)
        figures = {"padded_fraction": sum(padded) / max(1, len(padded))}
        return batch, figures | ({"observed": float(seen.astype(np.float32).mean())} if self.relates else {})

    def step(self, model: nn.Module, batch: LabeledBatch) -> tuple[dict[str, Tensor], None]:
        """The loss, and where the head relates branches its two parts; means over samples."""
        logits = model(batch.images, batch.seen, batch.values, batch.given)
        return self.losses(logits, batch.labels, batch.weights), None

    def validate(self, device: torch.device) -> dict[str, float]:
        """The same loss on the validation part without augmentation; the macro AUC where every class is there."""
        cases = self.fold.validation
        labels = self.cohort.labels[cases]
        logits = self.outputs(cases, device)
        weights = torch.from_numpy(self.weights[labels])
        figures = {"loss": float(self.losses(logits, torch.from_numpy(labels), weights)["loss"])}
        if len(np.unique(labels)) == len(self.cohort.classes):
            chances = logits.fused.softmax(dim=1).numpy()
            figures["auc"] = float(macro_auc_row(labels, chances, np.ones((1, len(cases))))[0])
        return figures

    def losses(self, logits: Logits, labels: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """Weighted cross-entropy; weights: (B,) of each case's class."""
        # Divided by the number of samples and not, as the weighted mean would, by the batch's own weights: small
        # batches without the rarer class then do not count more than others.
        fused = (nn.functional.cross_entropy(logits.fused, labels, reduction="none") * weights).mean()
        if not self.relates:
            return {"loss": fused}
        branches = branch_loss(logits, labels, weights)
        return {"loss": fused + branches, "loss_fused": fused.detach(), "loss_branches": branches.detach()}

    @torch.no_grad()
    def outputs(self, cases: np.ndarray, device: torch.device) -> Logits:
        """The network's logits of cases without augmentation and measures, in double precision on the CPU."""
        self.module.to(device).eval()
        cohort = self.cohort
        if self.relates:
            values = self.features(cases, device)
            return predict(self.module, values, cohort.seen[cases], cohort.values[cases], cohort.given[cases])
        parts, count = [], len(self.branches)
        for places, shown, owners in chunks(self.images, cases, self.branches):
            images = torch.from_numpy(shown).to(device)[:, None, None]
            nothing = images.new_zeros(len(images), 0)
            one_by_one = self.module(images, images.new_ones(len(images), 1).bool(), nothing, nothing.bool())
            # Of each picture, at each angle; the mean is taken in double precision, as scoring takes it.
            width = places.stop - places.start
            fused = mean_of_owners(one_by_one.fused, owners // count, width)
            branches = mean_of_owners(one_by_one.fused, owners, width * count).unflatten(0, (-1, count))
            parts.append(Logits(fused, branches, torch.from_numpy(cohort.seen[np.ix_(cases[places], self.branches)])))
        return joined(parts)

    def features(self, cases: np.ndarray, device: torch.device) -> Tensor:
        """(cases, branches, width) of all branches, as ``fold_model.features``."""
        together = CASES_TOGETHER * len(self.cohort.branches) if self.relates else TOGETHER
        return features(self.module.encoder, self.images, cases, device, together)


def branch_loss(logits: Logits, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy of the observed branches' own logits, the mean over a case's branches and over cases."""
    count = logits.branches.shape[1]
    every = nn.functional.cross_entropy(
        logits.branches.flatten(0, 1), labels.repeat_interleave(count), reduction="none"
    ).unflatten(0, (-1, count))
    return ((every * logits.observed).sum(dim=1) / logits.observed.sum(dim=1) * weights).mean()


def standardization(cohort: LabeledCohort, cases: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and deviation, (A,), of the numbers that are known of some cases; 0 and 1 for choices."""
    center, scale = np.zeros(len(cohort.attributes)), np.ones(len(cohort.attributes))
    for a, choices in enumerate(cohort.attributes):
        numbers = cohort.values[cases, a][cohort.given[cases, a]].astype(float)
        if not choices and len(numbers):
            center[a] = numbers.mean()
            scale[a] = numbers.std() if numbers.std() > 0 else 1.0
    return torch.from_numpy(center), torch.from_numpy(scale)


def measures_model(cohort: LabeledCohort, cases: np.ndarray) -> tuple[Tensor, Tensor]:
    """Weights (classes, 3) and biases (classes,) of the logistic model on what was measured of some cases.

    Raises InputError where no nodule of a class could be measured.
    """
    known = cases[cohort.given[cases].all(axis=1)]
    labels = cohort.labels[known]
    if len(np.unique(labels)) < len(cohort.classes):
        raise InputError(
            "Of a class no nodule that is trained on could be outlined, so that nothing is known of its size and "
            "attenuation. Check the points, or choose head=linear.",
            "unmeasured",
        )
    features = terms(torch.from_numpy(cohort.values[known])).double().numpy()
    return tuple(torch.from_numpy(part).float() for part in fit_classes(features, labels, penalty=1.0))


def trained_branches(fusion: str, branches: Sequence[str]) -> tuple[int, ...]:
    """The numbers of the branches that a head is trained on and evaluated by. fusion: "mean", of all, or the one."""
    return tuple(number for number, name in enumerate(branches) if fusion in ("mean", name) or len(branches) == 1)


def chunks(
    images: CaseImages, cases: np.ndarray, branches: Sequence[int], together: int = TOGETHER
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Plain images of a few cases at a time: their places in ``cases``, (images, S, S), and whose each is, (images,):
    the case's place among them times the number of branches, plus the branch's place in ``branches``."""
    parts: list[np.ndarray] = []
    owners: list[int] = []
    first, slots = 0, 0
    for place, case in enumerate(cases):
        plain = images.plain(int(case))
        for column, branch in enumerate(branches):
            parts.append(plain[branch])
            owners += [(place - first) * len(branches) + column] * len(plain[branch])
            slots += max(1, len(plain[branch]))
        if slots >= together or place + 1 == len(cases):
            shown = [part for part in parts if len(part)]
            yield (
                slice(first, place + 1),
                np.concatenate(shown) if shown else np.zeros((0, images.side, images.side), np.float32),
                np.array(owners, dtype=np.int64),
            )
            parts, owners, first, slots = [], [], place + 1, 0


def mean_of_owners(values: Tensor, owners: np.ndarray, count: int) -> Tensor:
    """(images, ...) -> (count, ...) float64 on the CPU: the mean over each owner's images, zeros of who has none."""
    values, index = values.cpu().double(), torch.from_numpy(owners)
    total = torch.zeros((count, *values.shape[1:]), dtype=torch.float64)
    counts = torch.bincount(index, minlength=count).clamp_min(1).reshape(-1, *[1] * (values.ndim - 1))
    return total.index_add_(0, index, values) / counts


@torch.no_grad()
def features(
    encoder: nn.Module, images: CaseImages, cases: np.ndarray, device: torch.device, together: int = TOGETHER
) -> Tensor:
    """(cases, branches, width) float64 on the CPU: what a head reads, without augmentation or masks; zeros where a
    branch was not observed.

    Of several pictures of a case the mean: a linear head's output of it is the mean of its outputs.
    """
    encoder.eval().to(device)
    branches = range(len(images.cohort.branches))
    parts = []
    for places, shown, owners in chunks(images, np.asarray(cases), branches, together):
        count = (places.stop - places.start) * len(branches)
        values = torch.zeros(0, encoder.width)
        if len(shown):
            values = encoder.features(torch.from_numpy(shown).to(device)[:, None])
        parts.append(mean_of_owners(values, owners, count).unflatten(0, (-1, len(branches))))
    return torch.cat(parts)


@torch.no_grad()
def predict(
    classifier: Classifier, values: Tensor, seen: np.ndarray, clinical: np.ndarray, given: np.ndarray
) -> Logits:
    """What a head makes of features (cases, branches, width), in double precision on the CPU.

    seen: (cases, branches) bool, the branches that it is to look at; clinical, given: (cases, A).
    """
    classifier.eval()
    device = next(classifier.parameters()).device
    parts = []
    for start in range(0, len(values), CASES_TOGETHER):
        chunk = slice(start, start + CASES_TOGETHER)
        exact = values[chunk].float() if device.type == "mps" else values[chunk]
        others = (torch.from_numpy(part[chunk]).to(device) for part in (seen, clinical, given))
        parts.append(classifier.of_features(exact.to(device), *others))
    return joined(parts)


def joined(parts: Sequence[Logits]) -> Logits:
    """One after another, in double precision on the CPU."""
    return Logits(
        torch.cat([part.fused.cpu().double() for part in parts]),
        torch.cat([part.branches.cpu().double() for part in parts]),
        torch.cat([part.observed.cpu() for part in parts]),
    )


def feature_statistics(values: Tensor, seen: np.ndarray, branches: Sequence[str]) -> dict[str, Tensor]:
    """Mean (width,) and covariance (width, width) of each branch's features where it was seen, float32: what the model
    is used to. A branch that fewer than two cases have is left out."""
    statistics = {"count": torch.tensor(float(len(values)))}
    for number, name in enumerate(branches):
        own = values[:, number]
        if not seen[:, number].all():
            own = own[torch.from_numpy(seen[:, number])]
        if len(own) < 2:
            continue
        statistics[f"{name}_mean"] = own.mean(dim=0).float()
        statistics[f"{name}_covariance"] = torch.cov(own.T).float()
        if len(own) < len(values):
            statistics[f"{name}_count"] = torch.tensor(float(len(own)))
    return statistics
