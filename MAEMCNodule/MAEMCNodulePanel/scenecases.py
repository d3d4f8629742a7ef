"""What of the scene is scored, as the library's ``Case``, and where what explains its result lies in the scene."""

import numpy as np
from MAEMCLib.cases.case import Case
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.view import View
from MAEMCLib.models.card import ModelCard

from . import pictures
from .analysis import PLANES, Analysis
from .clinicalvalues import clinicalInput
from .volumes import ctVolume, lpsFromRas


def caseOf(analysis: Analysis, pointID: str, name: str, card: ModelCard) -> Case:
    """A point in its CT, with what the model asks for beside it, or a picture; must not be kept, as ``ctVolume`` says.

    Raises InputError.
    """
    volumeNode = analysis.volumeNode
    if not analysis.located:
        return pictures.caseOf(volumeNode, pointID, name)
    point = lpsFromRas(analysis.pointRas(pointID))
    given = clinicalInput(volumeNode, card.clinical)
    return Case("", "", ctVolume(volumeNode), point_lps=point, values=given, nodule_id=name)


def overlaysOf(analysis: Analysis, pointID: str, prepared: Prepared, card: ModelCard, parts: dict) -> tuple:
    """(affines, stacks) of what explains a result, as ``overlays.createOverlays`` takes them.

    parts: {kind: {branch: array}} as the worker sends them, those of a picture over the square that the model sees.
    """
    region = prepared.region
    if analysis.located:
        affines = {plane: region.affine(plane) for plane in PLANES}
        stacks = {plane: {"original": getattr(region, plane)} for plane in PLANES}
        for kind, branches in parts.items():
            for plane in set(PLANES) & set(branches):
                stacks[plane][kind] = branches[plane]
        return affines, stacks
    attention = parts["attention"]["picture"]
    view, side = View.of(region.gray, card.preprocessing), len(attention)
    square = np.diag([view.width / side, view.width / side, 1.0, 1.0])
    square[:2, 3] = np.array([view.left, view.top]) + view.width / side / 2 - 0.5
    affine = pictures.affineOf(analysis.volumeNode, pointID) @ square
    return {"axial": affine}, {"axial": {"attention": attention[None]}}
