"""An analysis: one point list scored on one CT. Its table node is the anchor of all that belongs to it in the scene.

The table node carries, so that a saved scene restores without computing anything again:
* node references to the CT, the point list, and each nodule's ROI and overlay volumes;
* one attribute for each nodule, a JSON object (NoduleRecord), keyed by the control point's ID, which scenes keep.
The table's columns are written from these records and are for people to read.
"""

import dataclasses
import json

import slicer

PLANES = ("axial", "coronal")
_MARK = "MAEMC.Analysis"
_RECORD = "MAEMC.Nodule."
_VOLUME = "MAEMC.volume"
_POINTS = "MAEMC.points"


@dataclasses.dataclass
class NoduleRecord:
    """What is known about one point.

    state: "waiting" (to be scored), "pending" (with the worker), "scored" or "failed"; message says why it failed or
    waits. result: the row of the results as JSON (``NoduleResult``), None before it is scored. fingerprint: the input
    that result, or the running request, belongs to. explained: whether the overlay volumes belong to it, too. time:
    ISO 8601, when it was scored. window: HU that the model's gray scale spans.
    """

    name: str
    state: str = "waiting"
    message: str = ""
    result: dict | None = None
    fingerprint: dict | None = None
    explained: bool = False
    time: str = ""
    window: tuple | None = None

    def toJson(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def fromJson(cls, text: str) -> "NoduleRecord":
        """Raises ValueError where the text is no record; keys of a later version are left out."""
        values = json.loads(text)
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or "name" not in values:
            raise ValueError("not a nodule record")
        return cls(**{key: value for key, value in values.items() if key in names})


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
    def find(volumeNode, pointsNode):
        """The analysis of this list on this CT, or None. Without a CT or without a list: the first that fits."""
        scene = (volumeNode or pointsNode).GetScene() if (volumeNode or pointsNode) else None
        for analysis in Analysis.inScene(scene) if scene else []:
            fitsVolume = volumeNode is None or analysis.volumeNode is volumeNode
            if fitsVolume and (pointsNode is None or analysis.pointsNode is pointsNode):
                return analysis
        return None

    @staticmethod
    def create(volumeNode, pointsNode, name: str) -> "Analysis":
        tableNode = volumeNode.GetScene().AddNewNodeByClass("vtkMRMLTableNode", name)
        tableNode.SetAttribute(_MARK, "1")
        tableNode.SetNodeReferenceID(_VOLUME, volumeNode.GetID())
        tableNode.SetNodeReferenceID(_POINTS, pointsNode.GetID())
        tableNode.SetLocked(True)
        return Analysis(tableNode)

    @property
    def id(self) -> str:
        return self.tableNode.GetID()

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

    def pointRas(self, pointID: str):
        """World position (R, A, S) mm of a point, or None where it is gone."""
        index = self.pointIndices().get(pointID)
        return None if index is None else tuple(self.pointsNode.GetNthControlPointPositionWorld(index))

    def recordIDs(self) -> list:
        """Control point IDs that have a record, in the order of the point list; those without a point come last."""
        attributes = self.tableNode.GetAttributeNames() or ()
        known = [name[len(_RECORD) :] for name in attributes if name.startswith(_RECORD)]
        order = self.pointIndices()
        return sorted(known, key=lambda pointID: order.get(pointID, len(order)))

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
        """Keep a record; None removes it."""
        if record is None:
            self.tableNode.RemoveAttribute(_RECORD + pointID)
        else:
            self.tableNode.SetAttribute(_RECORD + pointID, record.toJson())

    def roiNode(self, pointID: str):
        return self.tableNode.GetNodeReference(f"MAEMC.roi.{pointID}")

    def setRoiNode(self, pointID: str, node) -> None:
        self.tableNode.SetNodeReferenceID(f"MAEMC.roi.{pointID}", node.GetID())

    def overlayNode(self, pointID: str, kind: str, plane: str):
        return self.tableNode.GetNodeReference(f"MAEMC.{kind}.{plane}.{pointID}")

    def setOverlayNode(self, pointID: str, kind: str, plane: str, node) -> None:
        self.tableNode.SetNodeReferenceID(f"MAEMC.{kind}.{plane}.{pointID}", node.GetID())

    def nodesOf(self, pointID: str) -> list:
        """Every node that belongs to one nodule: its ROI and its overlay volumes."""
        nodes = [self.tableNode.GetNodeReference(role) for role in self._rolesOf(pointID)]
        return [node for node in nodes if node is not None]

    def removeNodesOf(self, pointID: str) -> None:
        roles = self._rolesOf(pointID)
        for node in self.nodesOf(pointID):
            node.GetScene().RemoveNode(node)
        for role in roles:
            self.tableNode.RemoveNodeReferenceIDs(role)

    def _rolesOf(self, pointID: str) -> list:
        count = self.tableNode.GetNumberOfNodeReferenceRoles()
        roles = [self.tableNode.GetNthNodeReferenceRole(index) for index in range(count)]
        return [role for role in roles if role.startswith("MAEMC.") and role.endswith(f".{pointID}")]
