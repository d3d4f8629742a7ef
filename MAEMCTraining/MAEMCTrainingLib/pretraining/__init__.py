"""The pre-training methods, found by name in one table, and the batch that all of them are fed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import import_module
from typing import TYPE_CHECKING

from MAEMCLib.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# A method is a torch module with this surface (MAEMC in maemc.py is the example):
#   Configuration       a frozen dataclass, the method's own settings
#   __init__(configuration, encoder, decoder, seed)
#   forward(batch) -> ({"loss": with gradient, other names: detached figures for the log}, what after_step gets of it);
#                       one share of a batch: means over its samples
#   before_step(), after_step([what forward kept of each share]): once a batch
#   trainable()         (name, parameter) of everything that the optimiser changes
#   encoder_state()     the encoder's tensors, for fine-tuning
#   autoencoder_state() "encoder.*", "momentum_encoder.*", "decoder.*", for reconstructions from a bundle
#   reconstruct(images, noise, plane) -> (prediction, hidden)
#   state_dict()        everything that a resumed run needs
METHODS: dict[str, str] = {
    "maemc": "MAEMCTrainingLib.pretraining.maemc:MAEMC",
}


def method_named(name: str) -> type:
    """The class of a pre-training method. Raises UsageError for a name that is not in ``METHODS``."""
    if name not in METHODS:
        raise UsageError(
            f"There is no pre-training method called {name!r}. Choose one of {', '.join(sorted(METHODS))}.",
            code="unknown-method",
        )
    module, _, attribute = METHODS[name].partition(":")
    return getattr(import_module(module), attribute)


@dataclass
class PairBatch:
    """Montage pairs of B nodules, ready for a method.

    The noise decides the masks. The loader draws it per sample, keyed by seed, epoch and sample, so that a run is the
    same with any number of processes and after any resume.
    """

    axial: Tensor  # (B, 1, S, S) float32, normalised
    coronal: Tensor  # (B, 1, S, S) float32, normalised
    patient: Tensor  # (B,) int64, equal for nodules of the same patient
    axial_noise: Tensor  # (B, N) uniform [0, 1)
    coronal_noise: Tensor  # (B, N) uniform [0, 1)

    def to(self, device: torch.device | str) -> PairBatch:
        """The same batch on another device; copies from pinned memory do not wait."""
        return PairBatch(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))

    def __len__(self) -> int:
        return len(self.patient)
