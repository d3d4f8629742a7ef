"""The contrastive half of a pre-training on patients that it has never seen: InfoNCE, and finding the own other plane.

For methods with MAEMC-NET's parts: encoder, flattening, their momentum copies and a queue (Zhao et al. 2025, 3.3.3).
"""

import numpy as np
import torch
from MAEMCLib.networks.masking import Split
from torch import Tensor, nn

from ..data.cohort import Cohort
from ..engine.configuration import PAPER_VIEWS
from ..engine.rng import generator
from ..pretraining.parts.losses import info_nce
from ..pretraining.run import PretrainedJob

_CHUNK = 16


@torch.no_grad()
def queries_and_keys(
    module: nn.Module, pairs: np.ndarray, noise: np.ndarray | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Unit vectors (B, D) on the CPU: axial through the encoder, coronal through the momentum encoder.

    pairs: (B, 2, 250, 250) network input. noise: (B, 2, N) decides the masks, as in training; None: all is visible.
    """

    def features(encoder: nn.Module, flattening: nn.Module, images: Tensor, draws: Tensor | None) -> Tensor:
        split = Split() if draws is None else module.split(images, draws)
        return flattening(encoder(images, split.keep, split.shown), split.shown).cpu()

    queries, keys = [], []
    for start in range(0, len(pairs), _CHUNK):
        part = slice(start, start + _CHUNK)
        images = torch.from_numpy(pairs[part]).to(device)[:, :, None]
        draws = (None, None) if noise is None else torch.from_numpy(noise[part]).to(device).unbind(dim=1)
        queries.append(features(module.encoder, module.flattening, images[:, 0], draws[0]))
        keys.append(features(module.momentum_encoder, module.momentum_flattening, images[:, 1], draws[1]))
    return torch.cat(queries), torch.cat(keys)


def queue_losses(module: nn.Module, queries: Tensor, keys: Tensor) -> np.ndarray:
    """(B,) InfoNCE of each query in nats: its own key against every key that the queue holds."""
    stored = module.queue.keys[: int(module.queue.filled)].cpu()
    allowed = torch.ones(1, len(stored), dtype=torch.bool)
    temperature = module.configuration.temperature
    rows = zip(queries.split(1), keys.split(1), strict=True)
    return np.array([float(info_nce(query, key, stored, allowed, temperature)[0]) for query, key in rows])


def own_key_first(queries: Tensor, keys: Tensor) -> np.ndarray:
    """(B,) bool: the query is more similar to its own key than to every other one. A tie is no success."""
    similar = queries.double() @ keys.double().T
    own = similar.diagonal().clone()
    similar.fill_diagonal_(-torch.inf)
    return (own > similar.max(dim=1).values).numpy()


@torch.no_grad()
def fill_queue(module: nn.Module, pretrained: PretrainedJob, known: Cohort, device: torch.device) -> None:
    """Fill the queue of a network that has not been trained: keys of views as the training drew them.

    As many as the trained queue holds, of the known cases in turn, each with its own view and mask.
    """
    run, tokens = pretrained.run, pretrained.run.encoder.tokens
    presentation = known.present(run.augmentation, pretrained.preprocessing, run.encoder.image_size)
    samples = range(int(pretrained.module.queue.filled))
    for start in range(0, len(samples), _CHUNK):
        chosen = samples[start : start + _CHUNK]
        cases = [sample % len(known) for sample in chosen]
        # After the last epoch of the run: views and masks that no training step has drawn.
        pairs, noise = [], []
        for sample, case in zip(chosen, cases, strict=True):
            number = sample // len(known) % PAPER_VIEWS
            pairs.append(np.stack(presentation.views("pair", case, run.seed, run.epochs, sample, number)[0]))
            noise.append(generator(run.seed, "mask", run.epochs, sample).random((2, tokens), dtype=np.float32))
        pairs, noise = np.stack(pairs), np.stack(noise)
        keys = queries_and_keys(module, pairs, noise, device)[1]
        module.queue.enqueue(keys.to(device), torch.from_numpy(known.patients[cases]).to(device))
