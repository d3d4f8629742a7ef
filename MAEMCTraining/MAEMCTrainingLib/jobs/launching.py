"""Starting and continuing jobs as processes of their own, which outlive the terminal and Slicer."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.atomic import write_json
from MAEMCLib.machine.child_processes import start_group

from .job import OUTPUT, Job, begin_job, is_locked, make_job_folder, now, state_before
from .stopping import forget_stop

_DETACHED = "MAEMC_DETACHED"


def is_detached() -> bool:
    """Whether this process was started by ``launch``: what it prints stays in its job's folder, and names nobody."""
    return bool(os.environ.get(_DETACHED))


def launch(
    arguments: Sequence[str],
    folder: Path,
    home: Path,
    interpreter: Sequence[str] = (sys.executable,),
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> subprocess.Popen:
    """Start a training command as a process of its own that outlives this one, the terminal and Slicer.

    arguments: what would be typed after ``maemc-train``, with ``folder`` as its --output. What the process prints goes
    to output.txt. Raises UsageError: the job runs already, the folder holds something else; InputError: it cannot be
    written, the interpreter cannot be started.
    """
    make_job_folder(folder)
    if is_locked(folder):
        raise UsageError(f"The job {folder} is already running. Wait for it or stop it first.", "running")
    directory = directory or Path.cwd()
    begin_job(folder, arguments[0], {"arguments": list(arguments), "directory": str(directory)}, home)
    forget_stop(folder)
    state = {key: value for key, value in state_before(folder).items() if key not in ("message", "seconds_left")}
    write_json(folder / "state.json", {**state, "status": "queued", "stage": "Starting", "updated": now()})
    try:
        with open(folder / OUTPUT, "ab") as output:
            return start_group(
                [*interpreter, "-m", "MAEMCTrainingLib", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**(os.environ if environment is None else environment), "MAEMC_HOME": str(home), _DETACHED: "1"},
            )
    except OSError as error:
        raise InputError(
            f"The training process could not be started ({error.strerror}): {shlex.join(interpreter)}. Check that this "
            "Python is there and that the job's folder can be written.",
            "not-started",
        ) from error


def resume(
    folder: Path,
    home: Path,
    interpreter: Sequence[str] = (sys.executable,),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen:
    """Continue a job that was stopped or has failed, with the command it was started with, as ``launch`` does."""
    command = Job(folder, home=home).settings.get("command")
    if command is None:
        raise InputError(
            f"How the job {folder} was started is not known here: a job's folder holds no paths, and it was started "
            "elsewhere or has moved. Repeat its command with this folder as --output.",
            "no-command",
            [folder],
        )
    return launch(command["arguments"], folder, home, interpreter, environment, Path(command["directory"]))
