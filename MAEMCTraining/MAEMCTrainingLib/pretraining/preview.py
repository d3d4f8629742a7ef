"""Pictures of a pre-training: what the network was given to see, and what it made of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from MAEMCLib.files.atomic import replacing
from MAEMCLib.inputs.montage import denormalize
from MAEMCLib.inputs.settings import PicturePreprocessing

if TYPE_CHECKING:
    from torch import nn

    from ..data.preprocessing import Settings

HIDDEN_COLOR = "#7d93ab"  # a muted blue: no gray value of the CT can be taken for it
_MARGIN, _GAP, _TITLE = 46, 22, 30  # pixels
_SIDE = 264


def write_preview(module: nn.Module, pair: np.ndarray, noise: np.ndarray, preprocessing: Settings, path: Path) -> None:
    """Write one PNG: rows axial and coronal, or two pictures; columns target, masked, reconstructed.

    module: any method with ``reconstruct``, on the device that it is on; its mode and its weights stay as they are.
    pair: (2, S, S) float32 network input; noise: (2, N) uniform, decides what is masked. In the reconstruction,
    visible patches are shown as the target and masked ones as predicted. Raises InputError where ``path`` cannot be
    written.
    """
    flat = isinstance(preprocessing, PicturePreprocessing)
    rebuilt, masked = reconstruct_pair(module, pair, noise, ("axial", "axial" if flat else "coronal"))
    rows = ["picture 1", "picture 2"] if flat else ["axial", "coronal"]
    columns = [
        ("target", pair, None),
        ("masked", pair, masked),
        ("reconstructed", np.where(masked, rebuilt, pair), None),
    ]
    pictures = [
        [(values[plane], None if covered is None else covered[plane]) for _, values, covered in columns]
        for plane in (0, 1)
    ]
    figure = montage_figure(pictures, [title for title, _, _ in columns], rows, preprocessing)
    with replacing(path) as temporary:
        save_png(figure, temporary)


def reconstruct_pair(
    module: nn.Module, pair: np.ndarray, noise: np.ndarray, planes: tuple[str, str] = ("axial", "coronal")
) -> tuple[np.ndarray, np.ndarray]:
    """The network's prediction of both images (2, S, S) float32, and which pixels were masked from it, bool."""
    import torch
    from MAEMCLib.networks.masking import unpatchify

    device = next(module.parameters()).device
    training = module.training
    module.eval()
    try:
        rebuilt, masked = [], []
        for plane, name in enumerate(planes):
            image = torch.from_numpy(np.ascontiguousarray(pair[plane], np.float32))[None, None].to(device)
            draws = torch.from_numpy(np.ascontiguousarray(noise[plane], np.float32))[None].to(device)
            prediction, indices = module.reconstruct(image, draws, name)
            rebuilt.append(unpatchify(prediction.float())[0, 0].cpu().numpy())
            masked.append(masked_pixels(prediction, indices)[0])
    finally:
        module.train(training)
    return np.stack(rebuilt), np.stack(masked)


def masked_pixels(prediction: Any, masked: Any) -> np.ndarray:
    """Where the masked patches lie: prediction (B, N, P) and indices (B, H) of ``reconstruct`` -> (B, S, S) bool."""
    import torch
    from MAEMCLib.networks.masking import unpatchify

    covered = torch.zeros(prediction.shape[:2], dtype=torch.bool, device=masked.device).scatter_(1, masked, True)
    return unpatchify(covered[:, :, None].expand(prediction.shape))[:, 0].cpu().numpy()


def montage_figure(
    pictures: list[list[tuple[np.ndarray, np.ndarray | None]]],
    titles: list[str],
    labels: list[str],
    preprocessing: Settings,
    caption: str = "",
) -> Any:
    """A matplotlib figure of montages (network input) in the model's window, with a title a column, a label a row.

    pictures: rows of (montage, masked): pixels of ``masked`` are covered with a flat color.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    bottom = _TITLE if caption else 10
    width = _MARGIN + len(titles) * (_SIDE + _GAP)
    height = _TITLE + len(pictures) * (_SIDE + _GAP) - _GAP + bottom
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white")
    colors = colormaps["gray"].with_extremes(bad=HIDDEN_COLOR)
    for row, parts in enumerate(pictures):
        for column, (values, masked) in enumerate(parts):
            left, top = _MARGIN + column * (_SIDE + _GAP), _TITLE + row * (_SIDE + _GAP)
            place = (left / width, 1 - (top + _SIDE) / height, _SIDE / width, _SIDE / height)
            axis = figure.add_axes(place, xticks=[], yticks=[])
            shown, (low, high) = _gray_values(values, preprocessing)
            shown = np.ma.masked_array(shown, masked)
            axis.imshow(shown, cmap=colors, interpolation="nearest", vmin=low, vmax=high)
            for side in axis.spines.values():
                side.set_visible(False)
            if row == 0:
                axis.set_title(titles[column], fontsize=10, color="0.25", pad=6)
            if column == 0:
                axis.set_ylabel(labels[row], fontsize=10, color="0.25", labelpad=8)
    if caption:
        figure.text(_MARGIN / width, 9 / height, caption, fontsize=8, color="0.35")
    return figure


def _gray_values(values: np.ndarray, preprocessing: Settings) -> tuple[np.ndarray, tuple[float, float]]:
    """Network input as HU with the model's window, or as gray values of a picture with 0 and 1."""
    if isinstance(preprocessing, PicturePreprocessing):
        return values * preprocessing.std + preprocessing.mean, (0.0, 1.0)
    return denormalize(values, preprocessing), (preprocessing.window_lower, preprocessing.window_upper)


def save_png(figure: Any, path: Path) -> None:
    """Write a figure at its own size as a PNG of 64 grays and tints: a third of the size, no difference to the eye."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture.quantize(64).save(path, format="PNG", optimize=True)
