"""Columns of a manifest that a method asks for by name: metadata, clinical values, classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.errors import InputError

from .pseudonyms import case_pseudonym, pseudonym_key

_OWN = {"case_id", "label", "diameter_mm", "split"}


def read_columns(paths: Sequence[Path], names: Sequence[str], home: Path) -> dict[str, dict[str, str]]:
    """{pseudonym of a case: {name: text}}, empty text where a row says nothing. Rows of one volume are read one by one.

    Read anew from the manifests, since a cache keeps no text of theirs. home: where the pseudonyms' key lies. Raises
    InputError: a cache in the place of a manifest, and a manifest without a column, which is named.
    """
    found: dict[str, dict[str, str]] = {}
    key = pseudonym_key(home)
    for path in paths:
        if path.is_dir():
            raise InputError(
                f"{path} is a cache, which holds no {', '.join(names)}. Give the manifest that it was made of.",
                "columns",
                [path],
            )
        manifest = read_manifest(path)
        there = set().union(*(row.values for row in manifest.rows)) | _OWN
        lacking = [name for name in names if name not in there]
        if lacking:
            raise InputError(
                f"The manifest {path} has no column {' and no column '.join(lacking)}, which this method needs. It has "
                f"{', '.join(sorted(there))}.",
                "manifest-columns",
                [path],
            )
        for row in manifest.rows:
            case = case_pseudonym(row.case_id, row.values.get("pseudonym_key") or None, key)
            found[case] = {name: _text(row, name) for name in names}
    return found


def of_cases(columns: Mapping[str, dict[str, str]], cases: Sequence[Any]) -> list[dict[str, str]]:
    """What ``read_columns`` found of the cases of a cohort, in order. Raises InputError where it knows one not."""
    unknown = [case.where for case in cases if case.case_id not in columns]
    if unknown:
        raise InputError(
            f"The manifest does not know {len(unknown)} of {len(cases)} cases (the first: {unknown[0]}): it has "
            "changed since the cache was built, or the cache was built with another MAEMC_HOME. Build the cache again.",
            "columns",
        )
    return [columns[case.case_id] for case in cases]


def _text(row: Case, name: str) -> str:
    if name in _OWN:
        value = getattr(row, name)
        return "" if value is None else str(value)
    return row.values.get(name, "")
