"""What is to be seen of the nodules, so that no number stands beside a picture that it does not belong to.

Points of the chosen CT, over that CT alone; of them, the selected one's frame and overlay.

What is hidden here is marked, and shown again when its time comes; what the user has hidden stays hidden.
"""

import slicer

from . import labels, views
from .analysis import ASIDE, ELSEWHERE, PLANES, SHOWN, Analysis
from .nodes import isOverlay
from .parameters import parameterNode
from .reviewstate import seen

_HIDDEN = "MAEMC.Hidden"
"""Attribute of a node that was visible and is hidden by us."""
_VIEWS = "MAEMC.Views"
"""Attribute of a display node: the views in which it was to be seen before we have left some out."""
_NOWHERE = "nowhere"


class NoduleDisplay:
    """Brings slice views, points, labels, frames and overlay in line with what the parameter node has chosen."""

    def __init__(self) -> None:
        self._arranging = False

    def arrange(self) -> None:
        """Show of the nodules what is chosen, over its own CT alone. Cheap where it is shown already."""
        if not self._arranging and slicer.mrmlScene is not None and not slicer.mrmlScene.IsBatchProcessing():
            self._arranging = True
            try:
                _arrange(parameterNode())
            finally:
                self._arranging = False

    def show(self, analysis: Analysis, pointID: str, jump: bool = True, centered: bool = True) -> None:
        """Show a nodule in the slice views: CT behind, chosen overlay in front; jump moves the views to it.

        Views that show another CT beside this one, for comparison, stay as they are.
        """
        if analysis.volumeNode is not None and analysis.volumeNode not in views.backgroundVolumes():
            views.showBackground(analysis.volumeNode)
        pointRas = analysis.pointRas(pointID)
        if jump and pointRas is not None:
            views.jumpTo(pointRas, centered)
        self.arrange()

    def followViews(self, kinds: tuple) -> None:
        """The views show other volumes than before: where the chosen one is in none of them, choose what is, of these
        kinds of node (see ``volumeKinds``).

        So panel and views never speak of different CTs.
        """
        chosen, shown = parameterNode().inputVolume, views.backgroundVolumes()
        if chosen is not None and shown and chosen not in shown:
            others = [node for node in shown if _isCandidate(node, kinds)]
            if others:
                parameterNode().inputVolume = others[0]
        self.arrange()


def scoresPictures(card) -> bool:
    """Whether a model scores 2-D pictures, and not nodules; card: None where there is no model."""
    return card is not None and not card.kind.located


def volumeKinds(card) -> tuple:
    """Class names of the volume nodes that a model may score: CTs; of pictures also those in color."""
    return ("vtkMRMLScalarVolumeNode", *(("vtkMRMLVectorVolumeNode",) if scoresPictures(card) else ()))


def _isCandidate(node, kinds: tuple) -> bool:
    """Whether a volume may be one to score: no overlay of ours, no label map."""
    return node.GetClassName() in kinds and not isOverlay(node)


def proposedVolume(kinds: tuple):
    """The volume to begin with: the only one loaded of these kinds, else the one in the slice views, else None."""
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    loaded = [node for node in volumes if _isCandidate(node, kinds) and not node.GetHideFromEditors()]
    shown = views.backgroundVolume()
    return loaded[0] if len(loaded) == 1 else (shown if shown in loaded else None)


def isCurrent(analysis) -> bool:
    """Whether an analysis is the one whose nodules, or pictures, the panel lists; where nothing is chosen, whether
    it is shown."""
    chosen = parameterNode()
    if analysis.located:
        return analysis.shown and chosen.points in (None, analysis.pointsNode)
    return analysis.shown and chosen.inputVolume in (None, analysis.volumeNode)


def selectAmong(analysis) -> None:
    """Let what is selected be one of an analysis' nodules or pictures: the first, unless another one is already."""
    pointIDs = analysis.recordIDs() if analysis else []
    if parameterNode().selectedPoint not in pointIDs:
        parameterNode().selectedPoint = next(iter(pointIDs), "")


def isSelected(analysis, pointID: str) -> bool:
    """Whether a nodule is the one whose details the panel shows."""
    return isCurrent(analysis) and parameterNode().selectedPoint == pointID


