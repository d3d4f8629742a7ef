"""Jobs, checkpoints, half-done reductions, caches, archives, XML."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import strategies as st
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import write_manifest
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCTrainingLib.data.importers.archive import unpack_tar, unpack_zip
from MAEMCTrainingLib.data.importers.lidc_xml import read_lidc_xml
from MAEMCTrainingLib.data.importers.mrml import read_scene
from MAEMCTrainingLib.data.importers.pictures import read_picture
from MAEMCTrainingLib.engine.checkpoints import Checkpoints, Position
from MAEMCTrainingLib.jobs.files import EventLog, remember
from MAEMCTrainingLib.jobs.job import Job, known_jobs
from MAEMCTrainingLib.reduction.partial import Partial, files_signature
from MAEMCTrainingLib.reduction.result import Reduced
from MAEMCTrainingLib.reduction.selection import Removal, Selected
from MAEMCTrainingLib.reduction.slices import Volume

from .judging import Reader
from .mutations import mutated, mutated_json
from .table_readers import picture_contents

JOB = {
    "schema": 2,
    "kind": "pretrain",
    "command": {"arguments": ["x"], "directory": "/"},
    "created": "2026-01-01T00:00:00+00:00",
}
STATE = {
    "started": "2026-01-01T00:00:00+00:00",
    "updated": "2026-01-01T00:00:00+00:00",
    "status": "queued",
    "stage": "Starting",
    "pid": 1,
    "host": "h",
    "message": "",
    "step": 3,
    "steps": 6,
    "epoch": 1,
    "epochs": 2,
    "part": 1,
    "parts": 4,
}
EVENTS = "".join(json.dumps({"time": "t", "step": n, "phase": "pretrain", "loss": 1.5}) + "\n" for n in range(4))


def _jobs(folder: Path):
    home = folder / "home"
    for name in ("sound", "spoiled"):
        (folder / name).mkdir()
        (folder / name / "job.json").write_text(json.dumps(JOB))
        (folder / name / "state.json").write_text(json.dumps(STATE))
        remember(folder / name, home)

    def read(spoiled: tuple[str, bytes]) -> None:
        name, content = spoiled
        for file, sound in (("job.json", JOB), ("state.json", STATE)):
            (folder / "spoiled" / file).write_text(json.dumps(sound))
        (folder / "spoiled" / name).write_bytes(content)
        listed = list_jobs(home)
        assert any("sound" in line for line in listed), "the sound job is not listed"

    return st.one_of(
        st.tuples(st.just("job.json"), mutated_json(JOB)), st.tuples(st.just("state.json"), mutated_json(STATE))
    ), read


def list_jobs(home: Path) -> list[str]:
    """What ``maemc-train jobs list`` looks at."""
    return [f"{job.folder.name} {job.status} {job.progress:.2f}" for job in known_jobs(home)]


def _events(folder: Path):
    job = Job(folder / "job")
    job.folder.mkdir()
    path = job.folder / "events.jsonl"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        log = EventLog(job.folder)
        log.refresh()
        assert all(isinstance(event, dict) for event in log.events), "an event that is none"
        job.forget_events(1, ("pretrain",))

    return mutated(EVENTS.encode()), read


def _checkpoint(folder: Path):
    torch.manual_seed(0)
    identity = {"configuration": {"a": 1}, "data": "x"}

    def fresh():
        module = torch.nn.Linear(3, 2)
        optimizer = torch.optim.AdamW([{"params": list(module.parameters()), "names": ["weight", "bias"]}])
        return module, optimizer

    module, optimizer = fresh()
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    checkpoints = Checkpoints(folder / "sound", module, optimizer, identity)
    checkpoints.save(Position(step=3, best_loss=0.5), module.state_dict())
    sound = folder / "sound" / "last"
    last = folder / "spoiled" / "last"

    def read(spoiled: tuple[str, bytes]) -> None:
        name, content = spoiled
        shutil.rmtree(last.parent, ignore_errors=True)
        shutil.copytree(sound, last)
        (last / name).write_bytes(content)
        restored, other = fresh()
        position, _ = Checkpoints(folder / "spoiled", restored, other, identity).restore(steps=100)
        assert isinstance(position.step, int) and 0 <= position.step <= 100, "a position that is none"
        kinds = [set(other.state[parameter]) for parameter in restored.parameters()]
        assert kinds == [{"step", "exp_avg", "exp_avg_sq"}] * 2, "an optimizer that was restored in part"

    state = json.loads((sound / "training.json").read_text())
    strategies = [st.tuples(st.just("training.json"), mutated_json(state))]
    for name in ("model.safetensors", "optimizer.safetensors"):
        content = (sound / name).read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        strategies.append(st.tuples(st.just(name), mutated(content, 0, header)))
    return st.one_of(strategies), read


def _partial(folder: Path):
    image = folder / "a.png"
    image.write_bytes(b"there")
    rows = tuple(Case(f"c{n}", "p", image, "slice", values={"volume_id": "v", "slice_index": str(n)}) for n in range(4))
    volume = Volume("v", rows)
    partial = Partial(folder / "reduced.csv", "0" * 64, {"method": "hash"})
    partial.take_up([volume])
    partial.add(0, files_signature(volume), Reduced(volume, rows, Selected((0, 2), (Removal(1, 0, 0.5, 0),)), None))
    content = partial.path.read_bytes()
    first, second = content.splitlines()

    def read(spoiled: bytes) -> None:
        partial.path.write_bytes(spoiled)
        again = Partial(folder / "reduced.csv", "0" * 64, {"method": "hash"})
        for number, reduced in again.take_up([volume]).items():
            assert number == 0, "a volume that is not there"
            assert all(0 <= place < 4 for place in reduced.selected.kept), "a slice that is not there"
            assert all(0 <= r.place < 4 for r in reduced.selected.removed), "a slice that is not there"

    by_value = mutated_json(json.loads(second)).map(lambda line: first + b"\n" + line.replace(b"\n", b" ") + b"\n")
    return st.one_of(by_value, mutated(content)), read


def _archives(folder: Path):
    content, packed = {"s/s.mrml": b"<MRML/>" * 50, "s/Data/points.json": b"{}" * 300}, []
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", compression) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        packed.append(target.getvalue())
    place = folder / "deep" / "inside"

    def read(spoiled: bytes) -> None:
        (folder / "x.zip").write_bytes(spoiled)
        shutil.rmtree(place, ignore_errors=True)
        try:
            unpack_zip(folder / "x.zip", place)
        finally:
            assert {p.name for p in folder.iterdir()} <= {"x.zip", "deep", "home"}, "written outside"
            assert not (folder / "deep").is_dir() or {p.name for p in (folder / "deep").iterdir()} <= {"inside"}

    return st.one_of([mutated(data) for data in packed]), read


def _tar(folder: Path):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name in ("a.png", "b.png"):
            member = tarfile.TarInfo(name)
            member.size = 700
            tar.addfile(member, io.BytesIO(b"x" * 700))
    content = target.getvalue()[: 5 * 1024]

    def read(spoiled: bytes) -> None:
        (folder / "x.tar").write_bytes(spoiled)
        unpack_tar(folder / "x.tar", {"a.png", "b.png"}, folder / "inside")
        assert {path.name for path in folder.iterdir()} <= {"x.tar", "inside", "home"}, "written outside"

    return mutated(content), read


def _picture_headers(folder: Path):
    path = folder / "picture.png"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        try:
            read_picture(path)
        except InputError as error:
            assert str(error), "a refusal without a word"

    return st.one_of([mutated(content) for content in picture_contents()]), read


LIDC = """<?xml version="1.0" encoding="UTF-8"?><LidcReadMessage xmlns="http://www.nih.gov"><ResponseHeader>
<SeriesInstanceUid>1.2.3</SeriesInstanceUid></ResponseHeader><readingSession><unblindedReadNodule>
<noduleID>N1</noduleID><characteristics><malignancy>4</malignancy></characteristics><roi><imageZposition>1.5
</imageZposition><imageSOP_UID>1.2</imageSOP_UID><inclusion>TRUE</inclusion><edgeMap><xCoord>1</xCoord><yCoord>2
</yCoord></edgeMap><edgeMap><xCoord>3</xCoord><yCoord>2</yCoord></edgeMap><edgeMap><xCoord>2</xCoord><yCoord>5
</yCoord></edgeMap></roi></unblindedReadNodule></readingSession></LidcReadMessage>"""
MRML = """<MRML><Volume id="vtkMRMLScalarVolumeNode1" name="CT" references="storage:S1;"/>
<VolumeArchetypeStorage id="S1" fileName="Data/ct.nrrd"/><MarkupsFiducial id="F1" name="F" references="storage:S2;"/>
<MarkupsJsonStorage id="S2" fileName="Data/F.mrk.json"/></MRML>"""


def _xml(name: str, sound: str, reading):
    def prepare(folder: Path):
        path = folder / name

        def read(content: bytes) -> None:
            path.write_bytes(content)
            reading(path)

        return mutated(sound.encode()), read

    return prepare


def _cache(folder: Path):
    from MAEMCTrainingLib.data.sources import Source
    from MAEMCTrainingLib.data.store import open_store

    array = np.random.default_rng(0).integers(-1000, 400, (60, 60, 60)).astype(np.int16)
    write_volume(CTVolume(array, np.diag([1.5, 1.5, 1.5, 1.0])), folder / "ct.nrrd")
    row = Case("c", "p", folder / "ct.nrrd", label=1, point_lps=(45.0, 45.0, 45.0))
    Source(write_manifest(folder / "m.csv", [row])).build(folder / "cache", folder / "home", processes=1)
    index = folder / "cache" / "index.json"
    document = json.loads(index.read_text())

    def read(content: bytes) -> None:
        index.write_bytes(content)
        for found in open_store(folder / "cache").cases:
            assert np.isfinite(found.facts.point_lps).all(), "a point that is no place"

    return mutated_json(document), read


TRAINING = (
    Reader("jobs list beside a damaged job", _jobs),
    Reader("events.jsonl", _events),
    Reader("checkpoint", _checkpoint),
    Reader("reduced-partial.jsonl", _partial),
    Reader("cache index.json", _cache),
    Reader("zip, .mrb", _archives),
    Reader("tar", _tar),
    Reader("pictures: headers on import", _picture_headers),
    Reader("LIDC XML", _xml("reading.xml", LIDC, lambda path: read_lidc_xml(path, "reading"))),
    Reader("MRML", _xml("scene.mrml", MRML, read_scene)),
)
