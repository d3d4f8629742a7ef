"""What there is of a patient beside the CT: clinical values and further series, kept with the CT in the scene.

With the CT and not with the panel, so that they never stand beside another patient's CT. Models and clinical scores ask
for them by name: what both ask for is asked once.
"""

import json
from urllib.parse import quote

import slicer
from MAEMCLib.cases.values import SERIES, asked_of
from MAEMCLib.errors import InputError, UsageError
from slicer.i18n import tr as _

from .analysis import readTexts
from .volumes import ctVolume

_VALUES = "MAEMC.Clinical"
"""Attribute of the CT's node: a JSON object, {name: text}."""


def clinicalOf(volumeNode, fields) -> dict:
    """{name: text} of the fields of a model that have a value (``ClinicalField``); of a series its volume node's ID."""
    texts = asked_of(_texts(volumeNode), [field for field in fields if field.kind != SERIES])
    return texts | {name: node.GetID() for name, node in seriesOf(volumeNode, seriesNames(fields)).items()}


def setClinical(volumeNode, values: dict, fields) -> None:
    """Keep {name: text or number} of what a model asks for with the CT, names as the model spells them; of a series its
    volume node, or the node's ID. What is left out is forgotten, what other models ask for stays.

    Raises UsageError where a series is no other volume of the scene.
    """
    series = seriesNames(fields)
    nodes = {name: _node(volumeNode.GetScene(), values[name]) for name in series if name in values}
    for name, node in nodes.items():
        if node is None or node is volumeNode or not node.IsA("vtkMRMLVolumeNode"):
            text = _("{name} is a further series: give its volume node, which has to be another one than the CT's.")
            raise UsageError(text.format(name=name), "clinical-series")
    for name in series:
        if name in nodes:
            volumeNode.SetNodeReferenceID(_role(name), nodes[name].GetID())
        else:
            volumeNode.RemoveNodeReferenceIDs(_role(name))
    own = {field.name.lower() for field in fields}
    texts = {name: text for name, text in _texts(volumeNode).items() if name.lower() not in own}
    texts |= {name: str(value).strip() for name, value in values.items() if name not in series}
    if texts:
        volumeNode.SetAttribute(_VALUES, json.dumps(texts, ensure_ascii=False, sort_keys=True))
    else:
        volumeNode.RemoveAttribute(_VALUES)


def seriesNames(fields) -> list:
    """Names of the further series that a model asks for."""
    return [field.name for field in fields if field.kind == SERIES]


def seriesOf(volumeNode, names) -> dict:
    """{name: volume node} of the further series of a CT that are chosen, of those named."""
    if volumeNode is None:
        return {}
    nodes = {name: volumeNode.GetNodeReference(_role(name)) for name in names}
    return {name: node for name, node in nodes.items() if node is not None}


def clinicalInput(volumeNode, fields) -> dict:
    """{name: text or CTVolume}: what ``MAEMCLib.scoring.prepare`` takes; must not be kept, as ``ctVolume`` says.

    Raises InputError naming a series that is no CT.
    """
    values = clinicalOf(volumeNode, fields)
    for name, node in seriesOf(volumeNode, seriesNames(fields)).items():
        try:
            values[name] = ctVolume(node)
        except InputError as error:
            text = _("The series {name} cannot be used: {reason}").format(name=name, reason=error)
            raise InputError(text, error.code) from error
    return values


def _node(scene, value):
    """A node, or the node with this ID; None for anything else."""
    return value if isinstance(value, slicer.vtkMRMLNode) else scene.GetNodeByID(str(value))


def _texts(volumeNode) -> dict:
    return readTexts(volumeNode.GetAttribute(_VALUES) if volumeNode is not None else None)


def _role(name: str) -> str:
    """Of the CT's node reference to a series. A scene file sets roles apart by characters that a name may have."""
    return f"MAEMC.Series.{quote(name.lower(), safe='')}"
