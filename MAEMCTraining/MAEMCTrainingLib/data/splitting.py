"""Patients of a manifest in two parts: one to pre-train on, one to fine-tune and test on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCLib.errors import UsageError

from ..engine.rng import generator
from .parts import TRAIN, parts_of


def split_patients(paths: Sequence[Path], output: Path, share: float) -> tuple[list[Path], list[Path]]:
    """Write ``pretraining.csv`` with a share of all patients and ``evaluation.csv`` with the others to ``output``.

    The same patients each time. Where the manifests have a split, patients for pre-training are drawn from those that
    train, and both parts keep the column. Returns both paths, each in a list. Raises UsageError: a share that leaves
    either part without patients; InputError: what reading and writing manifests raise.
    """
    manifests = [read_manifest(path).rows for path in paths]
    rows = [row for found in manifests for row in found]
    parts = [part for found in manifests for part in parts_of(found)]
    # In order of appearance: a split by names would hang on the pseudonyms' key.
    patients = list(
        dict.fromkeys(row.patient_id for row, part in zip(rows, parts, strict=True) if part in (None, TRAIN))
    )
    count = round(share * len(patients))
    if not 0 < count < len(patients):
        raise UsageError(f"--pretraining-share {share} of {len(patients)} patients leaves a part without any.", "share")
    chosen = {patients[i] for i in generator(0, "pretraining-patients").permutation(len(patients))[:count]}
    rows = [replace(row, split=part) for row, part in zip(rows, parts, strict=True)]
    written = [
        write_manifest(output / f"{name}.csv", [row for row in rows if (row.patient_id in chosen) == wanted])
        for name, wanted in (("pretraining", True), ("evaluation", False))
    ]
    return [written[0]], [written[1]]
