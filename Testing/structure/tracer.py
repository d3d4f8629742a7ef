"""A journey: the files of ours that a run enters, in the order in which calls from one file into another begin.

* A call counts where its nearest caller of ours lies in another file, or is none at all (the run's start, an event of
  the window, a new thread). No steps are calls inside a file, returns from a call, attributes that are read, by a
  library of others too (though a property may compute them), and what modules and classes do while they are imported.
* The same call (calling file, called file, called function) counts once, so that a loop over steps or slices is walked
  once.
* Equal neighbors are one stay. *Stays* are the length of the journey, *rooms* its different files, *returns* its stays
  in a file that was left before: stays less rooms. A walk that only goes forward has none.
* What other threads do follows what the main thread does, as one walk, so that the order does not depend on who was
  faster. Child processes are not followed.
"""

from __future__ import annotations

import dis
import inspect
import itertools
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any


class Tracer:
    """Follows the calls among the files below some folders, and counts what is asked for while it does.

    folders: those of our packages. counted: names of functions, whose every call is counted. watched: files, whose
    every opening for reading is counted.
    """

    def __init__(self, folders: Iterable[Path], counted: Iterable[str] = (), watched: Iterable[Path] = ()) -> None:
        self._folders = [folder.resolve() for folder in folders]
        self._counted, self._watched = set(counted), {os.path.realpath(path): path.name for path in watched}
        self._names: dict[str, str] = {}
        self._main, self._others = _Walk(), _Walk()
        self._active = False
        self.calls: Counter[str] = Counter()
        self.openings: Counter[str] = Counter()

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow what happens in the block, in threads that begin in it too."""
        sys.addaudithook(self._hear)  # cannot be taken away again; deaf after the block
        self._active = True
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
            self._active = False

    @property
    def route(self) -> list[str]:
        """The files of the journey, as "package/folder/file.py"."""
        return [file for file, _ in itertools.groupby([*self._main.files, *self._others.files])]

    def figures(self) -> dict[str, Any]:
        """Everything that was counted."""
        route = self.route
        rooms = len(set(route))
        return {
            "stays": len(route),
            "rooms": rooms,
            "returns": len(route) - rooms,
            "calls": {name: self.calls[name] for name in sorted(self._counted)},
            "openings": {name: self.openings[name] for name in sorted(self._watched.values())},
            "route": route,
        }

    def _profile(self, frame: FrameType, event: str, _argument: object) -> None:
        if event != "call" or not self._active:
            return
        code = frame.f_code
        file = self._name_of(code)
        if not file or _is_body(code):
            return
        if code.co_name in self._counted:
            self.calls[code.co_name] += 1
        caller = frame.f_back
        while caller is not None and not self._name_of(caller.f_code):
            caller = caller.f_back
        call = (self._name_of(caller.f_code) if caller is not None else "", file, code.co_qualname)
        walk = self._main if threading.current_thread() is threading.main_thread() else self._others
        new = call[0] != file and call not in walk.calls
        reads = frame.f_back is not None and _reads_attribute(frame.f_back)
        if new and not (caller is not None and (reads or _reads_attribute(caller) or self._is_import(caller))):
            walk.calls.add(call)
            walk.files.append(file)

    def _is_import(self, caller: FrameType) -> bool:
        """Whether a module or a class of ours is being made, and a call is on its behalf."""
        frame: FrameType | None = caller
        while frame is not None and not (_is_body(frame.f_code) and self._name_of(frame.f_code)):
            frame = frame.f_back
        return frame is not None

    def _hear(self, event: str, arguments: tuple) -> None:
        if event != "open" or not self._active:
            return
        path, mode, flags = arguments
        reads = "r" in mode if isinstance(mode, str) else not flags & (os.O_WRONLY | os.O_RDWR)
        if reads and isinstance(path, str | os.PathLike):
            name = self._watched.get(os.path.realpath(path))
            if name:
                self.openings[name] += 1

    def _name_of(self, code: CodeType) -> str:
        """A file of ours below the folder of its package's folder; empty for another's."""
        path = code.co_filename
        if path not in self._names:
            file = Path(path).resolve()
            inside = [folder for folder in self._folders if file.is_relative_to(folder)]
            self._names[path] = file.relative_to(inside[0].parent).as_posix() if inside else ""
        return self._names[path]


@dataclass
class _Walk:
    """The files that are entered, and the calls (calling file, called file, called function) that entered them."""

    files: list[str] = field(default_factory=list)
    calls: set[tuple[str, str, str]] = field(default_factory=set)


def _is_body(code: CodeType) -> bool:
    """Whether it is what a module or a class does when it is made, and no function."""
    return not code.co_flags & inspect.CO_OPTIMIZED


def _reads_attribute(frame: FrameType) -> bool:
    """Whether the instruction that a frame is at is the reading of an attribute, also of one that is then called."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] in ("LOAD_ATTR", "LOAD_METHOD")
