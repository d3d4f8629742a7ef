"""A job is a folder: its settings, state, events, checkpoints and log. What lies there is enough to go on.

``job.json`` what was asked for; ``state.json`` where it stands; ``events.jsonl`` what happened, an object a line;
``log.txt`` the same for people; ``checkpoints/``; ``output.txt`` what a detached process printed; ``stop`` somebody
asks it to stop. A running job holds a lock on ``lock`` that the operating system takes away when its process ends in
any way, so a dead job never blocks a new start. Nothing here imports torch: Slicer's own process reads jobs too.

A job's folder may be handed on, so it holds no path and no name of a file of the data. What continuing it needs of
these (the command, where its data and its starting point lie) is in the job's note in MAEMC_HOME, beside the list of
jobs.
"""

import contextlib
import datetime
import json
import logging
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from MAEMCLib.errors import InputError, MAEMCError, UsageError
from MAEMCLib.files.atomic import home as user_home
from MAEMCLib.files.atomic import make_folder, replacing, write_json

from .files import (
    SCHEMA,
    differing_keys,
    is_command,
    noted,
    read_event,
    read_note,
    read_settings,
    read_state,
    registry,
    remember,
)
from .revision import versions
from .stopping import STOP_FILE, Interrupted, StopRequest, forget_stop

WORDS_OF_A_START = ("scratch", "imagenet")  # all else that a job may start from is a path
KINDS = {"pretrain": "pre-training", "finetune": "fine-tuning", "fuse": "fusion"}  # what people call the jobs
OUTPUT = "output.txt"  # what a detached process printed
_PREPARATIONS = ("lock", "caches", OUTPUT, STOP_FILE)  # what may lie in a folder before the job begins
_log = logging.getLogger("maemc.job")
_SECONDS_TO_START = 120  # within which a launched process has taken its lock, slow disks included


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclass
class Job:
    """An opened job folder. Use ``open_job`` to start or continue one, ``Job(folder)`` to read."""

    folder: Path
    state: dict[str, Any] = field(default_factory=dict)
    leads: bool = True  # of several processes one writes
    declared: bool = False  # in this process
    home: Path = field(default_factory=user_home)  # MAEMC_HOME with the job's note

    @property
    def settings(self) -> dict[str, Any]:
        """job.json, and what the job's note knows beside it: ``command``, and the paths of ``data`` and ``from``. Where
        there is no note (the job was made elsewhere, or moved) there is no command, and ``from`` is a word.

        Raises InputError where the folder is no job, or the file is damaged.
        """
        settings = read_settings(self.folder)
        note = read_note(self.folder, self.home)
        paths, sources = note.get("data"), settings.get("data")
        if isinstance(paths, list) and isinstance(sources, list) and len(paths) == len(sources):
            settings["data"] = [{"path": str(path), **source} for source, path in zip(sources, paths, strict=True)]
        if is_command(note.get("command")):
            settings["command"] = note["command"]
        if isinstance(note.get("from"), str):
            settings["from"] = note["from"]
        return settings

    @property
    def status(self) -> str:
        """queued, running, stopped, failed or finished, as it is: what a dead process claims to do does not count.

        Raises InputError where state.json is damaged, as ``progress`` does.
        """
        state = read_state(self.folder)
        status = state.get("status", "stopped")
        if status not in ("running", "queued"):
            return status
        if is_locked(self.folder):
            return "running"
        if status == "queued":
            waited = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(state["updated"])
            return "queued" if waited.total_seconds() < _SECONDS_TO_START else "failed"
        return "stopped"

    @property
    def progress(self) -> float:
        """Share of the whole job that is done, 0 to 1; its parts (the stages of each fold) count alike."""
        state = read_state(self.folder)
        if state.get("status") == "finished":
            return 1.0
        step = min(1.0, state.get("step", 0) / state["steps"]) if state.get("steps") else 0.0
        return min(1.0, (state.get("part", 0) + step) / state.get("parts", 1))

    def declare(self, settings: Mapping[str, Any]) -> None:
        """Write what the job trains on what, once that is known, or compare it with what the job was begun with.

        Raises UsageError where the folder holds a job with other settings (they are listed), or one that an earlier
        version began.
        """
        stored = self.settings
        if "configuration" in stored:
            if "parts" in settings:
                _refuse_older(self, stored)
            _check_same(stored, settings, self.folder)
        elif self.leads:
            begun = {name: value for name, value in stored.items() if name != "command"}
            write_json(self.folder / "job.json", {**begun, **_without_paths(settings), "versions": versions()})
        if self.leads:  # what it reads may have moved since
            start = settings.get("from")
            paths = {
                "data": [source.get("path") for source in settings.get("data", [])],
                "from": None if start in WORDS_OF_A_START else start,
            }
            remember(self.folder, self.home, **paths)
        self.declared = True

    def update(self, **values: Any) -> None:
        """Change and replace state.json."""
        if not self.leads:
            return
        self.state |= {**values, "updated": now()}
        write_json(self.folder / "state.json", self.state)

    def event(self, **values: Any) -> None:
        """Append one line to events.jsonl."""
        self._append("events.jsonl", json.dumps({"time": now(), **values}, allow_nan=False))

    def _append(self, name: str, line: str) -> None:
        if not self.leads:
            return
        try:
            with open(self.folder / name, "a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise InputError(
                f"{name} of the job {self.folder} cannot be written ({error.strerror}). Free space, then repeat the "
                "command: it goes on from the last checkpoint, where there is one.",
                "not-written",
                (self.folder,),
            ) from error

    def forget_events(self, after_step: int, phases: Sequence[str], **where: Any) -> None:
        """Drop the training events that a continued run will write again: those after its checkpoint's step."""
        path = self.folder / "events.jsonl"
        if not self.leads or not path.is_file():
            return
        remaining = []
        for line in path.read_bytes().splitlines():
            event = read_event(line)  # the last line of a killed run may be cut, and a disk may spoil any
            again = event is None or (
                event.get("step", -1) > after_step
                and event.get("phase") in phases
                and all(event.get(k) == v for k, v in where.items())
            )
            if not again:
                remaining.append(line + b"\n")
        with replacing(path) as temporary:
            temporary.write_bytes(b"".join(remaining))

    def log(self, text: str, show: bool = True) -> None:
        """A line for people: to log.txt and, where a program shows what its loggers say, to standard error."""
        self._append("log.txt", f"{now()} {text}")
        if show and self.leads:
            _log.info(text)


