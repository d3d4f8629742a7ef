"""What a user may give as data, a manifest or a cache, opened as a cache."""

from __future__ import annotations

import contextlib
import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from MAEMCLib.cases.manifest import Manifest, read_manifest
from MAEMCLib.errors import InputError, MAEMCError

from .cache import ROICache, SourceCase, build_cache, is_cache, open_cache
from .folds import too_few_folds
from .parts import FIRST_ROW, VALIDATION, groups_of, parts_of
from .picture_cache import PictureCache, build_picture_cache, is_picture_cache, open_picture_cache

Progress = Callable[[int, int], None]
_SHORTEST_NAME = 3  # shorter cells of a manifest name nobody, and are parts of any word


def source_cases(manifest: Manifest) -> list[SourceCase]:
    """The nodules of a manifest. Raises InputError where it has none, or a word in ``split`` that is none."""
    parts, groups = parts_of(manifest.rows), groups_of(manifest.rows)
    cases = [
        SourceCase(
            case_id=row.case_id,
            patient_id=row.patient_id,
            image=row.image,
            point_lps=row.point_lps,
            label=row.label,
            diameter_mm=row.diameter_mm,
            series_uid=row.values.get("series_uid") or None,
            pseudonym_key=row.values.get("pseudonym_key") or None,
            row=number + FIRST_ROW,
            part=parts[number],
            groups=groups[number],
        )
        for number, row in enumerate(manifest.rows)
        if row.kind == "nodule" and row.point_lps is not None
    ]
    if not cases:
        raise InputError(
            f"The manifest {manifest.path} has no rows of the kind 'nodule'. Regions are cut about points: add the "
            "columns l_mm, p_mm, s_mm and a row for each nodule.",
            "no-cases",
            [manifest.path],
        )
    return cases


def is_flat(path: Path) -> bool:
    """Whether data are 2-D pictures (rows of the kind image or slice). Raises InputError for a mixture."""
    if path.is_dir():
        return is_picture_cache(path)
    return _is_flat(read_manifest(path))


def _is_flat(manifest: Manifest) -> bool:
    kinds = {row.kind == "nodule" for row in manifest.rows}
    if len(kinds) > 1:
        raise InputError(
            f"The manifest {manifest.path} has nodules in CT and 2-D pictures. Write a manifest for each.",
            "mixed-kinds",
            [manifest.path],
        )
    return kinds == {False}


def open_data(
    path: Path, caches: Path, home: Path, progress: Progress = lambda done, total: None
) -> ROICache | PictureCache:
    """A cache as it is, verified; for a manifest the cache under ``caches``, built or brought up to date.

    Raises InputError: neither of the two, and what reading and building raise.
    """
    if is_cache(path):
        return open_cache(path)
    if is_picture_cache(path):
        return open_picture_cache(path)
    if path.is_dir():
        raise InputError(
            f"{path} is a folder without a cache. Give a manifest (CSV), or a folder made by maemc-train cache.",
            "data",
            [path],
        )
    manifest = read_manifest(path)
    name = cache_name(path)
    if _is_flat(manifest):
        return build_picture_cache(manifest.rows, caches / name, home, progress, manifest.path.parent)
    return build_cache(source_cases(manifest), caches / name, home, progress=progress)


def check_folds(folds: int, folds_from: str, paths: Sequence[Path]) -> None:
    """Raises InputError where one model is asked for and no manifest has rows to stop it: before a region is cut.

    Caches, which take no time to open, are left to ``divide``.
    """
    if folds > 1 or folds_from or any(path.is_dir() for path in paths):
        return
    if not any(VALIDATION in parts_of(read_manifest(path).rows) for path in paths):
        raise too_few_folds()


def cache_name(path: Path, column: str = "") -> str:
    """The folder of a manifest's cache, the same each time; it tells nothing of how the manifest is called. column: of
    the images of a further series."""
    return "data-" + hashlib.sha256(f"{path.resolve()} {column}".encode()).hexdigest()[:12]


@contextlib.contextmanager
def naming_nobody(paths: Sequence[Path]) -> Iterator[None]:
    """Errors in the block know what of their text came from the data: a job keeps them without it."""
    try:
        yield
    except MAEMCError as error:
        names = {str(part) for path in paths for part in (path, path.absolute(), path.resolve(), path.name, path.stem)}
        for path in paths:
            names |= {str(path.absolute().parent), str(path.resolve().parent), *_texts_of(path)}
        error.private = tuple(sorted({*error.private, *names} - {""}, key=len, reverse=True))
        raise


def _texts_of(path: Path) -> set[str]:
    """Every text of a manifest but its header; of a file that cannot be read, none."""
    try:
        with open(path, encoding="utf-8-sig", newline="", errors="replace") as stream:
            rows = list(csv.reader(stream))[1:]
    except (OSError, csv.Error):
        return set()
    cells = {cell.strip() for row in rows for cell in row}
    return {cell for cell in cells | {Path(cell).name for cell in cells} if len(cell) >= _SHORTEST_NAME}
