"""The files of a bundle, a folder or a zip, read within bounds: nothing that a stranger's file says is taken on trust.

Before a byte is unpacked the zip's own list of contents is checked: how long it is, what it declares, how far that
would swell. Whatever goes wrong while a file is read becomes a ModelError, so that one bad bundle stops nothing else.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import UNREADABLE, MAEMCError, ModelError

LARGEST_BUNDLE = 64 << 30
"""Bytes declared by all files together: ten folds of a ViT-L in float32 are 12 GB."""
MOST_FILES = 1000
_LARGEST_LIST = 1 << 20
_RATIO, _SLACK = 20, 4 << 20
"""Weights do not shrink. Beyond some slack for a card, a file that swells more than this holds nothing but zeros."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x06"


@contextlib.contextmanager
def reading(path: Path, message: str, code: str) -> Iterator[None]:
    """Whatever reading raises becomes a ModelError: ``message``, with {reason} for what happened."""
    try:
        yield
    except MAEMCError:
        raise
    except UNREADABLE as error:
        raise ModelError(message.replace("{reason}", _reason(error)), code, [path, path.name]) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip("'\"") or type(error).__name__


def sizes(path: Path) -> dict[str, int]:
    """File name -> bytes declared, of a bundle's folder or zip. Raises ModelError for a zip that is no honest bundle,
    OSError and what zipfile raises for one that cannot be read."""
    found = _folder_sizes(path) if path.is_dir() else _zip_sizes(path)
    if sum(found.values()) > LARGEST_BUNDLE:
        raise _refused(path, f"its files are {sum(found.values()) >> 30} GiB, more than any model")
    return found


@contextlib.contextmanager
def opened(path: Path, name: str) -> Iterator[BinaryIO]:
    """One file's bytes. Raises as ``sizes`` does, KeyError where there is none of the name."""
    if path.is_dir():
        _regular(path / name)
        with (path / name).open("rb") as stream:
            yield stream
    else:
        _zip_sizes(path)
        with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
            yield stream


def _folder_sizes(path: Path) -> dict[str, int]:
    with os.scandir(path) as entries:
        found = list(itertools.islice(entries, MOST_FILES + 1))
    if len(found) > MOST_FILES:
        raise _refused(path, f"it holds more than {MOST_FILES} files")
    return {entry.name: entry.stat().st_size for entry in found if entry.is_file()}


def _regular(path: Path) -> int:
    """A file's size. A pipe or device would keep a reader waiting for ever."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path.name} is no file")
    return found.st_size


def _zip_sizes(path: Path) -> dict[str, int]:
    size = _regular(path)
    if _list_bytes(path, size) > _LARGEST_LIST:
        raise _refused(path, "its list of contents is longer than any model's")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(names) > MOST_FILES:
        raise _refused(path, f"it holds more than {MOST_FILES} files")
    if len({name.lower() for name in names}) < len(names):
        raise _refused(path, "it holds a file twice")
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise _refused(path, "it is encrypted")
    if any(entry.compress_type not in _METHODS for entry in entries):
        raise _refused(path, "it is compressed in a way that bundles are not")
    packed, declared = sum(e.compress_size for e in entries), sum(e.file_size for e in entries)
    swelling = [e for e in entries if e.file_size > _RATIO * e.compress_size + _SLACK]
    if swelling or declared > _RATIO * packed + _SLACK or packed > size:
        raise _refused(path, f"its {size} bytes would swell to {declared}")
    return {entry.filename: entry.file_size for entry in entries if not entry.is_dir()}


def _list_bytes(path: Path, size: int) -> int:
    """The length of a zip's list of contents as its end states it, before zipfile reads all of it into memory."""
    with path.open("rb") as stream:
        stream.seek(max(0, size - (1 << 16) - 128))
        tail = stream.read()
    stated = [0]
    for mark, place, kind in ((_END, 12, "<I"), (_END_64, 40, "<Q")):
        at = tail.find(mark)
        while at >= 0:
            field = tail[at + place : at + place + struct.calcsize(kind)]
            if len(field) == struct.calcsize(kind):
                (value,) = struct.unpack(kind, field)
                # In a zip of over 4 GB the short field may only say that the long one counts.
                stated.append(0 if value == 0xFFFFFFFF and kind == "<I" else value)
            at = tail.find(mark, at + 1)
    return max(stated)


def _refused(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path.name} is no model bundle that is safe to open: {why}. Get the model again.", "archive", [path.name]
    )
