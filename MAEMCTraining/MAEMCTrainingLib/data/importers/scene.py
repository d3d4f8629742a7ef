"""Importer of Slicer scenes: a row a control point of a point list, in the volume that it was placed in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from MAEMCLib.cases.case import Case
from MAEMCLib.cases.points import NodulePoint, read_points
from MAEMCLib.errors import InputError
from MAEMCLib.images.dicom.header import is_dicom

from ..cache import UNREADABLE
from .archive import is_inside, unpack_zip
from .dicom_tree import scan
from .imported import Imported, Skipped, below, imported
from .mrml import SceneNode, read_scene
from .volume_box import VolumeBox, read_box

SUFFIXES = (".mrml", ".mrb")
CLASSES = {"benign": 0, "malignant": 1}
DENIALS = {"not", "non", "no", "nor", "or", "vs", "versus", "never"}


@dataclass(frozen=True)
class _Volume:
    node: SceneNode
    image: Path | None
    box: VolumeBox | None
    problem: str


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
    rows, skipped = [], []
    for scene in scenes:
        try:
            found = _scene(scene, below(scene, folder), unpacked)
        except UNREADABLE as error:  # a damaged file costs its own scene and not those after it
            skipped.append(Skipped(below(scene, folder), str(error) or type(error).__name__))
            continue
        rows += found.rows
        skipped += found.skipped
    return imported(rows, skipped)


def _scene(path: Path, name: str, unpacked: Path) -> Imported:
    patient = f"{path.parent.name}/{path.stem}"
    inside = None
    if path.suffix.lower() == ".mrb":
        inside = unpacked / Path(name).with_suffix("")
        found = [file for file in unpack_zip(path, inside) if file.suffix.lower() == ".mrml"]
        if len(found) != 1:
            raise InputError(f"it holds {len(found)} .mrml files, and a bundle of Slicer holds one", "scene")
        path = found[0]
    content = read_scene(path)
    if not content.lists:
        raise InputError("the scene has no point list", "no-points")
    volumes = {node.id: _volume(node, inside) for node in content.volumes}
    skipped = [Skipped(f"{name}, volume {v.node.name}", v.problem) for v in volumes.values() if v.problem]
    rows = []
    for node in content.lists:
        title = f"{name}, list {node.name} ({node.id})"
        problem = node.problem or _astray(node.file, inside)
        if problem:
            skipped.append(Skipped(title, problem))
            continue
        try:
            points = read_points(node.file)
        except InputError as error:
            skipped.append(Skipped(title, str(error)))
            continue
        are_classes = _are_classes([point.nodule_id for point in points])
        for number, point in enumerate(points, 1):
            try:
                volume = _volume_of(point, node, volumes)
            except InputError as error:
                skipped.append(Skipped(f"{title}, point {number} ({point.nodule_id})", str(error)))
                continue
            case = f"{patient} {node.id} {number}"
            label = _label(point, are_classes)
            rows.append(Case(case, patient, volume.image, label=label, point_lps=point.lps))
    return Imported(tuple(rows), tuple(skipped))


def _astray(file: Path | None, inside: Path | None) -> str:
    """A bundle brings its files along; one that names a file elsewhere on this computer has no reason to."""
    if file is None or inside is None or is_inside(file, inside):
        return ""
    return "the bundle names a file outside itself"


def _volume(node: SceneNode, inside: Path | None) -> _Volume:
    problem = node.problem or _astray(node.file, inside)
    if problem:
        return _Volume(node, None, None, problem)
    try:
        if is_dicom(node.file):
            tree = scan(node.file.parent)
            series = next((series for series in tree.series if node.file.absolute() in series.stack.files), None)
            if series is None:
                raise InputError(f"its file {node.file.name} is no DICOM image", "dicom")
            return _Volume(node, tree.image(series), VolumeBox(series.shape, series.affine), "")
        return _Volume(node, node.file, read_box(node.file), "")
    except InputError as error:
        return _Volume(node, None, None, str(error))
    except OSError as error:
        return _Volume(node, None, None, f"its file {node.file.name} cannot be read ({error.strerror})")


def _volume_of(point: NodulePoint, node: SceneNode, volumes: dict[str, _Volume]) -> _Volume:
    usable = [volume for volume in volumes.values() if volume.box is not None]
    scored_on = node.volumes & volumes.keys()
    if point.placed_on in volumes:
        chosen = volumes[point.placed_on]
    elif len(scored_on) == 1:
        chosen = volumes[next(iter(scored_on))]
    elif len(volumes) == 1:
        chosen = next(iter(volumes.values()))
    else:
        holding = [volume for volume in usable if volume.box.holds(point.lps)]
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
