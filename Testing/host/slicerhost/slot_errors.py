"""Exceptions that Qt would swallow: collected here, so that a test can fail on them.

In Slicer an exception in a slot is printed on the console and the program goes on. A test must not miss it.
"""

import sys
import traceback

_collected: list[BaseException] = []


def collect(error: BaseException) -> None:
    """Remember an exception that no caller will see, and print it as Slicer's console would."""
    _collected.append(error)
    traceback.print_exception(error, file=sys.stderr)


def take() -> list[BaseException]:
    """Return the exceptions collected since the last call, and forget them."""
    taken = list(_collected)
    _collected.clear()
    return taken


def install_hook() -> None:
    """Also collect what PySide6 reports through ``sys.excepthook``: exceptions in overridden virtual methods."""
    previous = sys.excepthook

    def hook(kind, error, trace):
        if isinstance(error, KeyboardInterrupt):
            previous(kind, error, trace)
        else:
            collect(error)

    sys.excepthook = hook
