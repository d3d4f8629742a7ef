"""A lung window for a CT that does not show the lung: offered once, and never set unasked."""

from MAEMCLib.images.ct import LUNG_WINDOW_HU

from .nodes import isOverlay

_ASKED = "MAEMC.Window"
"""Attribute of a CT that has been asked about."""
_LUNG_FROM_HU = -900.0
"""Aerated lung is black in a window that begins above."""


def isOffered(volumeNode) -> bool:
    """Whether a CT is shown so that its lung is black, and nobody has been asked yet."""
    if volumeNode is None or volumeNode.GetAttribute(_ASKED) or isOverlay(volumeNode):
        return False
    display = volumeNode.GetDisplayNode()
    if display is None or not display.IsA("vtkMRMLScalarVolumeDisplayNode"):
        return False
    return display.GetWindowLevelMin() > _LUNG_FROM_HU


def windowText(volumeNode) -> str:
    """ "400/40": width and level, as radiologists name a window."""
    display = volumeNode.GetDisplayNode()
    return f"{display.GetWindow():.0f}/{display.GetLevel():.0f}"


def answer(volumeNode, lung: bool) -> None:
    """Show a CT in a lung window, or leave it; it is not asked about again."""
    volumeNode.SetAttribute(_ASKED, "lung" if lung else "kept")
    if lung:
        display = volumeNode.GetDisplayNode()
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(*LUNG_WINDOW_HU)
