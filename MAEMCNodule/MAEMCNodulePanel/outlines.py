"""Where a nodule is outlined in the scene: the segment at its point, of any segmentation of its CT."""

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.measures.mask import NoduleMask
from MAEMCLib.measures.segment import mask_near
from slicer.i18n import tr as _

from .volumes import RAS_TO_LPS, lpsFromRas

REACH_MM = 60.0
"""About the point: what reaches as far is a lobe or a lung, and no nodule."""
MADE_BY = "MAEMC.MadeBy"
"""Tag of a segment that a network has outlined: its name and version, with a bar between."""


@dataclass(frozen=True)
class DrawnOutline:
    """mask: in world LPS. algorithm, version, network: what made it, as DICOM results say it."""

    mask: NoduleMask
    algorithm: str
    version: str
    network: bool = False


def outlineOf(analysis, pointID: str) -> DrawnOutline | None:
    """The segment nearest to a nodule's point and not farther than 5 mm; None where nobody has outlined it. One that a
    reader has drawn goes before a network's.

    Segmentations that are drawn on another CT do not count.
    """
    pointRas = analysis.pointRas(pointID)
    if pointRas is None or analysis.volumeNode is None:
        return None
    found = []
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", analysis.tableNode.GetScene()):
        drawnOn = node.GetNodeReferenceID(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole())
        transform = node.GetParentTransformNode()
        bent = transform is not None and not transform.IsTransformToWorldLinear()
        if not bent and drawnOn in (None, analysis.volumeNode.GetID()):
            segments = node.GetSegmentation()
            names = [segments.GetNthSegmentID(number) for number in range(segments.GetNumberOfSegments())]
            found += filter(None, (_drawn(node, name, lpsFromRas(pointRas)) for name in names))
    point = np.array(lpsFromRas(pointRas))
    return min(found, key=lambda one: (one.network, np.linalg.norm(one.mask.center_lps - point)), default=None)


def _drawn(node, name: str, pointLps) -> DrawnOutline | None:
    part = _labels(node, name, pointLps)
    mask = mask_near(part, pointLps) if part is not None and part.array.any() else None
    if mask is None or max(np.array(mask.array.shape[::-1]) * mask.spacing) >= REACH_MM:
        return None
    made = vtk.mutable("")
    segment = node.GetSegmentation().GetSegment(name)
    if segment.GetTag(MADE_BY, made) and "|" in str(made):
        algorithm, version = str(made).split("|", 1)
        return DrawnOutline(mask, algorithm, version, network=True)
    return DrawnOutline(mask, _("Segment drawn by a reader"), slicer.app.applicationVersion)


def _labels(node, name: str, pointLps) -> CTVolume | None:
    """1 in a segment and 0 outside, near a point: a segment may be as large as a lung."""
    image = node.GetBinaryLabelmapInternalRepresentation(name)
    if image is None or image.IsEmpty():
        return None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    affine = slicer.util.arrayFromVTKMatrix(matrix)
    transform = node.GetParentTransformNode()
    if transform is not None:
        transform.GetMatrixTransformToWorld(matrix)
        affine = slicer.util.arrayFromVTKMatrix(matrix) @ affine
    affine, extent = RAS_TO_LPS @ affine, np.array(image.GetExtent()).reshape(3, 2)
    reach = np.ceil(REACH_MM / np.linalg.norm(affine[:3, :3], axis=0))
    index = np.linalg.inv(affine) @ np.append(np.asarray(pointLps, float), 1.0)
    low = np.maximum(np.floor(index[:3] - reach), extent[:, 0]).astype(int)
    high = np.minimum(np.ceil(index[:3] + reach), extent[:, 1]).astype(int) + 1
    if (low >= high).any():
        return None
    array = slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, name)
    inside = tuple(slice(a, b) for a, b in zip((low - extent[:, 0])[::-1], (high - extent[:, 0])[::-1], strict=True))
    affine[:3, 3] = affine[:3, :3] @ low + affine[:3, 3]
    value = node.GetSegmentation().GetSegment(name).GetLabelValue()
    return CTVolume((array[inside] == value).astype(np.uint8), affine)
