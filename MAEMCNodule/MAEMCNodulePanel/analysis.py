"""An analysis: one point list scored on one CT, or the pictures of one volume. Its table node is the anchor of all that
belongs to it in the scene.

The table node carries, so that a saved scene restores without computing anything again:
* node references to the CT, the point list, and each nodule's ROI and overlay volumes;
* one attribute for each nodule or picture, a JSON object (NoduleRecord), keyed by the control point's ID, which scenes
  keep, or the picture's (see ``pictures``);
* one for each nodule of which a reader has given values for clinical scores, {name: text}.
The table's columns are written from these records and are for people to read.
"""

import contextlib
import dataclasses
import functools
import json

import slicer
from MAEMCLib.errors import InputError

from . import pictures
from .resultwords import MEASURES

PLANES = ("axial", "coronal")
KINDS = ("reconstruction", "error", "attention", "original")
"""Of overlay volumes."""
SHOWN, ELSEWHERE, ASIDE = "", "elsewhere", "aside"
"""How an analysis stands to what the panel shows: its CT is the one shown, another CT is, or its list is no longer the
one chosen for its CT, so that it is the user's own and followed no more until it is chosen again."""
OVERLAY = "MAEMC.Overlay"
"""Attribute of an overlay volume: which kind it is."""
_MARK = "MAEMC.Analysis"
_RECORD = "MAEMC.Nodule."
_GIVEN = "MAEMC.Given."
UID, SUBJECT, LOCKED, LINK = "MAEMC.UID.", "MAEMC.Subject.", "MAEMC.Locked.", "MAEMC.Link."
_OF_NODULE = (_RECORD, _GIVEN, UID, SUBJECT, LOCKED, LINK)
"""Beginnings of the names of the attributes of which each nodule has its own: see ``identity``, ``reviewing``,
``priorlinks``."""
_STANDING = "MAEMC.Standing"
_PICTURES = "MAEMC.Pictures"
_VOLUME = "MAEMC.volume"
_POINTS = "MAEMC.points"
_OUTLINES = "MAEMC.outlines"


