"""What a reduction finds, and what is written of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import POINT, write_manifest
from MAEMCLib.errors import UsageError
from MAEMCLib.files.atomic import make_folder, replacing, write_json
from MAEMCLib.files.spreadsheet import RowWriter

from . import NOTE
from .selection import Selected, Similarity
from .slices import WINDOW_HU, LeftOut, Volume

SCHEMA = 1
REMOVED_COLUMNS = (
    "case_id", "patient_id", "volume_id", "slice_index", "because_of", "measure", "value", "kept", "kept_case_id",
)  # fmt: skip


@dataclass(frozen=True)
class Reduced:
    """The reduction of one volume.

    rows: all its slices (kind ``slice``) in slice order. selected: which of them are kept. other_kept: how many the
    other selection would keep, where that is cheap to compute. left_out: slices that cannot be read.
    """

    volume: Volume
    rows: tuple[Case, ...]
    selected: Selected
    other_kept: int | None
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class Reduction:
    """A reduced manifest: its volumes in order, and what could not be used."""

    volumes: tuple[Reduced, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def rows(self) -> list[Case]:
        """The slices that are kept, in the order of the volumes and of their slices."""
        return [reduced.rows[place] for reduced in self.volumes for place in reduced.selected.kept]

    @property
    def slices(self) -> int:
        """How many slices were compared."""
        return sum(len(reduced.rows) for reduced in self.volumes)

    @property
    def other_kept(self) -> int | None:
        """How many slices the other selection would keep."""
        counts = [reduced.other_kept for reduced in self.volumes]
        return None if None in counts else sum(counts)


def check_output(path: Path, manifest: Path) -> None:
    """Make the folder of the result, before the hours that a comparison may take.

    Raises UsageError where the result would take the place of its own manifest, InputError for a folder that cannot be
    made or written.
    """
    if path.resolve() == manifest.resolve():
        raise UsageError(f"--output is the manifest itself, {path}. Give the result a name of its own.", "output")
    make_folder(path.absolute().parent)


def write_reduction(path: Path, reduction: Reduction, similarity: Similarity, settings: Mapping[str, Any]) -> Path:
    """Write the manifest of the slices that are kept and return its path. Beside it go ``-removed.csv`` (each removed
    slice and why) and ``-summary.json`` (settings, window, counts, and codes of what could not be used).

    Raises InputError where the files cannot be written.
    """
    path = path.absolute()
    _write_removed(path.with_name(f"{path.stem}-removed.csv"), reduction, similarity)
    sign = "<=" if similarity.is_distance else ">="
    summary = {
        "schema": SCHEMA,
        "settings": {**settings, "measure": similarity.measure, "removed_where": f"value {sign} threshold"},
        "window_hu": list(WINDOW_HU) if any(reduced.volume.is_ct for reduced in reduction.volumes) else None,
        "slices": reduction.slices,
        "kept": len(reduction.rows),
        "kept_by_the_other_selection": reduction.other_kept,
        "volumes": [
            {
                "volume_id": reduced.volume.volume_id,
                "patient_id": reduced.volume.rows[0].patient_id,
                "slices": len(reduced.rows),
                "kept": len(reduced.selected.kept),
            }
            for reduced in reduction.volumes
        ],
        "left_out": [
            {"volume_id": item.volume_id, "case_id": item.case_id, "code": item.code} for item in reduction.left_out
        ],
        "note": NOTE,
    }
    write_json(path.with_name(f"{path.stem}-summary.json"), summary)
    # A slice has no point, but its manifest may have had the columns.
    plain = [{name: row.values[name] for name in row.values if name not in POINT} for row in reduction.rows]
    return write_manifest(path, [replace(row, values=own) for row, own in zip(reduction.rows, plain, strict=True)])


def _write_removed(path: Path, reduction: Reduction, similarity: Similarity) -> None:
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = RowWriter(stream)
        writer.row(REMOVED_COLUMNS)
        for reduced in reduction.volumes:
            for removal in reduced.selected.removed:
                row, cause, kept = (reduced.rows[place] for place in (removal.place, removal.because_of, removal.kept))
                index, cause_index, kept_index = (item.values["slice_index"] for item in (row, cause, kept))
                compared = (cause_index, similarity.measure, f"{removal.value:.6g}")
                names = (row.case_id, row.patient_id, reduced.volume.volume_id)
                writer.row((*names, index, *compared, kept_index, kept.case_id))
