"""A cache of cases: what training asks for, cut once from the images of a manifest.

A cache is a folder: ``index.json``, sealed, and one ``.npy`` file a case, as its kind cut it. Patients and cases are
pseudonyms from here on, and no path, name or free text of the manifest is kept (``columns``). Once it is built it
stands alone, and the images may lie elsewhere.

``build_store`` builds it or brings it up to date: a case is cut that is not there already, or whose source changed.
The contents of all files that a case is cut from are compared each time, by hash. A case that cannot be cut is left out
with its reason and the others go on; what is done stays when the run is interrupted, and so does what an earlier run
did.
"""

import contextlib
import functools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.cases.pseudonyms import key_name, pseudonym_key
from MAEMCLib.errors import UNREADABLE, InputError, input_error
from MAEMCLib.files.atomic import file_sha256, make_folder, read_json, replacing, sealed, unsealed, write_json
from MAEMCLib.images.files import content_signature
from MAEMCLib.images.reading_process import ReadingProcess
from MAEMCLib.machine.child_processes import computed, usual_count

from .cases import SourceCase, StoredCase
from .columns import kept_values
from .kinds import KINDS
from .kinds.kind import Cut, Kind

SCHEMA = 3


@dataclass(frozen=True)
class Store:
    """An opened cache: its folder, kind and settings, and its cases in the manifest's order.

    left_out: case_id, row, code and reason of each row that could not be cut. The run that builds the cache knows the
    user's own case_id and the reasons in full; what is stored is the row and the code. key: name of the pseudonyms'
    key. path: what the user gave, a manifest or the cache.
    """

    folder: Path
    kind: Kind
    settings: Any
    cases: tuple[StoredCase, ...]
    left_out: tuple[dict[str, Any], ...]
    key: str
    path: Path

    def array(self, case: StoredCase) -> np.ndarray:
        """What is stored of a case, mapped and not read. Raises InputError where the file is unusable."""
        try:
            return np.load(self.folder / case.file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _damaged(self.folder, case) from error


def is_cache(path: Path) -> bool:
    """Whether a path is a cache's folder."""
    return path.is_dir() and (path / "index.json").is_file()


def open_store(folder: Path, verify: bool = True, whole: bool = True) -> Store:
    """Open a cache and, by default, compare every file with its SHA-256. whole: refuse one that is not complete.

    Raises InputError: no cache, another schema, one that was not built to its end, a file that is missing or changed.
    """
    index = read_json(folder / "index.json", "The cache's index")
    if not isinstance(index, dict) or index.get("schema") != SCHEMA:
        raise InputError(
            f"{folder} is no cache of this version (schema {SCHEMA}): earlier ones kept fewer columns. Build it again "
            "from its manifest: maemc-train cache, or the command that built it.",
            "cache-schema",
            [folder],
        )
    try:
        index = unsealed(index)
        kind = KINDS[index["input"]]
        cases = tuple(StoredCase(**values | {"facts": kind.facts(values["facts"])}) for values in index["cases"])
        left_out = tuple(_stored_reason(values) for values in index["left_out"])
        store = Store(folder, kind, kind.Settings(**index["settings"]), cases, left_out, index["pseudonym_key"], folder)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The index of the cache {folder} is damaged ({error}). Run maemc-train cache again.", "cache", [folder]
        ) from error
    if whole and not index.get("complete", True):
        raise InputError(
            f"The cache {folder} was interrupted before all its cases were cut. Run maemc-train cache again; it goes "
            "on where it stopped.",
            "cache-incomplete",
        )
    for case in cases if verify else ():
        path = folder / case.file
        if not path.is_file() or file_sha256(path) != case.file_sha256:
            raise _damaged(folder, case)
    return store


def _stored_reason(values: Mapping[str, Any]) -> dict[str, Any]:
    reason = f"{values['code']} (maemc-train cache says it in full)"
    return {"case_id": f"row {values['row']}", "row": values["row"], "code": values["code"], "reason": reason}


def _damaged(folder: Path, case: StoredCase) -> InputError:
    return InputError(
        f"The cache {folder} is damaged: the file of case {case.where} is missing or not what the index says. "
        "Run maemc-train cache again; it mends what is broken.",
        "cache-damaged",
        [folder],
    )


