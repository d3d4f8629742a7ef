"""Slice views: which CT lies behind, which overlay in front, and where they look."""

import slicer

_OURS = "MAEMC.PreviousForeground"


def showBackground(volumeNode) -> None:
    """Show a CT in every slice view, and fit the views where it is a new one."""
    for composite, sliceNode in views():
        if composite.GetBackgroundVolumeID() == volumeNode.GetID():
            continue
        composite.SetBackgroundVolumeID(volumeNode.GetID())
        fit(sliceNode)


def fit(sliceNode) -> None:
    """Let the view of a slice node show all of what lies behind it."""
    applicationLogic = slicer.app.applicationLogic()
    sliceLogic = applicationLogic.GetSliceLogic(sliceNode) if applicationLogic else None
    if sliceLogic is not None:
        sliceLogic.FitSliceToBackground()


def backgroundVolumes() -> list:
    """The volumes behind the slice views that are to be seen, each once; where no view is, behind any."""
    seen = _viewsSeen()
    shown = (slicer.mrmlScene.GetNodeByID(composite.GetBackgroundVolumeID() or "") for composite, _sliceNode in seen)
    return [node for node in dict.fromkeys(shown) if node is not None]


def backgroundVolume():
    """The volume behind the first slice view that shows one, or None."""
    return next(iter(backgroundVolumes()), None)


def showingOther(isOwn) -> set:
    """IDs of the slice views with a volume behind of whose ID ``isOwn`` is not true."""
    return {viewID for viewID, volumeID in backgrounds().items() if volumeID and not isOwn(volumeID)}


def backgrounds() -> dict:
    """{slice view's ID: ID of the volume behind, or None}."""
    return {sliceNode.GetID(): composite.GetBackgroundVolumeID() for composite, sliceNode in views()}


def axialRas():
    """A world point in the middle of the first axial slice view that is to be seen, or None where there is none."""
    for _composite, sliceNode in _viewsSeen():
        if sliceNode.GetOrientation() == "Axial":
            matrix = sliceNode.GetSliceToRAS()
            return tuple(matrix.GetElement(row, 3) for row in range(3))
    return None


def compositeNodes() -> list:
    """The nodes that say what a slice view shows."""
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


def allIDs() -> list:
    """IDs of all slice and 3-D views."""
    kinds = ("vtkMRMLSliceNode", "vtkMRMLViewNode")
    return [node.GetID() for kind in kinds for node in slicer.util.getNodesByClass(kind)]


def showOverlay(nodes: dict, opacity: float, volumeNode) -> None:
    """Lay overlay volumes over their CT: nodes["axial"] in axial views, nodes["coronal"] in coronal ones.

    The stacks are 25 slices thin across, so a view along any other direction shows the CT alone, and so does a view
    that shows another volume. Where there is no overlay, a foreground that someone else had chosen is put back.
    """
    for composite, sliceNode in views():
        node = nodes.get(sliceNode.GetOrientation().lower())
        if node is None or volumeNode is None or composite.GetBackgroundVolumeID() != volumeNode.GetID():
            _restore(composite)
            continue
        if composite.GetAttribute(_OURS) is None:
            previous = composite.GetForegroundVolumeID() or ""
            composite.SetAttribute(_OURS, f"{previous}|{composite.GetForegroundOpacity()}")
        composite.SetForegroundVolumeID(node.GetID())
        composite.SetForegroundOpacity(opacity)


def jumpTo(pointRas, centered: bool) -> None:
    """Move all slice views to a world point; centered also brings it to the middle, otherwise views do not pan."""
    for _composite, sliceNode in views():
        if centered:
            sliceNode.JumpSliceByCentering(*pointRas)
        else:
            sliceNode.JumpSliceByOffsetting(*pointRas)


def startPlacing(pointsNode) -> None:
    """Let the next click in a view place a point of this list (Slicer's own place mode): one, or as many as the user
    has chosen there."""
    selection, interaction = _placeNodes(pointsNode.GetScene())
    selection.SetReferenceActivePlaceNodeClassName(pointsNode.GetClassName())
    selection.SetActivePlaceNodeID(pointsNode.GetID())
    interaction.SetCurrentInteractionMode(interaction.Place)


def stopPlacing(pointsNode) -> None:
    """Let the next click place no point of this list; points of another list, or None, are not touched."""
    if isPlacing(pointsNode):
        interaction = interactionNode(pointsNode.GetScene())
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


def views() -> list:
    """[(composite node, slice node)] of the slice views."""
    sliceNodes = {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
    return [
        (composite, sliceNodes[composite.GetLayoutName()])
        for composite in compositeNodes()
        if composite.GetLayoutName() in sliceNodes
    ]


def _viewsSeen():
    return [entry for entry in views() if entry[1].IsMappedInLayout()] or views()


def _restore(composite) -> None:
    foreground = composite.GetAttribute(_OURS)
    if foreground is None:
        return
    previous, opacity = foreground.rsplit("|", 1)
    composite.RemoveAttribute(_OURS)
    exists = previous and composite.GetScene().GetNodeByID(previous)
    composite.SetForegroundVolumeID(previous if exists else None)
    composite.SetForegroundOpacity(float(opacity))
