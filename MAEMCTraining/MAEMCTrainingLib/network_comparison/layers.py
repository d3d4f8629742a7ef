"""What each layer of an encoder makes of a batch of images, as Gram matrices.

A layer is a block of a transformer or a stage of another backbone, as timm lists them. Its activations are taken whole:
all positions, or all tokens, and all channels make one long vector, as Kornblith et al. 2019 and the code of Nguyen et
al. 2021 do. What lies where then counts; pooled over places it would not.
"""

import numpy as np
import torch
from MAEMCLib.networks.vit import ViT
from torch import Tensor, nn

INPUT, FEATURES = "input", "features"
"""The pixels, and the vector that a linear layer reads: before the first layer and after the last."""


def layers(encoder: nn.Module) -> dict[str, nn.Module]:
    """The layers by name, the first first."""
    if isinstance(encoder, ViT):
        return {f"block {number + 1}": block for number, block in enumerate(encoder.blocks)}
    listed = encoder.body.feature_info
    names = [entry["module"] for entry in getattr(listed, "info", listed)]
    return {name: encoder.body.get_submodule(name) for name in names}


def layer_names(encoder: nn.Module) -> list[str]:
    """Of the rows that ``layer_grams`` gives."""
    return [INPUT, *layers(encoder), FEATURES]


@torch.no_grad()
def layer_grams(encoder: nn.Module, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 1, S, S) on the encoder's device -> (layers, n, n) and the features (n, width), float64.

    The Gram matrices are computed while the images pass, so that no activation stays in memory.
    """
    of_layers: dict[str, np.ndarray] = {}

    def keeping(name: str):
        return lambda module, given, output: of_layers.update({name: gram(output)})

    hooks = [module.register_forward_hook(keeping(name)) for name, module in layers(encoder).items()]
    try:
        features = encoder.features(images)
    finally:
        for hook in hooks:
            hook.remove()
    grams = {INPUT: gram(images), **of_layers, FEATURES: gram(features)}
    return np.stack([grams[name] for name in layer_names(encoder)]), features.double().cpu().numpy()


def gram(activations: Tensor) -> np.ndarray:
    """(n, ...) -> (n, n) float64 of the flattened activations less their mean over the cases.

    The mean does not bear on CKA, but on its rounding. What differs by rounding only is taken for equal: all 0.
    """
    flat = activations.flatten(1).float()
    centered = flat - flat.mean(dim=0)
    if centered.norm() <= 1e-5 * flat.norm():
        return np.zeros((len(flat), len(flat)))
    return (centered @ centered.T).double().cpu().numpy()