@dataclasses.dataclass
class NoduleRecord:
    """What the table keeps of one point.

    state: "waiting" (to be scored), "pending" (with the worker), "scored" or "failed"; message says why it failed or
    waits. result: the row of the results as JSON (``NoduleResult``), None before it is scored. fingerprint: the input
    that result, or the running request, belongs to. explained: whether the overlay volumes belong to it, too. window:
    HU that the model's gray scale spans.
    """

    name: str
    state: str = "waiting"
    message: str = ""
    result: dict | None = None
    fingerprint: dict | None = None
    explained: bool = False
    window: tuple | None = None

    @property
    def measures(self) -> dict:
        """{name: value} of what is measured of the nodule, by the names of the results' columns."""
        result = self.result or {}
        names = (*MEASURES, "composition", "mask_status")
        return {name: result[name] for name in names if result.get(name) is not None}

    def toJson(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def fromJson(cls, text: str) -> "NoduleRecord":
        """Raises ValueError where the text is no record; keys of a later version are left out."""
        values = _parsed(text)
        if not isinstance(values, dict) or "name" not in values:
            raise ValueError("not a nodule record")
        return cls(**{name: values[name] for name in _FIELDS if name in values})


_FIELDS = tuple(field.name for field in dataclasses.fields(NoduleRecord))
_parsed = functools.lru_cache(maxsize=1024)(json.loads)
"""Of a record's text, which is read many times and changes rarely; what it gives is never changed in place."""


class Analysis:
    """A view on one analysis' table node; holds no state of its own, so any number of them may exist."""

    def __init__(self, tableNode) -> None:
        self.tableNode = tableNode

    @staticmethod
    def inScene(scene) -> list:
        """All analyses of a scene, oldest first."""
        tables = slicer.util.getNodesByClass("vtkMRMLTableNode", scene)
        return [Analysis(node) for node in tables if node.GetAttribute(_MARK)]

    @staticmethod
    def ofVolume(volumeNode) -> list:
        """All analyses of a volume; none of None."""
        analyses = Analysis.inScene(volumeNode.GetScene()) if volumeNode else []
        return [analysis for analysis in analyses if analysis.volumeNode is volumeNode]

    @staticmethod
    def find(volumeNode, pointsNode):
        """The analysis of this list on this CT, or None. Without a list: the first that is not put aside."""
        for analysis in Analysis.ofVolume(volumeNode):
            fits = analysis.standing != ASIDE if pointsNode is None else analysis.pointsNode is pointsNode
            if analysis.located and fits:
                return analysis
        return None

    @staticmethod
    def ofPictures(volumeNode):
        """The analysis of a volume's pictures, or None."""
        return next((analysis for analysis in Analysis.ofVolume(volumeNode) if not analysis.located), None)

    @staticmethod
    def create(volumeNode, pointsNode, name: str) -> "Analysis":
        """pointsNode: None for an analysis of the volume's pictures."""
        attributes = {_MARK: "1"} if pointsNode else {_MARK: "1", _PICTURES: "1"}
        references = {_VOLUME: volumeNode.GetID(), _POINTS: pointsNode.GetID() if pointsNode else ""}
        return Analysis.restore(volumeNode.GetScene(), name, (attributes, references))

    def contents(self) -> tuple:
        """(attributes, node references): all that an analysis is, for ``restore``."""
        attributes = {name: self.tableNode.GetAttribute(name) for name in self.tableNode.GetAttributeNames() or ()}
        return attributes, {role: self.tableNode.GetNodeReferenceID(role) for role in self._roles()}

    @staticmethod
    def restore(scene, name: str, contents: tuple) -> "Analysis":
        """Make the table node of an analysis. References to nodes that are no longer there are left out."""
        tableNode = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
        attributes, references = contents
        with slicer.util.NodeModify(tableNode):
            for attribute, value in attributes.items():
                tableNode.SetAttribute(attribute, value)
            for role, nodeID in references.items():
                if nodeID and scene.GetNodeByID(nodeID) is not None:
                    tableNode.SetNodeReferenceID(role, nodeID)
            tableNode.SetLocked(True)
        return Analysis(tableNode)

    @property
    def id(self) -> str:
        return self.tableNode.GetID()

    @property
    def located(self) -> bool:
        """Whether it is of points in a CT, and not of pictures."""
        return not self.tableNode.GetAttribute(_PICTURES)

    @property
    def standing(self) -> str:
        """SHOWN, ELSEWHERE or ASIDE; kept with the table, so that a reopened scene is as it was."""
        return self.tableNode.GetAttribute(_STANDING) or SHOWN

    @standing.setter
    def standing(self, standing: str) -> None:
        if standing != self.standing:
            self.tableNode.SetAttribute(_STANDING, standing)

    @property
    def shown(self) -> bool:
        """Whether its numbers may stand in the views."""
        return self.standing == SHOWN

    @property
    def volumeNode(self):
        return self.tableNode.GetNodeReference(_VOLUME)

    @property
    def pointsNode(self):
        return self.tableNode.GetNodeReference(_POINTS)

    def pointIndices(self) -> dict:
        """{control point ID: index} of the points that have been placed; a point still at the mouse is not."""
        pointsNode = self.pointsNode
        if pointsNode is None:
            return {}
        placed = pointsNode.PositionDefined
        return {
            pointsNode.GetNthControlPointID(index): index
            for index in range(pointsNode.GetNumberOfControlPoints())
            if pointsNode.GetNthControlPointPositionStatus(index) == placed
        }

    def indexOf(self, pointID: str) -> int | None:
        """Index of a point that has been placed; None where it is gone, or still at the mouse."""
        pointsNode = self.pointsNode
        index = -1 if pointsNode is None else pointsNode.GetNthControlPointIndexByID(pointID)
        placed = index >= 0 and pointsNode.GetNthControlPointPositionStatus(index) == pointsNode.PositionDefined
        return index if placed else None

    def pointRas(self, pointID: str):
        """World position (R, A, S) mm of a point, or of a picture's middle; None where it is gone."""
        if not self.located:
            with contextlib.suppress(InputError):
                return pictures.centerRas(self.volumeNode, pointID) if self.volumeNode else None
            return None
        index = self.indexOf(pointID)
        return None if index is None else tuple(self.pointsNode.GetNthControlPointPositionWorld(index))

    def recordIDs(self) -> list:
        """Control point IDs that have a record, in the order of the point list; those without a point come last."""
        attributes = self.tableNode.GetAttributeNames() or ()
        pointIDs = [name.removeprefix(_RECORD) for name in attributes if name.startswith(_RECORD)]
        order = self.pointIndices()
        return sorted(pointIDs, key=lambda pointID: order.get(pointID, len(order)))

    def record(self, pointID: str):
        """NoduleRecord of a point, or None. A record that cannot be read counts as none: the point is scored anew."""
        text = self.tableNode.GetAttribute(_RECORD + pointID)
        try:
            return NoduleRecord.fromJson(text) if text else None
        except (ValueError, TypeError):
            return None

    def records(self) -> list:
        """[(control point ID, NoduleRecord)] in the order of the point list."""
        pairs = [(pointID, self.record(pointID)) for pointID in self.recordIDs()]
        return [(pointID, record) for pointID, record in pairs if record is not None]

    def setRecord(self, pointID: str, record) -> None:
        """Keep a record; None removes it, with what was given of the nodule."""
        if record is None:
            for name in _OF_NODULE:
                self.tableNode.RemoveAttribute(name + pointID)
        else:
            self.tableNode.SetAttribute(_RECORD + pointID, record.toJson())

    def contentsOf(self, pointID: str) -> dict:
        """{beginning of its name: attribute} of all that the table keeps of a nodule, for ``restoreNodule``."""
        kept = {name: self.tableNode.GetAttribute(name + pointID) for name in _OF_NODULE}
        return {name: text for name, text in kept.items() if text is not None}

    def restoreNodule(self, pointID: str, contents: dict, record=None) -> None:
        """Keep again what there was of a nodule, which may have another ID now. record: in place of the one it had."""
        for name, text in contents.items():
            self.tableNode.SetAttribute(name + pointID, text)
        if record is not None:
            self.setRecord(pointID, record)

    def given(self, pointID: str) -> dict:
        """{name: text} of a nodule that a reader has given for clinical scores; what cannot be read counts as none."""
        return readTexts(self.tableNode.GetAttribute(_GIVEN + pointID))

    def setGiven(self, pointID: str, texts: dict) -> None:
        """Keep them in place of those before."""
        if texts:
            self.tableNode.SetAttribute(_GIVEN + pointID, json.dumps(texts, ensure_ascii=False, sort_keys=True))
        else:
            self.tableNode.RemoveAttribute(_GIVEN + pointID)

    @property
    def outlines(self):
        """The segmentation node that has the network's outlines of the nodules, or None (see ``segments``)."""
        return self.tableNode.GetNodeReference(_OUTLINES)

    @outlines.setter
    def outlines(self, node) -> None:
        self.tableNode.SetNodeReferenceID(_OUTLINES, node.GetID())

    def roiNode(self, pointID: str):
        return self.tableNode.GetNodeReference(f"MAEMC.roi.{pointID}")

    def overlayNode(self, pointID: str, kind: str, plane: str):
        return self.tableNode.GetNodeReference(f"MAEMC.{kind}.{plane}.{pointID}")

    def addNode(self, pointID: str, kind: str, node) -> None:
        """Keep a node that belongs to one nodule. kind: "roi", or of an overlay volume "error.axial" and its like."""
        self.tableNode.SetNodeReferenceID(f"MAEMC.{kind}.{pointID}", node.GetID())

    def nodesOf(self, pointID: str = "") -> list:
        """Every node that belongs to one nodule, its ROI and its overlay volumes; without an ID those of all."""
        nodes = [self.tableNode.GetNodeReference(role) for role in self._rolesOf(pointID)]
        return [node for node in nodes if node is not None]

    def removeNodesOf(self, pointID: str = "") -> None:
        """Remove them from the scene, at once."""
        roles = self._rolesOf(pointID)
        with batch(self.tableNode.GetScene()) as scene:
            for node in self.nodesOf(pointID):
                scene.RemoveNode(node)
        for role in roles:
            self.tableNode.RemoveNodeReferenceIDs(role)

    def _rolesOf(self, pointID: str) -> list:
        """Of the nodes of one nodule, or without an ID of all, those that there are."""
        if not pointID:
            return [role for role in self._roles() if role not in (_VOLUME, _POINTS, _OUTLINES)]
        kinds = ["roi", *(f"{kind}.{plane}" for kind in KINDS for plane in PLANES)]
        roles = [f"MAEMC.{kind}.{pointID}" for kind in kinds]
        return [role for role in roles if self.tableNode.GetNodeReferenceID(role)]

    def _roles(self) -> list:
        """Roles of the node references that are ours."""
        count = self.tableNode.GetNumberOfNodeReferenceRoles()
        roles = [self.tableNode.GetNthNodeReferenceRole(index) for index in range(count)]
        return [role for role in roles if role.startswith("MAEMC.")]


def readTexts(text: str | None) -> dict:
    """{name: text} of a JSON object; of anything else an empty one."""
    try:
        values = json.loads(text) if text else {}
    except ValueError:
        values = {}
    return {str(name): str(value) for name, value in values.items()} if isinstance(values, dict) else {}


@contextlib.contextmanager
def batch(scene):
    """Nodes that are added or removed meanwhile are taken notice of at once, when all are: by lists of nodes, trees."""
    scene.StartState(scene.BatchProcessState)
    try:
        yield scene
    finally:
        scene.EndState(scene.BatchProcessState)