_log = logging.getLogger("maemc.cache")
SAVE_SECONDS = 5
_OF_OTHER_VERSIONS = ("pixels.bin", "masks.bin", "pixels.npy")
Reason = dict[str, Any]


Group = list[tuple[SourceCase, dict[str, Any], StoredCase | None]]
"""Cases that are read together, each with what the manifest says of it and its entry of an earlier run."""


@dataclass
class _Done:
    """What became of a group. remarks: (row of the manifest, message) of what makes an image doubtful."""

    rows: int
    entries: list[StoredCase] = field(default_factory=list)
    left_out: list[Reason] = field(default_factory=list)
    remarks: list[tuple[int, str]] = field(default_factory=list)


def build_store(
    kind: Kind,
    cases: Sequence[SourceCase],
    folder: Path,
    home: Path,
    settings: Any = None,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    path: Path | None = None,
) -> Store:
    """Build a cache or bring it up to date. settings: the kind's; None: its usual ones. path: the manifest.

    progress is told how many rows are done. Raises InputError: no case at all could be cut, the folder
    cannot be written or the disk is full.
    """
    building = _Building(kind, settings or kind.Settings(), folder, pseudonym_key(home), cases)
    try:
        done, saved = 0, time.monotonic()
        for rows in building.run(processes):
            done += rows
            if progress is not None:
                progress(done, sum(len(case.rows) for case in cases))
            if time.monotonic() - saved > SAVE_SECONDS:
                building.save(complete=False)
                saved = time.monotonic()
    except BaseException:
        building.save(complete=False)
        raise
    return building.finished(path or folder)


class _Building:
    """What a run knows of its cases: the entries by pseudonym, and the reasons of the rows that are left out."""

    def __init__(self, kind: Kind, settings: Any, folder: Path, key: bytes, cases: Sequence[SourceCase]) -> None:
        self.kind, self.settings, self.folder = kind, settings, folder
        self.key, self.key_name = key, key_name(key)
        self.cases = [(case, case.facts(key)) for case in cases]
        make_folder(folder, "cache folder")
        self.earlier = _earlier_entries(kind, settings, folder)
        self.entries: dict[str, StoredCase] = {}
        self.left_out: dict[int, Reason] = {}
        self.remarks: list[tuple[int, str]] = []

    def run(self, processes: int | None) -> Iterator[int]:
        """Cut all cases; yields the number of rows of each group that is done."""
        groups: dict[Hashable, Group] = {}
        for case, facts in self.cases:
            groups.setdefault(self.kind.group(case), []).append((case, facts, self.earlier.get(facts["case_id"])))
        cut = functools.partial(_cut_group, self.kind, self.settings, self.folder)
        for done in _cut_all(cut, list(groups.values()), processes, self.kind.worth_a_pool):
            self.entries |= {entry.case_id: entry for entry in done.entries}
            self.left_out |= {reason["row"]: reason for reason in done.left_out}
            self.remarks += done.remarks
            yield done.rows

    def save(self, complete: bool) -> list[StoredCase]:
        """Write the index, with what the manifest says now: a changed label needs no new cut. Of cases that this run
        has not come to, the entry of an earlier run stays and is checked when a run comes to them."""
        entries = []
        for _, facts in self.cases:
            name, not_reached = facts["case_id"], not complete and facts["row"] not in self.left_out
            entry = self.entries.get(name) or (self.earlier.get(name) if not_reached else None)
            if entry is not None:
                entries.append(replace(entry, **facts))
        values = kept_values([entry.values for entry in entries], self.key)
        index = {
            "schema": SCHEMA,
            "input": self.kind.name,
            "complete": complete,
            "settings": asdict(self.settings),
            "pseudonym_key": self.key_name,
            "cases": [asdict(replace(entry, values=kept)) for entry, kept in zip(entries, values, strict=True)],
            "left_out": [{"row": row, "code": reason["code"]} for row, reason in sorted(self.left_out.items())],
        }
        write_json(self.folder / "index.json", sealed(index))
        return entries

    def finished(self, path: Path) -> Store:
        """The whole cache. Raises InputError where it holds nothing."""
        entries = self.save(complete=True)
        reasons = [reason for _, reason in sorted(self.left_out.items())]
        if not entries:
            first = reasons[0] if reasons else {"reason": "the manifest names none", "private": ()}
            raise InputError(
                f"None of the {len(self.cases)} cases could be cached. The first: {first['reason']}",
                "no-cases",
                first["private"],
            )
        _remove_strays(self.folder, {entry.file for entry in entries})
        rows: dict[str, list[int]] = defaultdict(list)
        for row, message in sorted(set(self.remarks)):
            rows[message].append(row)
        for message, numbers in rows.items():
            _log.warning("row%s %s: %s", "s" * (len(numbers) > 1), ", ".join(map(str, numbers)), message)
        return Store(self.folder, self.kind, self.settings, tuple(entries), tuple(reasons), self.key_name, path)


