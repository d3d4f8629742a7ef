"""Child processes: a pool that computes beside this process and never outlives it, however it ends (kill -9 and a full
memory too), and programs that are started, and ended, together with all that they start themselves."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import InputError

MOST_BY_DEFAULT = 8
"""Processes where nobody says how many: each one takes 150 MB for its libraries alone."""
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


def usual_count() -> int:
    """How many processes where nobody says it: the processors that this process may use, at most MOST_BY_DEFAULT."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MOST_BY_DEFAULT)


def computed(function: Callable[[Any], Any], jobs: Collection[Any], count: int) -> Iterator[Any]:
    """What a function returns for each of the jobs, as they are done in ``count`` child processes.

    An error, Ctrl-C too, cancels what has not begun. Linux ends a child together with the thread that started it, which
    is the one that takes the results. Raises InputError where a child was ended from outside.
    """
    # A fresh interpreter each: forking a process that already runs threads (SimpleITK, torch) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(count, len(jobs)), context, _begin) as pool:
        try:
            for future in as_completed([pool.submit(function, job) for job in jobs]):
                yield future.result()
        except BaseException as error:
            pool.shutdown(cancel_futures=True)
            if not isinstance(error, BrokenProcessPool):
                raise
            raise InputError(
                "A process of this command was ended from outside, perhaps for want of memory. What is done is kept: "
                "run the command again with fewer --processes.",
                "process-died",
            ) from error


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    end_with_parent()


def end_with_parent() -> None:
    """End this process, started by ``multiprocessing``, when the one that started it is gone."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux":  # at once, also in the midst of native code that holds the interpreter
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(sentinel: int) -> None:
    connection.wait([sentinel])  # ready at once where the parent went before we looked
    os._exit(1)


def start_group(command: list[str], **options: Any) -> subprocess.Popen:
    """Start a program as the first process of a group of its own, without a window. options: as of Popen.

    Neither Ctrl-C nor the end of the terminal reaches the group, and ``end_group`` ends all of it. Slicer needs that:
    its PythonSlicer is a launcher, and ending it alone would leave the real process. Raises OSError.
    """
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return subprocess.Popen(command, creationflags=flags, **options)
    return subprocess.Popen(command, start_new_session=True, **options)


def library_environment(*further: ModuleType) -> dict[str, str]:
    """This process's environment, with MAEMCLib, and further packages of ours, on the path of the Python that is
    started with it."""
    packages = [Path(__file__).parents[1], *(Path(package.__file__).parent for package in further)]
    folders = [str(package.resolve().parent) for package in packages]
    path = os.pathsep.join(filter(None, [*folders, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1"}


def how_it_ended(code: int | None) -> str:
    """What is known of the end of a process: the signal's name, or the exit code."""
    try:
        return signal.Signals(-code).name
    except (TypeError, ValueError):
        return f"exit code {code}"


def end_group(process: subprocess.Popen) -> None:
    """End a program that ``start_group`` has started, and every process that it has started, at once."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
