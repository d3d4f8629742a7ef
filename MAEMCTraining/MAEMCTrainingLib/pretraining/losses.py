"""The two losses of MAEMC-NET as pure functions (Zhao et al. 2025, section 3.3)."""

import torch
from MAEMCLib.networks.masking import gather_tokens
from torch import Tensor
from torch.nn import functional


def masked_mse(prediction: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error over the pixels of the hidden patches, "N the number of missing pixels".

    prediction, target: (B, N, P); hidden: (B, H) indices. Visible patches contribute nothing, nor to the gradient.
    """
    difference = gather_tokens(prediction, hidden).float() - gather_tokens(target, hidden).float()
    return difference.square().mean()


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
