"""Reading images in a child process, so that a file that makes a native reader crash costs that file and nothing else.

Free of torch. The child answers one JSON line a request, followed by the voxels or pixels; it ends when its stdin does,
hence with its owner, however that one ends.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .. import errors
from ..errors import InputError, MAEMCError, input_error
from ..machine.child_processes import end_group, how_it_ended, library_environment, start_group
from .ct import CTVolume, ReadingRemark
from .examination import Examination
from .files import read_volume
from .gray import read_gray

LONGEST_READ_S = 900.0
"""No CT takes a quarter of an hour, on a slow network share neither; a reader that does is stuck."""
_PROGRAM = "from MAEMCLib.images.reading_process import main; main()"


class ReadingProcess(contextlib.AbstractContextManager):
    """Reads images one after the other in one child process, started at the first and again after it died.

    ``with ReadingProcess() as reader: volume = reader.read(path)``. For one thread at a time.
    nifti_form: of every file that ``volume`` and ``further`` read. notice: takes what reading noticed of a file.
    """

    def __init__(self, nifti_form: str | None = None, notice: Callable[[str], None] | None = None) -> None:
        self._process: subprocess.Popen | None = None
        self._nifti_form, self._notice = nifti_form, notice
        self._source: tuple[Path, str | None] | None = None
        self._last: CTVolume | Exception | None = None
        self.further = lru_cache(maxsize=1)(lambda path: self.read(path, None, nifti_form))

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def read(self, path: str | Path, series_uid: str | None = None, nifti_form: str | None = None) -> CTVolume:
        """``files.read_volume`` in the child. Raises what it raises; InputError for every other failure of reading too,
        with the code reader-died where the child crashed, and reader-hung where it took longer than LONGEST_READ_S."""
        return self._ask({"path": str(path), "series_uid": series_uid, "nifti_form": nifti_form})

    def read_gray(self, path: str | Path) -> np.ndarray:
        """``gray.read_gray`` in the child; raises as ``read`` does."""
        return self._ask({"path": str(path), "gray": True})

    def volume(self, path: Path, series_uid: str | None) -> CTVolume:
        """As ``read``. The last volume, or why it cannot be read, is kept, as ``further`` keeps the last further series
        of a patient: the nodules and slices of one volume come after each other."""
        if self._source != (path, series_uid):
            self._source, self._last = (path, series_uid), None  # two volumes at once may be too large
            try:
                self._last = self.read(path, series_uid, self._nifti_form)
            except Exception as error:
                self._last = error
            else:
                for remark in self._last.remarks:
                    if remark.where and self._notice is not None:
                        self._notice(f"{remark.where}: {remark.message}")
        if isinstance(self._last, Exception):
            raise self._last
        return self._last

    def _ask(self, request: dict) -> CTVolume | np.ndarray:
        path = request["path"]
        used = self.pid is not None
        if not used:
            self._start()
        process, name = self._process, Path(path).name
        private = (path, name)
        hung = threading.Event()
        watch = threading.Timer(LONGEST_READ_S, lambda: (hung.set(), end_group(process)))
        watch.daemon = True
        watch.start()
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            return _received(process.stdout)
        except (EOFError, OSError) as error:
            self.close()
            if hung.is_set():
                minutes = LONGEST_READ_S / 60
                raise InputError(
                    f"Reading {name} had not ended after {minutes:g} minutes and was stopped. Check that its disk can "
                    "be read, and convert it again.",
                    "reader-hung",
                    private,
                ) from error
            if used:  # it may have ended for another reason, before this file: a fresh one tells
                return self._ask(request)
            raise InputError(
                f"{name} made the reader crash ({how_it_ended(process.returncode)}). It is damaged, or too large for "
                "this computer's memory; copy or convert it again.",
                "reader-died",
                private,
            ) from error
        except MAEMCError as error:
            raise error.hide(path) from error.__cause__
        except BaseException:  # Ctrl-C: the rest of an answer must not become the next one's
            self.close()
            raise
        finally:
            watch.cancel()

    def close(self) -> None:
        """End the child; a later read starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        end_group(process)
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what it did not take any more
                stream.close()

    def _start(self) -> None:
        self.close()
        try:
            self._process = start_group(
                [sys.executable, "-P", "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # C++ warnings with source lines and paths; what they mean, the answers say
                env=library_environment(),
            )
        except OSError as error:
            raise InputError(
                f"The process that reads volumes cannot be started ({error.strerror}). Close other programs.",
                "reader-start",
            ) from error


def main() -> None:
    """The child: answer requests until stdin ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what libraries print must break no answer
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    while True:
        _answer(json.loads(requests.get()), answers)


def _listen(requests: queue.SimpleQueue) -> None:
    for line in sys.stdin.buffer:
        requests.put(line)
    os._exit(0)  # the owner is gone, also where the main thread is in the midst of a file


def _answer(request: dict, answers: BinaryIO) -> None:
    path, array = Path(request["path"]), np.empty(0)
    try:
        if "gray" in request:
            array, header = read_gray(path), {}
        else:
            volume = read_volume(path, request["series_uid"], request["nifti_form"])
            array, header = volume.array, {"affine": volume.affine.tolist(), "name": volume.name}
            header["remarks"] = [vars(remark) for remark in volume.remarks]
            header["absent"] = [int(k) for k in volume.absent]
            header["examination"] = vars(volume.examination)
    except Exception as error:
        error = input_error(error, f"{path.name} cannot be read")
        header = {"error": type(error).__name__, "arguments": (str(error), error.code, error.private)}
    array = np.ascontiguousarray(array)
    header |= {"dtype": array.dtype.str, "shape": array.shape}
    answers.write(json.dumps(header).encode() + b"\n")
    answers.write(array.reshape(-1).view(np.uint8))
    answers.flush()


def _received(answers: BinaryIO) -> CTVolume | np.ndarray:
    """The next answer. Raises the error that it holds, EOFError where it ends early."""
    line = answers.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    header = json.loads(line)
    if "error" in header:
        raise getattr(errors, header["error"])(*header["arguments"])
    array = np.empty(header["shape"], header["dtype"])
    if answers.readinto(array.reshape(-1).view(np.uint8)) < array.nbytes:
        raise EOFError
    if "affine" not in header:
        return array
    remarks = tuple(ReadingRemark(**remark) for remark in header["remarks"])
    examination = Examination(**header["examination"])
    return CTVolume(array, np.array(header["affine"]), header["name"], remarks, tuple(header["absent"]), examination)
