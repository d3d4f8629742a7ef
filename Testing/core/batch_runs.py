"""Running a batch and reading what it wrote."""

import csv

import numpy as np
from MAEMCLib.batch.run import run_batch
from MAEMCLib.cases.manifest import read_scoring_manifest
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCLib.images.reading_process import ReadingProcess
from MAEMCLib.models.bundle import ModelBundle


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def run(manifest, output, bundle, **options):
    return run_batch(list(read_scoring_manifest(manifest).rows), output, ModelBundle.open(bundle), "cpu", **options)


def watched(monkeypatch):
    """The names of the volumes that are read, as they are."""
    read, original = [], ReadingProcess.read
    monkeypatch.setattr(
        ReadingProcess, "read", lambda self, path, *flags: read.append(path.name) or original(self, path, *flags)
    )
    return read


def volume(path, seed=0, size=70):
    array = np.random.default_rng(seed).integers(-1000, 300, (size, size, size)).astype(np.int16)
    write_volume(CTVolume(array, np.eye(4)), path)
