"""Figures of a pre-training: what the network was given to see, and what it made of the rest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from MAEMCLib.files.atomic import replacing
from MAEMCLib.inputs.nodule import denormalize
from MAEMCLib.inputs.view import PicturePreprocessing
from MAEMCLib.networks.vit import unpatchify
from torch import Tensor, nn

from ..data.cohort import Settings

MASK_COLOR = "#7d93ab"  # a muted blue: no gray value of the CT can be taken for it


def write_preview(module: nn.Module, pair: np.ndarray, noise: np.ndarray, preprocessing: Settings, path: Path) -> None:
    """Write one PNG: rows axial and coronal, or two 2-D images; columns target, masked, reconstructed.

    module: any method with ``reconstruct``, on the device that it is on; its mode and its weights stay as they are.
    pair: (2, S, S) float32 network input; noise: (2, N) uniform, decides what is masked. In the reconstruction,
    visible patches are shown as the target and masked ones as predicted. Raises InputError where ``path`` cannot be
    written.
    """
    if isinstance(preprocessing, PicturePreprocessing):
        planes, rows = ("axial", "axial"), ["picture 1", "picture 2"]
    else:
        planes = rows = ("axial", "coronal")
    reconstructed, masked = reconstruct_pair(module, pair, noise, planes)
    filled = np.where(masked, reconstructed, pair)
    images = [[(pair[row], None), (pair[row], masked[row]), (filled[row], None)] for row in (0, 1)]
    figure = montage_figure(images, ["target", "masked", "reconstructed"], rows, preprocessing)
    with replacing(path) as temporary:
        save_png(figure, temporary)


def reconstruct_pair(
    module: nn.Module, pair: np.ndarray, noise: np.ndarray, planes: tuple[str, str] = ("axial", "coronal")
) -> tuple[np.ndarray, np.ndarray]:
    """The network's prediction of both images (2, S, S) float32, and which pixels were masked from it, bool."""
    device = next(module.parameters()).device
    training = module.training
    module.eval()
    try:
        images, order = (torch.tensor(np.array(values, np.float32), device=device) for values in (pair, noise))
        parts = [module.reconstruct(images[i : i + 1, None], order[i : i + 1], name) for i, name in enumerate(planes)]
    finally:
        module.train(training)
    reconstructed = [unpatchify(prediction.float())[0, 0].cpu().numpy() for prediction, _ in parts]
    return np.stack(reconstructed), np.concatenate([masked_pixels(*part) for part in parts])


def masked_pixels(prediction: Tensor, masked: Tensor) -> np.ndarray:
    """Where the masked patches lie: prediction (B, N, P) and indices (B, H) of ``reconstruct`` -> (B, S, S) bool."""
    covered = torch.zeros(prediction.shape[:2], dtype=torch.bool, device=masked.device).scatter_(1, masked, True)
    return unpatchify(covered[:, :, None].expand(prediction.shape))[:, 0].cpu().numpy()


def montage_figure(
    images: Sequence[Sequence[tuple[np.ndarray, np.ndarray | None]]],
    titles: Sequence[str],
    labels: Sequence[str],
    preprocessing: Settings,
    caption: str = "",
) -> Any:
    """A matplotlib figure of montages (network input) in the model's window, with a title a column, a label a row.

    images: rows of (montage, masked): pixels of ``masked`` are covered with a flat color.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.9 * len(titles), 2.9 * len(images)), dpi=100, facecolor="white", layout="constrained")
    colors = colormaps["gray"].with_extremes(bad=MASK_COLOR)
    axes = figure.subplots(len(images), len(titles), squeeze=False, subplot_kw={"xticks": [], "yticks": []})
    for row, parts in enumerate(images):
        for axis, (values, masked) in zip(axes[row], parts, strict=True):
            shown, (low, high) = _gray_values(values, preprocessing)
            axis.imshow(np.ma.masked_array(shown, masked), cmap=colors, interpolation="nearest", vmin=low, vmax=high)
            axis.spines[:].set_visible(False)
        axes[row, 0].set_ylabel(labels[row], fontsize=10, color="0.25", labelpad=8)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10, color="0.25", pad=6)
    figure.supxlabel(caption, fontsize=8, color="0.35")
    return figure


def _gray_values(values: np.ndarray, preprocessing: Settings) -> tuple[np.ndarray, tuple[float, float]]:
    """Network input as HU with the model's window, or as gray values of an image from 0 to 1."""
    if isinstance(preprocessing, PicturePreprocessing):
        return values * preprocessing.std + preprocessing.mean, (0.0, 1.0)
    return denormalize(values, preprocessing), (preprocessing.window_lower, preprocessing.window_upper)


def save_png(figure: Any, path: Path) -> None:
    """Write a figure at its own size as a PNG of 64 grays and tints: a third of the size, no difference to the eye."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.quantize(64).save(path, format="PNG", optimize=True)
