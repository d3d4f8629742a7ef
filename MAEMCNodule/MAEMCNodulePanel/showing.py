"""What is to be seen of the nodules, so that no number stands beside a picture that it does not belong to.

Points of the chosen CT, over that CT alone; of them, the selected one's frame and overlay.

What is hidden here is marked, and shown again when its time comes; what the user has hidden stays hidden.
"""

import slicer

from . import labels, views
from .analysis import ASIDE, ELSEWHERE, PLANES, SHOWN, Analysis
from .parameters import OverlayKind

_HIDDEN = "MAEMC.Hidden"
"""Attribute of a node that was visible and is hidden by us."""
_VIEWS = "MAEMC.Views"
"""Attribute of a display node: the views in which it was to be seen before we have left some out."""
_NOWHERE = "nowhere"


def arrange(parameterNode) -> None:
    """Bring points, labels, frames and overlay in line with what is chosen. Cheap where they are."""
    analyses = Analysis.inScene(slicer.mrmlScene)
    if not analyses:
        views.clearOverlay()
        return
    _setStandings(analyses, _shownVolume(parameterNode, analyses))
    for pointsNode in {analysis.pointsNode for analysis in analyses} - {None}:
        its = [analysis for analysis in analyses if analysis.pointsNode is pointsNode]
        _setVisible(pointsNode, any(analysis.standing != ELSEWHERE for analysis in its))
        shown = next((analysis for analysis in its if analysis.shown), None)
        _leaveOut(pointsNode, views.showingOther(_pictures(shown)) if shown else set())
    for analysis in analyses:
        for pointID in analysis.recordIDs():
            roiNode = analysis.roiNode(pointID)
            if roiNode is not None:
                _setVisible(roiNode, pointID == parameterNode.selectedPoint and isPointVisible(analysis, pointID))
                _leaveOut(roiNode, views.showingOther(_pictures(analysis)))
    _showOverlay(parameterNode, analyses)


def current(parameterNode, analyses=None):
    """The analysis whose nodules the panel lists, or, where nothing is chosen there, the first that is shown."""
    volume, points = parameterNode.inputVolume, parameterNode.points
    for analysis in Analysis.inScene(slicer.mrmlScene) if analyses is None else analyses:
        fits = volume is None or analysis.volumeNode is volume
        if analysis.shown and fits and (points is None or analysis.pointsNode is points):
            return analysis
    return None


def isPointVisible(analysis, pointID: str) -> bool:
    """Whether a point of a list can be seen, as far as list and point are concerned."""
    index = analysis.pointIndices().get(pointID)
    if index is None or not analysis.shown:
        return False
    display = analysis.pointsNode.GetDisplayNode()
    return (display is None or bool(display.GetVisibility())) and bool(
        analysis.pointsNode.GetNthControlPointVisibility(index)
    )


def _shownVolume(parameterNode, analyses):
    """The chosen CT, or that in the views where none is chosen, or None where that has no nodules either."""
    if parameterNode.inputVolume is not None:
        return parameterNode.inputVolume
    shown = views.backgroundVolume()
    return shown if any(analysis.volumeNode is shown for analysis in analyses) else None


def _setStandings(analyses, volumeNode) -> None:
    changed = []
    for analysis in analyses:
        if analysis.standing != ASIDE:
            elsewhere = volumeNode is not None and analysis.volumeNode is not volumeNode
            standing = ELSEWHERE if elsewhere else SHOWN
            if standing != analysis.standing:
                analysis.standing = standing
                changed.append(analysis)
    # One list may be scored on two CTs: its labels are left by the one before they are written by the other.
    for analysis in sorted(changed, key=lambda analysis: analysis.shown):
        labels.writeLabels(analysis)


def _showOverlay(parameterNode, analyses) -> None:
    analysis, kind, pointID = current(parameterNode, analyses), parameterNode.overlay, parameterNode.selectedPoint
    record = analysis.record(pointID) if analysis and pointID else None
    if record is None or not record.explained or kind is OverlayKind.NONE or not isPointVisible(analysis, pointID):
        views.clearOverlay()
        return
    found = {plane: analysis.overlayNode(pointID, kind.value, plane) for plane in PLANES}
    views.showOverlay(found, parameterNode.overlayOpacity, analysis.volumeNode)


def _pictures(analysis) -> set:
    """IDs of the volumes beside which the analysis' numbers may stand: its CT, and its own overlays."""
    return {node.GetID() for node in (analysis.volumeNode, *analysis.overlayNodes()) if node is not None}


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
