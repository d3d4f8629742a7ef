"""A small data set for the training tests: synthetic volumes with one bright ball each, large for class 1."""

import csv
import shutil

import numpy as np
import pytest
import torch
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import write_manifest
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCTrainingLib.classifiers.run import train_folds
from MAEMCTrainingLib.classifiers.values import Columns, read_cases
from MAEMCTrainingLib.data.cohort import join
from MAEMCTrainingLib.data.sources import Source
from MAEMCTrainingLib.engine.session import Session
from MAEMCTrainingLib.evaluation.report import evaluate_job
from MAEMCTrainingLib.jobs.job import open_job
from MAEMCTrainingLib.jobs.stopping import StopRequest
from MAEMCTrainingLib.pretraining.run import pretrain

from Testing.training.judged_jobs import evaluate, jobs, manifest  # noqa: F401 - fixtures of several files


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Results that are compared bit by bit need one number of threads; the tests share few cores."""
    torch.set_num_threads(1)


def ball_volume(seed: int, radius: float) -> CTVolume:
    """(72, 76, 80) voxels of about 1 mm: lung-like noise, a ball of soft tissue in the middle."""
    draws = np.random.default_rng(seed)
    array = draws.normal(-820, 40, size=(72, 76, 80))
    k, j, i = np.meshgrid(*(np.arange(n) for n in array.shape), indexing="ij")
    spacing = np.array([1.0, 1.0, 1.0])
    distance = np.sqrt((i - 40) ** 2 + (j - 38) ** 2 + (k - 36) ** 2)
    array[distance < radius] = draws.normal(20, 15, size=int((distance < radius).sum()))
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-40.0, -38.0, -36.0]  # the ball lies at LPS (0, 0, 0)
    return CTVolume(array.astype(np.int16), affine, f"ball-{seed}")


@pytest.fixture(scope="session")
def balls(tmp_path_factory):
    """manifest.csv of 16 volumes of 16 patients: labels 0, 1, 0, 1 ... and the last four without a label."""
    folder = tmp_path_factory.mktemp("balls")
    rows = []
    for number in range(16):
        label = number % 2
        radius = (9.0 if label else 4.0) + 0.1 * number
        image = folder / f"volume {number}.nrrd"
        write_volume(ball_volume(number, radius), image)
        rows.append(
            Case(
                case_id=f"case-{number}",
                patient_id=f"patient-{number}",
                image=image,
                label=label if number < 12 else None,
                diameter_mm=2 * radius,
                point_lps=(0.0, 0.0, 0.0),
            )
        )
    return write_manifest(folder / "manifest.csv", rows)


@pytest.fixture(scope="session")
def ball_home(tmp_path_factory):
    """The MAEMC_HOME that the balls' cache was built with."""
    return tmp_path_factory.mktemp("home-of-the-cache")


@pytest.fixture(scope="session")
def ball_cache(balls, ball_home, tmp_path_factory):
    """The cache of the balls."""
    return Source(balls).build(tmp_path_factory.mktemp("cache") / "balls", ball_home, processes=1)


@pytest.fixture(scope="session")
def ball_cohort(ball_cache):
    """All 16 cases."""
    return join([ball_cache])


def job_in(folder, kind, train):
    """``train(job, stop)`` inside an opened job of a folder, whose parent is the MAEMC_HOME."""
    stop = StopRequest()
    with open_job(folder, kind, {"arguments": [kind], "directory": "."}, folder.parent, stop) as job:
        return train(job, stop)


@pytest.fixture(scope="session")
def pretrain_in():
    """Pre-train a cohort in a folder: (folder, cohort, run, data)."""

    def run_it(folder, cohort, run, data=()):
        return job_in(
            folder,
            "pretrain",
            lambda job, stop: pretrain(cohort, run, Session(job, torch.device("cpu"), stop), list(data)),
        )

    return run_it


@pytest.fixture(scope="session")
def finetune_in():
    """Fine-tune a cohort in a folder: (folder, cohort, run, start, protocol) -> the report."""

    def run_it(folder, cohort, run, start=None, protocol="honest"):
        return job_in(
            folder,
            "finetune",
            lambda job, stop: evaluate_job(
                train_folds(cohort, run, Session(job, torch.device("cpu"), stop), [], start, protocol)
            ).to_json(),
        )

    return run_it


def _write_subtypes(path, balls, changes=None):
    """A manifest of the twelve labeled balls with three subtypes, an age that is unknown of two, and a sex."""
    with open(balls, newline="") as stream:
        rows = list(csv.DictReader(stream))
    for number, row in enumerate(rows):
        row["image"] = str(balls.parent / row["image"])
        row["subtype"] = ("old", "small", "young")[number % 3] if number < 12 else ""
        row["age"] = "" if number in (3, 7) else f"{50 + number + 20 * (number % 3 == 0)}.5"
        row["sex"] = ("female", "male")[number // 2 % 2]
        row["image_2"] = row["image"] if number < 3 else ""
        row |= (changes or {}).get(number, {})
    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def write_subtypes():
    """(path, balls, changes of rows) -> the path of a manifest with columns."""
    return _write_subtypes


@pytest.fixture(scope="session")
def cached(ball_cache, ball_home):
    """(path, folder) -> a manifest of the balls, with its cache in the folder, for which nothing is cut: both lists."""

    def copied(path, folder):
        shutil.copytree(ball_cache.folder, folder, dirs_exist_ok=True)
        source = Source(path)
        return [source.build(folder, ball_home, processes=1)], [source]

    return copied


@pytest.fixture(scope="session")
def subtypes(balls, cached, ball_home, tmp_path_factory):
    """The cases of ``write_subtypes`` with their age and sex, and the subtype as their class."""
    folder = tmp_path_factory.mktemp("subtypes")
    data = cached(_write_subtypes(folder / "manifest.csv", balls), folder / "cache")
    return read_cases(*data, Columns(("age", "sex"), target="subtype"), folder / "caches", ball_home)
