"""A source tree that trains: its starter process, its MAEMC_HOME, its folder of jobs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_STARTER = Path(__file__).with_name("starter.py")
_PATH = Path(__file__).with_name("path")  # of sitecustomize
_LINE = 0.002  # seconds between two looks at a running job's events
STOPPED = 130


class CommandFailed(Exception):
    """A command ended in another way than it should; the message holds the end of what it printed."""


class Tree:
    """Runs ``maemc-train`` of a source tree in a folder, one command at a time, on one thread."""

    def __init__(self, source: Path, folder: Path, home: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        libraries = os.pathsep.join(str(source / part) for part in ("MAEMCNodule", "MAEMCTraining"))
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "COMPARED_TREE": libraries,
            "PYTHONPATH": os.pathsep.join([str(_PATH), libraries]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MAEMC_HOME": str(home),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_STARTER), str(source)],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.imported = dict(json.loads(self._answer()))

    def close(self) -> None:
        """End the starter."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(self, *arguments: str) -> None:
        """A command to its end. Raises CommandFailed."""
        self._start(arguments)
        self._check(arguments, int(self._answer()), 0)

    def run_until(self, job: str, events: int, *arguments: str) -> None:
        """A training that is sent SIGTERM as soon as its job has this many events, and has to stop there.

        Raises CommandFailed, also where it was done before it heard of it.
        """
        process = self._start(arguments)
        log = self.folder / job / "events.jsonl"
        while not _ended(process) and _lines(log) < events:
            time.sleep(_LINE)
        if not _ended(process):
            os.kill(process, signal.SIGTERM)
        self._check(arguments, int(self._answer()), STOPPED)

    def _start(self, arguments: tuple[str, ...]) -> int:
        command = {"arguments": list(arguments), "output": str(self._output)}
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def _answer(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise CommandFailed("The starter of the commands ended; what it printed says why.")
        return line

    @property
    def _output(self) -> Path:
        return self.folder / "output.txt"

    def _check(self, arguments: tuple[str, ...], code: int, expected: int) -> None:
        if code != expected:
            last = self._output.read_text(encoding="utf-8", errors="replace")[-1500:]
            command = " ".join(["maemc-train", *arguments])
            raise CommandFailed(f"{command}\nended with {code} instead of {expected}:\n{last}")


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0


def _ended(process: int) -> bool:
    """Whether a process that its parent has not yet reaped, or has, no longer runs."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
