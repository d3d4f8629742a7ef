"""Opening files that somebody named: a pipe or a device, at which reading could wait forever, is refused."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading in binary. Raises InputError for a folder, pipe or device, OSError as ``open`` does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except ValueError as error:  # a NUL in its name
        raise FileNotFoundError(2, "No such file or directory") from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    what = "folder" if stat.S_ISDIR(mode) else "pipe, socket or device"
    raise InputError(f"{path.name} is a {what} and no file. Give a file.", "unreadable")
