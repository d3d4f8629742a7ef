"""Child processes end with the command that started them, also when kill -9 leaves it no time to say so."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from MAEMCLib.machine.child_processes import MOST_BY_DEFAULT, usual_count

TRAIN = (sys.executable, "-m", "MAEMCTrainingLib")


def processes():
    """{process: its parent} of the living processes."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it ended meanwhile
        if state != "Z":
            found[int(stat.parent.name)] = int(parent)
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="children are found in /proc")
@pytest.mark.parametrize("command", ["cache", "pretrain", "phantom", "batch"])
def test_kill_9_leaves_no_process(command, balls, random_bundle, tmp_path):
    if command == "pretrain" and usual_count() < 2:
        pytest.skip("one processor: the regions are cut without children")
    arguments = {
        "cache": [*TRAIN, "cache", balls, "--output", tmp_path / "c", "--processes", 2],
        "pretrain": [*TRAIN, "pretrain", "--data", balls, "--output", tmp_path / "job", "--preset", "tiny"],
        "phantom": [*TRAIN, "phantom", "--output", tmp_path / "p", "--cases", 40, "--processes", 2],
        "batch": [
            *(sys.executable, "-m", "MAEMCLib", "batch", balls, "--output", tmp_path / "r.csv"),
            *("--model", random_bundle, "--device", "cpu", "--processes", 2),
        ],
    }[command]
    # One is killed while its children work, the others while these start.
    begun = "p/images/*.nrrd" if command == "phantom" else ""
    process = subprocess.Popen(
        list(map(str, arguments)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    children = []
    while len(children) < 3 or (begun and not any(tmp_path.glob(begun))):  # two and their resource tracker
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
        children = [child for child, parent in processes().items() if parent == process.pid]
    process.kill()
    # The children hold the command's output open: its end comes when the last of them is gone.
    process.communicate(timeout=20)
    until = time.monotonic() + 20
    while processes().keys() & set(children) and time.monotonic() < until:
        time.sleep(0.05)
    assert not processes().keys() & set(children)


def test_the_usual_count_is_of_usable_processors():
    assert 1 <= usual_count() <= min(MOST_BY_DEFAULT, os.cpu_count())
