"""MAEMC-NET's pre-training: masked reconstruction of the axial montage, contrasted with the coronal one.

Zhao et al., Frontiers in Medicine 2025, 10.3389/fmed.2025.1507258, section 3.3. Every reading of the paper where it is
silent or contradicts itself is a field of ``Configuration``.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from MAEMCLib.errors import UsageError
from MAEMCLib.networks.configuration import DecoderConfiguration
from MAEMCLib.networks.vit import initialize
from torch import Tensor, nn
from torch.nn import functional

from ...engine.configuration import BelowOne, Count, MaskRatio, Positive, ZeroToOne
from ..method import MethodSettings, ViewBatch
from ..parts.cnn_decoder import seeded
from ..parts.losses import SamePatient, info_nce
from ..parts.masked_transformer import MaskedTransformer
from ..parts.momentum_contrast import KeyQueue, MomentumCopies


@dataclass(frozen=True)
class Configuration(MethodSettings):
    """The settings of MAEMC-NET's pre-training."""

    norm_pixels = False  # no setting here: gray values are predicted
    # Share of patches masked, rounded half up on exact numbers: 13 of 25 at 50 %, the paper's best on CT. Axial and
    # coronal masks are independent: a shared one would identify the pair by its visible positions alone.
    mask_ratio: MaskRatio = 0.5
    # InfoNCE's temperature is not printed; 0.07 is that of MoCo, whose scheme the paper follows.
    temperature: Positive = 0.07
    # "Only 1 % of updated parameters" enter the momentum encoder at each step.
    momentum: BelowOne = 0.99
    queue_size: Count = 700
    projection_width: Count = 128
    # What the 1-D convolution reads, which the paper leaves open. "mean": every visible patch token, then their mean,
    # so that one head serves any mask ratio and the class token stays free for the classifier; "cls": the class token;
    # "flatten": all visible patch tokens at once, which ties the head to one number of them.
    flattening: Literal["mean", "cls", "flatten"] = "mean"
    # Lambda in L = lambda * MSE + (1 - lambda) * InfoNCE; not printed. 0.5 is meant for standardized pixels: on [0, 1]
    # the squared error would vanish beside InfoNCE.
    loss_balance: ZeroToOne = 0.5
    # Keys of the query's own patient are the same lesion. "exclude": they are no negatives; "keep": the paper's letter.
    same_patient: SamePatient = "exclude"
    # True: the coronal montage is reconstructed and contrasted too. The paper uses it "solely" as the key.
    symmetric: bool = False


class Flattening(nn.Module):
    """The paper's feature flattening: one 1-D convolution from the encoder's tokens to a unit vector."""

    def __init__(self, kind: str, width: int, projection_width: int, visible: int, seed: int) -> None:
        super().__init__()
        self.kind = kind
        with seeded(seed):  # its own first values, which ``initialize`` replaces, are not drawn from torch at large
            self.conv = nn.Conv1d(width, projection_width, kernel_size=visible if kind == "flatten" else 1)
        initialize(self, seed)

    def forward(self, tokens: Tensor, shown: Tensor | None = None) -> Tensor:
        """Tokens (B, 1 + K, width) after the final norm, class token first -> (B, projection width) of length 1.

        shown: (B, K) bool, which of the patches count; None: all.
        """
        read = tokens[:, :1] if self.kind == "cls" else tokens[:, 1:]
        made = self.conv(read.transpose(1, 2))
        if shown is None or self.kind != "mean":
            return functional.normalize(made.mean(dim=2).float(), dim=1)
        weight = shown[:, None].to(made.dtype)
        return functional.normalize(((made * weight).sum(dim=2) / weight.sum(dim=2).clamp_min(1)).float(), dim=1)


class MAEMC(MomentumCopies, MaskedTransformer):
    """MAEMC-NET: encoder, decoder, momentum encoder and queue.

    The query is the axial montage. Its visible patches are encoded, its masked ones reconstructed, and its flattened
    features compared with those of the coronal montage from the momentum encoder, against the keys of the queue.
    """

    Configuration = Configuration
    VIEWS = "pair"
    CONTRASTS_PLANES = True
    FOLLOWED = ("encoder", "flattening")

    def add_parts(self, decoder: DecoderConfiguration, seed: int) -> None:
        super().add_parts(decoder, seed)
        if self.configuration.flattening == "flatten" and self.encoder.configuration.skips_unobserved:
            raise UsageError(
                "flattening=flatten reads one number of patches, and slices that were not observed make none. Choose "
                "flattening=mean or cls.",
                "setting",
            )
        settings, visible = self.configuration, self.mask_cells - self.masked
        self.flattening = Flattening(
            settings.flattening, self.encoder.width, settings.projection_width, visible, seed + 2
        )
        self.add_copies()
        self.queue = KeyQueue(settings.queue_size, settings.projection_width)

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """The losses of one micro-batch, and its keys with their patients for ``after_step``.

        Returns "loss" with its gradient and, detached, "loss_mse" (squared normalized gray values), "loss_info_nce"
        (nats) and "negatives" (mean number of negatives a query; 0 in the first step, where InfoNCE is 0).
        """
        settings = self.configuration
        views = list(zip(batch.images, batch.noise.unbind(dim=1), strict=True))  # axial, coronal
        pairs = [views, views[::-1]] if settings.symmetric else [views]
        allowed = self.queue.allowed(batch.patient, settings.same_patient)
        mse, nce, all_keys = [], [], []
        for (images, noise), (key_images, key_noise) in pairs:
            loss, tokens, split = self.reconstruction(images, noise)
            mse.append(loss)
            with torch.no_grad():
                key = self.split(key_images, key_noise)
                keys = self.momentum_flattening(self.momentum_encoder(key_images, key.keep, key.shown), key.shown)
            query = self.flattening(tokens, split.shown)
            loss, used = info_nce(query, keys, self.queue.keys, allowed, settings.temperature)
            nce.append(loss)
            all_keys.append(keys)
        loss_mse, loss_nce = torch.stack(mse).mean(), torch.stack(nce).mean()
        loss = settings.loss_balance * loss_mse + (1 - settings.loss_balance) * loss_nce
        losses = {
            "loss": loss,
            "loss_mse": loss_mse.detach(),
            "loss_info_nce": loss_nce.detach(),
            "negatives": used,
        }
        return losses, (torch.cat(all_keys), batch.patient.repeat(len(pairs)))

    def after_step(self, kept: list[tuple[Tensor, Tensor]]) -> None:
        """The batch's keys enter the queue after its losses: negatives come from earlier batches only."""
        keys, patients = zip(*kept, strict=True)
        self.queue.enqueue(torch.cat(keys), torch.cat(patients))

    def autoencoder_state(self) -> dict[str, Tensor]:
        """The tensors that reconstruct both planes: "encoder.*", "momentum_encoder.*", "decoder.*"."""
        parts = ("encoder.", "momentum_encoder.", "decoder.")
        return {name: tensor for name, tensor in self.state_dict().items() if name.startswith(parts)}

    def encoder_of(self, plane: str) -> nn.Module:
        """The momentum encoder for coronal planes, as the paper's Table 6 has it; no decoder was trained on it."""
        return {"axial": self.encoder, "coronal": self.momentum_encoder}[plane]
