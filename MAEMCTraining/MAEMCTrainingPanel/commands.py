"""Commands of ours that are waited for, in a thread beside the window; no Qt here."""

import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from MAEMCLib.errors import MAEMCError
from MAEMCLib.machine.child_processes import end_group, start_group


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
