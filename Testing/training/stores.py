"""Caches of a test's own rows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import Manifest
from MAEMCTrainingLib.data.building import build_store
from MAEMCTrainingLib.data.kinds import kind_of
from MAEMCTrainingLib.data.store import Store


def nodule_row(case_id: str, patient_id: str, image: Path, point_lps=(0.0, 0.0, 0.0), label=None, **extra: str):
    """A nodule of a manifest."""
    return Case(case_id, patient_id, image, label=label, point_lps=point_lps, values=extra)


def build_rows(
    rows: Sequence[Case],
    folder: Path,
    home: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    manifest: Path = Path(),
    processes: int = 1,
    settings: Any = None,
) -> Store:
    """The cache of rows; manifest: the folder of the manifest that they stand for."""
    kind = kind_of(Manifest(manifest, tuple(rows)))
    return build_store(kind, kind.source_cases(rows, manifest), folder, home, settings, processes, progress)
