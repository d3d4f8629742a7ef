"""Ctrl-C and SIGTERM as one exception wherever a command is, the loading of its libraries included."""

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator


class Terminated(KeyboardInterrupt):
    """SIGTERM: the command ends as after Ctrl-C, with what it has written in order."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within the block SIGTERM raises ``Terminated``, and an interruption that Python would drop comes again: in a
    destructor or a callback of the garbage collector it can only be printed there, as a traceback."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, hook = signal.signal(signal.SIGTERM, _terminate), sys.unraisablehook

    def again(dropped) -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            number = signal.SIGTERM if isinstance(dropped.exc_value, Terminated) else signal.SIGINT
            threading.Timer(0.02, _send, (number,)).start()
        else:
            hook(dropped)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before)


def _send(number: int) -> None:
    if hasattr(signal, "pthread_kill"):  # wakes the main thread from a system call too
        signal.pthread_kill(threading.main_thread().ident, number)
    else:
        _thread.interrupt_main(number)


def _terminate(number: int, frame: object) -> None:
    raise Terminated