def state_before(folder: Path) -> dict[str, Any]:
    """What state.json said, for a run that writes it anew; nothing where it is damaged: checkpoints decide."""
    with contextlib.suppress(InputError):
        return read_state(folder)
    return {}


def last_output(folder: Path) -> str:
    """The last line that a detached process printed which may have died without a word in the job's state."""
    with contextlib.suppress(OSError):
        lines = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""
    return ""


def finished_job(folder: Path, *kinds: str) -> Job:
    """The job of a folder. Raises InputError: no job, one of another kind than these, one that is not finished."""
    job = Job(folder)
    kind = job.settings.get("kind")
    if kind not in kinds:
        wanted = " or a ".join(KINDS[name] for name in kinds)
        raise InputError(f"{folder} is a job of the kind '{kind}'. This takes a {wanted}.", "job-kind")
    if job.status != "finished":
        raise InputError(
            f"The {KINDS[kind]} {folder} is {job.status}, not finished. Repeat its command to continue it.",
            "unfinished",
        )
    return job


@contextlib.contextmanager
def open_job(folder: Path, kind: str, command: dict[str, Any], home: Path, stop: StopRequest) -> Iterator[Job]:
    """Start a job in a folder or continue the one that is there; the folder is this process's alone inside the block.

    kind: one of ``KINDS``. command: what ``resume`` needs to start it again, its "arguments" and the "directory" that
    paths in them are relative to. What is trained is declared in the block, when the data have been read. The block's
    end writes the final state: finished, stopped (Interrupted) or failed.

    Raises UsageError: another process runs the job; the folder holds a job of another kind, or something else.
    """
    make_job_folder(folder)
    with _lock(folder):
        job = Job(folder, home=home)
        before = state_before(folder)
        begin_job(folder, kind, command, home)
        if before.get("status") != "queued":  # a wish that ended a run before; one that is made while it waits counts
            forget_stop(folder)
        stop.folder = folder
        # The state at the outset and not an "update" of the old one: what ended the last run is over.
        going_on = ("started", "step", "steps", "epoch", "epochs", "part", "parts", "fold", "folds")
        job.state = {key: before[key] for key in going_on if key in before}
        job.state.setdefault("started", now())
        job.update(status="running", stage="Starting", pid=os.getpid(), host=platform.node(), message="")
        try:
            yield job
        except BaseException as error:
            stopped = isinstance(error, Interrupted | KeyboardInterrupt)
            if not job.declared and before.get("status") in ("stopped", "failed", "finished"):
                # A command that was refused changes nothing of the job that was there.
                write_json(folder / "state.json", before)
                raise
            with contextlib.suppress(InputError, OSError):  # a full disk must not hide the error itself
                job.update(status="stopped" if stopped else "failed", message=_public(error), seconds_left=None)
                job.log(f"{'Stopped' if stopped else 'Failed'}: {_public(error)}", show=False)
                _withdraw(folder)
            raise
        finally:
            forget_stop(folder)
        job.update(status="finished", stage="Finished", message="", seconds_left=None)