def _arrange(parameters) -> None:
    analyses = Analysis.inScene(slicer.mrmlScene)
    _setStandings(analyses, _shownVolume(parameters, analyses))
    for pointsNode in {analysis.pointsNode for analysis in analyses} - {None}:
        scored = [analysis for analysis in analyses if analysis.pointsNode is pointsNode]
        _setVisible(pointsNode, any(analysis.standing != ELSEWHERE for analysis in scored))
        shown = next((analysis for analysis in scored if analysis.shown), None)
        _leaveOut(pointsNode, views.showingOther(_isOwn(shown)) if shown else set())
    for analysis in analyses:
        others = views.showingOther(_isOwn(analysis))
        if analysis.outlines is not None:
            _setVisible(analysis.outlines, analysis.shown)
            _leaveOut(analysis.outlines, others)
        for pointID in analysis.recordIDs():
            roiNode = analysis.roiNode(pointID)
            if roiNode is not None:
                _setVisible(roiNode, pointID == parameters.selectedPoint and isPointVisible(analysis, pointID))
                _leaveOut(roiNode, others)
    _showOverlay(parameters, analyses)


def isPointVisible(analysis, pointID: str) -> bool:
    """Whether a point of a list can be seen, as far as list and point are concerned; a picture always is."""
    if not analysis.located:
        return analysis.shown
    index = analysis.indexOf(pointID)
    if index is None or not analysis.shown:
        return False
    points, display = analysis.pointsNode, analysis.pointsNode.GetDisplayNode()
    return bool((display is None or display.GetVisibility()) and points.GetNthControlPointVisibility(index))


def isPointHidden(analysis, pointID: str) -> bool:
    """Whether the user has hidden a point of a list."""
    index = analysis.indexOf(pointID)
    return index is not None and not analysis.pointsNode.GetNthControlPointVisibility(index)


def _shownVolume(parameters, analyses):
    """The chosen CT, or that in the views where none is chosen, or None where that has no nodules either."""
    if parameters.inputVolume is not None:
        return parameters.inputVolume
    shown = views.backgroundVolume()
    return shown if any(analysis.volumeNode is shown for analysis in analyses) else None


def _setStandings(analyses, volumeNode) -> None:
    changed = []
    for analysis in analyses:
        elsewhere = volumeNode is not None and analysis.volumeNode is not volumeNode
        standing = ELSEWHERE if elsewhere else SHOWN
        if analysis.standing not in (ASIDE, standing):
            analysis.standing = standing
            changed.append(analysis)
    # One list may be scored on two CTs: its labels are left by the one before they are written by the other.
    for analysis in sorted(changed, key=lambda analysis: analysis.shown):
        labels.writeLabels(analysis)


def _showOverlay(parameters, analyses) -> None:
    pointID, nodes = parameters.selectedPoint, {}
    analysis = next((one for one in analyses if isCurrent(one) and one.record(pointID) is not None), None)
    record = seen(analysis, pointID, analysis.record(pointID)) if analysis is not None else None
    if record is not None and record.explained and isPointVisible(analysis, pointID):
        nodes = {plane: analysis.overlayNode(pointID, parameters.overlay.value, plane) for plane in PLANES}
    views.showOverlay(nodes, parameters.overlayOpacity, analysis.volumeNode if analysis else None)


def _isOwn(analysis):
    """Whether beside the volume with an ID the analysis' numbers may stand: its CT, or an overlay of its own."""

    def own(volumeID: str) -> bool:
        node = analysis.tableNode.GetScene().GetNodeByID(volumeID)
        if node is None or node is analysis.volumeNode:
            return node is not None
        return isOverlay(node) and node in analysis.nodesOf()

    return own


def _setVisible(node, visible: bool) -> None:
    if visible and node.GetAttribute(_HIDDEN):
        node.RemoveAttribute(_HIDDEN)
        node.SetDisplayVisibility(1)
    elif not visible and node.GetDisplayVisibility():
        node.SetAttribute(_HIDDEN, "1")
        node.SetDisplayVisibility(0)


def _leaveOut(node, viewIDs: set) -> None:
    """Do not show a node in these views."""
    display = node.GetDisplayNode()
    if display is None:
        return
    before = display.GetAttribute(_VIEWS)
    if not viewIDs:
        if before is not None:
            display.RemoveAttribute(_VIEWS)
            display.SetViewNodeIDs(before.split())
        return
    if before is None:
        before = " ".join(display.GetViewNodeIDs())
        display.SetAttribute(_VIEWS, before)
    left = [viewID for viewID in before.split() or views.allIDs() if viewID not in viewIDs] or [_NOWHERE]
    if list(display.GetViewNodeIDs()) != left:
        display.SetViewNodeIDs(left)
