"""The importer of Slicer scenes, on scenes that Slicer's own MRML library wrote (in a process of its own: the suite's
stand-in application wants to be the first to load it) and on spoiled ones."""

import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.inputs.region import cut_roi
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.data.importers.formats.scene import import_scene
from MAEMCTrainingLib.phantom.writing import write_phantom

WRITE = """
import os, sys
import slicer_core, slicer

folder, other = sys.argv[1:]
os.chdir(folder)
scene = slicer.vtkMRMLScene()

def volume(name, file, overlay=False):
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(name)
    if overlay:
        node.SetAttribute("MAEMC.Overlay", "error")
    scene.AddNode(node)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(os.path.join(folder, file))
    assert storage.ReadData(node)
    node.SetAndObserveStorageNodeID(storage.GetID())
    return node

def points(name, file, *texts, on=None):
    node = slicer.vtkMRMLMarkupsFiducialNode()
    node.SetName(name)
    scene.AddNode(node)
    for position, label, description in texts:
        n = node.AddControlPoint(*position, label)
        node.SetNthControlPointDescription(n, description)
        if on is not None:
            node.SetNthControlPointAssociatedNodeID(n, on.GetID())
        if label == "unset":
            node.UnsetNthControlPointPosition(n)
    if file:
        kind = "vtkMRMLMarkupsFiducialStorageNode" if file.endswith("fcsv") else "vtkMRMLMarkupsJsonStorageNode"
        storage = getattr(slicer, kind)()
        scene.AddNode(storage)
        storage.SetFileName(os.path.join(folder, file))
        assert storage.WriteData(node)
        node.SetAndObserveStorageNodeID(storage.GetID())
    return node

first = volume("CT", "CT mit Ä 1.nrrd")
second = volume("CT", "second.nii.gz")  # names may be the same
volume("error", "second.nii.gz", overlay=True)
moved = volume("moved", "second.nii.gz")
transform = slicer.vtkMRMLLinearTransformNode()
scene.AddNode(transform)
moved.SetAndObserveTransformNodeID(transform.GetID())

# RAS, as Slicer has them: (10, 20, 5) is (-10, -20, 5) in LPS. Both volumes hold the first two.
points("N", "N list.mrk.json", ((10, 20, 5), "N1", "Malignant, biopsy"), ((5, 6, 7), "N2 benign", ""),
       ((0, 0, 0), "unset", ""), on=first)
scored = points("N", "scored.mrk.json", ((1, 2, 3), "N1", "1"))
table = slicer.vtkMRMLTableNode()
scene.AddNode(table)
table.SetNodeReferenceID("MAEMC.volume", second.GetID())
table.SetNodeReferenceID("MAEMC.points", scored.GetID())
points("F", "F.fcsv", ((50, 20, 5), "F-1", "benign"), ((900, 0, 0), "F-2", ""), ((1, 2, 3), "F-3", ""))
under = points("under", "under.mrk.json", ((1, 2, 3), "x", ""))
under.SetAndObserveTransformNodeID(transform.GetID())
points("unsaved", "", ((1, 2, 3), "x", ""))
points("on moved", "on moved.mrk.json", ((1, 2, 3), "x", ""), on=moved)
points("far", "far.mrk.json", ((900, 2, 3), "x", ""), on=first)
points("empty", "empty.mrk.json")
scene.SetURL(os.path.join(folder, "scene.mrml"))
scene.SetRootDirectory(folder)
assert scene.Commit(os.path.join(folder, "scene.mrml"))
assert scene.WriteToMRB(other)
"""


