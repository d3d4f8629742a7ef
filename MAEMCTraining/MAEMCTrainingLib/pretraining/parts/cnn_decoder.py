"""A light convolutional decoder: the maps of an encoder's stages -> an image."""

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from MAEMCLib.errors import UsageError
from torch import Tensor, nn


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within this context torch draws on the CPU from ``seed`` alone; afterwards its generator is as it was."""
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _doubling(channels: int, narrower: int) -> nn.Sequential:
    """Twice the resolution: a transposed convolution, then two convolutions with batch normalization."""
    return nn.Sequential(
        OrderedDict(
            up=nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1),
            conv1=nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            norm1=nn.BatchNorm2d(channels),
            relu=nn.ReLU6(),
            conv2=nn.Conv2d(channels, narrower, 3, padding=1, bias=False),
            norm2=nn.BatchNorm2d(narrower),
        )
    )


class LightDecoder(nn.Module):
    """One doubling of the resolution for each halving of the encoder, and half as many channels after each.

    The decoder of SparK (Tian et al. 2023, section 3.2), whose stages take what the encoder has at their resolution:
    each of ``levels`` is brought to the decoder's width by a convolution and added before the doubling.
    """

    def __init__(self, levels: Sequence[int], stride: int, width: int, seed: int) -> None:
        """levels: channels of the maps given, coarsest first, each of twice the resolution of the one before.

        stride: of the coarsest, a power of two: as many doublings. width: channels at the coarsest. Raises UsageError
        where they cannot be halved so often.
        """
        super().__init__()
        doublings = round(math.log2(stride))
        if width < 1 or width % stride:
            raise UsageError(
                f"The decoder's width is {width}, but it is halved {doublings} times on the way to the image. Choose "
                f"a decoder_width that is a multiple of {stride}.",
                "setting",
            )
        widths = [width >> number for number in range(doublings + 1)]
        with seeded(seed):
            # 1 x 1 at the coarsest map, 3 x 3 at the others, which have neighbors.
            self.inputs = nn.ModuleList(
                nn.Conv2d(channels, wanted, 3 if number else 1, padding=1 if number else 0)
                for number, (channels, wanted) in enumerate(zip(levels, widths, strict=False))
            )
            self.doublings = nn.ModuleList(_doubling(*pair) for pair in pairwise(widths))
            self.predict = nn.Conv2d(widths[-1], 1, 1)
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.trunc_normal_(module.weight, std=0.02)
                elif isinstance(module, nn.ConvTranspose2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Maps, coarsest first, (B, C, S / stride, S / stride), then twice the side each -> images (B, 1, S, S)."""
        maps = self.inputs[0](levels[0])
        for number, doubling in enumerate(self.doublings):
            if 0 < number < len(self.inputs):
                maps = maps + self.inputs[number](levels[number])
            maps = doubling(maps)
        return self.predict(maps)
