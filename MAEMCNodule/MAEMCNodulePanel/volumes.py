"""From a volume node to a CTVolume: the border where RAS becomes LPS, and where volumes that are no CT are refused."""

import json

import numpy as np
import slicer
import vtk
from MAEMCLib.clinical import asked_of
from MAEMCLib.ct import CTVolume
from MAEMCLib.errors import InputError
from slicer.i18n import tr as _

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Its own inverse: turns LPS into RAS as well."""


_CLINICAL = "MAEMC.Clinical"
"""Attribute of a volume node: what is known of its patient, so that it never stands beside another patient's CT."""


def clinicalOf(volumeNode, asked=None) -> dict:
    """{name: text} of what is known beside a CT; asked: the fields of a model, to have those that it asks for."""
    text = volumeNode.GetAttribute(_CLINICAL) if volumeNode is not None else None
    try:
        known = json.loads(text) if text else {}
    except ValueError:
        known = {}
    values = {str(name): str(value) for name, value in known.items()} if isinstance(known, dict) else {}
    return values if asked is None else asked_of(values, asked)


def setClinical(volumeNode, values: dict) -> None:
    """Keep {name: text or number} with the CT, in the scene; what is empty is forgotten."""
    texts = {str(name): str(value) for name, value in values.items() if value is not None and str(value).strip()}
    if texts:
        volumeNode.SetAttribute(_CLINICAL, json.dumps(texts, ensure_ascii=False, sort_keys=True))
    else:
        volumeNode.RemoveAttribute(_CLINICAL)


def lpsFromRas(pointRas) -> tuple:
    return (-float(pointRas[0]), -float(pointRas[1]), float(pointRas[2]))


def ijkToWorldRas(volumeNode) -> np.ndarray:
    """(4, 4) voxel index (i, j, k) to world RAS mm, linear parent transforms included.

    Raises InputError where a parent transform is not linear.
    """
    ijkToRas = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToRas)
    matrix = slicer.util.arrayFromVTKMatrix(ijkToRas)
    transformNode = volumeNode.GetParentTransformNode()
    if transformNode is None:
        return matrix
    if not transformNode.IsTransformToWorldLinear():
        message = _(
            "{volume} is under a transform that bends it ({transform}). Harden the transform (Transforms module) and "
            "score the hardened volume."
        ).format(volume=volumeNode.GetName(), transform=transformNode.GetName())
        raise InputError(message, "nonlinear-transform")
    toWorld = vtk.vtkMatrix4x4()
    transformNode.GetMatrixTransformToWorld(toWorld)
    return slicer.util.arrayFromVTKMatrix(toWorld) @ matrix


def ctVolume(volumeNode):
    """CTVolume of a volume node, in world LPS; its array shares the node's memory and must not be kept or changed.

    Raises InputError with what to do: no volume, no voxels, not a scalar volume, a frame of a sequence, bent by a
    transform. Whether its values are those of a CT is the library's to check.
    """
    if volumeNode is None or volumeNode.GetScene() is None:
        raise InputError(_("No CT is selected. Load a chest CT and choose it under CT."), "no-volume")
    name = volumeNode.GetName()
    if volumeNode.GetClassName() != "vtkMRMLScalarVolumeNode":
        message = _("{volume} is not a CT but a {kind}. Choose the CT volume.")
        raise InputError(message.format(volume=name, kind=volumeNode.GetNodeTagName()), "not-ct")
    imageData = volumeNode.GetImageData()
    if imageData is None or imageData.GetPointData().GetScalars() is None:
        raise InputError(_("{volume} has no voxels. Load the CT again.").format(volume=name), "empty-volume")
    if imageData.GetNumberOfScalarComponents() != 1:
        message = _("{volume} has {count} values in each voxel; a CT has one. Choose the CT volume.")
        raise InputError(message.format(volume=name, count=imageData.GetNumberOfScalarComponents()), "not-ct")
    if _isSequenceFrame(volumeNode):
        message = _(
            "{volume} is one frame of a sequence (4-D), which changes under its points when the sequence plays. Clone "
            "the frame (Data module, right-click, Clone) and score the clone."
        )
        raise InputError(message.format(volume=name), "sequence")
    affine = RAS_TO_LPS @ ijkToWorldRas(volumeNode)
    return CTVolume(slicer.util.arrayFromVolume(volumeNode), affine, name)


def inputFingerprint(volumeNode, pointRas) -> dict:
    """What a result depends on, as JSON: world position of the point, and grid of the volume in the world.

    Kept with each result, so that a reopened scene, a moved point or a transformed volume can be told from what was
    scored. Raises InputError as ctVolume does for a bent volume.
    """
    return {
        "point_lps": list(lpsFromRas(pointRas)),
        "ijk_to_lps": (RAS_TO_LPS @ ijkToWorldRas(volumeNode)).ravel().tolist(),
        "size": list(volumeNode.GetImageData().GetDimensions()) if volumeNode.GetImageData() else [],
    }


def sameInput(one, other, toleranceMm: float = 1e-3) -> bool:
    """Whether two fingerprints describe the same input, within what saving and loading a scene rounds away."""
    if not one or not other or one["size"] != other["size"]:
        return False
    return np.allclose(one["point_lps"], other["point_lps"], rtol=0, atol=toleranceMm) and np.allclose(
        one["ijk_to_lps"], other["ijk_to_lps"], rtol=1e-6, atol=toleranceMm / 100
    )


def _isSequenceFrame(volumeNode) -> bool:
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode", volumeNode.GetScene())
    return any(browser.IsProxyNodeID(volumeNode.GetID()) for browser in browsers)
