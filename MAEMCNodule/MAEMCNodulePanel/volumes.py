"""From a volume node to a CTVolume: the border where RAS becomes LPS, and where volumes that are no CT are refused."""

import numpy as np
import slicer
import vtk
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume
from slicer.i18n import tr as _

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Its own inverse: turns LPS into RAS as well."""
TOLERANCE_MM = 1e-3
"""What saving and loading a scene may round away of a position."""


def lpsFromRas(pointRas) -> tuple:
    return (-float(pointRas[0]), -float(pointRas[1]), float(pointRas[2]))


def ijkToWorldRas(volumeNode) -> np.ndarray:
    """(4, 4) voxel index (i, j, k) to world RAS mm, linear parent transforms included.

    Raises InputError where a parent transform is not linear.
    """
    ijkToRas = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToRas)
    return toWorldRas(volumeNode) @ slicer.util.arrayFromVTKMatrix(ijkToRas)


def toWorldRas(node) -> np.ndarray:
    """(4, 4) a node's own RAS mm to world RAS mm: its parent transforms.

    Raises InputError where one is not linear.
    """
    transformNode = node.GetParentTransformNode()
    if transformNode is None:
        return np.eye(4)
    if not transformNode.IsTransformToWorldLinear():
        message = _(
            "{volume} is under a transform that bends it ({transform}). Harden the transform (Transforms module) and "
            "score the hardened volume."
        ).format(volume=node.GetName(), transform=transformNode.GetName())
        raise InputError(message, "nonlinear-transform")
    toWorld = vtk.vtkMatrix4x4()
    transformNode.GetMatrixTransformToWorld(toWorld)
    return slicer.util.arrayFromVTKMatrix(toWorld)


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
    checkVoxels(volumeNode)
    components = volumeNode.GetImageData().GetNumberOfScalarComponents()
    if components != 1:
        message = _("{volume} has {count} values in each voxel; a CT has one. Choose the CT volume.")
        raise InputError(message.format(volume=name, count=components), "not-ct")
    affine = RAS_TO_LPS @ ijkToWorldRas(volumeNode)
    return CTVolume(slicer.util.arrayFromVolume(volumeNode), affine, name)


def checkVoxels(volumeNode) -> None:
    """Raise InputError for a volume without voxels, and for a frame of a sequence."""
    imageData = volumeNode.GetImageData()
    if imageData is None or imageData.GetPointData().GetScalars() is None:
        text = _("{volume} has no voxels. Load it again.")
        raise InputError(text.format(volume=volumeNode.GetName()), "empty-volume")
    if _isSequenceFrame(volumeNode):
        message = _(
            "{volume} is one frame of a sequence (4-D), which changes under its points when the sequence plays. Clone "
            "the frame (Data module, right-click, Clone) and score the clone."
        )
        raise InputError(message.format(volume=volumeNode.GetName()), "sequence")


def inputFingerprint(volumeNode, pointRas, series: dict) -> dict:
    """What a result depends on, as JSON: world position of the point, and grid in the world of the volume and of each
    further series ({name: volume node}) that is read beside it.

    Kept with each result, so that a reopened scene, a moved point or a transformed volume can be told from what was
    scored.
    """
    grids = {name: _grid(node) for name, node in series.items()}
    return {"point_lps": list(lpsFromRas(pointRas)), **_grid(volumeNode), "series": grids}


def sameInput(before, now) -> bool:
    """Whether an input is as its fingerprint says: all that was read then is there now, where now may have further
    series; within what saving and loading a scene rounds away."""
    if not before or not now or not np.allclose(before["point_lps"], now["point_lps"], rtol=0, atol=TOLERANCE_MM):
        return False
    series = now.get("series", {})
    return _sameGrid(before, now) and all(
        name in series and _sameGrid(grid, series[name]) for name, grid in before.get("series", {}).items()
    )


def seriesRead(fingerprint) -> tuple:
    """Names of the further series that a result with this fingerprint, or None, has read."""
    return tuple((fingerprint or {}).get("series", ()))


def _grid(volumeNode) -> dict:
    try:
        matrix = RAS_TO_LPS @ ijkToWorldRas(volumeNode)
    except InputError:  # under a bending transform: its message comes when it is scored
        return {"ijk_to_lps": [], "size": []}
    imageData = volumeNode.GetImageData()
    return {"ijk_to_lps": matrix.ravel().tolist(), "size": list(imageData.GetDimensions()) if imageData else []}


def _sameGrid(before: dict, now: dict) -> bool:
    matrices = before["ijk_to_lps"], now["ijk_to_lps"]
    if before["size"] != now["size"] or len(matrices[0]) != len(matrices[1]):
        return False
    return np.allclose(*matrices, rtol=1e-6, atol=TOLERANCE_MM / 100)


def _isSequenceFrame(volumeNode) -> bool:
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode", volumeNode.GetScene())
    return any(browser.IsProxyNodeID(volumeNode.GetID()) for browser in browsers)
