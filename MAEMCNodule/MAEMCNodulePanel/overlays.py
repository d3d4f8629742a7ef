"""What the model reconstructed, where it errs and what it attended to, as volume nodes over the CT at their place."""

import numpy as np
import slicer

from .analysis import OVERLAY, batch
from .hierarchy import AnalysisFolder
from .nodes import PLANE, nameNode
from .volumes import RAS_TO_LPS

KINDS = ("reconstruction", "error", "attention", "original")
ERROR_SHOWN_FROM_HU = 60.0
ERROR_SHOWN_TO_HU = 600.0
ATTENTION_SHOWN_FROM = 0.25


def createOverlays(analysis, pointID: str, record, affines: dict, stacks: dict) -> None:
    """Write the overlay volumes of a nodule: make those that are not there yet, remove those there is nothing for.

    stacks: {"axial": {kind: (slices, rows, columns) array}, "coronal": ...}; kinds as KINDS; reconstruction, error and
    original in HU, attention 0 to 1. affines: {plane: (4, 4) index (column, row, slice) to world LPS mm}.
    """
    with batch(analysis.tableNode.GetScene()):
        for plane, lps in affines.items():
            for kind in KINDS:
                node, stack = analysis.overlayNode(pointID, kind, plane), stacks[plane].get(kind)
                if stack is None:
                    if node is not None:  # made by a model that had it, before this one scored
                        node.GetScene().RemoveNode(node)
                    continue
                node = node or _createVolume(analysis, pointID, record, kind, plane)
                node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(RAS_TO_LPS @ lps))
                slicer.util.updateVolumeFromArray(node, np.asarray(stack, np.float32))
                _setDisplay(node, kind, record, stack)


def isOverlay(node) -> bool:
    return bool(node.GetAttribute(OVERLAY))


def overlayIDs(scene) -> list:
    """IDs of all overlay volumes: eight a nodule would bury the CTs in a list of volumes to choose from."""
    return [node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene) if isOverlay(node)]


def stacksOf(analysis, pointID: str, plane: str) -> dict:
    """{kind: (25, 50, 50) array} of the overlay volumes of a nodule that are in the scene."""
    nodes = {kind: analysis.overlayNode(pointID, kind, plane) for kind in KINDS}
    return {kind: slicer.util.arrayFromVolume(node) for kind, node in nodes.items() if node and node.GetImageData()}


def _createVolume(analysis, pointID: str, record, kind: str, plane: str):
    node = slicer.vtkMRMLScalarVolumeNode()
    # Before it is added: whoever looks for CTs when a volume comes must see that it is none.
    node.SetAttribute(OVERLAY, kind)
    node.SetAttribute(PLANE, plane)
    nameNode(analysis, record.name, node)
    node = analysis.tableNode.GetScene().AddNode(node)
    node.CreateDefaultDisplayNodes()
    analysis.addNode(pointID, f"{kind}.{plane}", node)
    AnalysisFolder(analysis).placeOfNodule(pointID, record.name, node)
    return node


def _setDisplay(node, kind: str, record, stack) -> None:
    display = node.GetDisplayNode()
    with slicer.util.NodeModify(display):
        display.SetAutoWindowLevel(False)
        display.SetInterpolate(True)
        if kind in ("reconstruction", "original"):
            lower, upper = record.window or (-1200.0, 200.0)
            display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
            display.SetWindowLevelMinMax(lower, upper)
            display.SetApplyThreshold(False)
            return
        # Where nothing is to be told, the CT shines through: small errors and weak attention are not drawn at all.
        highest = ERROR_SHOWN_TO_HU if kind == "error" else float(np.max(stack)) or 1.0
        lowest = ERROR_SHOWN_FROM_HU if kind == "error" else ATTENTION_SHOWN_FROM * highest
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeIron")
        display.SetWindowLevelMinMax(0.0, highest)
        display.SetThreshold(lowest, max(float(np.max(stack)), lowest) + 1.0)
        display.SetApplyThreshold(True)