def ct(origin, seed=0) -> CTVolume:
    """60 x 70 x 40 voxels with a bright ball at LPS (-10, -20, 5)."""
    affine = np.diag([1.0, 1.1, 1.5, 1.0])
    affine[:3, 3] = origin
    k, j, i = np.meshgrid(np.arange(40), np.arange(70), np.arange(60), indexing="ij")
    place = np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    array = np.where(np.linalg.norm(place - (-10, -20, 5), axis=-1) < 5, 40, -800)
    return CTVolume(array.astype(np.int16), affine, "")


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Folder of a .mrml scene with its data, and a .mrb bundle of the same."""
    if importlib.util.find_spec("slicer_core") is None:
        pytest.skip("slicer-core is not installed")
    folder = tmp_path_factory.mktemp("scenes") / "patient 7"
    folder.mkdir()
    write_volume(ct((-40.0, -50.0, -20.0)), folder / "CT mit Ä 1.nrrd")
    write_volume(ct((-55.0, -60.0, -25.0)), folder / "second.nii.gz")
    bundle = folder.parent / "2026-01-01-Scene.mrb"
    done = subprocess.run([sys.executable, "-c", WRITE, str(folder), str(bundle)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, bundle


@pytest.mark.parametrize("kind", [0, 1], ids=["mrml", "mrb"])
def test_points_find_their_volumes_and_labels(scenes, kind, tmp_path):
    found = import_scene((scenes[0] / "scene.mrml", scenes[1])[kind], tmp_path / "files")
    facts = [(row.point_lps, row.label, row.image.name.startswith("second")) for row in found.rows]
    assert facts == [
        ((-10.0, -20.0, 5.0), 1, False),  # placed on the first volume
        ((-5.0, -6.0, 7.0), 0, False),
        ((-1.0, -2.0, 3.0), 1, True),  # scored on the second; the description is a class
        ((-50.0, -20.0, 5.0), 0, True),  # only the second holds it
    ]
    roi = cut_roi(read_volume(found.rows[0].image), found.rows[0].point_lps)
    assert np.abs(np.argwhere(roi.axial > -400).mean(axis=0) - (12, 24.5, 24.5)).max() < 0.3
    assert len({row.patient_id for row in found.rows}) == 1
    said = " | ".join(map(str, found.skipped))
    for words in ("volume moved: it lies under a transform; harden", "list under", "list unsaved",
                  "never saved to a file", "point 2 (F-2): no volume", "point 3 (F-3): it lies in several volumes",
                  "its volume moved cannot be used", "it lies outside its volume CT", "holds no points"):  # fmt: skip
        assert words in said, words
    assert len(found.skipped) == 8


def test_the_command_unpacks_beside_the_manifest(scenes, tmp_path, capsys):
    folder = scenes[0].parent
    output = tmp_path / "out" / "m.csv"
    for _ in range(2):
        assert main(["import", "scene", str(folder), "--output", str(output)]) == 0
        assert "8 cases, 2 patients, 4 benign, 4 malignant, 0 unlabeled; 16 skipped" in capsys.readouterr().err
    rows = read_manifest(output).rows
    assert all(row.image.is_file() for row in rows)
    assert (output.parent / "m-files" / "2026-01-01-Scene").is_dir()
    assert not any("patient 7" in row.patient_id or "patient 7" in row.case_id for row in rows)


def write_scene(folder, texts=(("N1", ""),), volume="CT.nrrd", more="", label_format="") -> None:
    """A scene by hand, with one volume and one list of points at LPS (-10, -20, 5)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scene.mrml").write_text(
        '<MRML version="5.12"><Volume id="V1" name="CT" references="storage:S1;"/>'
        f'<VolumeArchetypeStorage id="S1" fileName="{volume}" {more}/>'
        '<MarkupsFiducial id="M1" name="N" references="display:D1;storage:S2;"/>'
        '<MarkupsJsonStorage id="S2" fileName="N.mrk.json"/></MRML>'
    )
    points = [{"label": label, "description": text, "position": [-10, -20, 5]} for label, text in texts]
    document = {"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points}]}
    (folder / "N.mrk.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        ([("Malignant", ""), ("N2", "BENIGN"), ("benign-like", "")], [1, 0, 0]),
        ([("not malignant", ""), ("benign?", ""), ("benign or malignant", ""), ("non-benign", "")], [None] * 4),
        ([("F-1", ""), ("N 0", ""), ("0", ""), ("1", "")], [None] * 4),  # numbers among other names are numbers
        ([("1", ""), ("0", ""), ("1", "")], [1, 0, 1]),
        ([("1", ""), ("2", ""), ("3", "")], [None] * 3),
        ([("1", "")], [None]),  # the first point of a list that is numbered
        ([("N1", "1"), ("N2", "0"), ("N3", "10 mm")], [1, 0, None]),
    ],
)
def test_labels_are_words_or_lone_numbers(texts, labels, tmp_path):
    write_scene(tmp_path, texts)
    write_volume(ct((-40.0, -50.0, -20.0)), tmp_path / "CT.nrrd")
    assert [row.label for row in import_scene(tmp_path, tmp_path / "files").rows] == labels


