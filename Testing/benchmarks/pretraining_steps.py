"""The same pre-training step four times: masked autoencoder and hybrid, of our parts and of lightly's."""

import copy
import warnings
from collections.abc import Callable

import numpy as np
import torch
from MAEMCLib.networks.configuration import PRESETS
from torch import nn
from torch.nn import functional

ENCODER, DECODER = PRESETS["vit-large"]
RATIO, MOMENTUM, TEMPERATURE, QUEUE, WIDTH = 0.5, 0.99, 0.07, 700, 128
RATE, BETAS, DECAY, CLIP = 3.75e-5, (0.9, 0.95), 0.05, 1.0


def make_step(kind: str, batch: int, device: torch.device) -> Callable[[bool], None]:
    """A function that takes one whole step: forward, backward, clipping, AdamW, momentum and queue for "hybrid ...".

    kind: "mae ours", "mae lightly", "hybrid ours", "hybrid lightly". Its argument: lightly's step with the fused AdamW
    (ours always has it). Random montages, drawn before; bfloat16 autocast on CUDA, float32 on the CPU.
    """
    hybrid, ours = kind.startswith("hybrid"), kind.endswith("ours")
    return (_ours if ours else _lightly)(hybrid, batch, device)


def step_operations(batch: int, hybrid: bool) -> float:
    """Multiplications and additions of the matrix products of one step; backward counts twice the forward."""
    visible = ENCODER.tokens - int(ENCODER.tokens * RATIO + 0.5)
    encoder = _blocks(ENCODER, visible + 1) + 2 * visible * ENCODER.patch_pixels * ENCODER.width
    decoder = _blocks(DECODER, ENCODER.tokens + 1) + 2 * (visible + 1) * ENCODER.width * DECODER.width
    decoder += 2 * ENCODER.tokens * DECODER.width * ENCODER.patch_pixels
    return batch * (3 * (encoder + decoder) + (encoder if hybrid else 0))


def _blocks(shape, tokens: int) -> float:
    width = shape.width
    one = 2 * tokens * width * width * (4 + 2 * shape.mlp_ratio) + 4 * tokens * tokens * width
    return shape.depth * one


def _ours(hybrid: bool, batch: int, device: torch.device) -> Callable[[bool], None]:
    """The real step of the training loop, on the real method or, for the plain autoencoder, on its parts."""
    from MAEMCTrainingLib.engine.optimization import build_optimizer, set_learning_rate
    from MAEMCTrainingLib.engine.processes import Processes
    from MAEMCTrainingLib.engine.task import Stepper
    from MAEMCTrainingLib.pretraining.method import ViewBatch
    from MAEMCTrainingLib.pretraining.methods.maemc import MAEMC, Configuration
    from MAEMCTrainingLib.pretraining.presets import pretraining_preset

    module = MAEMC(Configuration(), ENCODER, DECODER, 0) if hybrid else _PlainAutoencoder()
    task = _Task(module.to(device))
    run = pretraining_preset("default", "maemc")
    optimizer = build_optimizer(task.parameters(), run.optimization, device)
    stepper = Stepper(task, run, optimizer, device, Processes())
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(2, batch, 1, 250, 250, generator=draws)
    noise = torch.rand(2, batch, ENCODER.tokens, generator=draws)
    pairs = ViewBatch(
        tuple(images),
        torch.arange(batch),
        torch.stack([noise[0], noise[1]], dim=1),
        torch.zeros(batch, 0, dtype=torch.bool),
    )
    number = 0

    def step(fused: bool) -> None:
        nonlocal number
        pairs.patient = torch.arange(number * batch, (number + 1) * batch)
        set_learning_rate(optimizer, RATE, number)
        stepper.step(np.arange(batch), [(pairs, {})], number)
        number += 1

    return step


class _PlainAutoencoder(nn.Module):
    """Encoder, decoder, squared error on masked patches: MAEMC-NET without its contrastive half."""

    def __init__(self) -> None:
        super().__init__()
        from MAEMCLib.networks.masking import masked_count
        from MAEMCLib.networks.vit import Decoder, ViT

        self.encoder, self.decoder = ViT(ENCODER, 0), Decoder(ENCODER, DECODER, 1)
        self.masked = masked_count(ENCODER.tokens, RATIO)

    def forward(self, batch):
        from MAEMCLib.networks.masking import split_tokens
        from MAEMCLib.networks.vit import patchify
        from MAEMCTrainingLib.pretraining.parts.losses import masked_mse

        keep, masked = split_tokens(batch.noise[:, 0], self.masked)
        prediction = self.decoder(self.encoder(batch.images[0], keep), keep)
        return {"loss": masked_mse(prediction, patchify(batch.images[0], ENCODER.patch_size), masked)}, None

    def trainable(self):
        return self.named_parameters()

    def before_step(self) -> None:
        pass

    def after_step(self, kept) -> None:
        pass


