"""Slice views: which CT lies behind, which overlay in front, and where they look."""

import slicer

_OURS = "MAEMC.PreviousForeground"


def showBackground(volumeNode) -> None:
    """Show a CT in every slice view, and fit the views where it is a new one."""
    for composite, sliceNode in _views():
        if composite.GetBackgroundVolumeID() == volumeNode.GetID():
            continue
        composite.SetBackgroundVolumeID(volumeNode.GetID())
        applicationLogic = slicer.app.applicationLogic()
        sliceLogic = applicationLogic.GetSliceLogic(sliceNode) if applicationLogic else None
        if sliceLogic is not None:
            sliceLogic.FitSliceToBackground()


def backgroundVolume():
    """The volume behind the first slice view that shows one, or None."""
    shown = (composite.GetBackgroundVolumeID() for composite, _sliceNode in _views())
    return next((slicer.mrmlScene.GetNodeByID(volumeID) for volumeID in shown if volumeID), None)


def showOverlay(nodes: dict, opacity: float) -> None:
    """Lay overlay volumes over the CT: nodes["axial"] in axial views, nodes["coronal"] in coronal ones.

    The stacks are 25 slices thin across, so a view along any other direction shows the CT alone. A foreground that
    someone else had chosen is put back by clearOverlay.
    """
    for composite, sliceNode in _views():
        node = nodes.get(sliceNode.GetOrientation().lower())
        if node is None:
            _restore(composite)
            continue
        if composite.GetAttribute(_OURS) is None:
            previous = composite.GetForegroundVolumeID() or ""
            composite.SetAttribute(_OURS, f"{previous}|{composite.GetForegroundOpacity()}")
        composite.SetForegroundVolumeID(node.GetID())
        composite.SetForegroundOpacity(opacity)


def clearOverlay() -> None:
    """Take our overlay off every slice view."""
    for composite, _sliceNode in _views():
        _restore(composite)


def jumpTo(pointRas, centered: bool) -> None:
    """Move all slice views to a world point; centered also brings it to the middle, otherwise views do not pan."""
    for _composite, sliceNode in _views():
        if centered:
            sliceNode.JumpSliceByCentering(*pointRas)
        else:
            sliceNode.JumpSliceByOffsetting(*pointRas)


def startPlacing(pointsNode) -> None:
    """Let the next click in a view place one point of this list (Slicer's own place mode)."""
    selection, interaction = _placeNodes(pointsNode.GetScene())
    selection.SetReferenceActivePlaceNodeClassName(pointsNode.GetClassName())
    selection.SetActivePlaceNodeID(pointsNode.GetID())
    interaction.SetPlaceModePersistence(0)
    interaction.SetCurrentInteractionMode(interaction.Place)


def stopPlacing(scene) -> None:
    _selection, interaction = _placeNodes(scene)
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)


def isPlacing(pointsNode) -> bool:
    """Whether the next click places a point of this list."""
    if pointsNode is None or pointsNode.GetScene() is None:
        return False
    selection, interaction = _placeNodes(pointsNode.GetScene())
    placing = interaction.GetCurrentInteractionMode() == interaction.Place
    return placing and selection.GetActivePlaceNodeID() == pointsNode.GetID()


def interactionNode(scene):
    return _placeNodes(scene)[1]


def _placeNodes(scene):
    return (
        scene.GetNodeByID("vtkMRMLSelectionNodeSingleton"),
        scene.GetNodeByID("vtkMRMLInteractionNodeSingleton"),
    )


def _views():
    sliceNodes = {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return [
        (composite, sliceNodes[composite.GetLayoutName()])
        for composite in composites
        if composite.GetLayoutName() in sliceNodes
    ]


def _restore(composite) -> None:
    kept = composite.GetAttribute(_OURS)
    if kept is None:
        return
    previous, opacity = kept.rsplit("|", 1)
    composite.RemoveAttribute(_OURS)
    known = previous if previous and composite.GetScene().GetNodeByID(previous) else None
    composite.SetForegroundVolumeID(known)
    composite.SetForegroundOpacity(float(opacity))
