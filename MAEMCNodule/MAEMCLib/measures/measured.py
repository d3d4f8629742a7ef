"""A nodule that was outlined and measured: what the panel, the commands and the DICOM results have of its size."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..images.ct import CTVolume
from ..images.sampling import sample_stack
from .errors import outline_error_mm
from .field import Field, traced
from .mask import NoduleMask
from .measures import Measures, measure


@dataclass(frozen=True)
class MeasuredNodule:
    """mask: on the grid of the CT. measures: of it."""

    mask: NoduleMask
    measures: Measures

    @classmethod
    def of(cls, volume: CTVolume, mask: NoduleMask, by_network: bool) -> MeasuredNodule:
        """Measure a nodule of a CT. by_network: whether the network has outlined it, which is less sure of a size than
        a reader is. Raises InputError where the mask does not lie in the volume."""
        found = measure(volume, mask)
        if not by_network:
            return cls(mask, found)
        error = outline_error_mm(found.mean_diameter_mm, volume.slice_spacing)
        return cls(mask, replace(found, diameter_error_mm=error))

    def columns(self) -> dict[str, Any]:
        """The value of each of ``results.MEASURES``."""
        one = self.measures
        return {
            "long_axis_mm": one.axes.long_mm,
            "short_axis_mm": one.axes.short_mm,
            "mean_diameter_mm": one.mean_diameter_mm,
            "equivalent_diameter_mm": one.equivalent_diameter_mm,
            "diameter_error_mm": one.diameter_error_mm,
            "volume_mm3": one.volume_mm3,
            "mean_hu": one.mean_hu,
            "mask_status": one.status,
            "composition": one.composition,
            "solid_long_axis_mm": one.solid_long_axis_mm,
            "solid_mean_diameter_mm": one.solid_mean_diameter_mm,
        }

    def on(self, volume: CTVolume) -> np.ndarray:
        """The mask as (slices, rows, columns) uint8 of a whole volume, whatever the grid that it was drawn on."""
        mask = self.mask.padded(0.0)
        corners = np.array(list(itertools.product(*((0, n - 1) for n in mask.array.shape[::-1]))))
        index = volume.to_index(corners @ mask.affine[:3, :3].T + mask.affine[:3, 3])
        low = np.floor(index.min(axis=0)).astype(int).clip(min=0)
        high = (np.ceil(index.max(axis=0)).astype(int) + 1).clip(max=volume.size)
        affine = volume.affine.copy()
        affine[:3, 3] = volume.to_lps(low)
        drawn = CTVolume(mask.array.astype(np.float32), mask.affine)
        whole = np.zeros(volume.array.shape, np.uint8)
        part = tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))
        whole[part] = sample_stack(drawn, affine, high - low, fill=0.0)[0] > 0.5
        return whole


def measured(field: Field | None, logits: np.ndarray | None) -> MeasuredNodule | None:
    """The nodule that the network outlines; None where it outlines none at the point. logits: as ``field.traced`` takes
    them; both None where there was no field to show it."""
    mask = None if field is None or logits is None else traced(field, logits)
    return None if mask is None else MeasuredNodule.of(field.around, mask, by_network=True)
