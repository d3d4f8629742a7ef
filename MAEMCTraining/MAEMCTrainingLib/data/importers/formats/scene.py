"""Importer of Slicer scenes: a row a control point of a point list, in the volume that it was placed in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from MAEMCLib.cases.case import Case
from MAEMCLib.cases.points import NodulePoint, read_points
from MAEMCLib.errors import UNREADABLE, InputError
from MAEMCLib.images.dicom.header import is_dicom

from ..archive import is_inside, unpack_zip
from ..dicom_tree import scan
from ..imported import Imported, Importer, below
from ..mrml import SceneNode, read_scene
from ..volume_box import VolumeBox, read_box

SUFFIXES = (".mrml", ".mrb")
CLASSES = {"benign": 0, "malignant": 1}
DENIALS = {"not", "non", "no", "nor", "or", "vs", "versus", "never"}


@dataclass(frozen=True)
class _Volume:
    """image, box: None where the volume cannot be used."""

    node: SceneNode
    image: Path | None = None
    box: VolumeBox | None = None


def import_scene(source: Path, unpacked: Path) -> Imported:
    """A row a control point of every scene. source: a ``.mrml`` or ``.mrb`` file, or a folder of them.

    A scene is one patient, called after its folder and name: scans of one patient often share a scene, patients never
    do. The volume of a point is the one it was placed on; else the one its list was scored on in MAEMC Nodule; else the
    only volume; else the only one that holds the point. The label is the word benign or malignant in the point's label
    or description; or 0 or 1, where these are all that the list's labels or the point's description say.

    unpacked: where ``.mrb`` files are unpacked. Raises InputError: no scene there.
    """
    source = source.absolute()
    if source.is_dir():
        scenes = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        scenes = [path for path in scenes if not path.is_relative_to(unpacked)]  # of an earlier import
        folder = source
    else:
        scenes, folder = [source] if source.is_file() else [], source.parent
        if scenes and source.suffix.lower() not in SUFFIXES:
            raise InputError(f"{source} is no Slicer scene; give a .mrml or .mrb file, or a folder of them.", "scene")
    if not scenes:
        raise InputError(f"There is no Slicer scene (.mrml, .mrb) at {source}. Check the path.", "missing-file")
    found = Imported()
    for scene in scenes:
        name = below(scene, folder)
        with found.skipping(name, UNREADABLE):  # a damaged file costs its own scene and not those after it
            found.extend(_scene(scene, name, unpacked))
    return found


IMPORTER = Importer(import_scene, "point lists of Slicer scenes", source="a .mrml or .mrb file, or a folder of them")


def _scene(path: Path, name: str, unpacked: Path) -> Imported:
    patient = f"{path.parent.name}/{path.stem}"
    inside = None
    if path.suffix.lower() == ".mrb":
        inside = unpacked / Path(name).with_suffix("")
        found = [file for file in unpack_zip(path, inside) if file.suffix.lower() == ".mrml"]
        if len(found) != 1:
            raise InputError(f"it holds {len(found)} .mrml files, and a bundle of Slicer holds one", "scene")
        path = found[0]
    nodes, lists = read_scene(path)
    if not lists:
        raise InputError("the scene has no point list", "no-points")
    found, volumes = Imported(), {node.id: _Volume(node) for node in nodes}
    for node in nodes:
        with found.skipping(f"{name}, volume {node.name}"):
            volumes[node.id] = _volume(node, inside)
    for node in lists:
        title = f"{name}, list {node.name} ({node.id})"
        with found.skipping(title):
            _check(node, inside)
            points = read_points(node.file)
            are_classes = _are_classes([point.nodule_id for point in points])
            for number, point in enumerate(points, 1):
                with found.skipping(f"{title}, point {number} ({point.nodule_id})"):
                    image = _volume_of(point, node, volumes).image
                    case, label = f"{patient} {node.id} {number}", _label(point, are_classes)
                    found.add(Case(case, patient, image, label=label, point_lps=point.lps))
    return found


def _check(node: SceneNode, inside: Path | None) -> None:
    """Raise InputError for a node that cannot be used; so for one of a bundle that names a file elsewhere on this
    computer, which has no reason to: it brings its files along."""
    if node.problem:
        raise InputError(node.problem, "scene-node")
    if node.file is not None and inside is not None and not is_inside(node.file, inside):
        raise InputError("the bundle names a file outside itself", "scene-node")


def _volume(node: SceneNode, inside: Path | None) -> _Volume:
    """Raises InputError where it cannot be used."""
    _check(node, inside)
    try:
        if not is_dicom(node.file):
            return _Volume(node, node.file, read_box(node.file))
        tree = scan(node.file.parent)
        series = next((series for series in tree.series if node.file.absolute() in series.stack.files), None)
        if series is None:
            raise InputError(f"its file {node.file.name} is no DICOM image", "dicom")
        return _Volume(node, tree.image(series), VolumeBox(series.shape, series.grid.affine))
    except OSError as error:
        raise InputError(f"its file {node.file.name} cannot be read ({error.strerror})", "unreadable") from error


def _volume_of(point: NodulePoint, node: SceneNode, volumes: dict[str, _Volume]) -> _Volume:
    scored_on = node.volumes & volumes.keys()
    if point.placed_on in volumes:
        chosen = volumes[point.placed_on]
    elif len(scored_on) == 1:
        chosen = volumes[next(iter(scored_on))]
    elif len(volumes) == 1:
        chosen = next(iter(volumes.values()))
    else:
        holding = [volume for volume in volumes.values() if volume.box is not None and volume.box.holds(point.lps)]
        if len(holding) != 1:
            which = ", ".join(volume.node.name for volume in holding)
            raise InputError(
                f"it lies in several volumes ({which}) and does not say in which it was placed"
                if holding
                else "no volume of the scene that can be used holds it",
                "scene-volume",
            )
        chosen = holding[0]
    if chosen.box is None:
        raise InputError(f"its volume {chosen.node.name} cannot be used", "scene-volume")
    if not chosen.box.holds(point.lps):
        raise InputError(f"it lies outside its volume {chosen.node.name}", "outside")
    return chosen


def _are_classes(labels: Sequence[str]) -> bool:
    """Whether the labels of a list are classes 0 and 1, and not points numbered from 1."""
    return set(labels) <= {"0", "1"} and list(labels) != [str(number) for number in range(1, len(labels) + 1)]


def _label(point: NodulePoint, numbers_are_classes: bool) -> int | None:
    label, description = point.nodule_id, point.description
    words = re.findall(r"[a-z]+", f"{label} {description}".lower())
    named = {CLASSES[word] for word in words if word in CLASSES}
    if named:
        sure = len(named) == 1 and not DENIALS & set(words) and "?" not in label + description
        return named.pop() if sure else None
    if description.strip() in ("0", "1"):
        return int(description)
    return int(label) if numbers_are_classes and label in ("0", "1") else None
