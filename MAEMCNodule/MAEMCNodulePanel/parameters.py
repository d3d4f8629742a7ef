"""What the panel remembers in the scene."""

from typing import Annotated

from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from .overlaychoice import OverlayKind, beginWith


@parameterNodeWrapper
class MAEMCNoduleParameterNode:
    """inputVolume: the CT whose nodules the panel shows. points: its point list. model: id of the chosen bundle, empty
    until one is chosen. selectedPoint: control point ID of the nodule whose details and overlay are shown. prevalence:
    the share of malignant nodules that diagnosis models assume, 0 for that of their training.

    Results are not here but with their table node, one for each CT and list; what is known of a patient is with the CT;
    nor is the device here, which is this machine's."""

    inputVolume: vtkMRMLScalarVolumeNode
    points: vtkMRMLMarkupsFiducialNode
    model: str
    scoreAtOnce: bool = True
    overlay: OverlayKind = OverlayKind.RECONSTRUCTION
    overlayOpacity: Annotated[float, WithinRange(0, 1)] = 0.5
    selectedPoint: str
    prevalence: Annotated[float, WithinRange(0, 1)] = 0.0


def parameterNode() -> MAEMCNoduleParameterNode:
    """The module's one parameter node, made in the scene where there is none."""
    source = ScriptedLoadableModuleLogic()
    source.moduleName = "MAEMCNodule"
    node = source.getParameterNode()
    isNew = not node.GetParameter("overlay")  # the wrapper writes what there is not
    parameters = MAEMCNoduleParameterNode(node)
    if isNew:
        beginWith(parameters)
    return parameters
