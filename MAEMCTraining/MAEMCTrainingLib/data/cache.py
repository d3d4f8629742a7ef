"""The ROI cache: every case's two stacks with the margin that augmentation needs, cut from its CT once.

A cache is a folder: ``index.json`` and one ``.npy`` file a case, int16 HU of shape (2, 35, 60, 60), axial then coronal
with the axes of ``NoduleROI``; the central 25 x 50 x 50 samples are the region that scoring cuts. Samples outside the
volume hold ``PADDING``. Patients and cases are pseudonyms from here on, and no path, name or text of the manifest is
kept: of its columns ``split``, and of others only which cases share a value. Once it is built it stands alone: whatever
training asks for comes out of it, and the CT may lie elsewhere. Only a manifest tells where the CT is, so building
again from the manifest is what finds a source that has changed: the contents of all its files are compared each time,
by hash.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.errors import UNREADABLE, InputError, MAEMCError
from MAEMCLib.files.atomic import file_sha256, read_json, replacing, sealed, unsealed, write_json
from MAEMCLib.images.ct import check_ct
from MAEMCLib.images.reading_process import ReadingProcess
from MAEMCLib.inputs.region import SIDE, SLICES, axial_grid, coronal_grid, cut_roi, sample_stack
from MAEMCLib.machine.child_processes import child_processes, usual_count

from .augmentation import MARGIN, PADDING
from .parts import as_kept
from .pseudonyms import case_pseudonym, key_name, patient_pseudonym, pseudonym_key
from .source_files import content_signature

SCHEMA = 2
PIXELS = ("pixels.bin", "pixels.npy")
"""Files that only a cache of pictures has, of this version and of the one before."""
SHAPE = (2, SLICES + 2 * MARGIN, SIDE + 2 * MARGIN, SIDE + 2 * MARGIN)


@dataclass(frozen=True)
class SourceCase:
    """One nodule to cache: the image (file or DICOM folder) and the point in LPS mm; label 0, 1 or None.

    pseudonym_key: the name of the key that made patient_id and case_id, where an importer has made them pseudonyms
    already. row: of the manifest, counted as in a spreadsheet whose first row is the header. part, groups: of
    ``parts_of`` and ``groups_of``.
    """

    case_id: str
    patient_id: str
    image: Path
    point_lps: tuple[float, float, float]
    label: int | None = None
    diameter_mm: float | None = None
    series_uid: str | None = None
    pseudonym_key: str | None = None
    row: int = 0
    part: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)

    def name(self, key: bytes) -> str:
        """The case's pseudonym."""
        return case_pseudonym(self.case_id, self.pseudonym_key, key)


@dataclass(frozen=True)
class CachedCase:
    """One entry of the index; padded_fraction is that of the un-shifted region, margin_padded of the whole file.

    case_id, patient: pseudonyms. row, part: as a ``SourceCase`` has them. groups: which
    cases share a value, of ``as_kept``.
    """

    case_id: str
    patient: str
    row: int
    part: str | None
    groups: dict[str, str]
    label: int | None
    diameter_mm: float | None
    file: str
    sha256: str
    padded_fraction: float
    margin_padded: float
    point_lps: tuple[float, float, float]
    source: str  # sha256 of the contents of its files

    @property
    def where(self) -> str:
        """How a message names the case."""
        return f"{self.case_id} (row {self.row} of its manifest)"