def test_a_volume_in_dicom_is_its_series(tmp_path):
    (row,) = read_manifest(write_phantom(tmp_path / "set", 1, 5, field="region", dicom=True)).rows
    first = sorted(row.image.iterdir())[0]
    write_scene(tmp_path / "scene", volume=str(first))
    document = json.loads((tmp_path / "scene" / "N.mrk.json").read_text())
    document["markups"][0]["controlPoints"][0]["position"] = list(row.point_lps)
    (tmp_path / "scene" / "N.mrk.json").write_text(json.dumps(document))
    (found,) = import_scene(tmp_path / "scene", tmp_path / "files").rows
    assert found.image == row.image and found.point_lps == pytest.approx(row.point_lps)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "CT.nrrd").unlink(), "its file CT.nrrd is not there"),
        (lambda f: (f / "N.mrk.json").unlink(), "its file N.mrk.json is not there"),
        (lambda f: (f / "N.mrk.json").write_text("{"), "not a list of points"),
        (lambda f: (f / "CT.nrrd").write_bytes(b"NRRD0004\n"), "CT.nrrd cannot be read"),
        (lambda f: write_scene(f, more='centerImage="1"'), "centered"),
        (lambda f: (f / "scene.mrml").write_text("<MRML><Volume"), "cut short or no XML"),
        (lambda f: (f / "scene.mrml").write_text("<html/>"), "no Slicer scene"),
        (lambda f: (f / "scene.mrml").write_text("<MRML/>"), "no point list"),
        (
            lambda f: (f / "scene.mrml").write_text(
                '<!DOCTYPE MRML [<!ENTITY x SYSTEM "file:///etc/passwd">]><MRML>&x;</MRML>'
            ),
            "DOCTYPE",
        ),
    ],
)
def test_spoiled_scenes_are_named_and_end_without_a_manifest(spoil, words, tmp_path, capsys):
    write_scene(tmp_path / "s")
    write_volume(ct((-40.0, -50.0, -20.0)), tmp_path / "s" / "CT.nrrd")
    assert len(import_scene(tmp_path / "s", tmp_path / "files").rows) == 1
    spoil(tmp_path / "s")
    output = tmp_path / "m.csv"
    assert main(["import", "scene", str(tmp_path / "s"), "--output", str(output)]) == 3
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said and not output.exists()


@pytest.mark.parametrize("name", ["../../evil.txt", "/tmp/evil-maemc.txt", "..\\evil.txt", "C:/evil.txt"])
def test_a_bundle_cannot_write_outside_its_folder(name, tmp_path, capsys):
    source = tmp_path / "a" / "b"
    write_scene(source)
    with zipfile.ZipFile(tmp_path / "x.mrb", "w") as packed:
        packed.write(source / "scene.mrml", "x/scene.mrml")
        packed.writestr(name, "evil")
    output = tmp_path / "out" / "deep" / "m.csv"
    assert main(["import", "scene", str(tmp_path / "x.mrb"), "--output", str(output)]) == 3
    assert "outside its folder" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*evil*")) and not output.parent.exists()


def test_a_bundle_cannot_name_files_outside_itself(tmp_path, capsys):
    write_volume(ct((-40.0, -50.0, -20.0)), tmp_path / "CT.nrrd")
    write_scene(tmp_path / "s", volume=str(tmp_path / "CT.nrrd"))
    with zipfile.ZipFile(tmp_path / "x.mrb", "w") as packed:
        for path in (tmp_path / "s").iterdir():
            packed.write(path, f"x/{path.name}")
    assert main(["import", "scene", str(tmp_path / "x.mrb"), "--output", str(tmp_path / "m.csv")]) == 3
    assert "names a file outside itself" in capsys.readouterr().err
    shutil.copy(tmp_path / "x.mrb", tmp_path / "cut.mrb")
    (tmp_path / "cut.mrb").write_bytes((tmp_path / "x.mrb").read_bytes()[:400])
    assert main(["import", "scene", str(tmp_path / "cut.mrb"), "--output", str(tmp_path / "m.csv")]) == 3
    assert "damaged or cannot be unpacked" in capsys.readouterr().err


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="no Slicer scene"):
        import_scene(tmp_path, tmp_path)
    with pytest.raises(InputError, match="no Slicer scene"):
        import_scene(tmp_path / "none.mrml", tmp_path)
    (tmp_path / "a.nrrd").write_bytes(b"")
    with pytest.raises(InputError, match=r"give a \.mrml"):
        import_scene(tmp_path / "a.nrrd", tmp_path)
