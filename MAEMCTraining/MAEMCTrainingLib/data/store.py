"""A cache of cases: what training asks for, cut once from the images of a manifest.

A cache is a folder: ``index.json``, sealed, and one ``.npy`` file a case, as its kind cut it. Patients and cases are
pseudonyms from here on, and no path, name or free text of the manifest is kept (``columns``). Once it is built it
stands alone, and the images may lie elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import file_sha256, read_json, unsealed

from .cases import StoredCase
from .kinds import KINDS
from .kinds.kind import Kind

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
