"""The network's outlines as segments of one segmentation node for each CT and list, for the reader to edit.

A segment is the network's as long as its tags say so; once a reader has changed it, it is the reader's and stays.
"""

import hashlib

import numpy as np
import slicer
import vtk
from MAEMCLib.measures.mask import NoduleMask
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from .nodes import AnalysisFolder
from .outlines import MADE_BY
from .volumes import RAS_TO_LPS, toWorldRas

_NODULE = "MAEMC.Nodule"
"""Tag of a segment of the network: ID of the nodule's point."""
_DIGEST = "MAEMC.Digest"
"""Tag of a segment of the network: hash of its voxels, to be told from what a reader makes of it."""
_LABELMAP = "Binary labelmap"
"""Slicer's name of the representation that is edited."""


def writeOutline(analysis, pointID: str, name: str, mask: NoduleMask, madeBy: str) -> None:
    """Write a mask (in world LPS) as the network's segment of a nodule, in place of the one before.

    madeBy: name and version of the network, with a bar between.
    """
    removeOutline(analysis, pointID)
    node = analysis.outlines or _created(analysis)
    image = slicer.vtkOrientedImageData()
    slices, rows, columns = mask.array.shape
    image.SetDimensions(columns, rows, slices)
    local = np.linalg.inv(toWorldRas(node)) @ RAS_TO_LPS @ mask.affine
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(local))
    scalars = numpy_to_vtk(np.ascontiguousarray(mask.array, np.uint8).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetTag(MADE_BY, madeBy)
    segment.SetTag(_NODULE, pointID)
    segment.SetTag(_DIGEST, _digest(mask))
    segment.AddRepresentation(_LABELMAP, image)
    segmentation = node.GetSegmentation()
    segmentation.AddSegment(segment, segmentation.GenerateUniqueSegmentID(f"nodule-{pointID}"))


def removeOutline(analysis, pointID: str) -> None:
    """Remove the network's segment of a nodule; what a reader has drawn or edited stays."""
    for segmentID in _networksOf(analysis, pointID):
        analysis.outlines.GetSegmentation().RemoveSegment(segmentID)


def removeOutlines(analysis) -> None:
    """Remove the network's segments of all nodules, and the segmentation where nothing is left in it."""
    node = analysis.outlines
    for segmentID in _networksOf(analysis, None):
        node.GetSegmentation().RemoveSegment(segmentID)
    if node is not None and node.GetSegmentation().GetNumberOfSegments() == 0:
        node.GetScene().RemoveNode(node)


def nameOutline(analysis, pointID: str, name: str) -> None:
    """The network's segment of a nodule has the nodule's name."""
    for segmentID in _networksOf(analysis, pointID):
        analysis.outlines.GetSegmentation().GetSegment(segmentID).SetName(name)


def leaveToReader(analysis, pointID: str, mask: NoduleMask) -> None:
    """Where a reader has changed the network's segment of a nodule, it is the reader's from now on.

    mask: that segment's, as it is in the scene now. Not by when it was changed: saving a scene may store it
    in another way.
    """
    for segmentID in _networksOf(analysis, pointID):
        segment, before = analysis.outlines.GetSegmentation().GetSegment(segmentID), vtk.mutable("")
        if segment.GetTag(_DIGEST, before) and str(before) != _digest(mask):
            for tag in (MADE_BY, _NODULE, _DIGEST):
                segment.RemoveTag(tag)


def segmentTimes(segmentationNode) -> dict:
    """{segment ID: number that grows when its voxels change}."""
    segmentation, times = segmentationNode.GetSegmentation(), {}
    for segmentID in segmentation.GetSegmentIDs():
        image = segmentation.GetSegment(segmentID).GetRepresentation(_LABELMAP)
        times[segmentID] = image.GetMTime() if image is not None else 0
    return times


def _digest(mask: NoduleMask) -> str:
    return hashlib.sha256(repr(mask.array.shape).encode() + np.packbits(mask.array).tobytes()).hexdigest()[:16]


def _created(analysis):
    """An empty segmentation on the grid of the CT, which moves with it. Lines alone are drawn, so that the nodule stays
    to be seen."""
    volumeNode = analysis.volumeNode
    name = _("{volume} nodule outlines").format(volume=volumeNode.GetName())
    node = volumeNode.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    if volumeNode.GetParentTransformNode() is not None:
        node.SetAndObserveTransformNodeID(volumeNode.GetParentTransformNode().GetID())
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetVisibility2DFill(False)
    display.SetVisibility3D(False)
    analysis.outlines = node
    AnalysisFolder(analysis).place(node)
    return node


def _networksOf(analysis, pointID: str | None) -> list:
    """IDs of the network's segments of a nodule; of all nodules where none is named."""
    if analysis.outlines is None:
        return []
    segmentation, tag, found = analysis.outlines.GetSegmentation(), vtk.mutable(""), []
    for segmentID in segmentation.GetSegmentIDs():
        if segmentation.GetSegment(segmentID).GetTag(_NODULE, tag) and pointID in (None, str(tag)):
            found.append(segmentID)
    return found
