"""What a nodule looks like: planes of the CT through a place, with the nodule's mask and its axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..images.ct import CTVolume
from ..images.sampling import sample_stack
from .axes import Axes
from .mask import NoduleMask

SAMPLES = 200
"""A side: one every 0.25 mm."""
DIRECTIONS = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "coronal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
}
"""Of each plane where its columns and its rows run, LPS."""
_SIDE_MM, _IN_PLANE_MM = 50.0, 0.5


@dataclass(frozen=True)
class PlaneView:
    """A plane of 50 x 50 mm through a place.

    hu: (n, n) HU, NaN outside the volume. inside: (n, n) from 0 to 1, above 0.5 in the mask; zeros where there is none.
    axes: each (2, 2), the ends of the long and of the short axis as mm to the right and down from the picture's middle;
    empty where they do not lie in the plane.
    """

    hu: np.ndarray
    inside: np.ndarray
    axes: tuple[np.ndarray, ...] = ()


def plane_views(
    volume: CTVolume, place_lps, mask: NoduleMask | None = None, axes: Axes | None = None, samples: int = SAMPLES
) -> dict[str, PlaneView]:
    """The axial, the coronal and the sagittal plane through a place (LPS mm), as a reader sees them.

    samples: of a side. Raises InputError where the volume lacks slices about the place, or holds NaN there.
    """
    place = np.asarray(place_lps, float)
    return {plane: _view(volume, place, plane, mask, axes, samples) for plane in DIRECTIONS}


def place_of(mask: NoduleMask, axes: Axes) -> np.ndarray:
    """(3,) LPS mm: the middle of a mask, on the slice of its long axis."""
    return np.append(mask.center_lps[:2], axes.long_lps[:, 2].mean())


def _view(
    volume: CTVolume, place: np.ndarray, plane: str, mask: NoduleMask | None, axes: Axes | None, samples: int
) -> PlaneView:
    both = np.array(DIRECTIONS[plane]).T  # (3, 2)
    across, step, affine = np.cross(*both.T), _SIDE_MM / samples, np.eye(4)
    affine[:3, :3] = np.column_stack([both * step, across])
    affine[:3, 3] = place - both.sum(axis=1) * step * (samples - 1) / 2
    size = (samples, samples, 1)
    inside = np.zeros((samples, samples), np.float32)
    if mask is not None:
        near = mask.padded(0.0)
        inside = sample_stack(CTVolume(near.array.astype(np.float32), near.affine), affine, size, fill=0.0)[0][0]
    lines = [] if axes is None else [line - place for line in (axes.long_lps, axes.short_lps)]
    in_plane = all(abs(line @ across).max() < _IN_PLANE_MM for line in lines)
    drawn = tuple(line @ both for line in lines) if in_plane else ()
    return PlaneView(sample_stack(volume, affine, size, fill=np.nan)[0][0], inside, drawn)
