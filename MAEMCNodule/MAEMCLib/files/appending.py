"""Adding a line to a file that several processes write to, and that nobody may ever rewrite.

A line is on the disk whole before ``append_line`` returns, or it raises. What a full disk or a crash left of a line
stays as it is, on a line of its own. Free of torch.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import InputError

_BLOCK = 1 << 16
_LOCKED_BYTE = 0x7FFF0000
"""Of Windows, which locks bytes: one that no line reaches."""


def append_line(path: Path, line_after: Callable[[bytes], bytes], what: str) -> None:
    """Write one line at the end of a file, which is made where it is missing.

    line_after: makes the line, without its end, from the last line that is there (empty of a new file, possibly torn).
    No other process appends in between. what: how the file is called in the message. Raises InputError where the disk
    does not take the line.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(path, flags, 0o600)
        try:
            with _locked(descriptor):
                last, torn = _last_line(descriptor)
                _write(descriptor, b"\n" * torn + line_after(last) + b"\n")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InputError(
            f"{what} {path} could not be written ({error.strerror}), so that nothing was recorded. Free space, correct "
            "the rights or set MAEMC_HOME to a folder that can be written, then do it again.",
            "not-written",
            (path,),
        ) from error


def _last_line(descriptor: int) -> tuple[bytes, bool]:
    """The last line of a file without its end, and whether that end is missing."""
    place = size = os.fstat(descriptor).st_size
    tail = b""
    while place and b"\n" not in tail[:-1]:
        start = max(0, place - _BLOCK)
        os.lseek(descriptor, start, os.SEEK_SET)
        tail, place = os.read(descriptor, place - start) + tail, start
    return tail.removesuffix(b"\n").rpartition(b"\n")[2], bool(size) and not tail.endswith(b"\n")


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
    os.fsync(descriptor)


@contextlib.contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """No other process is in such a block with this file; the system lifts the lock of a process that ends."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # waits ten seconds, then raises OSError
        try:
            yield
        finally:
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
