"""The volumes that a reduction has done, kept beside its result as they are done, so that the same command goes on
after Ctrl-C or a power cut.

``reduced-partial.jsonl``: the first line is the task (SHA-256 of the manifest, all settings, our version), each further
one what became of a volume. A line counts only under the very same task, only as it was written (it closes with the
SHA-256 of its text and the task), and only while the volume's files have the sizes and times that they had: hashes
would read every CT again. A volume of which nothing could be used has no line; it is tried again.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import MAEMCLib
from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import replacing
from MAEMCLib.files.strict_json import is_count, parse_json
from MAEMCLib.images.files import times_signature

from .result import Reduced
from .selection import Removal, Selected
from .slices import LeftOut, Volume, slice_rows

SCHEMA = 2


class Partial:
    """The file of one run. It is made, or takes the place of one of another task, when the first volume is done.

    path: where it lies. of_another_task: whether what lies there cannot be taken up. done, total: volumes, once
    ``take_up`` was called.
    """

    def __init__(self, output: Path, manifest_sha256: str, settings: Mapping[str, Any]) -> None:
        """output: the manifest that will be written. settings: JSON values; everything that the selection follows from.

        Raises InputError where a file is there and cannot be read.
        """
        output = output.absolute()
        self.path = output.with_name(f"{output.stem}-partial.jsonl")
        self.done = self.total = 0
        task = {"schema": SCHEMA, "software": f"maemc {MAEMCLib.__version__}", "manifest_sha256": manifest_sha256}
        self._task = _line({**task, "settings": dict(settings)})
        self._begun = False
        content = self._read()
        same_task = content.startswith(self._task)
        self.of_another_task = bool(content) and not same_task
        self._lines = content[len(self._task) :].split(b"\n")[:-1] if same_task else []  # the last is empty, or torn

    def take_up(self, volumes: Sequence[Volume]) -> dict[int, Reduced]:
        """{index of the volume: its result} of all volumes that are done already."""
        found: dict[int, Reduced] = {}
        for line in self._lines:
            try:
                record = self._record(line)
                place = record["volume"]
                if not is_count(place):
                    raise ValueError("no place of a volume")
                if place not in found and record["files"] == files_signature(volumes[place]):
                    found[place] = _reduced(volumes[place], record)
            except (ValueError, LookupError, TypeError):  # what a power cut left in the place of a line
                continue
        self.done, self.total = len(found), len(volumes)
        return found

    def add(self, number: int, files: str, reduced: Reduced) -> None:
        """Write the result of a volume. files: its ``files_signature`` before it was read.

        Raises InputError where it cannot be written.
        """
        record = {
            "volume": number,
            "files": files,
            "slices": len(reduced.rows),
            **asdict(reduced.selected),
            "other_kept": reduced.other_kept,
            "left_out": [asdict(item) for item in reduced.left_out],
        }
        try:
            if not self._begun:
                self._begin()
            with open(self.path, "ab") as stream:
                stream.write(_line({**record, "sha256": self._digest(record)}))
        except OSError as error:
            raise InputError(
                f"{self.path.name} could not be written in {self.path.parent} ({error.strerror or error}). Free space "
                "or correct the rights; the same command goes on there.",
                "not-written",
            ) from error
        self.done += 1

    def _digest(self, record: Mapping[str, Any]) -> str:
        """The hash of a line and its task: of two commands that write at once, neither takes the other's lines."""
        return hashlib.sha256(self._task + _line(record)).hexdigest()

    def _record(self, line: bytes) -> dict[str, Any]:
        """Raises ValueError for a line that is not as this task has written it."""
        record = parse_json(line)
        if not isinstance(record, dict) or record.pop("sha256", None) != self._digest(record):
            raise ValueError("changed after it was written, or of another task")
        return record

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise InputError(f"{self.path} cannot be read ({error.strerror}). Remove it.", "unreadable") from error

    def _begin(self) -> None:
        """Create the file, or cut off everything after its last whole line."""
        if self._lines:
            os.truncate(self.path, len(self._task) + sum(len(line) + 1 for line in self._lines))
        else:
            with replacing(self.path) as temporary:
                temporary.write_bytes(self._task)
        self._begun = True


def files_signature(volume: Volume) -> str:
    """A hash of the places, sizes and times of a volume's files."""
    digest = hashlib.sha256()
    for image, series in dict.fromkeys((row.image, row.series) for row in volume.rows):
        try:
            signature = times_signature(image, series)
        except (OSError, InputError):
            signature = "not there"
        digest.update(f"{signature}\n".encode())
    return digest.hexdigest()


def _reduced(volume: Volume, record: Mapping[str, Any]) -> Reduced:
    """Raises ValueError or TypeError for the record of another volume."""
    left_out = tuple(LeftOut(**item) for item in record["left_out"])
    removed = tuple(Removal(**item) for item in record["removed"])
    gone, count = {item.case_id for item in left_out}, record["slices"]
    rows = slice_rows(volume, count) if volume.is_ct else [row for row in volume.rows if row.case_id not in gone]
    places = sorted([*record["kept"], *(removal.place for removal in removed)])
    if len(rows) != count or places != list(range(count)):
        raise ValueError("of another volume")
    return Reduced(volume, tuple(rows), Selected(tuple(record["kept"]), removed), record["other_kept"], left_out)


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"
