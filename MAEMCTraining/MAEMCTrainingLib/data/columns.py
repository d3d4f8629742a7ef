"""Columns of a manifest that a method asks for by name: metadata, clinical values, classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from MAEMCLib.errors import InputError
from MAEMCLib.manifest import ManifestRow, read_manifest

_OWN = {"label", "diameter_mm", "split"}


def read_columns(paths: Sequence[Path], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """{case_id: {name: text}}, empty text where a row says nothing. Rows of one volume are read one by one.

    Read anew from the manifests, since a cache keeps nothing that it was not asked for. Raises InputError: a cache in
    the place of a manifest, and a manifest without a column, which is named.
    """
    found: dict[str, dict[str, str]] = {}
    for path in paths:
        if path.is_dir():
            raise InputError(
                f"{path} is a cache, which holds no {', '.join(names)}. Give the manifest that it was made of.",
                "columns",
            )
        manifest = read_manifest(path)
        there = set().union(*(row.extra for row in manifest.rows)) | _OWN
        lacking = [name for name in names if name not in there]
        if lacking:
            raise InputError(
                f"The manifest {path} has no column {' and no column '.join(lacking)}, which this method needs. It has "
                f"{', '.join(sorted(there))}.",
                "manifest-columns",
            )
        found |= {row.case_id: {name: _text(row, name) for name in names} for row in manifest.rows}
    return found


def _text(row: ManifestRow, name: str) -> str:
    if name in _OWN:
        value = getattr(row, name)
        return "" if value is None else str(value)
    return row.extra.get(name, "")
