"""MAEMC-NET's pre-training: masked reconstruction of the axial montage, contrasted with the coronal one.

Zhao et al., Frontiers in Medicine 2025, 10.3389/fmed.2025.1507258, section 3.3. Every reading of the paper where it is
silent or contradicts itself is a field of ``Configuration``.
"""

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.decoder import Decoder
from MAEMCLib.networks.layers import initialize
from MAEMCLib.networks.masking import masked_count, patchify, split_tokens
from MAEMCLib.networks.vit import ViT
from torch import Tensor, nn
from torch.nn import functional

from ..method import Method, ViewBatch
from ..parts.losses import SamePatient, info_nce, masked_mse
from ..parts.momentum import update_momentum
from ..parts.queue import KeyQueue
from ..parts.settings import MethodSettings, check


@dataclass(frozen=True)
class Configuration(MethodSettings):
    """The settings of MAEMC-NET's pre-training. Raises UsageError for values that make no sense."""

    # Share of patches masked, rounded half up on exact numbers: 13 of 25 at 50 %, the paper's best on CT. Axial and
    # coronal masks are independent: a shared one would identify the pair by its visible positions alone.
    mask_ratio: float = 0.5
    # InfoNCE's temperature is not printed; 0.07 is that of MoCo, whose scheme the paper follows.
    temperature: float = 0.07
    # "Only 1 % of updated parameters" enter the momentum encoder at each step.
    momentum: float = 0.99
    queue_size: int = 700
    projection_width: int = 128
    # What the 1-D convolution reads, which the paper leaves open. "mean": every visible patch token, then their mean,
    # so that one head serves any mask ratio and the class token stays free for the classifier; "cls": the class token;
    # "flatten": all visible patch tokens at once, which ties the head to one number of them.
    flattening: Literal["mean", "cls", "flatten"] = "mean"
    # Lambda in L = lambda * MSE + (1 - lambda) * InfoNCE; not printed. 0.5 is meant for standardized pixels: on [0, 1]
    # the squared error would vanish beside InfoNCE.
    loss_balance: float = 0.5
    # Keys of the query's own patient are the same lesion. "exclude": they are no negatives; "keep": the paper's letter.
    same_patient: SamePatient = "exclude"
    # True: the coronal montage is reconstructed and contrasted too. The paper uses it "solely" as the key.
    symmetric: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_mask_ratio()
        self.check_above_0("temperature")
        self.check_momentum()
        self.check_at_least(1, "queue_size", "projection_width")
        check(0 <= self.loss_balance <= 1, "loss_balance", self.loss_balance, "between 0 and 1")


class _Projection(nn.Conv1d):
    """A convolution whose values are left to ``initialize``."""

    def reset_parameters(self) -> None:
        pass


class Flattening(nn.Module):
    """The paper's feature flattening: one 1-D convolution from the encoder's tokens to a unit vector."""

    def __init__(self, kind: str, width: int, projection_width: int, visible: int, seed: int) -> None:
        super().__init__()
        self.kind = kind
        self.conv = _Projection(width, projection_width, kernel_size=visible if kind == "flatten" else 1)
        initialize(self, seed)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, 1 + K, width) after the final norm, class token first -> (B, projection width) of length 1."""
        read = tokens[:, :1] if self.kind == "cls" else tokens[:, 1:]
        return functional.normalize(self.conv(read.transpose(1, 2)).mean(dim=2).float(), dim=1)


class MAEMC(Method):
    """MAEMC-NET: encoder, decoder, momentum encoder and queue.

    The query is the axial montage. Its visible patches are encoded, its masked ones reconstructed, and its flattened
    features compared with those of the coronal montage from the momentum encoder, against the keys of the queue.
    """

    Configuration = Configuration
    VIEWS = "pair"
    CONTRASTS_PLANES = True

    def __init__(
        self,
        configuration: Configuration,
        encoder: EncoderConfiguration,
        decoder: DecoderConfiguration,
        seed: int,
    ) -> None:
        """Raises UsageError where the mask ratio leaves no patch visible or none masked."""
        super().__init__()
        self.configuration = configuration
        self.mask_cells = encoder.tokens
        self.masked = masked_count(encoder.tokens, configuration.mask_ratio)
        visible = encoder.tokens - self.masked
        self.encoder = ViT(encoder, seed)
        self.decoder = Decoder(encoder, decoder, seed + 1)
        self.flattening = Flattening(
            configuration.flattening, encoder.width, configuration.projection_width, visible, seed + 2
        )
        self.momentum_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.momentum_flattening = copy.deepcopy(self.flattening).requires_grad_(False)
        self.queue = KeyQueue(configuration.queue_size, configuration.projection_width)

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """The losses of one share of a batch, and its keys with their patients for ``after_step``.

        Returns "loss" with its gradient and, detached, "loss_mse" (squared normalized gray values), "loss_info_nce"
        (nats) and "negatives" (mean number of negatives a query; 0 in the first step, where InfoNCE is 0).
        """
        settings = self.configuration
        axial, coronal = (
            (images, split_tokens(batch.noise[:, view], self.masked)) for view, images in enumerate(batch.images)
        )
        pairs = [(axial, coronal), (coronal, axial)] if settings.symmetric else [(axial, coronal)]
        allowed = self.queue.allowed(batch.patient, settings.same_patient)
        mse, nce, all_keys = [], [], []
        for (images, (keep, masked)), (key_images, (key_keep, _)) in pairs:
            tokens = self.encoder(images, keep)
            target = patchify(images, self.encoder.configuration.patch_size)
            mse.append(masked_mse(self.decoder(tokens, keep), target, masked))
            with torch.no_grad():
                keys = self.momentum_flattening(self.momentum_encoder(key_images, key_keep))
            loss, used = info_nce(self.flattening(tokens), keys, self.queue.keys, allowed, settings.temperature)
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

    def before_step(self) -> None:
        """The momentum encoder moves before the keys are computed, in MoCo's order."""
        copies, online = (self.momentum_encoder, self.momentum_flattening), (self.encoder, self.flattening)
        update_momentum(copies, online, self.configuration.momentum)

    def after_step(self, kept: list[tuple[Tensor, Tensor]]) -> None:
        """The batch's keys enter the queue after its losses: negatives come from earlier batches only."""
        keys, patients = zip(*kept, strict=True)
        self.queue.enqueue(torch.cat(keys), torch.cat(patients))

    def autoencoder_state(self) -> dict[str, Tensor]:
        """The tensors that reconstruct both planes: "encoder.*", "momentum_encoder.*", "decoder.*"."""
        parts = ("encoder.", "momentum_encoder.", "decoder.")
        return {name: tensor for name, tensor in self.state_dict().items() if name.startswith(parts)}

    @torch.no_grad()
    def reconstruct(self, images: Tensor, noise: Tensor, plane: str = "axial") -> tuple[Tensor, Tensor]:
        """Reconstruct montages (B, 1, S, S) masked by noise (B, N), at the mask ratio of the training.

        The axial plane goes through the encoder. The coronal one goes through the momentum encoder, as the paper's
        Table 6 has it, and the same decoder: no decoder was trained on the momentum encoder.

        Returns the prediction (B, N, P) of all patches and the indices (B, H) of the masked ones.
        """
        keep, masked = split_tokens(noise, self.masked)
        encoder = {"axial": self.encoder, "coronal": self.momentum_encoder}[plane]
        return self.decoder(encoder(images, keep), keep), masked
