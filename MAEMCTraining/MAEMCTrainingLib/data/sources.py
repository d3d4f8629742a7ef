"""What a user may give as data, a manifest or a cache: read once, and opened as a cache."""

import contextlib
import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from MAEMCLib.cases.manifest import Manifest, read_manifest
from MAEMCLib.errors import InputError, MAEMCError

from .cases import VALIDATION, SourceCase, parts_of
from .columns import check_there
from .folds import too_few_folds
from .kinds import kind_of
from .kinds.kind import Kind
from .store import Store, build_store, is_cache, open_store

Progress = Callable[[int, int], None]
_SHORTEST_NAME = 3  # shorter cells of a manifest name nobody, and are parts of any word


@dataclass(frozen=True)
class Source:
    """Data as a user gives them: a manifest, or a cache. They are read once, when something is first asked of them.

    Whatever asks raises InputError: neither of the two, rows of two kinds, and what reading raises.
    """

    path: Path

    @cached_property
    def data(self) -> Manifest | Store:
        """The manifest, or the opened and verified cache."""
        if is_cache(self.path):
            return open_store(self.path)
        if self.path.is_dir():
            raise InputError(
                f"{self.path} is a folder without a cache. Give a manifest (CSV), or a folder made by maemc-train "
                "cache.",
                "data",
                [self.path],
            )
        return read_manifest(self.path)

    @property
    def kind(self) -> Kind:
        """What the cases are."""
        return self.data.kind if isinstance(self.data, Store) else kind_of(self.data)

    def check_columns(self, names: Sequence[str]) -> None:
        """Raises InputError where one of the columns is not there."""
        cases = self.data.cases if isinstance(self.data, Store) else self.data.rows
        check_there(self.path, {name for case in cases for name in case.values}, names)

    def cases(self) -> list[SourceCase]:
        """The cases of a manifest. Raises InputError for a cache, which does not know where images lie."""
        if isinstance(self.data, Store):
            raise InputError(
                f"{self.path} is a cache, which does not know where the images lie. Give the manifest.",
                "data",
                [self.path],
            )
        return self.kind.source_cases(self.data.rows, self.data.path.parent)

    def build(
        self,
        folder: Path,
        home: Path,
        settings: Any = None,
        processes: int | None = None,
        progress: Progress | None = None,
    ) -> Store:
        """The cache of a manifest in a folder, built or brought up to date. Raises what ``build_store`` raises."""
        return build_store(self.kind, self.cases(), folder, home, settings, processes, progress, self.path)

    def open(self, caches: Path, home: Path, progress: Progress | None = None) -> Store:
        """The cache as it is; of a manifest the one under ``caches``."""
        if isinstance(self.data, Store):
            return self.data
        return self.build(caches / cache_name(self.path), home, progress=progress)


def check_folds(folds: int, folds_from: str, sources: Sequence[Source]) -> None:
    """Raises InputError where one model is asked for and no manifest has rows to stop it: before a region is cut.

    Caches, which take no time to open, are left to ``divide``.
    """
    if folds > 1 or folds_from or any(isinstance(source.data, Store) for source in sources):
        return
    if not any(VALIDATION in parts_of(source.data.rows) for source in sources):
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
