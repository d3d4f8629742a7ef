"""Two CTs beside each other in linked axial views: the current one left, its prior right."""

import slicer

from . import views

_LEFT, _RIGHT = "Red", "Yellow"
_BEFORE = "MAEMC.BeforeComparison"
"""Attribute of a slice node, its orientation before; of the layout node, the arrangement."""


def showComparison(current: tuple, prior: tuple, linked: bool) -> None:
    """Show both CTs, each at its nodule. current, prior: (volume node, world position R, A, S in mm).

    linked: let the views scroll, move and zoom together, which is of use where a place in one CT is the same place in
    the other one; otherwise each moves on its own.
    """
    layout = _layoutNode()
    if layout is not None and layout.GetAttribute(_BEFORE) is None:
        layout.SetAttribute(_BEFORE, str(layout.GetViewArrangement()))
        layout.SetViewArrangement(layout.SlicerLayoutSideBySideView)
    shown = views.views()
    for composite, _sliceNode in shown:  # what is linked passes on to the others whatever one of them is given
        composite.SetLinkedControl(False)
    for composite, sliceNode in shown:
        name = sliceNode.GetLayoutName()
        if name not in (_LEFT, _RIGHT):
            continue
        volumeNode, pointRas = current if name == _LEFT else prior
        if sliceNode.GetAttribute(_BEFORE) is None:
            sliceNode.SetAttribute(_BEFORE, sliceNode.GetOrientation())
        sliceNode.SetOrientation("Axial")
        composite.SetBackgroundVolumeID(volumeNode.GetID())
        views.fit(sliceNode)
        sliceNode.JumpSliceByCentering(*pointRas)
    for composite, sliceNode in shown:
        if sliceNode.GetLayoutName() in (_LEFT, _RIGHT):
            composite.SetLinkedControl(linked)
            composite.SetHotLinkedControl(linked)


def leaveComparison() -> None:
    """Put the views back as they were arranged; each shows on its own what it shows."""
    for composite, sliceNode in views.views():
        orientation = sliceNode.GetAttribute(_BEFORE)
        if orientation is not None:
            composite.SetLinkedControl(False)
            composite.SetHotLinkedControl(False)
            sliceNode.SetOrientation(orientation)
            sliceNode.RemoveAttribute(_BEFORE)
    layout = _layoutNode()
    before = layout.GetAttribute(_BEFORE) if layout is not None else None
    if before is not None:
        layout.RemoveAttribute(_BEFORE)
    if before is not None and before.isdecimal():
        layout.SetViewArrangement(int(before))


def _layoutNode():
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
