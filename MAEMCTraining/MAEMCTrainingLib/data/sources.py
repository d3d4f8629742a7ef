"""What a user may give as data, a manifest or a cache, opened as a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from MAEMCLib.errors import InputError
from MAEMCLib.manifest import Manifest, read_manifest

from .cache import ROICache, SourceCase, build_cache, is_cache, open_cache
from .picture_cache import PictureCache, build_picture_cache, is_picture_cache, open_picture_cache

Progress = Callable[[int, int], None]


def source_cases(manifest: Manifest) -> list[SourceCase]:
    """The nodules of a manifest. Raises InputError where it has none."""
    cases = [
        SourceCase(
            case_id=row.case_id,
            patient_id=row.patient_id,
            image=row.image,
            point_lps=row.point_lps,
            label=row.label,
            diameter_mm=row.diameter_mm,
            series_uid=row.extra.get("series_uid") or None,
            pseudonym_key=row.extra.get("pseudonym_key") or None,
        )
        for row in manifest.rows
        if row.kind == "nodule" and row.point_lps is not None
    ]
    if not cases:
        raise InputError(
            f"The manifest {manifest.path} has no rows of the kind 'nodule'. Regions are cut about points: add the "
            "columns l_mm, p_mm, s_mm and a row for each nodule.",
            "no-cases",
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
            f"{path} is a folder without a cache. Give a manifest (CSV), or a folder made by maemc-train cache.", "data"
        )
    manifest = read_manifest(path)
    name = f"{path.stem}-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if _is_flat(manifest):
        return build_picture_cache(manifest.rows, caches / name, home, progress, manifest.path.parent)
    return build_cache(source_cases(manifest), caches / name, home, progress=progress)
