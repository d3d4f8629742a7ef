"""What an importer is and hands back, its tables, and how its identifiers become pseudonyms."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import manifest_record
from MAEMCLib.cases.pseudonyms import key_name, pseudonym
from MAEMCLib.errors import InputError
from MAEMCLib.files import spreadsheet

BENIGN_UP_TO, MALIGNANT_FROM = 2.0, 4.0


@dataclass(frozen=True)
class Skipped:
    """Something that was found and gives no row: its name (a path below the source, an entry of a file), and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass
class Imported:
    """The rows of a manifest with identifiers as the source has them, everything that was skipped, and remarks:
    sentences on how the source was understood, where it can be understood in another way."""

    rows: list[Case] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    _names: set[str] = field(default_factory=set, repr=False, compare=False)

    def add(self, row: Case) -> None:
        """Take a row; one whose case_id was there before is skipped, since a case is named once."""
        if row.case_id in self._names:
            self.skip(row.case_id, "a case of this name was there before; each case is taken once")
        else:
            self._names.add(row.case_id)
            self.rows.append(row)

    def skip(self, name: str, reason: object) -> None:
        """Name something that gives no row, and say why."""
        self.skipped.append(Skipped(name, str(reason)))

    @contextmanager
    def skipping(self, name: str, errors: type[Exception] = InputError) -> Iterator[None]:
        """Skip what is called ``name`` where reading it, within the block, raises one of these errors."""
        try:
            yield
        except errors as error:
            self.skip(name, str(error) or type(error).__name__)

    def extend(self, part: Imported) -> None:
        """Take all that a part of the source gave."""
        for row in part.rows:
            self.add(row)
        self.skipped += part.skipped
        self.remarks += part.remarks


@dataclass(frozen=True)
class Importer:
    """How a data set becomes a manifest.

    read: called with the source, with a folder beside the manifest for what has to be taken out of an archive, and with
    the values of its own options by name. summary, source: what it takes, for the command line's help. options: its
    own options of the command line, each with the arguments of ``add_argument``. needs: the packages of the extra
    ``train`` that it imports.
    """

    read: Callable[..., Imported]
    summary: str
    source: str = "a folder"
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


def label_of_median(median: float) -> int | None:
    """Readers' median rating of malignancy (1 to 5) as a label: up to 2 benign (0), from 4 malignant (1), between them
    none. These are opinions of readers, not diagnoses."""
    if median <= BENIGN_UP_TO:
        return 0
    return 1 if median >= MALIGNANT_FROM else None


def pseudonymized(rows: Iterable[Case], key: bytes) -> list[Case]:
    """The rows with keyed hashes in place of patient_id, case_id and volume_id.

    A patient's pseudonym is the one that caches and jobs use. The column ``pseudonym_key`` names the site's key, so
    that a cache takes it over instead of hashing it again: one patient has one pseudonym at a site, whether a manifest
    was imported or written by hand with the hospital's own number. Nothing else that an importer writes identifies a
    patient, but for the paths of the images: these are the user's own files, and a manifest without them finds nothing.
    """
    made = []
    for row in rows:
        values = dict(row.values)
        if values.get("volume_id"):
            values["volume_id"] = pseudonym("V", values["volume_id"], key)
        case_id, patient_id = pseudonym("C", row.case_id, key), pseudonym("P", row.patient_id, key)
        values["pseudonym_key"] = key_name(key)
        made.append(replace(row, case_id=case_id, patient_id=patient_id, values=values))
    return made


def check_nothing_is_lost(manifest: Path, rows: Iterable[Case]) -> None:
    """Refuse to replace a manifest that holds more than the new rows: points, labels or cases that were added by hand.

    Raises InputError naming the first row that would be lost or changed.
    """
    if not manifest.exists():
        return
    coming = {row.case_id: manifest_record(manifest.absolute(), row) for row in rows}
    for line, record in read_table(manifest)[1]:
        new = coming.get(record.get("case_id", ""), {})
        lost = [name for name, value in record.items() if value and new.get(name, "") != value]
        if lost:
            what = "would be lost" if not new else f"would change ({', '.join(lost[:5])})"
            raise InputError(
                f"{manifest} is there already, and its row {line} {what}. Choose another --output, or add --overwrite.",
                "manifest-there",
            )


def below(path: Path, folder: Path) -> str:
    """A path as the user knows it: relative to the source; the source itself is called by its name."""
    if not path.is_relative_to(folder):
        return str(path)
    return folder.name if path == folder else path.relative_to(folder).as_posix()


def existing_folder(source: Path) -> Path:
    """The absolute path of a folder. Raises InputError where there is none."""
    if not source.is_dir():
        raise InputError(f"There is no folder {source}. Check the path.", "missing-file")
    return source.absolute()


def read_table(path: Path, needed: Sequence[str] = ()) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Columns, and (row as a spreadsheet counts it, values without blanks around) of every row that is not empty.

    Raises InputError: a file that cannot be read as CSV text, is empty, or lacks a column that is needed.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            columns, rows = spreadsheet.read_table(stream, ())
        if damaged := next((row for _, row in rows if isinstance(row, csv.Error)), None):
            raise damaged
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV text ({error}). Save it as CSV in UTF-8.", "unreadable") from (
            error
        )
    if not columns:
        raise InputError(f"{path} is empty.", "manifest-empty")
    if missing := [name for name in needed if name not in columns]:
        plural = "s" * (len(missing) > 1)
        raise InputError(
            f"{path} lacks the column{plural} {', '.join(missing)}. It has {', '.join(columns)}.", "manifest-columns"
        )
    blank = dict.fromkeys(columns, "")
    return columns, [(line, blank | dict(zip(columns, map(str.strip, row), strict=False))) for line, row in rows]
