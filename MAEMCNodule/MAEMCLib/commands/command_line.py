"""How the commands speak and end: no traceback, one sentence for what went wrong, the same words in each program.

The libraries' modules write to loggers under ``maemc``; only a program shows what they say, on standard error. What a
command was asked for goes to standard output.
"""

import contextlib
import logging
import os
import platform
import sys
from argparse import Namespace
from collections.abc import Iterator

from .. import __version__
from ..errors import MAEMCError
from ..machine.installation import check_packages, check_torch, explained

_INTERRUPTED = 130
_log = logging.getLogger("maemc")


def run(program: str, options: Namespace, anonymous: bool = False) -> int:
    """Run the command that was typed; returns its exit code. What went wrong is told in a sentence; only interruptions
    are raised.

    options: ``run`` gets them, once ``needs`` is there, packages by the names that they are imported by. ``verbose``:
    messages of all levels, and where an error came from. ``quiet``: warnings and errors only. anonymous: what is told
    names nobody.
    """
    with _console(logging.DEBUG if options.verbose else logging.WARNING if options.quiet else logging.INFO):
        _log.debug("%s %s, Python %s, %s", program, __version__, platform.python_version(), platform.platform())
        return _run(program, options, anonymous)


@contextlib.contextmanager
def _console(level: int) -> Iterator[None]:
    """Within the block the loggers' messages appear on standard error; a command inside another has its own level."""
    before = _log.handlers, _log.level, _log.propagate
    # A handler of the root logger, which an imported library may have made, would show each message again.
    _log.handlers, _log.propagate = [logging.StreamHandler()], False
    _log.setLevel(level)
    try:
        yield
    finally:
        _log.handlers, _, _log.propagate = before
        _log.setLevel(before[1])


def _run(program: str, options: Namespace, anonymous: bool) -> int:
    try:
        _check_needs(options.needs)
        code = options.run(options) or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # a disk that is full is noticed here, and not when nobody can say it any more
        return code
    except BrokenPipeError:  # the reader of a pipe, such as head, has closed it
        _forget_output()
        return 0
    except Exception as error:
        if _interrupted(error):
            raise KeyboardInterrupt from error
        if not anonymous:
            _log.debug("Where the error came from:", exc_info=True)
        known = error if isinstance(error, MAEMCError) else explained(error)
        if known is not None:
            _log.error("%s: %s", program, known.anonymous if anonymous else known)
        else:
            text = f"this should not have happened ({type(error).__name__}: {error})"
            _log.error("%s: %s. Run again with --verbose and report what it prints.", program, text)
        if isinstance(error, OSError):
            _forget_output()
        return known.exit_code if known is not None else 1


def _check_needs(needs: tuple[str, ...]) -> None:
    if needs:
        check_packages(*(name for name in needs if name not in ("torch", "timm")))
        if "torch" in needs:
            check_torch()
        check_packages(*(name for name in needs if name == "timm"))  # it imports torch


def _interrupted(error: Exception) -> bool:
    """Whether Ctrl-C is behind the error: a library whose import is broken off may raise anything."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None and getattr(error, "exit_code", 1) != _INTERRUPTED


def _forget_output() -> None:
    """What could not be written is not tried again when Python ends, which would print a traceback."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
