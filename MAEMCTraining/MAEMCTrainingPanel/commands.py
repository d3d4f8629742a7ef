"""Commands of ours that are waited for in a thread beside the window, such as import and export; no Qt here."""

import re
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from pathlib import Path

from MAEMCLib.errors import MAEMCError
from MAEMCLib.machine.child_processes import end_group, start_group
from MAEMCLib.models.bundle import read_card
from MAEMCLib.models.store import list_models

BUNDLE_NAME = "model.maemc"
"""In the job's folder: exported once, imported from there."""


class ChildCommands:
    """Runs commands to their end, and ends those that are not there yet when it is stopped.

    python: the interpreter; environment: of the processes, with our packages on their path.
    """

    def __init__(self, python: str, environment: Mapping[str, str]) -> None:
        self._python, self._environment = python, environment
        self._running: set = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, *arguments: str, partly: int = 0, consume: Callable[[str], bool] = lambda line: False) -> tuple:
        """``python -m ARGUMENTS``: (lines of its output, lines of its error output).

        partly: the exit status of a command that has done its work except for some items, which it then says on its
        output. consume: gets each line of the error output when it comes, and returns True for those to leave out.
        Raises MAEMCError with its last words where it fails, of the code "stopped" after ``stop``.
        """
        options = {"env": self._environment, "encoding": "utf-8"}
        options |= {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self._lock:
            if self._stopped:
                raise _stopped()
            try:
                process = start_group([self._python, "-m", *arguments], **options)
            except OSError as error:
                raise MAEMCError(f"{self._python} could not be started ({error}).", "not-started") from error
            self._running.add(process)
        with process, ThreadPoolExecutor(1) as beside:
            reading = beside.submit(process.stdout.read)
            complaints = [line.rstrip() for line in process.stderr if line.strip() and not consume(line)]
            output = reading.result().strip().splitlines()
        with self._lock:
            self._running.discard(process)
            if self._stopped and process.returncode != 0:
                raise _stopped()
        done = process.returncode == 0 or (process.returncode == partly and output)
        if not done:
            last = (complaints or [f"The process ended with {process.returncode}."])[-1]
            raise MAEMCError(last.removeprefix("maemc-train: ").removeprefix("maemc: "), "command")
        return output, complaints

    def stop(self) -> None:
        """End what runs; nothing can be run any more. Slicer would wait for it at its own end."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                end_group(process)


def _stopped() -> MAEMCError:
    return MAEMCError("The command was stopped.", "stopped")


def importData(commands: ChildCommands, kind: str, source: Path, home: Path) -> tuple:
    """Make a manifest of a data set as it comes, or of scenes, under ``MAEMC_HOME/manifests``: (its path, a line for
    each item that was skipped and why).

    Raises MAEMCError with the last words of the process that failed.
    """
    manifest = manifestFolder(home, source.stem) / "manifest.csv"
    arguments = ["import", kind, str(source), "--output", str(manifest)]
    _output, complaints = commands.run("MAEMCTrainingLib", *arguments)
    return manifest, [line.removeprefix("skipped ") for line in complaints if line.startswith("skipped ")]


def manifestFolder(home: Path, name: str) -> Path:
    """A folder for a manifest that we make, not there yet; numbered where the name is taken."""
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(folder for folder in (home / "manifests" / name for name in names) if not folder.exists())


def exportToModels(commands: ChildCommands, folder: Path, modelID: str) -> str:
    """Export the bundle of a finished fine-tuning, unless it lies there already, and import it; returns "id@version".

    A model of this id that is here already stays; the new one gets the next version. Raises MAEMCError with the last
    words of the process that failed.
    """
    bundle, metrics = folder / BUNDLE_NAME, folder / "metrics.json"
    current = bundle.is_file() and metrics.is_file() and bundle.stat().st_mtime >= metrics.stat().st_mtime
    if not current:
        versions = [model.card.version for model in list_models() if model.card and model.card.id == modelID]
        majors = [int(version.split(".")[0]) for version in versions if version.split(".")[0].isdigit()]
        arguments = ["export", str(folder), "--output", str(bundle), "--id", modelID]
        commands.run("MAEMCTrainingLib", *arguments, "--version", f"{max(majors, default=0) + 1}.0")
    # The bundle was made here: its hash is no stranger's word, and a further version of a known id may come in.
    arguments = ["models", "import", str(bundle), "--sha256", read_card(bundle).sha256]
    output, _complaints = commands.run("MAEMCLib", *arguments)
    return output[-1].partition(" is at ")[0]


def proposedID(folder: Path) -> str:
    """The id of a job's model."""
    return re.sub(r"[^\w.-]+", "-", folder.name).strip(".-") or "model"
