"""A job is a folder: its settings, state, events, checkpoints and log. What lies there is enough to go on.

``job.json`` what was asked for; ``state.json`` where it stands; ``events.jsonl`` what happened, an object a line;
``log.txt`` the same for people; ``checkpoints/``. A running job holds a lock on ``lock`` that the operating system
takes away when its process ends in any way, so a dead job never blocks a new start.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from MAEMCLib.atomic import read_json, replacing, write_json
from MAEMCLib.errors import InputError, MAEMCError, UsageError

from .configuration import differing_keys

SCHEMA = 1


class Interrupted(MAEMCError):
    """Asked to stop: the step was finished and the state saved."""

    exit_code = 130

    def __init__(self, message: str) -> None:
        super().__init__(message, "interrupted")


@dataclass
class StopRequest:
    """Whether somebody asked the run to stop (Ctrl-C, SIGTERM); a second request ends it at once."""

    asked: bool = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Listen to the signals inside the block."""

        def ask(number: int, frame: FrameType | None) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True
            print("\nStopping after this step; press Ctrl-C again to stop without saving.", file=sys.stderr)

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclass
class Job:
    """An opened job folder. Use ``open_job`` to start or continue one, ``Job(folder)`` to read."""

    folder: Path
    quiet: bool = False
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """job.json. Raises InputError where the folder is no job."""
        settings = read_json(self.folder / "job.json", "The job's settings")
        if not isinstance(settings, dict) or settings.get("schema") != SCHEMA:
            raise InputError(f"{self.folder} is no job of this version (schema {SCHEMA}).", "job-schema")
        return settings

    @property
    def status(self) -> str:
        """running, stopped, failed or finished; a job that says 'running' while no process holds it has stopped."""
        status = read_state(self.folder).get("status", "stopped")
        return "stopped" if status == "running" and not is_locked(self.folder) else status

    def update(self, **values: Any) -> None:
        """Change and replace state.json."""
        self.state |= values
        self.state["updated"] = now()
        write_json(self.folder / "state.json", self.state)

    def event(self, **values: Any) -> None:
        """Append one line to events.jsonl."""
        self._append("events.jsonl", json.dumps({"time": now(), **values}, allow_nan=False))

    def _append(self, name: str, line: str) -> None:
        try:
            with open(self.folder / name, "a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise InputError(
                f"{name} of the job {self.folder} cannot be written ({error.strerror}). The last checkpoint is intact: "
                "free space, then repeat the command to go on from there.",
                "not-written",
            ) from error

    def forget_events(self, after_step: int, **where: Any) -> None:
        """Drop the training events that a continued run will write again: those after its checkpoint's step."""
        path = self.folder / "events.jsonl"
        if not path.is_file():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # the last line of a killed run may be cut
            again = event.get("step", -1) > after_step and all(event.get(k) == v for k, v in where.items())
            if not again:
                kept.append(line + "\n")
        with replacing(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")

    def log(self, text: str, show: bool = True) -> None:
        """A line for people: to log.txt and, unless quiet, to standard error."""
        self._append("log.txt", f"{now()} {text}")
        if show and not self.quiet:
            print(text, file=sys.stderr, flush=True)


def read_state(folder: Path) -> dict[str, Any]:
    """state.json, or an empty one for a job that has not begun."""
    path = folder / "state.json"
    return read_json(path, "The job's state") if path.is_file() else {}


@contextlib.contextmanager
def open_job(folder: Path, settings: dict[str, Any], home: Path, quiet: bool = False) -> Iterator[Job]:
    """Start a job in a folder or continue the one that is there; the folder is this process's alone inside the block.

    settings: what was asked for ("kind", "configuration", "data" and so on). A job that is continued keeps its first
    job.json. The block's end writes the final state: finished, stopped (Interrupted) or failed.

    Raises UsageError: another process runs the job; the folder holds a job with other settings (they are listed); the
    folder holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a job folder. Choose another --output.", "not-a-folder")
    if (
        folder.is_dir()
        and any(folder.iterdir())
        and not (folder / "job.json").is_file()
        and not _only_preparations(folder)
    ):
        raise UsageError(f"{folder} holds other files and no job. Choose an empty or new folder.", "not-a-job")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The job folder {folder} cannot be made ({error.strerror}).", "not-written") from error
    with _lock(folder):
        job = Job(folder, quiet)
        if (folder / "job.json").is_file():
            _check_same(job.settings, settings, folder)
        else:
            write_json(folder / "job.json", {"schema": SCHEMA, **settings, "versions": versions(), "created": now()})
        _remember(folder, home)
        before = read_state(folder)
        # The state at the outset and not an "update" of the old one: what ended the last run is over.
        job.state = {key: before[key] for key in ("started", "step", "steps", "epoch", "epochs") if key in before}
        job.state.setdefault("started", now())
        job.update(status="running", pid=os.getpid(), host=platform.node(), message="")
        try:
            yield job
        except BaseException as error:
            stopped = isinstance(error, Interrupted | KeyboardInterrupt)
            with contextlib.suppress(InputError, OSError):  # a full disk must not hide the error itself
                job.update(status="stopped" if stopped else "failed", message=_public(error))
                job.log(f"{'Stopped' if stopped else 'Failed'}: {_public(error)}", show=False)
            raise
        job.update(status="finished", message="")


def _public(error: BaseException) -> str:
    """What the job's folder may keep of an error: messages made for users, of others only the kind."""
    return str(error) if isinstance(error, MAEMCError) else type(error).__name__


def _only_preparations(folder: Path) -> bool:
    """What may lie in a folder before the job begins: the lock and caches built from manifests."""
    return all(path.name in ("lock", "caches") for path in folder.iterdir())


def _check_same(stored: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    # The same run may be typed differently, and what it reads may have moved: data and weights have fingerprints.
    names = settings.keys() - {"command", "data", "cohort", "from"}
    asked = json.loads(json.dumps({name: settings[name] for name in names}))
    lines = differing_keys({name: stored.get(name) for name in names}, asked)
    if lines:
        raise UsageError(
            f"{folder} holds a job with other settings: {'; '.join(lines)}. "
            "Repeat its command to continue it, or choose another --output.",
            "other-settings",
        )


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    with open(folder / "lock", "a+b") as stream:
        # ``is_locked`` of a listing holds the lock for an instant; a running job holds it all the time.
        if not any(_try_lock(stream) or time.sleep(0.1) for _ in range(3)):
            pid = read_state(folder).get("pid", "?")
            raise UsageError(
                f"The job {folder} is already running (process {pid}). Wait for it or stop it first.", "running"
            )
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process runs the job now."""
    path = folder / "lock"
    if not path.is_file():
        return False
    try:
        with open(path, "a+b") as stream:
            return not _try_lock(stream)
    except OSError:
        return False  # a folder that this user cannot write is not run by this user


def _try_lock(stream: Any) -> bool:
    """Lock an open file until it is closed; the operating system also frees it when the process dies."""
    try:
        if os.name == "nt":
            import msvcrt

            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def versions() -> dict[str, str]:
    """The software that a result depends on."""
    import MAEMCLib
    import numpy
    import torch

    return {
        "maemc": MAEMCLib.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _registry(home: Path) -> Path:
    return home / "jobs"


def _remember(folder: Path, home: Path) -> None:
    """Note where the job lies, so that ``jobs list`` finds it again."""
    try:
        _registry(home).mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # the job itself does not depend on being listed
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    with contextlib.suppress(InputError):
        write_json(_registry(home) / f"{name}.json", {"folder": str(folder.resolve())})


def known_jobs(home: Path) -> list[Job]:
    """The jobs started with this MAEMC_HOME whose folders still exist, oldest first."""
    jobs = []
    for path in sorted(_registry(home).glob("*.json")):
        with contextlib.suppress(InputError, KeyError, TypeError):
            folder = Path(read_json(path, "A job's note")["folder"])
            if (folder / "job.json").is_file():
                jobs.append(Job(folder))
    return sorted(jobs, key=lambda job: job.settings.get("created", ""))