def _withdraw(folder: Path) -> None:
    """Leave nothing behind of a job that ended before it knew its data, in front of the person who typed it."""
    if "configuration" in Job(folder).settings or (folder / OUTPUT).is_file():
        return
    for name in ("job.json", "state.json", "log.txt", "lock"):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def make_job_folder(folder: Path) -> None:
    """Make the folder of a job. Raises UsageError where something else is there, InputError where it cannot be made."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a job folder. Choose another --output.", "not-a-folder")
    if folder.is_dir() and not (folder / "job.json").is_file():
        strangers = [path.name for path in folder.iterdir() if path.name not in _PREPARATIONS]
        if strangers:
            raise UsageError(f"{folder} holds other files and no job. Choose an empty or new folder.", "not-a-job")
    make_folder(folder, "job folder")


def begin_job(folder: Path, kind: str, command: dict[str, Any], home: Path) -> None:
    """job.json of a job whose data are not known yet, and its note; a job that has declared its data keeps its own."""
    if (folder / "job.json").is_file():
        stored = Job(folder, home=home).settings
        if stored["kind"] != kind:
            raise UsageError(
                f"{folder} holds a job of the kind '{stored['kind']}', not '{kind}'. Choose another --output.",
                "other-settings",
            )
        if "configuration" in stored:
            remember(folder, home, command=stored.get("command", command))
            return
    write_json(folder / "job.json", {"schema": SCHEMA, "kind": kind, "created": now()})
    remember(folder, home, command=command, data=None, **{"from": None})


def _without_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    public = dict(settings)
    if "data" in public:
        public["data"] = [{k: v for k, v in source.items() if k != "path"} for source in public["data"]]
    if public.get("from") not in (None, *WORDS_OF_A_START):
        public["from"] = "another model"
    return public


def _public(error: BaseException) -> str:
    """What the job's folder may keep of an error: messages made for users, of others only the kind."""
    return error.anonymous if isinstance(error, MAEMCError) else type(error).__name__


def _refuse_older(job: Job, stored: Mapping[str, Any]) -> None:
    """What an earlier version cut and drew was not what is read now."""
    if "parts" not in stored and job.status != "finished":
        raise UsageError(
            f"The job {job.folder} was begun by an earlier version of MAEMC, which paid no heed to the manifest's "
            "split and kept case_ids as they were typed. Train anew with another --output, or finish it with that "
            "version.",
            "older-job",
            [job.folder],
        )


def _check_same(stored: Mapping[str, Any], settings: Mapping[str, Any], folder: Path) -> None:
    # The same run may be typed differently, and what it reads may have moved: data and weights have fingerprints. The
    # kind of input, which earlier versions did not write, follows from the preprocessing.
    names = settings.keys() - {"data", "cohort", "from", "input"}
    present = json.loads(json.dumps({name: settings[name] for name in names}))
    lines = differing_keys({name: stored.get(name) for name in names}, present)
    if lines:
        raise UsageError(
            f"{folder} holds a job with other settings: {'; '.join(lines)}. "
            "Repeat its command to continue it, or choose another --output.",
            "other-settings",
        )


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        # ``is_locked`` of a listing holds the lock for an instant; a running job holds it all the time.
        lock = FileLock(folder / "lock").acquire(timeout=0.3)
    except Timeout:
        pid = state_before(folder).get("pid", "?")
        raise UsageError(
            f"The job {folder} is already running (process {pid}). Wait for it or stop it first.", "running"
        ) from None
    with lock:
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process runs the job now; without the package filelock, whether one may."""
    path = folder / "lock"
    try:
        if not path.is_file():
            return False
        from filelock import FileLock

        with FileLock(path).acquire(timeout=0):
            return False
    except (ImportError, TimeoutError):  # Slicer's process lists jobs of a terminal before anything is installed there
        return True
    except OSError:
        return False  # a folder that this user cannot write is not run by this user


def known_jobs(home: Path) -> list[Job]:
    """The jobs started with this MAEMC_HOME whose folders still exist, oldest first; the damaged ones come last."""
    jobs, damaged = [], []
    for path in sorted(registry(home).glob("*.json")):
        try:
            job = Job(noted(path), home=home)
            read_state(job.folder)
            jobs.append((job.settings["created"], job))
        except InputError as error:
            if error.code not in ("no-job", "no-note"):
                damaged.append(job)
    return [job for _, job in sorted(jobs, key=lambda pair: pair[0])] + damaged
