"""How the commands end: no traceback, one sentence for what went wrong, the same words in each program."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable

from ..errors import MAEMCError
from ..machine.installation import explained

_INTERRUPTED = 130


def run(program: str, command: Callable[[], int | None], verbose: bool) -> int:
    """Run a command; returns its exit code. What went wrong is told in a sentence; only interruptions are raised."""
    try:
        code = command() or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # a disk that is full is noticed here, and not when nobody can say it any more
        return code
    except BrokenPipeError:  # the reader of a pipe, such as head, has closed it
        _forget_output()
        return 0
    except Exception as error:
        if _interrupted(error):
            raise KeyboardInterrupt from error
        if verbose:
            traceback.print_exc()
        known = error if isinstance(error, MAEMCError) else explained(error)
        if known is not None:
            tell(f"{program}: {known}")
        else:
            text = f"this should not have happened ({type(error).__name__}: {error})"
            tell(f"{program}: {text}. Run again with --verbose and report what it prints.")
        if isinstance(error, OSError):
            _forget_output()
        return known.exit_code if known is not None else 1


def _interrupted(error: Exception) -> bool:
    """Whether Ctrl-C is behind the error: a library whose import is broken off may raise anything."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None and getattr(error, "exit_code", 1) != _INTERRUPTED


def tell(text: str) -> None:
    """A line on standard error, where there is one that takes it."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(text, file=sys.stderr, flush=True)


def _forget_output() -> None:
    """What could not be written is not tried again when Python ends, which would print a traceback."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
