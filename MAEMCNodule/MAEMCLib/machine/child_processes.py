"""Child processes that compute beside this one and never outlive it, however it ends: kill -9 and a full memory too."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection

MOST_BY_DEFAULT = 8
"""Processes where nobody says how many: each one takes 150 MB for its libraries alone."""
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


def usual_count() -> int:
    """How many processes where nobody says it: the processors that this process may use, at most MOST_BY_DEFAULT."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MOST_BY_DEFAULT)


@contextlib.contextmanager
def child_processes(
    count: int, initializer: Callable[..., None] | None = None, arguments: tuple = ()
) -> Iterator[ProcessPoolExecutor]:
    """A pool of ``count`` child processes; each first calls ``initializer(*arguments)``.

    An error in the block, Ctrl-C too, cancels what has not begun. Submit from the thread that entered the block: Linux
    ends a child together with the thread that started it.
    """
    # A fresh interpreter each: forking a process that already runs threads (SimpleITK, torch) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, _begin, (initializer, arguments)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _begin(initializer: Callable[..., None] | None, arguments: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    end_with_parent()
    if initializer is not None:
        initializer(*arguments)


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
