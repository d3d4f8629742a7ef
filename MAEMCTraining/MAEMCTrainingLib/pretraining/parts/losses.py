"""The losses that several pre-training methods share, as pure functions."""

from typing import Literal

import torch
from MAEMCLib.networks.vit import gather_tokens
from torch import Tensor
from torch.nn import functional

SamePatient = Literal["exclude", "keep"]
"""Whether images of the anchor's own patient are no negatives, or count as any other's."""
_EPSILON = 1e-6  # of a patch's variance: a patch of one gray value has none


def masked_mse(prediction: Tensor, target: Tensor, masked: Tensor, hidden: Tensor | None = None) -> Tensor:
    """Mean squared error over the pixels of the masked patches, "N the number of missing pixels".

    Zhao et al. 2025, section 3.3. prediction, target: (B, N, P); masked: (B, H) indices. Visible patches contribute
    nothing, nor to the gradient. hidden: (B, H) bool, which of ``masked`` count; None: all.
    """
    difference = gather_tokens(prediction, masked).float() - gather_tokens(target, masked).float()
    if hidden is not None:
        difference = difference[hidden] if hidden.any() else 0.0 * prediction.float()[:1]
    return difference.square().mean()


def standardized(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Patches (B, N, P) with their own mean 0 and deviation 1, and these means and deviations (B, N, 1).

    The variance is the unbiased one, as in the authors' code.
    """
    mean = patches.mean(dim=-1, keepdim=True)
    deviation = (patches.var(dim=-1, keepdim=True) + _EPSILON).sqrt()
    return (patches - mean) / deviation, mean, deviation


def info_nce(
    query: Tensor, positive: Tensor, negatives: Tensor, allowed: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """InfoNCE of unit vectors against a queue of negatives (He et al. 2020, equation 1).

    query, positive: (B, D), row b of one being the pair of row b of the other; negatives: (K, D); allowed: (B, K)
    bool, which negatives stand in the denominator of which query. The positive always does.

    Returns the mean loss and the mean number of negatives. A query without negatives has a loss of exactly 0 and no
    gradient.
    """
    # float32 also under autocast: a similarity divided by a temperature of 0.07 has no digits to spare for bfloat16.
    with torch.autocast(query.device.type, enabled=False):
        query, positive, negatives = query.float(), positive.float(), negatives.float()
        similar = (query * positive).sum(dim=1, keepdim=True)
        others = (query @ negatives.T).masked_fill(~allowed, float("-inf"))
        logits = torch.cat([similar, others], dim=1) / temperature
        first = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        loss = functional.cross_entropy(logits, first)
    return loss, allowed.sum(dim=1).float().mean()


def nt_xent(
    pairs: Tensor, patient: Tensor, temperature: float, same_patient: str, mine: slice = slice(None)
) -> tuple[Tensor, Tensor]:
    """Normalized temperature-scaled cross-entropy of a batch's views with each other (Chen et al. 2020, equation 1).

    pairs: (N, 2, D) unit vectors, the two views of each sample; patient: (N,). Each view in turn is the anchor, the
    other view of its sample the positive, the 2 (N - 1) views of the other samples the negatives; ``same_patient``:
    "exclude" leaves those of the anchor's own patient out of the denominator, "keep" does not. ``mine``: the samples
    whose views are anchors (a process's own; the others' stand in the denominator only).

    Returns the mean loss of the anchors and their mean number of negatives. An anchor without negatives has a loss of
    exactly 0 and no gradient.
    """
    with torch.autocast(pairs.device.type, enabled=False):  # for the same reason as above
        views = pairs.float().flatten(0, 1)
        number = torch.arange(len(views), device=views.device)
        anchor = number.view(-1, 2)[mine].flatten()
        positive = anchor ^ 1  # views 2 n and 2 n + 1 are a pair
        sample, owner = number // 2, patient.repeat_interleave(2)
        negative = (sample[anchor, None] != sample) & ((owner[anchor, None] != owner) | (same_patient == "keep"))
        logits = views[anchor] @ views.T / temperature
        logits = logits.masked_fill(~(negative | (number == positive[:, None])), float("-inf"))
        loss = functional.cross_entropy(logits, positive)
    return loss, negative.sum(dim=1).float().mean()
