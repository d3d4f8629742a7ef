"""Asking a run to stop: it finishes its step, saves, and can be continued."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from MAEMCLib.errors import InputError, MAEMCError

STOP_FILE = "stop"


class Interrupted(MAEMCError):
    """Asked to stop: the step was finished and the state saved."""

    exit_code = 130
    code = "interrupted"


@dataclass
class StopRequest:
    """Whether somebody asked the run to stop: Ctrl-C, SIGTERM (a second one ends it at once) or ``request_stop``."""

    folder: Path | None = None
    signaled: bool = False

    @property
    def asked(self) -> bool:
        """Looked at after every step; the file costs microseconds."""
        return self.signaled or (self.folder is not None and os.path.exists(self.folder / STOP_FILE))

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Listen to the signals inside the block."""

        def ask(number: int, frame: FrameType | None) -> None:
            if self.signaled:
                raise KeyboardInterrupt
            self.signaled = True
            print("\nStopping after this step; press Ctrl-C again to stop without saving.", file=sys.stderr)

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def request_stop(folder: Path) -> None:
    """Ask a running job to finish its step, save and stop, from any process or machine that sees its folder.

    Raises InputError where the folder cannot be written.
    """
    try:
        (folder / STOP_FILE).touch()
    except OSError as error:
        raise InputError(
            f"{folder} cannot be told to stop ({error.strerror}). Correct its rights, or end the process that "
            "maemc-train jobs show names.",
            "not-written",
        ) from error


def forget_stop(folder: Path) -> None:
    """Take a request back, or note that it was obeyed."""
    with contextlib.suppress(OSError):
        (folder / STOP_FILE).unlink()
