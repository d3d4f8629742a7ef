"""ModAn-MulSupCon: supervised contrast of images by what is known of them, their modality and their anatomy.

Two crops of an image agree with those of another image as far as their attributes overlap (Jaccard's index of the
multi-hot labels); the more they share, the more the loss pulls them together (methods.md, sections 4 and 6.4).
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal

import torch
from MAEMCLib.errors import InputError
from MAEMCLib.networks.configuration import DecoderConfiguration
from torch import Tensor

from ...engine.batch_norm import check_micro_batch
from ...engine.configuration import Bound, Count, Positive, UpToOne
from ..method import Method, MethodSettings, ViewBatch
from ..parts.gathering import rows_of_all
from ..parts.projection import Projection


@dataclass(frozen=True)
class Configuration(MethodSettings):
    """The settings of ModAn-MulSupCon."""

    # The manifest's columns whose values are the attributes; a cell may hold several, separated by ";".
    columns: Annotated[tuple[str, ...], Bound("at least one column", bool)] = ("modality", "anatomy")
    classes: tuple[str, ...] = ()  # the attributes found; the run fills them in
    # Two images are positives from this overlap on. With one modality and one anatomy each, an overlap is 0, 1/3 or 1:
    # every threshold up to 1/3 means "share at least one", every one above makes the loss plain SupCon of equal labels.
    threshold: UpToOne = 0.3
    temperature: Positive = 0.07
    # What an anchor's sum is divided by. "count": the number of its positives, as printed; "sum": their weights.
    normalizer: Literal["count", "sum"] = "count"
    # The head: one hidden layer (as wide as ResNet-18's features), then this many numbers.
    projection_hidden: Count = 512
    projection_width: Count = 128


def overlap(anchors: Tensor, others: Tensor, threshold: float) -> Tensor:
    """Jaccard's index (A, R) float32 of multi-hot labels anchors (A, F) and others (R, F), bool; 0 below the threshold.

    The comparison is one of whole numbers, intersection * denominator >= union * numerator, with the threshold taken as
    the decimal or the fraction that the user meant, to six digits: 1/3 reaches 1/3. Two labels without any attribute
    have nothing in common: 0.
    """
    wanted = Fraction(threshold).limit_denominator(1_000_000)
    with torch.autocast(anchors.device.type, enabled=False):
        # Sums of zeros and ones: float32 holds them exactly, and every device multiplies matrices of it.
        both = (anchors.float() @ others.float().T).round().long()
    either = anchors.sum(dim=1)[:, None] + others.sum(dim=1) - both
    reached = (both * wanted.denominator >= either * wanted.numerator) & (either > 0)
    return (both / either.clamp(min=1)).masked_fill(~reached, 0.0)


def weighted_contrast(
    anchors: Tensor, others: Tensor, own: Tensor, weights: Tensor, temperature: float, normalizer: str = "count"
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of anchors (A, D) among others (R, D), unit vectors; own: (A,) which of the others an anchor itself is.

    Of each anchor, - 1 / |P| * sum over P of w_p * log(exp(z.z_p / T) / sum over all others but itself of
    exp(z.z_k / T)), w being the weights (A, R) and P its positives, those of a weight above 0; ``normalizer`` "sum"
    divides by the weights' sum instead of |P|.

    Returns the mean over all anchors, what it would be if all vectors were alike, and each anchor's number of positives
    (A,). An anchor without any contributes nothing: its loss and its gradient are exactly 0.
    """
    # float32 also under autocast: a similarity divided by a temperature of 0.07 has no digits to spare for bfloat16.
    with torch.autocast(anchors.device.type, enabled=False):
        itself = torch.zeros_like(weights, dtype=torch.bool).scatter_(1, own[:, None], True)
        weights = weights.float().masked_fill(itself, 0.0)
        positive = weights > 0
        logits = (anchors.float() @ others.float().T / temperature).masked_fill(itself, float("-inf"))
        logarithms = logits.log_softmax(dim=1).masked_fill(~positive, 0.0)
        count = positive.sum(dim=1)
        size = count.float() if normalizer == "count" else weights.sum(dim=1)
        size = torch.where(count > 0, size, 1.0)
        each = -(weights * logarithms).sum(dim=1) / size
        alike = weights.sum(dim=1) / size * math.log(max(len(others) - 1, 1))
    return each.mean(), alike.mean(), count


class ModAnMulSupCon(Method):
    """Any encoder and a projection head; both views of every image of the batch are anchors."""

    Configuration = Configuration
    VIEWS = "pair"
    WHOLE_BATCH = True

    def add_parts(self, decoder: DecoderConfiguration, seed: int) -> None:
        hidden, output = self.configuration.projection_hidden, self.configuration.projection_width
        self.projection = Projection(self.encoder.width, hidden, output, seed + 1)

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], None]:
        """The losses of one micro-batch; ``batch.attributes`` (B, A) marks what is known of each image.

        An image's own other view always is a positive of weight 1, and of an image without attributes the only one.

        Returns "loss" with its gradient and, detached, "loss_if_alike" (that of features which tell nothing apart: what
        was learned is the difference, a few tenths where images share much), "positives" (mean number of an anchor),
        "without_positive" (views of the whole batch that have none) and "without_attributes" (images of the whole
        batch). Raises UsageError for one image at a time with batch normalization, InputError for data without
        attributes.
        """
        settings, labels = self.configuration, batch.attributes.bool()
        if labels.shape[1] == 0:
            raise InputError(
                f"Nothing is known of the images: the columns {', '.join(settings.columns)} are empty or missing. Fill "
                "them in, name others (columns=NAME,NAME), or choose a method without metadata.",
                "columns",
            )
        all_labels, mine = rows_of_all(labels.byte())
        images = len(all_labels)
        check_micro_batch(len(labels), self.encoder)
        views = self.projection(self.encoder.features(torch.cat(batch.images[:2]))).view(2, len(labels), -1)
        all_views, _ = rows_of_all(views.transpose(0, 1))
        # Rows of the whole batch: the first view of every image, then the second one of every image.
        others = all_views.transpose(0, 1).flatten(0, 1)
        own = torch.arange(2 * images, device=others.device).view(2, images)[:, mine].flatten()
        weights = overlap(labels, all_labels.bool(), settings.threshold).repeat(2, 2)
        weights = weights.scatter(1, ((own + images) % (2 * images))[:, None], 1.0)  # the other view of the same image
        loss, alike, positives = weighted_contrast(
            views.flatten(0, 1), others, own, weights, settings.temperature, settings.normalizer
        )
        # Counts, so made that the loop's mean over processes is the count of the whole batch.
        processes = images / len(labels)
        losses = {
            "loss": loss,
            "loss_if_alike": alike,
            "positives": positives.float().mean(),
            "without_positive": (positives == 0).sum() * processes,
            "without_attributes": (~labels.any(dim=1)).sum() * processes,
        }
        return losses, None
