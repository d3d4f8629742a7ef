"""Typed access to a ``vtkMRMLScriptedModuleNode``: a re-creation of what modules use of slicer.parameterNodeWrapper.

Parameters are stored as Slicer stores them (names, text forms, node references), so scenes are interchangeable.
Not covered: parameterPack, dict, custom serializers and connectors, guiCreation.
"""

from .connectors import Decimals, SingleStep, createGuiConnector
from .types import Default, isNodeOrUnionOfNodes, splitAnnotations, unannotatedType
from .validators import Choice, Exclude, IsInstance, Maximum, Minimum, NotNone, Validator, WithinRange
from .wrapper import (
    SlicerParameterNamePropertyName,
    findChildWidgetForParameter,
    isParameterNodeWrapper,
    parameterNodeWrapper,
)

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "IsInstance",
    "Maximum",
    "Minimum",
    "NotNone",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "Validator",
    "WithinRange",
    "createGuiConnector",
    "findChildWidgetForParameter",
    "isNodeOrUnionOfNodes",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
    "splitAnnotations",
    "unannotatedType",
]
