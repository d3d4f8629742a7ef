"""Nodules in CT as training data: both stacks of a nodule's region with the margin that augmentation needs.

What is stored of a case is int16 HU of shape (2, 35, 60, 60), axial then coronal with the axes of ``NoduleROI``; the
central 25 x 50 x 50 samples are the region that scoring cuts. Samples outside the volume hold ``PADDING``.
"""

import hashlib
import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume, check_ct
from MAEMCLib.images.reading_process import ReadingProcess
from MAEMCLib.images.sampling import check_point, observed_slices, sample_stack
from MAEMCLib.inputs.nodule import Preprocessing, normalize
from MAEMCLib.inputs.region import PLANES, SIDE, SLICES, NoduleROI, stack_grid

from ...engine.configuration import Augmentation
from ..cases import SourceCase, StoredCase
from .kind import Cases, Content, Cut, Kind
from .montage_views import MARGIN, PADDING, MontagePresentation, regions

SOLIDITY, PART_SOLID = ("1", "2", "3", "4", "5"), 3.0
"""LIDC-IDRI's ratings of texture: 1 ground glass, 3 part-solid, 5 solid."""


@dataclass(frozen=True)
class NoduleSettings:
    """How regions are cut: samples along each axis, those beyond on every side, the distance between slices in mm."""

    slices: int = SLICES
    side: int = SIDE
    margin: int = MARGIN
    slice_step_mm: int = 1
    interpolation: str = "trilinear"


@dataclass(frozen=True)
class NoduleFacts:
    """The point in LPS mm; the share of samples outside the volume, of the region and of all that is stored; of each
    plane the first of the stored slices that was observed and the one after the last (``observed_slices``)."""

    point_lps: tuple[float, float, float]
    padded_fraction: float
    margin_padded: float
    observed: tuple[tuple[int, int], ...] = ((0, SLICES + 2 * MARGIN),) * len(PLANES)

    def slices(self, plane: int, moved: int = 0) -> np.ndarray:
        """(25,) bool: which slices of a view that is moved by whole slices were observed."""
        first, end = self.observed[plane]
        number = np.arange(SLICES) + MARGIN + moved
        return (first <= number) & (number < end)


class NoduleKind(Kind):
    """Nodules in CT."""

    name = "nodule"
    title = "nodules in CT"
    rows = ("nodule",)
    Settings = NoduleSettings
    Facts = NoduleFacts
    Augmentation = Augmentation
    Preprocessing = Preprocessing
    shown_as = MontagePresentation
    worth_a_pool = 4

    def group(self, case: SourceCase) -> Hashable:
        """Nodules of one volume are cut together."""
        return case.row.image, case.row.series

    def signature(self, case: SourceCase, content: Content) -> str:
        """Of the volume's files and of the point. Raises InputError where there are none."""
        image = case.row.image
        if not image.exists():
            raise InputError(f"There is no file or folder {image}. Check the path.", "missing-file", [image])
        parts = [content(image, case.row.series), *case.row.point_lps]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def facts(self, values: dict[str, Any]) -> NoduleFacts:
        """``NoduleFacts`` from what JSON holds of them."""
        observed = tuple(map(tuple, values.get("observed", NoduleFacts.observed)))
        return NoduleFacts(**values | {"point_lps": tuple(values["point_lps"]), "observed": observed})

    def read(self, case: SourceCase, reader: ReadingProcess) -> CTVolume:
        """The volume, checked to be a CT."""
        volume = reader.read(case.row.image, case.row.series)
        check_ct(volume)
        return volume

    def cut(self, shared: CTVolume, case: SourceCase, settings: NoduleSettings) -> Cut:
        """Both stacks, sampled once. Raises InputError, as scoring does, for a point outside the volume."""
        point = case.row.point_lps
        check_point(shared, point)
        size = tuple(n + 2 * settings.margin for n in (settings.side, settings.side, settings.slices))
        grids = [stack_grid(plane, point, settings.slice_step_mm, settings.margin) for plane in PLANES]
        observed = tuple(_range(observed_slices(shared, grid, size)) for grid in grids)
        hu = np.stack([sample_stack(shared, grid, size, fill=PADDING)[0] for grid in grids])
        # No real value may look like padding. Values beyond +-32767 HU do not exist in CT.
        stacks = np.clip(np.rint(hu), -32767, 32767).astype(np.int16)
        outside = hu == PADDING
        stacks[outside] = PADDING
        inner = slice(settings.margin, -settings.margin)
        padded = float(np.mean([float(stack[inner, inner, inner].mean()) for stack in outside]))
        remarks = tuple((case.number, remark) for remark in shared.remarks)
        return Cut(stacks, NoduleFacts(point, padded, float(outside.mean()), observed), remarks=remarks)

    def unstandardized(
        self, cohort: Cases, augmentation: Augmentation, side: int, skip_unobserved: bool
    ) -> tuple[Preprocessing, Callable[[int], np.ndarray]]:
        """The window [-1200, 200] HU."""
        plain = Preprocessing(slice_step_mm=float(cohort.settings.slice_step_mm), skip_unobserved=skip_unobserved)

        def images(index: int) -> np.ndarray:
            values = normalize(regions(cohort, index), plain)
            if skip_unobserved:
                values[~np.stack([cohort.cases[index].facts.slices(plane) for plane in (0, 1)])] = np.nan
            return values

        return plain, images

    def scored(self, cohort: Cases, index: int) -> list[NoduleROI]:
        """The region; the cache holds whole HU."""
        axial, coronal = regions(cohort, index)
        facts, step = cohort.cases[index].facts, float(cohort.settings.slice_step_mm)
        observed = {plane: facts.slices(number) for number, plane in enumerate(PLANES)}
        return [NoduleROI(axial, coronal, facts.point_lps, step, facts.padded_fraction, observed)]

    def cohort_facts(self, cohort: Cases) -> dict[str, Any]:
        """The padding, the distance between slices, and how many nodules are subsolid by readers' ratings."""
        padded = float(np.mean([case.facts.padded_fraction for case in cohort.cases]))
        return {
            "padded_fraction": round(padded, 6),
            "slice_step_mm": cohort.settings.slice_step_mm,
            "subsolid": sum(map(_is_subsolid, cohort.cases)),
        }

    def cache_line(self, cases: Sequence[StoredCase]) -> str:
        """How many regions reach beyond their volume."""
        padded = sum(case.facts.padded_fraction > 0 for case in cases)
        margin = sum(case.facts.margin_padded > 0 for case in cases)
        return (
            f"{padded} reach beyond their volume, {margin} when they are shifted by up to 5 mm (padded with -1200 HU)"
        )


def _is_subsolid(case: StoredCase) -> bool:
    """Whether readers rate the texture, of which 5 is solid, as part-solid (3) or less in the median."""
    ratings = [int(word) for word in case.values.get("texture", "").split() if word in SOLIDITY]
    return bool(ratings) and float(np.median(ratings)) <= PART_SOLID


def _range(observed: np.ndarray) -> tuple[int, int]:
    """The first slice that was observed and the one after the last; they follow each other."""
    there = np.flatnonzero(observed)
    return (int(there[0]), int(there[-1]) + 1) if len(there) else (0, 0)


KIND = NoduleKind()
