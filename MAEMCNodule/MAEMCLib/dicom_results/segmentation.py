"""A nodule's mask as a binary DICOM segmentation on the slices of its CT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..measures.mask import NoduleMask
from .codes import ABNORMAL_STRUCTURE, CONNECTED_PARTS, LUNG, LUNG_NODULE, NETWORK
from .nodule import SOFTWARE, ReportedNodule, plain
from .source import SourceSeries

if TYPE_CHECKING:
    from highdicom.seg import Segmentation

SAME_VOXEL = 1e-3
"""Voxels of two grids are the same where their centers lie within this share of a voxel of each other."""


def segmentation(source: SourceSeries, nodule: ReportedNodule) -> Segmentation:
    """The segmentation of a nodule that has an outline, as a new instance (PS3.3 A.51). Frames without a voxel of the
    nodule are left out. Raises InputError where the mask has no voxel on the CT's slices."""
    import highdicom as hd

    outline, study = nodule.outline, source.first.StudyInstanceUID
    voxels = on_slices(outline.mask, source)
    images, planes = source.images, source.planes
    if len(images) > 1:  # those with a part of the nodule alone: frames of all others would be made and left out
        images, planes = zip(*(pair for pair in zip(images, planes, strict=True) if voxels[pair[1]].any()), strict=True)
    name = plain(nodule.result.nodule_id)
    identified = hd.AlgorithmIdentificationSequence(
        name=plain(outline.algorithm),
        version=plain(outline.version),
        family=NETWORK if outline.network else CONNECTED_PARTS,
        parameters={f"parameter {n}": text for n, text in enumerate(outline.parameters, 1)} or None,
    )
    described = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=name,
        segmented_property_category=ABNORMAL_STRUCTURE,
        segmented_property_type=LUNG_NODULE,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=identified,
        tracking_uid=nodule.tracked_in(study),
        tracking_id=name,
        anatomic_regions=[LUNG],
    )
    return hd.seg.Segmentation(
        source_images=list(images),
        pixel_array=voxels[list(planes)],
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[described],
        series_instance_uid=nodule.series_in(source.first.SeriesInstanceUID, "segmentation"),
        series_number=9001,
        sop_instance_uid=hd.UID(),
        instance_number=nodule.number,
        manufacturer="MAEMC",
        manufacturer_model_name="MAEMC Nodule",
        software_versions=SOFTWARE,
        device_serial_number=nodule.card.sha256[:16],
        content_label="NODULE",
        content_description="Lung nodule. Research only, not for clinical use.",
        series_description="AI nodule segmentation - research only",
    )


def on_slices(mask: NoduleMask, source: SourceSeries) -> np.ndarray:
    """(slices, rows, columns) bool on the CT's grid: the mask's own voxels where both grids have the same, else those
    whose center the mask holds (nearest voxel).

    Raises InputError where no voxel is left: outside the series, or only on slices that it lacks.
    """
    found = np.zeros(source.shape, bool)
    to_mask = np.linalg.inv(mask.affine) @ source.affine
    low, high = _box(mask, source)
    if (low < high).all():
        k, j, i = np.meshgrid(*(np.arange(a, b) for a, b in zip(low[::-1], high[::-1], strict=True)), indexing="ij")
        index = np.stack([i, j, k], axis=-1) @ to_mask[:3, :3].T + to_mask[:3, 3]
        # Half-way between two voxels rounding would decide by the machine's last bit; so it is always the lower one.
        nearest = np.ceil(index - 0.5 - SAME_VOXEL).astype(int)[..., ::-1]
        inside = ((nearest >= 0) & (nearest < mask.array.shape)).all(axis=-1)
        found[k[inside], j[inside], i[inside]] = mask.array[tuple(nearest[inside].T)]
    there = np.zeros(len(found), bool)
    there[list(source.planes)] = True
    if not found[there].any():
        raise InputError(
            "The nodule's mask has no voxel on the slices of the DICOM series. Check that both belong together.",
            "segment-outside",
        )
    found[~there] = False
    return found


def _box(mask: NoduleMask, source: SourceSeries) -> tuple[np.ndarray, np.ndarray]:
    """(3,), (3,): the part of the CT's grid (i, j, k) that may hold voxels of the mask."""
    size = np.array(mask.array.shape[::-1])
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in size], indexing="ij")).reshape(3, 8).T
    to_ct = np.linalg.inv(source.affine) @ mask.affine
    index = corners @ to_ct[:3, :3].T + to_ct[:3, 3]
    low = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, np.array(source.shape[::-1]))
    return low, high
