"""Which nodes a script means: given as nodes, by name, or by ID."""

import slicer
from MAEMCLib.errors import InputError
from slicer.i18n import tr as _


def volumeFrom(value):
    """The volume node that is meant, or None for None. Raises InputError."""
    return _node(value, _("volume"), "no-volume")


def pointsFrom(value):
    """The point list that is meant. Raises InputError: none, no such node, or other markups than a point list."""
    node = _node(value, _("point list"), "no-points")
    if node is None or node.GetScene() is None:
        raise InputError(_("No point list is given. Place a nodule first."), "no-points")
    if node.GetClassName() != "vtkMRMLMarkupsFiducialNode":
        text = _("{name} is no point list but a {kind}. Nodules are the points of a point list.")
        kind = node.GetMarkupType() if node.IsA("vtkMRMLMarkupsNode") else node.GetNodeTagName()
        raise InputError(text.format(name=node.GetName(), kind=kind), "no-points")
    return node


def _node(value, kind: str, code: str):
    if not isinstance(value, str):
        if value is not None and not isinstance(value, slicer.vtkMRMLNode):
            text = _("A {kind} is given by its node or its name, not by a {given}.")
            raise InputError(text.format(kind=kind, given=type(value).__name__), code)
        return value
    scene = slicer.mrmlScene
    node = scene.GetNodeByID(value)
    if node is None:
        nodes = [node for node in scene.GetNodes() if node.GetName() == value] if value else []
        if len(nodes) > 1:
            text = _("{count} nodes are called {name}. Give the node itself, or its ID.")
            raise InputError(text.format(count=len(nodes), name=value), code)
        node = nodes[0] if nodes else None
    if node is None:
        raise InputError(_("There is no {kind} called {name} in the scene.").format(kind=kind, name=value), code)
    return node
