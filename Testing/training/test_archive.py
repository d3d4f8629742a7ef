"""Archives that are damaged or hostile: each is one named failure, and nothing else stops."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCTrainingLib.data.importers.archive import unpack_zip
from MAEMCTrainingLib.data.importers.formats.scene import import_scene

SCENE = """<MRML>
<Volume id="vtkMRMLScalarVolumeNode1" name="CT" references="storage:vtkMRMLVolumeArchetypeStorageNode1;"/>
<VolumeArchetypeStorage id="vtkMRMLVolumeArchetypeStorageNode1" fileName="Data/ct.nrrd"/>
<MarkupsFiducial id="vtkMRMLMarkupsFiducialNode1" name="F" references="storage:vtkMRMLMarkupsJsonStorageNode1;"/>
<MarkupsJsonStorage id="vtkMRMLMarkupsJsonStorageNode1" fileName="Data/F.mrk.json"/>
</MRML>"""


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """The files of a sound scene bundle, by name."""
    path = tmp_path_factory.mktemp("volume") / "ct.nrrd"
    array = np.random.default_rng(0).integers(-1000, 400, (12, 12, 12), dtype=np.int16)
    write_volume(CTVolume(array, np.eye(4)), path)
    point = {"label": "malignant", "position": [5, 5, 5], "positionStatus": "defined"}
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": [point]}
    return {
        "s/s.mrml": SCENE.encode(),
        "s/Data/ct.nrrd": path.read_bytes(),
        "s/Data/F.mrk.json": json.dumps({"markups": [markup]}).encode(),
    }


def bundle(members, compression=zipfile.ZIP_DEFLATED):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name or "x")
            entry.filename, entry.compress_type = name, compression  # Python's own writer takes no empty name
            archive.writestr(entry, content)
    return bytearray(target.getvalue())


def spoiled_stream(members, compression):
    content = bundle(members, compression)
    start = content.index(b"s/Data/ct.nrrd") + 20
    content[start : start + 40] = bytes(40)
    return content


def with_flag(members, flag):
    """Every entry of the directory claims to be encrypted (1), or its name to be UTF-8 (0x800) where it is not."""
    content = bundle(members)
    at = 0
    while (at := content.find(b"PK\x01\x02", at)) >= 0:
        struct.pack_into("<H", content, at + 8, flag)
        if flag == 0x800:
            content[at + 46] = 0xFF
        at += 4
    return content


DAMAGES = {
    "deflate": lambda members: spoiled_stream(members, zipfile.ZIP_DEFLATED),
    "bzip2": lambda members: spoiled_stream(members, zipfile.ZIP_BZIP2),
    "lzma": lambda members: spoiled_stream(members, zipfile.ZIP_LZMA),
    "stored": lambda members: spoiled_stream(members, zipfile.ZIP_STORED),
    "encrypted": lambda members: with_flag(members, 1),
    "name that is no UTF-8": lambda members: with_flag(members, 0x800),
    "no name": lambda members: bundle(members | {"": b"x"}),
    "cut": lambda members: bundle(members)[:-200],
    "no zip": lambda members: bytearray(b"not a zip at all"),
    "deep JSON": lambda members: bundle(members | {"s/Data/F.mrk.json": b"[" * 100_000}),
    "scene that is no XML": lambda members: bundle(members | {"s/s.mrml": b"<MRML><Volume"}),
    "a name that no disk takes": lambda members: bundle(members | {"s/" + "x" * 300: b""}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_bundle_costs_itself_and_not_its_neighbors(members, damage, tmp_path):
    source = tmp_path / "scenes"
    source.mkdir()
    (source / "a.mrb").write_bytes(bundle(members))
    (source / "b.mrb").write_bytes(DAMAGES[damage](members))
    (source / "c.mrb").write_bytes(bundle(members))
    found = import_scene(source, tmp_path / "files")
    assert [(row.patient_id.rpartition("/")[2], row.label) for row in found.rows] == [("a", 1), ("c", 1)]
    assert [item.name.partition(",")[0] for item in found.skipped] == ["b.mrb"]
    assert found.skipped[0].reason


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "C:\\out.txt", "..\\out.txt"])
def test_nothing_is_written_outside(name, tmp_path):
    (tmp_path / "x.zip").write_bytes(bundle({name: b"x"}))
    with pytest.raises(InputError, match="outside its folder"):
        unpack_zip(tmp_path / "x.zip", tmp_path / "inside")
    assert not list(tmp_path.rglob("out.txt"))