class _Task:
    """The part of a task that the training loop's step uses."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.before_step, self.after_step = module.before_step, module.after_step

    def parameters(self):
        from MAEMCTrainingLib.engine.optimization import NamedParameter

        return [NamedParameter(name, value) for name, value in self.module.named_parameters() if value.requires_grad]

    def step(self, model, batch):
        return model(batch)


def _lightly(hybrid: bool, batch: int, device: torch.device) -> Callable[[bool], None]:
    """lightly's masked ViT, decoder, memory bank and momentum update, put together as its documentation does."""
    from lightly.loss import NTXentLoss
    from lightly.models import utils

    torch.manual_seed(0)
    encoder, decoder = _lightly_parts()
    online = nn.ModuleDict({"encoder": encoder, "decoder": decoder}).to(device)
    trained = list(online.parameters())
    if hybrid:
        projection = nn.Conv1d(ENCODER.width, WIDTH, 1).to(device)
        momentum_encoder = copy.deepcopy(encoder).requires_grad_(False)
        momentum_projection = copy.deepcopy(projection).requires_grad_(False)
        contrast = NTXentLoss(TEMPERATURE, memory_bank_size=(QUEUE, WIDTH)).to(device)
        trained += projection.parameters()
    trained = [parameter for parameter in trained if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, betas=BETAS, weight_decay=DECAY)
    axial, coronal = torch.randn(2, batch, 1, 250, 250).to(device)
    places = (batch, encoder.sequence_length)

    def forward() -> torch.Tensor:
        keep, hidden = utils.random_token_mask(places, RATIO, device=device)
        tokens = encoder.encode(images=axial, idx_keep=keep)
        embedded = decoder.embed(tokens)
        full = utils.repeat_token(decoder.mask_token, places)
        full = utils.set_at_index(full, keep, embedded.type_as(full))
        prediction = decoder.predict(utils.get_at_index(decoder.decode(full), hidden))
        target = utils.get_at_index(utils.patchify(axial, ENCODER.patch_size), hidden - 1)
        loss = functional.mse_loss(prediction.float(), target)
        if not hybrid:
            return loss
        query = projection(tokens[:, 1:].transpose(1, 2)).mean(dim=2)
        with torch.no_grad():
            utils.update_momentum(encoder, momentum_encoder, MOMENTUM)
            utils.update_momentum(projection, momentum_projection, MOMENTUM)
            keep, _ = utils.random_token_mask(places, RATIO, device=device)
            other = momentum_encoder.encode(images=coronal, idx_keep=keep)
            key = momentum_projection(other[:, 1:].transpose(1, 2)).mean(dim=2)
        return 0.5 * loss + 0.5 * contrast(query.float(), key.float())

    def step(fused: bool) -> None:
        for group in optimizer.param_groups:
            group["fused"] = fused
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = forward()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        loss.item()

    return step


def _lightly_parts() -> tuple[nn.Module, nn.Module]:
    """lightly's encoder and decoder of our sizes."""
    from lightly.models.modules import MAEDecoderTIMM, MaskedVisionTransformerTIMM
    from timm.models.vision_transformer import VisionTransformer

    vit = VisionTransformer(
        img_size=ENCODER.image_size,
        patch_size=ENCODER.patch_size,
        in_chans=1,
        num_classes=0,
        embed_dim=ENCODER.width,
        depth=ENCODER.depth,
        num_heads=ENCODER.heads,
    )
    with warnings.catch_warnings():  # "removed in lightly 1.7.0"
        warnings.simplefilter("ignore")
        decoder = MAEDecoderTIMM(
            num_patches=ENCODER.tokens,
            patch_size=ENCODER.patch_size,
            in_chans=1,
            embed_dim=ENCODER.width,
            decoder_embed_dim=DECODER.width,
            decoder_depth=DECODER.depth,
            decoder_num_heads=DECODER.heads,
        )
    return MaskedVisionTransformerTIMM(vit), decoder
