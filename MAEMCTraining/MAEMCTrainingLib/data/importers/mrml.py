"""The volumes and point lists that a Slicer scene file (MRML) names, read without Slicer."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from MAEMCLib.errors import InputError

from .safe_xml import local_name, read_xml


@dataclass(frozen=True)
class SceneNode:
    """A volume or point list: where its data lie (None: nowhere), and why it cannot be used (empty where it can).

    volumes: of a point list, the volumes that MAEMC Nodule scored it on.
    """

    id: str
    name: str
    file: Path | None
    problem: str = ""
    volumes: frozenset[str] = field(default_factory=frozenset)


def read_scene(path: Path) -> tuple[list[SceneNode], list[SceneNode]]:
    """The scalar volumes of a ``.mrml`` file, without the overlays that MAEMC Nodule made, and its point lists, in the
    scene's order. Raises InputError: no XML, or no scene."""
    root = read_xml(path)
    if local_name(root) != "MRML":
        raise InputError(f"{path.name} is no Slicer scene: its root is {local_name(root)}, not MRML.", "mrml")
    nodes = {element.get("id", ""): element for element in root.iter() if element.get("id")}
    scored_on = _scored_on(root)
    volumes, lists = [], []
    for identity, element in nodes.items():
        kind = local_name(element)
        if kind == "Volume" and "MAEMC.Overlay:" not in element.get("attributes", ""):
            volumes.append(_node(identity, element, nodes, path.parent))
        elif kind == "MarkupsFiducial":
            lists.append(_node(identity, element, nodes, path.parent, frozenset(scored_on[identity])))
    return volumes, lists


def _node(
    identity: str, element: Element, nodes: dict[str, Element], folder: Path, volumes: frozenset[str] = frozenset()
) -> SceneNode:
    references = _references(element)
    storage = next((nodes[name] for name in references["storage"] if name in nodes), None)
    if storage is None:  # scenes of long ago
        storage = nodes.get(element.get("storageNodeRef", ""))
    file = _file(storage.get("fileName", ""), folder) if storage is not None else None
    problem = ""
    if references["transform"] or element.get("transformNodeRef"):
        problem = "it lies under a transform; harden the transform in Slicer (Data module) and save the scene again"
    elif file is None:
        problem = "it was never saved to a file; save the scene with its data"
    elif not _exists(file):
        problem = f"its file {file.name} is not there"
    elif storage.get("centerImage", "0") not in ("0", "false") or storage.get("UseOrientationFromFile", "1") == "0":
        problem = "it was loaded to another place than its file says (centered); save the volume to a file of its own"
    return SceneNode(identity, element.get("name", ""), file, problem, volumes)


def _file(name: str, folder: Path) -> Path | None:
    """Where a storage node's file lies. Slicer writes names as in a URL, older versions as they are."""
    if not name:
        return None
    candidates = [folder / unquote(name), folder / name]
    return next((path for path in candidates if _exists(path)), candidates[0])


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no disk takes
        return False


def _references(element: Element) -> dict[str, list[str]]:
    """``role:ID ID;role:ID;`` -> {role: IDs}."""
    references: dict[str, list[str]] = defaultdict(list)
    for part in element.get("references", "").split(";"):
        role, _, identities = part.partition(":")
        references[role.strip()] += identities.split()
    return references


def _scored_on(root: Element) -> dict[str, set[str]]:
    """{point list: volumes} as the tables of MAEMC Nodule pair them."""
    pairs: dict[str, set[str]] = defaultdict(set)
    for element in root.iter():
        references = _references(element)
        for points in references["MAEMC.points"]:
            pairs[points] |= set(references["MAEMC.volume"])
    return pairs
