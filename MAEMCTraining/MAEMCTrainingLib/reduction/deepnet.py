"""DeepNet: the cosine between the feature vectors of two slices, by a ResNet-50 that was trained on ImageNet.

The user provides the file of the weights; nothing is downloaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.errors import ModelError, UsageError

from .selection import Similarity

SIDE = 224
BATCH = 16
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, in the order red, green, blue; a gray slice goes into all three."""
PAGE = "https://huggingface.co/timm/resnet50.a1_in1k"
"""Where the weights are."""
BRING = (
    f"bring the file model.safetensors of {PAGE} (about 100 MB, ResNet-50 trained on ImageNet-1k) and name it with "
    "--weights FILE.safetensors. Nothing is fetched"
)


@dataclass(frozen=True)
class DeepNet(Similarity):
    """DeepNet (paper, section 2.1): cosine of the 2048 pooled features, slices resized to 224 x 224."""

    network: Any = field(repr=False)
    device: str = "cpu"

    measure = "cosine of ResNet-50 vectors"
    range = (-1.0, 1.0)
    cheap = True

    def describe(self, slices: Sequence[np.ndarray]) -> np.ndarray:
        """(slices, 2048) float64 of length 1."""
        import torch

        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        found = []
        with torch.inference_mode():
            for start in range(0, len(slices), BATCH):
                gray = torch.from_numpy(np.stack(slices[start : start + BATCH])).float()[:, None] / 255
                small = torch.nn.functional.interpolate(gray, (SIDE, SIDE), mode="bicubic", antialias=True)
                images = (small.clamp(0, 1) - mean) / deviation
                found.append(self.network(images.to(self.device)).cpu().double().numpy())
        vectors = np.concatenate(found)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def compare(self, described: np.ndarray, one: int, others: np.ndarray) -> np.ndarray:
        """(len(others),) cosine."""
        return np.clip((described[others] * described[one]).sum(axis=1), -1.0, 1.0)


def load_deepnet(weights: Path | None, device: str = "cpu") -> DeepNet:
    """The similarity with the weights of a file.

    Raises UsageError where no file was named, and ModelError where it is missing, unreadable or not that of a
    ResNet-50. Every message names the file that is needed and where it can be found.
    """
    if weights is None:
        raise UsageError(f"--method deepnet needs the weights of its network: {BRING}.", "no-weights")
    import timm
    from MAEMCLib.networks.backbones import check_weights_file
    from safetensors.torch import load_file

    check_weights_file(weights, f"{BRING}.")
    tensors = load_file(weights)

    network = timm.create_model("resnet50", pretrained=False, num_classes=0)
    wanted = network.state_dict()
    counters = {name: wanted[name] for name in wanted if name.endswith("num_batches_tracked")}
    # The classifier goes; counters of training steps, which some files leave out, play no part in use.
    found = counters | {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
    if {name: tuple(t.shape) for name, t in found.items()} != {name: tuple(t.shape) for name, t in wanted.items()}:
        raise ModelError(f"{weights.name} does not hold the weights of timm's resnet50: {BRING}.", "weights")
    network.load_state_dict(found)
    return DeepNet(network.eval().requires_grad_(False).to(device), device)
