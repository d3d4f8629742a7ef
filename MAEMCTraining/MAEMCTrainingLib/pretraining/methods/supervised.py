"""Supervised pre-training: an encoder and one linear layer learn the classes that a column of the manifest names.

The plain rival in the papers' tables ("supervised ViT" of Zhao et al. 2025, table 2; "supervised cross-entropy" beside
ModAn-MulSupCon), and a pre-training in its own right on whatever labels a manifest has.
"""

from dataclasses import dataclass

import numpy as np
import torch
from MAEMCLib.errors import InputError
from MAEMCLib.networks.configuration import DecoderConfiguration
from MAEMCLib.networks.vit import Linear, initialize
from torch import Tensor
from torch.nn import functional

from ...engine.batch_norm import check_micro_batch
from ...engine.configuration import check
from ...engine.optimization import class_weights
from ..method import Method, MethodSettings, ViewBatch


@dataclass(frozen=True)
class Configuration(MethodSettings):
    """The settings of supervised pre-training."""

    columns: tuple[str, ...] = ("label",)  # the manifest's column that holds the class; one
    classes: tuple[str, ...] = ()  # the values found in it; the run fills them in
    class_counts: tuple[int, ...] = ()  # cases of each class, in their order; the run fills them in
    # True: a class weighs n / (classes * cases of it), so that each counts the same in the loss of the whole data set.
    class_weights: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check(len(self.columns) == 1, f"columns is {self.columns}, but it has to be one: an image has one class.")
        fits = len(self.class_counts) in (0, len(self.classes)) and all(count > 0 for count in self.class_counts)
        check(fits, f"class_counts is {self.class_counts}, but it has to be a number above 0 for each of the classes.")


class Supervised(Method):
    """Any encoder and a linear layer; the loss is the class-weighted cross-entropy."""

    Configuration = Configuration
    VIEWS = "one"

    def add_parts(self, decoder: DecoderConfiguration, seed: int) -> None:
        """Raises InputError where the data have fewer than two classes."""
        settings, classes = self.configuration, len(self.configuration.classes)
        if classes < 2:
            content = f"only {settings.classes[0]!r}" if classes else "nothing"
            raise InputError(
                f"The column {settings.columns[0]!r} holds {content}. Supervised pre-training needs at least two "
                "classes: name another column (columns=NAME), or choose a method without labels.",
                "single-class",
            )
        self.head = Linear(self.encoder.width, classes)
        initialize(self.head, seed + 1, deviation=0.02)  # undecided at the start, as the classifier's
        counts = np.array(settings.class_counts or (1,) * classes)
        weights = class_weights(counts) if settings.class_weights else np.ones(classes)
        self.register_buffer("weights", torch.from_numpy(weights).float(), persistent=False)

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], None]:
        """The losses of one micro-batch; ``batch.attributes`` (B, classes) marks the class of each image.

        Returns "loss" with its gradient and, detached, "loss_cross_entropy" (nats, unweighted) and "accuracy". Raises
        InputError for an image of no class or of several, UsageError for one image at a time with batch normalization.
        """
        check_micro_batch(len(batch.attributes), self.encoder)
        marks = batch.attributes.sum(dim=1)
        if batch.attributes.shape[1] != len(self.weights) or bool((marks != 1).any()):
            raise InputError(
                f"An image has no class, or several, in the column {self.configuration.columns[0]!r}. Give each image "
                "one value.",
                "class",
            )
        labels = batch.attributes.int().argmax(dim=1)
        logits = self.head(self.encoder.features(batch.images[0])).float()
        each = functional.cross_entropy(logits, labels, reduction="none")
        # Not divided by the sum of the batch's weights: so a sample counts the same in whatever batch it is.
        losses = {
            "loss": (each * self.weights[labels]).mean(),
            "loss_cross_entropy": each.detach().mean(),
            "accuracy": (logits.argmax(dim=1) == labels).float().mean(),
        }
        return losses, None