def _earlier_entries(kind: Kind, settings: Any, folder: Path) -> dict[str, StoredCase]:
    """What an earlier run left, by pseudonym; nothing where its index cannot be read or is of other settings."""
    if not is_cache(folder):
        return {}
    try:
        store = open_store(folder, verify=False, whole=False)
    except InputError:
        return {}
    return {case.case_id: case for case in store.cases} if (store.kind, store.settings) == (kind, settings) else {}


def _remove_strays(folder: Path, files: set[str]) -> None:
    """Files of cases that are gone, of runs that were killed and of earlier versions."""
    others = [folder / name for name in _OF_OTHER_VERSIONS]
    for path in [*folder.glob("*.npy"), *folder.glob(".*.npy.*.part"), *others]:
        if path.name not in files:
            with contextlib.suppress(OSError):
                path.unlink()


def _cut_all(
    cut: Callable[..., _Done], groups: list[Group], processes: int | None, worth_a_pool: int
) -> Iterator[_Done]:
    processes = min(processes or usual_count(), len(groups))
    if processes > 1 and len(groups) >= worth_a_pool:
        yield from computed(cut, groups, processes)
        return
    with ReadingProcess() as reader:
        for group in groups:
            yield cut(group, reader)


_own_reader = functools.cache(ReadingProcess)
"""The one reading process of a child process, with which it ends."""


def _cut_group(kind: Kind, settings: Any, folder: Path, group: Group, reader: ReadingProcess | None = None) -> _Done:
    """Cut the cases of a group that changed. reader: without one, that of this child process."""
    done, changed = _Done(sum(len(case.rows) for case, _, _ in group)), []
    content = functools.cache(content_signature)
    for case, facts, earlier in group:
        try:
            source = kind.signature(case, content)
        except UNREADABLE as error:
            done.left_out += _reasons(case, error)
            continue
        if earlier is not None and _unchanged(earlier, source, folder):
            done.entries.append(earlier)
        else:
            changed.append((case, facts, source))
    if not changed:
        return done
    try:
        shared = kind.read(changed[0][0], reader or _own_reader())
    except UNREADABLE as error:
        done.left_out += [reason for case, _, _ in changed for reason in _reasons(case, error)]
        return done
    for case, facts, source in changed:
        try:
            cut = kind.cut(shared, case, settings)
            done.left_out += [_reason(*item) for item in cut.left_out]
            done.remarks += [(number, remark.message) for number, remark in cut.remarks if remark.amber]
            if cut.array is not None:
                done.entries.append(_write(cut, source, facts, folder))
        except UNREADABLE as error:
            if getattr(error, "code", "") == "not-written":  # a full disk is no fault of this case
                raise
            done.left_out += _reasons(case, error)
    return done


def _unchanged(entry: StoredCase, source: str, folder: Path) -> bool:
    path = folder / entry.file
    return entry.source == source and path.is_file() and file_sha256(path) == entry.file_sha256


def _write(cut: Cut, source: str, facts: dict[str, Any], folder: Path) -> StoredCase:
    path = folder / f"{facts['case_id']}.npy"
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, cut.array, allow_pickle=False)
    digest = file_sha256(path)
    return StoredCase(
        file=path.name,
        sha256=cut.sha256 or digest,
        file_sha256=digest,
        source="" if cut.left_out else source,  # what could not be read is tried again
        facts=cut.facts,
        **facts,
    )


def _reasons(case: SourceCase, error: Exception) -> list[Reason]:
    return [_reason(row, number, error) for row, number in zip(case.rows, case.numbers, strict=True)]


def _reason(row: Any, number: int, error: Exception) -> Reason:
    """Why a row is left out, and what of the reason is private."""
    error = input_error(error, "The image cannot be used")
    return {"case_id": row.case_id, "row": number, "code": error.code, "reason": str(error), "private": error.private}
