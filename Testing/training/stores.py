"""Caches of a test's own rows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import Manifest
from MAEMCLib.cases.pseudonyms import pseudonym, pseudonym_key
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCLib.images.reading_process import ReadingProcess
from MAEMCTrainingLib.data.kinds import kind_of
from MAEMCTrainingLib.data.store import Store, build_store


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


def names(home, *case_ids):
    """The pseudonyms of cases."""
    return [pseudonym("C", case_id, pseudonym_key(home)) for case_id in case_ids]


def oblique_volume() -> CTVolume:
    """An anisotropic, rotated volume with structure everywhere."""
    draws = np.random.default_rng(0)
    array = draws.normal(-700, 250, size=(60, 100, 110)).astype(np.int16)
    angle = 0.2
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([0.8, 0.9, 1.7])
    affine[:3, 3] = [-30, -60, -40]
    return CTVolume(array, affine, "oblique")


def two_cases(tmp_path, near_edge=False):
    image = tmp_path / "CT mit Ö.nrrd"
    volume = oblique_volume()
    write_volume(volume, image)
    center = volume.to_lps(np.array([[55.0, 50.0, 30.0]]))[0]
    edge = volume.to_lps(np.array([[14.0, 50.0, 12.0]]))[0] if near_edge else center + np.array([3.3, -2.1, 1.7])
    return [
        nodule_row("a", "p", image, tuple(center.tolist()), 1),
        nodule_row("b", "p", image, tuple(edge.tolist()), 0),
    ]


def count_reads(monkeypatch) -> list:
    reads = []
    original = ReadingProcess.read
    monkeypatch.setattr(ReadingProcess, "read", lambda self, path, *a: reads.append(path) or original(self, path, *a))
    return reads


def several_cases(tmp_path, number=5) -> list[Case]:
    """Cases in a volume of their own each."""
    cases = []
    for n in range(number):
        image = tmp_path / f"{n}.nrrd"
        volume = oblique_volume()
        write_volume(CTVolume(volume.array + n, volume.affine, ""), image)
        point = tuple(volume.to_lps(np.array([[55.0, 50.0, 30.0]]))[0].tolist())
        cases.append(nodule_row(f"case {n}", f"p{n}", image, point))
    return cases
