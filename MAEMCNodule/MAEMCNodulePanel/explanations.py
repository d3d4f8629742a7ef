"""What explains the latest results, in memory.

In the scene a nodule has the overlay volumes of one kind, that which was chosen last; those of another kind are made
from here when somebody asks for them.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.region import PLANES
from MAEMCLib.inputs.view import View
from MAEMCLib.models.store import StoredModel
from MAEMCLib.worker.maps import MeasuredMaps

from . import pictures
from .analysis import Analysis
from .volumes import RAS_TO_LPS

_KEPT = 12
"""Explanations of the nodules that were scored or looked at last, 2 MB each."""


@dataclass(frozen=True)
class Explained:
    """A scored case with what explains its result.

    model: that has scored it. parts: {kind: {branch: array}} as the worker sends it, that of a picture over the square
    that the model sees; reconstruction and error in HU, attention 0 to 1. sentences: what each map shows and does not
    show. maps: with what they are worth, None until somebody asks for them (``heatmaps``).
    """

    prepared: Prepared
    model: StoredModel
    parts: dict
    sentences: tuple = ()
    maps: MeasuredMaps | None = None

    def stacks(self) -> dict:
        """{plane: {kind: (slices, rows, columns) array}} of a nodule, the CT itself among them ("original"); of a
        picture {"axial": {"attention": (1, rows, columns) array}}."""
        region = self.prepared.region
        if "picture" in self.parts["attention"]:
            return {"axial": {"attention": self.parts["attention"]["picture"][None]}}
        stacks = {plane: {"original": getattr(region, plane)} for plane in PLANES}
        for kind, branches in self.parts.items():
            for plane in set(PLANES) & set(branches):
                stacks[plane][kind] = branches[plane]
        return stacks

    def affines(self, analysis: Analysis, pointID: str) -> dict:
        """{plane: (4, 4) index (column, row, slice) of its stacks to world RAS mm}."""
        region = self.prepared.region
        if analysis.located:
            return {plane: RAS_TO_LPS @ region.affine(plane) for plane in PLANES}
        view, side = View.of(region.gray, self.model.card.preprocessing), len(self.parts["attention"]["picture"])
        square = np.diag([view.width / side, view.width / side, 1.0, 1.0])
        square[:2, 3] = np.array([view.left, view.top]) + view.width / side / 2 - 0.5
        return {"axial": RAS_TO_LPS @ pictures.affineOf(analysis.volumeNode, pointID) @ square}


class Explanations:
    """Those of the last nodules, by (analysis ID, point ID)."""

    def __init__(self) -> None:
        self._kept: OrderedDict = OrderedDict()

    def keep(self, key: tuple, explained: Explained) -> None:
        self._kept[key] = explained
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def of(self, key: tuple):
        """What explains a nodule's result, or None where it is not known any more."""
        return self._kept.get(key)

    def forget(self, key: tuple) -> None:
        """Its result is another one."""
        self._kept.pop(key, None)