@dataclass(frozen=True)
class ROICache:
    """An opened cache: its folder, settings and cases in the manifest's order.

    left_out: case_id, row, code and reason of each case that could not be cut. The run that builds the cache knows the
    user's own case_id and the reasons in full; what is stored is the row and the code.
    """

    folder: Path
    settings: dict[str, Any]
    cases: tuple[CachedCase, ...]
    left_out: tuple[dict[str, Any], ...]
    key: str  # name of the pseudonyms' key

    @property
    def slice_step_mm(self) -> int:
        """Distance between slices in mm."""
        return self.settings["slice_step_mm"]

    def stacks(self, case: CachedCase) -> np.ndarray:
        """(2, 35, 60, 60) int16 of one case, mapped and not read. Raises InputError where the file is unusable."""
        try:
            stacks = np.load(self.folder / case.file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _damaged(self.folder, case) from error
        if stacks.shape != SHAPE or stacks.dtype != np.int16:
            raise _damaged(self.folder, case)
        return stacks


def _damaged(folder: Path, case: CachedCase) -> InputError:
    return InputError(
        f"The cache {folder} is damaged: the file of case {case.where} is missing or not what the index says. "
        "Run maemc-train cache again; it mends what is broken.",
        "cache-damaged",
        [folder],
    )


def build_cache(
    cases: Sequence[SourceCase],
    folder: Path,
    home: Path,
    slice_step_mm: int = 1,
    processes: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ROICache:
    """Cut every case that is not in the cache already, or whose source or place changed, reading each volume once.

    A case that cannot be cut is left out with its reason (``left_out``) and the others go on; what is done stays when
    the run is interrupted, and so does what an earlier run did. Raises InputError: a case_id given twice, no case at
    all could be cut, the folder cannot be written or the disk is full.
    """
    twice = sorted(name for name, count in Counter(case.case_id for case in cases).items() if count > 1)
    if twice:
        raise InputError(
            f"These case_ids occur more than once: {', '.join(twice[:5])}. Each names one nodule.", "twice", twice
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The cache folder {folder} cannot be made ({error.strerror}).", "not-written") from error
    settings = {
        "slices": SLICES,
        "side": SIDE,
        "margin": MARGIN,
        "slice_step_mm": slice_step_mm,
        "interpolation": "trilinear",
    }
    key = pseudonym_key(home)
    known = _known_entries(folder, settings)
    entries: dict[str, CachedCase] = {}
    left_out: dict[str, dict[str, Any]] = {}
    names = {case.case_id: case.name(key) for case in cases}

    def save(complete: bool) -> None:
        # Of cases that this run has not come to, what is known from before is kept and checked when it comes to them.
        kept = known if not complete else {}
        there = [names[case.case_id] for case in cases if case.case_id not in left_out]
        ordered = [entries.get(name) or kept.get(name) for name in there]
        index = {
            "schema": SCHEMA,
            "complete": complete,
            "settings": settings,
            "pseudonym_key": key_name(key),
            "cases": [asdict(entry) for entry in ordered if entry is not None],
            "left_out": [
                {"row": case.row, "code": left_out[case.case_id]["code"]} for case in cases if case.case_id in left_out
            ],
        }
        write_json(folder / "index.json", sealed(index))

    groups: dict[tuple[Path, str | None], list[SourceCase]] = {}
    for case in cases:
        groups.setdefault((case.image, case.series_uid), []).append(case)
    jobs = [
        (image, uid, group, {c.case_id: known.get(names[c.case_id]) for c in group}, folder, slice_step_mm, key)
        for (image, uid), group in groups.items()
    ]
    saved, done = time.monotonic(), 0
    try:
        for group, cached, reasons in _run(jobs, processes):
            entries |= {entry.case_id: entry for entry in cached}
            left_out |= {reason["case_id"]: reason for reason in reasons}
            done += len(group)
            progress(done, len(cases))
            if time.monotonic() - saved > 5:
                saved = time.monotonic()
                save(complete=False)
    except BaseException:
        save(complete=False)
        raise
    save(complete=True)
    if not entries:
        first = next(iter(left_out.values()), {"reason": "the manifest names none"})
        private = first.get("private", ())
        raise InputError(
            f"None of the {len(cases)} cases could be cached. The first: {first['reason']}", "no-cases", private
        )
    _remove_strays(folder, entries)
    reasons = [left_out[case.case_id] for case in cases if case.case_id in left_out]
    return replace(open_cache(folder, verify=False), left_out=tuple(reasons))


def _run(jobs: list[tuple], processes: int | None) -> Iterator[tuple]:
    processes = min(processes or usual_count(), len(jobs))
    if processes <= 1 or len(jobs) < 4:  # starting a process costs more than cutting a few regions
        with ReadingProcess() as reader:
            for job in jobs:
                yield _cut_group(reader, *job)
        return
    try:
        with child_processes(processes) as pool:
            for future in as_completed([pool.submit(_cut_in_child, *job) for job in jobs]):
                yield future.result()
    except BrokenProcessPool as error:
        raise InputError(
            "A process that cut regions was ended from outside, perhaps for want of memory. What is done is kept: "
            "run the command again with fewer --processes.",
            "process-died",
        ) from error


def _cut_in_child(*job: Any) -> tuple:
    return _cut_group(_own_reader(), *job)


@functools.cache
def _own_reader() -> ReadingProcess:
    """The one of this child process, with which it ends."""
    return ReadingProcess()


def _cut_group(
    reader: ReadingProcess,
    image: Path,
    series_uid: str | None,
    cases: list[SourceCase],
    known: dict[str, CachedCase | None],
    folder: Path,
    slice_step_mm: int,
    key: bytes,
) -> tuple[list[SourceCase], list[CachedCase], list[dict[str, Any]]]:
    """Cut all cases of one volume: (the cases, entries, reasons of those left out)."""
    try:
        if not image.exists():
            raise InputError(f"There is no file or folder {image}. Check the path.", "missing-file", [image])
        source = content_signature(image, series_uid)
        if all(_unchanged(known.get(case.case_id), case, source, folder) for case in cases):
            return cases, [_described(known[case.case_id], case, key) for case in cases], []
        volume = reader.read(image, series_uid)
        check_ct(volume)
    except UNREADABLE as error:
        return cases, [], [_left_out(case, error) for case in cases]
    entries, reasons = [], []
    for case in cases:
        try:
            entries.append(_described(_cut(volume, case, folder, slice_step_mm, source, key), case, key))
        except UNREADABLE as error:
            if getattr(error, "code", "") == "not-written":  # a full disk is no fault of this case
                raise
            reasons.append(_left_out(case, error))
    return cases, entries, reasons


def _cut(volume: Any, case: SourceCase, folder: Path, slice_step_mm: int, source: str, key: bytes) -> CachedCase:
    padded = cut_roi(volume, case.point_lps, slice_step_mm).padded_fraction  # with scoring's own checks
    stacks = _stacks(volume, case.point_lps, slice_step_mm)
    pseudonym = case.name(key)
    name = f"{pseudonym}.npy"
    with replacing(folder / name) as temporary, open(temporary, "wb") as stream:
        np.save(stream, stacks, allow_pickle=False)
    return CachedCase(
        case_id=pseudonym,
        patient="",
        row=case.row,
        part=None,
        groups={},
        label=None,
        diameter_mm=None,
        file=name,
        sha256=file_sha256(folder / name),
        padded_fraction=padded,
        margin_padded=float((stacks == PADDING).mean()),
        point_lps=case.point_lps,
        source=source,
    )


def _left_out(case: SourceCase, error: Exception) -> dict[str, Any]:
    return {"case_id": case.case_id, "row": case.row, **why_left_out(error, "image")}


def why_left_out(error: Exception, what: str) -> dict[str, Any]:
    """code and reason of an image that cannot be used, and what of the reason is private."""
    if isinstance(error, MAEMCError):
        return {"code": error.code, "reason": str(error), "private": error.private}
    reason = f"The {what} cannot be used ({type(error).__name__}: {error})."
    return {"code": "unreadable", "reason": reason, "private": (str(error),)}


def _stacks(volume: Any, point_lps: tuple[float, float, float], slice_step_mm: int) -> np.ndarray:
    size = (SIDE + 2 * MARGIN, SIDE + 2 * MARGIN, SLICES + 2 * MARGIN)
    grids = (axial_grid(point_lps, slice_step_mm, MARGIN), coronal_grid(point_lps, slice_step_mm, MARGIN))
    hu = np.stack([sample_stack(volume, grid, size, fill=PADDING)[0] for grid in grids])
    # No real value may look like padding. Values beyond +-32767 HU do not exist in CT.
    rounded = np.clip(np.rint(hu), -32767, 32767).astype(np.int16)
    rounded[hu == PADDING] = PADDING
    return rounded


def _described(entry: CachedCase, case: SourceCase, key: bytes) -> CachedCase:
    """The entry with what the manifest says now: a changed label needs no new cut."""
    return replace(
        entry,
        patient=patient_pseudonym(case.patient_id, case.pseudonym_key, key),
        row=case.row,
        part=case.part,
        groups=as_kept(case.groups, key),
        label=case.label,
        diameter_mm=case.diameter_mm,
    )


def _unchanged(entry: CachedCase | None, case: SourceCase, source: str, folder: Path) -> bool:
    if entry is None or tuple(entry.point_lps) != tuple(case.point_lps) or entry.source != source:
        return False
    path = folder / entry.file
    return path.is_file() and file_sha256(path) == entry.sha256


def _known_entries(folder: Path, settings: dict[str, Any]) -> dict[str, CachedCase]:
    if not (folder / "index.json").is_file():
        return {}
    try:
        index = unsealed(read_json(folder / "index.json", "The cache's index"))
        if index["schema"] != SCHEMA or index["settings"] != settings:
            return {}
        return {entry["case_id"]: _entry(entry) for entry in index["cases"]}
    except (InputError, KeyError, TypeError, ValueError):
        return {}  # an index that cannot be read knows nothing: everything is cut again


def _entry(values: dict[str, Any]) -> CachedCase:
    return CachedCase(**values | {"point_lps": tuple(values["point_lps"])})


def _remove_strays(folder: Path, entries: dict[str, CachedCase]) -> None:
    files = {entry.file for entry in entries.values()}
    for path in [*folder.glob("*.npy"), *folder.glob(".*.npy.*.part")]:  # of cases, and of runs that were killed
        if path.name not in files:
            with contextlib.suppress(OSError):
                path.unlink()


def open_cache(folder: Path, verify: bool = True) -> ROICache:
    """Open a cache and, by default, compare every file with its SHA-256.

    Raises InputError: no cache, another schema, one that was not built to its end, a file that is missing or changed.
    """
    index = read_json(folder / "index.json", "The cache's index")
    if not isinstance(index, dict) or index.get("schema") != SCHEMA:
        raise InputError(
            f"{folder} is no cache of this version (schema {SCHEMA}): earlier ones kept case_ids as they were typed, "
            "and no split. Build it again from its manifest: maemc-train cache, or the command that built it.",
            "cache-schema",
            [folder],
        )
    try:
        index = unsealed(index)
    except ValueError as error:
        raise InputError(
            f"The index of the cache {folder} is damaged ({error}). Run maemc-train cache again.", "cache", [folder]
        ) from error
    if not index.get("complete", True):
        raise InputError(
            f"The cache {folder} was interrupted before all its cases were cut. Run maemc-train cache again; it goes "
            "on where it stopped.",
            "cache-incomplete",
        )
    try:
        cases = tuple(_entry(values) for values in index["cases"])
        left_out = tuple(_stored_reason(values) for values in index["left_out"])
        cache = ROICache(folder, index["settings"], cases, left_out, index["pseudonym_key"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"The index of the cache {folder} is damaged. Run maemc-train cache again.", "cache"
        ) from error
    for case in cache.cases if verify else ():
        path = folder / case.file
        if not path.is_file() or file_sha256(path) != case.sha256:
            raise _damaged(folder, case)
    return cache


def _stored_reason(values: dict[str, Any]) -> dict[str, Any]:
    reason = f"{values['code']} (maemc-train cache says it in full)"
    return {"case_id": f"row {values['row']}", "row": values["row"], "code": values["code"], "reason": reason}


def is_cache(path: Path) -> bool:
    """Whether a folder is a cache of regions."""
    return path.is_dir() and (path / "index.json").is_file() and not any((path / name).exists() for name in PIXELS)
