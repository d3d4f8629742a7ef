"""2-D pictures in a scene: an image of a single slice as it is stored, or one axial slice of a CT; where they lie.

A picture has a record ID, as a point has that of its control point: ``WHOLE``, or the number of the slice.
"""

import numpy as np
import slicer
from MAEMCLib.cases.case import Case
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import check_ct, slice_through
from MAEMCLib.images.gray import Pixels
from slicer.i18n import tr as _

from . import views
from .volumes import RAS_TO_LPS, checkVoxels, ctVolume, ijkToWorldRas, lpsFromRas

WHOLE = "picture"
_SLICE = "slice-"
_INVERTED = "InvertedGrey"
"""In the ID of the color table that Slicer gives to pictures whose small values are bright (MONOCHROME1)."""


def recordIDOf(volumeNode) -> str:
    """Which picture of a volume is meant: the only one, or the axial slice that the views look at.

    Raises InputError: no CT, or the views look beside it.
    """
    checkVoxels(volumeNode)
    if volumeNode.GetImageData().GetDimensions()[2] == 1:
        return WHOLE
    volume = ctVolume(volumeNode)
    check_ct(volume)
    seen = views.axialRas()
    middle = volume.affine @ [*(np.array(volume.size) / 2 - 0.5), 1.0]
    return f"{_SLICE}{slice_through(volume, middle[:3] if seen is None else lpsFromRas(seen))}"


def nameOf(volumeNode, recordID: str) -> str:
    """What a picture is called: a slice after its place, as slice views say it. Not as its volume, which may have a
    patient's name."""
    if recordID == WHOLE:
        return _("Picture")
    height = centerRas(volumeNode, recordID)[2]
    return _("Slice {side} {height} mm").format(side="S" if height >= 0 else "I", height=f"{abs(height):.1f}")


def caseOf(volumeNode, recordID: str, name: str) -> Case:
    """What the library scores; must not be kept, as ``ctVolume`` says. Raises InputError."""
    checkVoxels(volumeNode)
    if recordID != WHOLE:
        number = recordID.removeprefix(_SLICE)
        return Case("", "", ctVolume(volumeNode), "slice", values={"slice_index": number}, nodule_id=name)
    pixels = slicer.util.arrayFromVolume(volumeNode)[0]
    if pixels.ndim == 3 and pixels.shape[-1] < 3:  # gray values, and how opaque they are
        pixels = pixels[..., 0]
    if pixels.ndim == 3 and pixels.dtype != np.uint8:
        text = _("{volume} has colors of more than 8 bits. Convert it to 8 bits, or to gray values.")
        raise InputError(text.format(volume=volumeNode.GetName()), "colors")
    display = volumeNode.GetDisplayNode()
    if pixels.ndim == 2 and display is not None and _INVERTED in (display.GetColorNodeID() or ""):
        pixels = pixels.max() - pixels
    return Case("", "", Pixels(pixels, volumeNode.GetName()), "image", nodule_id=name)


def affineOf(volumeNode, recordID: str) -> np.ndarray:
    """(4, 4) pixel index (column, row, 0) of a picture to world LPS mm. Raises InputError."""
    if recordID == WHOLE:
        return RAS_TO_LPS @ ijkToWorldRas(volumeNode)
    shift = np.eye(4)
    shift[2, 3] = int(recordID.removeprefix(_SLICE))
    return ctVolume(volumeNode).oriented.affine @ shift


def centerRas(volumeNode, recordID: str) -> tuple:
    """World position (R, A, S) mm of the middle of a picture. Raises InputError."""
    columns, rows = volumeNode.GetImageData().GetDimensions()[:2]
    if recordID != WHOLE:
        volume = ctVolume(volumeNode)
        extent = np.abs(volume.oriented.inverse_affine @ volume.affine)[:2, :3] @ volume.size
        columns, rows = extent
    middle = affineOf(volumeNode, recordID) @ [(columns - 1) / 2, (rows - 1) / 2, 0, 1]
    return tuple((RAS_TO_LPS @ middle)[:3])
