"""What every pre-training method is: a torch module with this surface. MAEMC (maemc.py) is the example.

A method is a file of its own with one subclass, and beside it a file with its facts and presets (``registry``). The
loop, the jobs, previews, resume and several processes know nothing else of it. It draws no random numbers after its
construction: the noise of its masks comes with the batch, so that a run is the same after any resume and with any
number of processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from MAEMCLib.networks.configuration import AnyEncoderConfiguration, DecoderConfiguration
from MAEMCLib.networks.vit import build_encoder
from torch import Tensor, nn

from ..engine.configuration import CheckedSettings


@dataclass(frozen=True)
class MethodSettings(CheckedSettings):
    """A method's own settings.

    A method that learns from columns of the manifest has the fields ``columns``, their names, and ``classes``, the
    values found in them, which the run fills in. One that learns one class a case has ``class_counts`` besides, the
    number of cases of each.
    """

    columns = ()  # without a type, so that they are no fields here
    class_counts = None


@dataclass
class ViewBatch:
    """Views of B samples, ready for a method.

    The noise decides the masks. The loader draws it per sample, keyed by seed, epoch and sample, so that a run is the
    same with any number of processes and after any resume.
    """

    images: tuple[Tensor, ...]  # a tensor (B, 1, S, S) float32, normalized, for each view; small crops have smaller S
    patient: Tensor  # (B,) int64, equal for images of the same patient
    noise: Tensor  # (B, V, mask_cells) uniform [0, 1), of the large views
    attributes: Tensor  # (B, A) bool: what the metadata say, in the order of ``classes``; A = 0 for most methods

    def to(self, device: torch.device | str) -> ViewBatch:
        """The same batch on another device; copies from pinned memory do not wait."""
        images = tuple(view.to(device, non_blocking=True) for view in self.images)
        others = (tensor.to(device, non_blocking=True) for tensor in (self.patient, self.noise, self.attributes))
        return ViewBatch(images, *others)

    def __len__(self) -> int:
        return len(self.patient)


class Method(nn.Module, ABC):
    """An encoder, which fine-tuning takes afterwards, and the parts that it learns with.

    A method has to have ``Configuration``, ``VIEWS``, ``add_parts`` and ``forward``; all else has a default.
    """

    Configuration: ClassVar[type[MethodSettings]]
    """The method's own settings."""
    VIEWS: ClassVar[str]
    """The images that it is fed, a key of ``data.kinds.kind.VIEWS``."""
    WHOLE_BATCH: ClassVar[bool] = False
    """Whether its loss compares the samples of a batch, which then cannot pass in micro-batches."""
    CONTRASTS_PLANES: ClassVar[bool] = False
    """Whether it has MAEMC-NET's parts, which contrast the planes of a nodule (``pretext.contrast``)."""
    reconstruct: ClassVar[Callable[..., tuple[Tensor, Tensor]] | None] = None
    """Where it reconstructs images: (images, noise, plane) -> (prediction, masked), for previews
    (``MAEMC.reconstruct``)."""

    mask_cells: int = 0
    """How many random numbers decide the mask of an image; 0: nothing is masked."""
    masked: int = 0
    """How many of these cells a mask hides."""

    def __init__(
        self, configuration: Any, encoder: AnyEncoderConfiguration, decoder: DecoderConfiguration, seed: int
    ) -> None:
        """Raises what ``add_parts`` raises."""
        super().__init__()
        self.configuration = configuration
        self.encoder = build_encoder(encoder, seed)
        self.add_parts(decoder, seed)

    @abstractmethod
    def add_parts(self, decoder: DecoderConfiguration, seed: int) -> None:
        """Build what stands beside the encoder. decoder: of methods that predict patches from tokens.

        Raises UsageError for settings that do not fit the encoder.
        """

    @abstractmethod
    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], Any]:
        """The mean losses of one micro-batch, "loss" with its gradient and the others detached, for the log; and
        what ``after_step`` is to get of it."""

    def before_step(self) -> None:
        """Called once before a batch's micro-batches pass: a momentum encoder moves here."""

    def after_step(self, kept: list[Any]) -> None:
        """Called once after a batch, with what ``forward`` returned of each micro-batch: keys enter a queue here."""

    def unmoved(self) -> Iterator[nn.Parameter]:
        """Parameters that do not move in this step, whatever their gradient."""
        return iter(())

    def autoencoder_state(self) -> dict[str, Tensor]:
        """The tensors that reconstruct both planes from a bundle, named as MAEMC's; {} where there are none."""
        return {}
