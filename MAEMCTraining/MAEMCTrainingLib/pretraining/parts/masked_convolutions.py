"""Exactly masked convolutional networks: what is masked has no influence on what is computed anywhere else.

A convolution lets the content of a visible place leak into masked ones, layer after layer, until the mask is gone and
every place knows where the mask was. Sparse convolutions, which compute visible places alone, do not (Tian et al. 2023,
SparK, section 3.1; Woo et al. 2023, ConvNeXt V2, section 3). The same numbers come from dense layers whose masked
places are set to zero again after every layer: a sum over visible neighbors is the sum over all neighbors where the
others are zero. Batch normalization is given the visible places alone, so that its mean, its variance and its running
figures are theirs.

A place of a coarse level that covers masked and visible cells counts as visible, as in strided sparse convolutions:
its value comes from the visible cells below it only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# Layers after which masked places would not be zero: they add a bias, look at neighbors, or normalize. Activations,
# dropout and sums keep zeros. Global response normalization reads zeros there; the bias that it adds goes through one
# layer of this list that sees single places.
_LEAKING = (nn.Conv2d, nn.MaxPool2d, nn.LayerNorm, nn.Linear)


def level_mask(visible: Tensor, side: int) -> Tensor:
    """Cells (B, 1, G, G) bool, True where visible -> the places (B, 1, side, side) of a feature map.

    A place smaller than a cell is what its cell is; one that covers several is visible where any of them is. ``side``
    is a multiple of G or the other way round.
    """
    grid = visible.shape[-1]
    if side >= grid:
        return visible.repeat_interleave(side // grid, dim=2).repeat_interleave(side // grid, dim=3)
    below = grid // side
    return visible.reshape(len(visible), 1, side, below, side, below).any(dim=5).any(dim=3)


def blank(images: Tensor, visible: Tensor) -> Tensor:
    """Images or feature maps (B, C, S, S) with zeros where a place is masked."""
    # Not a product: what is masked may be anything, also not a number.
    return images.masked_fill(~level_mask(visible, images.shape[-1]), 0.0)


@contextmanager
def masked(visible: Tensor, *modules: nn.Module) -> Iterator[None]:
    """Within this context the modules' layers compute the visible cells (B, 1, G, G) alone.

    Works on networks of convolutions, linear layers on channels, batch or layer normalization and max pooling behind a
    ReLU; they keep their parameters, their names and their code. What they are given has to be blanked already.
    """
    places = _Places(visible)
    hooks = []
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, _BatchNorm):
                hooks.append(layer.register_forward_pre_hook(places.take_out))
                hooks.append(layer.register_forward_hook(places.put_back))
            elif isinstance(layer, _LEAKING):
                hooks.append(layer.register_forward_hook(places.blank))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Places:
    """The hooks that compute the visible places of feature maps alone; the masks are kept by a map's side."""

    def __init__(self, visible: Tensor) -> None:
        self.masked = cache(lambda side: ~level_mask(visible, side))
        self.rows = cache(lambda side: level_mask(visible, side).flatten().nonzero()[:, 0])
        self.shape = torch.Size()  # of the map that is being normalized

    def blank(self, layer: nn.Module, _: tuple[Tensor], output: Tensor) -> Tensor:
        """After a layer: zeros at its masked places."""
        masked = self.masked(output.shape[2])  # of (B, C, S, S) and of (B, S, S, C) alike
        return output.masked_fill(masked.movedim(1, -1) if _channels_last(layer) else masked, 0.0)

    def take_out(self, _: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """Before a batch normalization: its input's visible places, (B, C, S, S) -> (their number, C, 1, 1)."""
        (maps,) = inputs
        self.shape = maps.shape
        taken = maps.movedim(1, -1).flatten(0, 2).index_select(0, self.rows(maps.shape[2]))
        return (taken[:, :, None, None],)

    def put_back(self, _: nn.Module, __: tuple[Tensor], output: Tensor) -> Tensor:
        """After it: the normalized places where they were, zeros elsewhere."""
        batch, channels, height, width = self.shape
        full = output.new_zeros(batch * height * width, channels)
        full = full.index_copy(0, self.rows(height), output[:, :, 0, 0])
        return full.reshape(batch, height, width, channels).movedim(-1, 1)


def _channels_last(layer: nn.Module) -> bool:
    """Whether a layer's output is (B, S, S, C): timm's ConvNeXt has such linear layers and layer normalizations."""
    from timm.layers import LayerNorm2d

    return isinstance(layer, nn.Linear | nn.LayerNorm) and not isinstance(layer, LayerNorm2d)


def stage_features(body: nn.Module, images: Tensor) -> list[Tensor]:
    """The maps (B, C, S / stride, S / stride) that a timm ResNet's or ConvNeXt's four stages give, finest first."""
    return body.forward_intermediates(images, indices=4, intermediates_only=True)


@torch.no_grad()
def stage_shapes(body: nn.Module) -> list[tuple[int, int]]:
    """The channels and the stride of each of the four stages, finest first, as the network gives them."""
    side, training = 64, body.training
    maps = stage_features(body.eval(), torch.zeros(1, 1, side, side))  # running figures stay as they are
    body.train(training)
    return [(features.shape[1], side // features.shape[-1]) for features in maps]
