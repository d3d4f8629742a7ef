"""The voxels of a nodule, on a grid of their own in the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..images.ct import CTVolume


@dataclass(frozen=True)
class NoduleMask:
    """The part of a mask that holds a nodule's point.

    array: (slices k, rows j, columns i) bool, at least one voxel. affine: (4, 4) index (i, j, k) to LPS mm. islands:
    how many parts the mask had before the one at the point was taken.
    """

    array: np.ndarray
    affine: np.ndarray
    islands: int = 1

    @classmethod
    def at(cls, array: np.ndarray, affine: np.ndarray, point_lps, island_share: float = 0.0) -> NoduleMask:
        """Of any mask the part that holds the point, or the part nearest to it, cropped to it.

        Voxels are connected by their faces. island_share: parts with fewer voxels than this share of it are not
        counted. Raises InputError for an empty mask.
        """
        if not array.any():
            raise InputError(
                "The segment is empty. Draw the nodule in it, or leave it out: the nodule is then outlined from the "
                "point.",
                "segment-empty",
            )
        parts, count = parts_of(array)
        voxels = np.argwhere(array)
        index = np.linalg.inv(affine) @ np.append(np.asarray(point_lps, float), 1.0)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        nearest = voxels[np.argmin((((voxels - index[2::-1]) * spacing[::-1]) ** 2).sum(axis=1))]
        part = parts == parts[tuple(nearest)]
        if island_share:
            sizes = np.bincount(parts.ravel())[1:]
            count = int((sizes >= island_share * part.sum()).sum())
        low, high = (edge(np.argwhere(part), axis=0) for edge in (np.min, np.max))
        moved = affine.copy()
        moved[:3, 3] = affine[:3, :3] @ low[::-1] + affine[:3, 3]
        return cls(part[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))], moved, count)

    @property
    def spacing(self) -> np.ndarray:
        """(3,) mm along i, j, k."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def voxel_mm3(self) -> float:
        """The volume of a voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def center_lps(self) -> np.ndarray:
        """(3,) the centroid, LPS mm."""
        return self.affine[:3, :3] @ np.argwhere(self.array).mean(axis=0)[::-1] + self.affine[:3, 3]

    def padded(self, mm: float) -> NoduleMask:
        """The same voxels with at least ``mm``, and a voxel, of no mask on every side."""
        margin = np.ceil(mm / self.spacing).astype(int).clip(min=1)
        affine = self.affine.copy()
        affine[:3, 3] -= affine[:3, :3] @ margin
        return NoduleMask(np.pad(self.array, [(m, m) for m in margin[::-1]]), affine, self.islands)

    def distances(self) -> tuple[np.ndarray, np.ndarray]:
        """mm from the center of each voxel of the mask to the nearest one outside, and of each voxel outside to the
        nearest one of the mask; zero elsewhere. Nothing is outside beyond the array: pad it."""
        return _distance_to(~self.array, self.spacing), _distance_to(self.array, self.spacing)

    def touches_border(self, volume: CTVolume) -> bool:
        """Whether a voxel of the mask is one of the outermost of the volume."""
        voxels = np.argwhere(self.array)[:, ::-1]
        index = volume.to_index(voxels @ self.affine[:3, :3].T + self.affine[:3, 3])
        return bool(((index < 0.5) | (index > volume.size - 1.5)).any())


def largest_part(array: np.ndarray) -> np.ndarray:
    """Of (slices, rows, columns) bool the part with the most voxels, connected by their faces."""
    parts, count = parts_of(array)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    return parts == np.argmax(sizes) + 1


def parts_of(array: np.ndarray) -> tuple[np.ndarray, int]:
    """The number of each voxel's part, from 1, of bool in two or three dimensions, connected by faces; and how many
    parts there are."""
    import SimpleITK as sitk

    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(array.astype(np.uint8))))
    return parts, int(parts.max())


def _distance_to(array: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """mm from every voxel to the nearest one that is set; zero where it is set itself."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array.astype(np.uint8))
    image.SetSpacing(spacing.tolist())
    return sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, False, False, True)).clip(min=0.0)
