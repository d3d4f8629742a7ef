"""Images read in a child process: the same image, the same errors, and a crash that costs one file."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import fields

import numpy as np
import pytest
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.images import reading_process
from MAEMCLib.images.ct import CTVolume, ReadingRemark
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.images.gray import read_gray
from MAEMCLib.images.reading_process import ReadingProcess
from PIL import Image

STAND_IN = """
import os, signal, time
from pathlib import Path
from MAEMCLib.images import reading_process as module

def read(path, series_uid, nifti_form):
    name = Path(path).name
    if name == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "stuck":
        time.sleep(600)
    if name == "defect":
        raise ValueError("operands could not be broadcast")
    if name == "closed":
        raise PermissionError(13, "Permission denied", path)
    if name == "remarks":
        found = real(Path(path).parent / "ct.nrrd")
        marks = (module.ReadingRemark("gap", "A gap.", False), module.ReadingRemark("mip", "A projection."))
        return module.CTVolume(found.array[::-1], found.affine / 3.0, "ü", marks, (1, 4))
    return real(path, series_uid, nifti_form)

def read_gray(path):
    if path.name == "segfault.dcm":
        os.kill(os.getpid(), signal.SIGSEGV)
    return real_gray(path)

real, module.read_volume = module.read_volume, read
real_gray, module.read_gray = module.read_gray, read_gray
module.main()
"""
"""The child with a reader that crashes, hangs or fails by the file's name; all else is the real one."""


@pytest.fixture
def folder(tmp_path):
    array = np.random.default_rng(0).integers(-1000, 400, (12, 20, 24)).astype(np.int16)
    write_volume(CTVolume(array, np.diag([0.7, 0.8, 1.5, 1])), tmp_path / "ct.nrrd")
    return tmp_path


@pytest.fixture
def reader():
    with ReadingProcess() as reader:
        yield reader


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(reading_process, "_PROGRAM", STAND_IN)


def same(one: CTVolume, other: CTVolume) -> bool:
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name))
        if field.name in ("array", "affine")
        else getattr(one, field.name) == getattr(other, field.name)
        for field in fields(CTVolume)
    )


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process ended within this time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as stream:
                if stream.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_it_starts_with_the_first_file_and_serves_the_next_ones(folder, reader):
    assert reader.pid is None
    first = reader.read(folder / "ct.nrrd")
    pid = reader.pid
    assert same(first, read_volume(folder / "ct.nrrd")) and first.array.flags.writeable
    assert same(reader.read(folder / "ct.nrrd"), first) and reader.pid == pid
    reader.close()
    assert gone(pid)


def test_all_that_a_volume_holds_comes_back(folder, reader, stand_in):
    read = reader.read(folder / "remarks")
    whole = read_volume(folder / "ct.nrrd")
    marks = (ReadingRemark("gap", "A gap.", False), ReadingRemark("mip", "A projection.", True))
    assert same(read, CTVolume(whole.array[::-1], whole.affine / 3.0, "ü", marks, (1, 4)))


def test_errors_of_the_reader_come_back_as_they_are(folder, reader):
    (folder / "empty.nrrd").write_bytes(b"")
    for arguments, kind in (
        ((folder / "none.nrrd",), InputError),
        ((folder / "empty.nrrd",), InputError),
        ((folder / "ct.nrrd", "1.2"), UsageError),
        ((folder / "ct.nrrd", None, "both"), UsageError),
    ):
        with pytest.raises(kind) as here:
            read_volume(*arguments)
        with pytest.raises(kind) as there:
            reader.read(*arguments)
        assert (there.value.args, there.value.code) == (here.value.args, here.value.code)
        assert set(here.value.private) <= set(there.value.private)


def test_a_crash_costs_one_file(folder, reader, stand_in):
    whole = reader.read(folder / "ct.nrrd")
    for _ in range(2):
        with pytest.raises(InputError, match=r"segfault made the reader crash \(SIGSEGV\)") as caught:
            reader.read(folder / "segfault")
        assert caught.value.code == "reader-died"
        assert same(reader.read(folder / "ct.nrrd"), whole)


def test_a_picture_is_read_in_the_child_too(folder, reader, stand_in):
    pixels = np.random.default_rng(1).integers(0, 255, (7, 9, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "sound.png")
    (folder / "empty.png").write_bytes(b"")
    expected = read_gray(folder / "sound.png")
    found = reader.read_gray(folder / "sound.png")
    assert found.dtype == expected.dtype and np.array_equal(found, expected)
    for name in ("empty.png", "none.png"):
        with pytest.raises(InputError) as here:
            read_gray(folder / name)
        with pytest.raises(InputError) as there:
            reader.read_gray(folder / name)
        assert (there.value.args, there.value.code) == (here.value.args, here.value.code)
    with pytest.raises(InputError, match=r"segfault\.dcm made the reader crash \(SIGSEGV\)"):
        reader.read_gray(folder / "segfault.dcm")
    assert np.array_equal(reader.read_gray(folder / "sound.png"), expected)


def test_a_child_that_died_between_two_files_is_replaced(folder, reader):
    whole = reader.read(folder / "ct.nrrd")
    pid = reader.pid
    os.kill(pid, signal.SIGKILL)  # dead or about to be: either way it is not this file's fault
    assert same(reader.read(folder / "ct.nrrd"), whole) and reader.pid != pid


def test_a_defect_and_a_closed_file_are_named(folder, reader, stand_in):
    for name, words in (("defect", "ValueError: operands"), ("closed", r"closed cannot be read \(Permission denied\)")):
        with pytest.raises(InputError, match=words) as caught:
            reader.read(folder / name)
        assert caught.value.code == "unreadable" and str(folder) not in str(caught.value)


def test_a_reader_that_is_stuck_is_stopped(folder, reader, stand_in, monkeypatch):
    monkeypatch.setattr(reading_process, "LONGEST_READ_S", 1.0)
    with pytest.raises(InputError) as caught:
        reader.read(folder / "stuck")
    assert caught.value.code == "reader-hung"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "reading"])
def test_it_ends_with_an_owner_that_is_killed(folder, busy):
    owner = f"""
import sys, threading, time
from MAEMCLib.images import reading_process
reading_process._PROGRAM = {STAND_IN!r}
reader = reading_process.ReadingProcess()
reader.read({str(folder / "ct.nrrd")!r})
print(reader.pid, flush=True)
{f"reader.read({str(folder / 'stuck')!r})" if busy else "time.sleep(600)"}
"""
    process = subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    time.sleep(0.2)
    process.kill()
    process.wait()
    process.stdout.close()
    assert gone(child)
