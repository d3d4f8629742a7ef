"""A finished fine-tuning with its cache and bundle, and ``maemc-train evaluate`` typed in its home."""

import csv
import json

import numpy as np
import pytest
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import write_manifest
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCLib.networks.configuration import EncoderConfiguration
from MAEMCTrainingLib.__main__ import main as maemc_train
from MAEMCTrainingLib.classifiers.cases import labeled
from MAEMCTrainingLib.classifiers.presets import finetuning_preset
from MAEMCTrainingLib.data.cohort import join
from MAEMCTrainingLib.data.sources import Source
from MAEMCTrainingLib.engine.configuration import override

ENCODER = EncoderConfiguration(patch_size=50, width=16, depth=1, heads=2)
CASES = 64


def nodule(seed, radius):
    """60 voxels of 1 mm a side, lung-like noise and a ball in the middle, at LPS (0, 0, 0)."""
    draws = np.random.default_rng(seed)
    array = draws.normal(-820, 40, size=(60, 60, 60))
    k, j, i = np.indices(array.shape, sparse=True)
    array[(i - 30) ** 2 + (j - 30) ** 2 + (k - 30) ** 2 < radius**2] = 20
    affine = np.eye(4)
    affine[:3, 3] = -30
    return CTVolume(array.astype(np.int16), affine, f"nodule-{seed}")


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    """64 nodules of 64 patients; the malignant ones are larger as a rule."""
    folder, rows, draws = tmp_path_factory.mktemp("nodules"), [], np.random.default_rng(0)
    for number in range(CASES):
        label = number % 2
        radius = float(np.clip(6 + 3 * label + draws.normal(0, 1.5), 3, 14))
        image = folder / f"{number}.nrrd"
        write_volume(nodule(number, radius), image)
        rows.append(Case(f"c{number}", f"Smith-{number}", image, label=label, diameter_mm=2 * radius,
                                point_lps=(0.0, 0.0, 0.0)))  # fmt: skip
    return write_manifest(folder / "manifest.csv", rows)


@pytest.fixture(scope="session")
def jobs(manifest, finetune_in, tmp_path_factory):
    """The folder, also the MAEMC_HOME, of: the fine-tuning "fine", its cache "cache", its bundle "fine.maemc"."""
    folder = tmp_path_factory.mktemp("jobs")
    cohort = join([Source(manifest).build(folder / "cache", folder, processes=1)])
    settings = ["epochs=8", "folds=4", "validation_fraction=0.45", "learning_rate=3e-3", "batch=8", "mode=none"]
    run = override(finetuning_preset("tiny", ENCODER), settings)
    finetune_in(folder / "fine", labeled(cohort), run)
    assert maemc_train(["export", str(folder / "fine"), "--output", str(folder / "fine.maemc"), "--id", "nodules",
                        "--quiet"]) == 0  # fmt: skip
    return folder


@pytest.fixture
def evaluate(jobs, monkeypatch, capsys):
    """Type ``maemc-train evaluate ...`` in the jobs' home: (exit code, output, errors)."""
    monkeypatch.setenv("MAEMC_HOME", str(jobs))

    def run(*words):
        code = maemc_train(["evaluate", *map(str, words)])
        return (code, *capsys.readouterr())

    return run


def report_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def rows_of(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def read_values(folder):
    return [float(row["probability"]) for row in rows_of(folder / "predictions.csv")]
