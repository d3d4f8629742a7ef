"""A new kind of picture is one file: it is cached, learned from and found again by its name."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from MAEMCLib import __file__ as core
from MAEMCTrainingLib import __file__ as training

KIND = '''
"""Spots: square pictures that lie as they are in files of numpy."""

from dataclasses import dataclass

import numpy as np
from MAEMCLib.inputs.view import PicturePreprocessing

from .kind import Cut, Kind, Presentation


@dataclass(frozen=True)
class SpotSettings:
    version: int = 1


@dataclass(frozen=True)
class SpotFacts:
    brightest: float


@dataclass(frozen=True)
class Brightness:
    gain: float = 0.1


class SpotPresentation(Presentation):
    planes = ("spot",)

    def views(self, kind, item, seed, epoch, sample, number):
        gain = 1 + np.random.default_rng((seed, epoch, sample)).uniform(-1, 1) * self.augmentation.gain
        image = self.plain(item)[0] * np.float32(gain)
        return [image] * (1 if kind == "one" else 2), 0.0

    def training_image(self, case, plane, seed, epoch, sample):
        return self.views("one", case, seed, epoch, sample, 0)[0][0], 0.0

    def plain(self, case):
        return (self.cohort.array(case)[None] - self.preprocessing.mean) / np.float32(self.preprocessing.std)


class SpotKind(Kind):
    name, title, rows = "spot", "spots", ("spot",)
    Settings, Facts, Augmentation, Preprocessing = SpotSettings, SpotFacts, Brightness, PicturePreprocessing
    shown_as = SpotPresentation

    def signature(self, case, content):
        return content(case.row.image, None)

    def read(self, case, reader):
        return None

    def cut(self, shared, case, settings):
        array = np.load(case.row.image)
        return Cut(array, SpotFacts(float(array.max())))

    def unstandardized(self, cohort, augmentation, side, skip_unobserved):
        return PicturePreprocessing(image_size=side), lambda index: cohort.array(index)

    def scored(self, cohort, index):
        return [cohort.array(index)]


KIND = SpotKind()
'''

RUN = """
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, sys.argv[2])
import torch
from MAEMCLib.cases.case import Case
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCTrainingLib.data.store import build_store
from MAEMCTrainingLib.data.cohort import join
from MAEMCTrainingLib.data.kinds import KINDS
from MAEMCTrainingLib.data.store import open_store
from MAEMCTrainingLib.engine.session import Session
from MAEMCTrainingLib.jobs.job import Job, open_job
from MAEMCTrainingLib.engine.session import Session
from MAEMCTrainingLib.jobs.stopping import StopRequest
from MAEMCTrainingLib.pretraining.presets import PretrainingConfiguration
from MAEMCTrainingLib.pretraining.registry import default_settings
from MAEMCTrainingLib.pretraining.run import load_pretrained, pretrain

torch.set_num_threads(1)
folder = Path(sys.argv[1])
kind = KINDS["spot"]
rows = [Case(path.stem, path.stem, path, "spot") for path in sorted(folder.glob("*.npy"))]
build_store(kind, kind.source_cases(rows, folder), folder / "cache", folder / "home")
cohort = join([open_store(folder / "cache")])
encoder = EncoderConfiguration(image_size=16, patch_size=8, width=16, depth=1, heads=2, position="2d")
decoder = DecoderConfiguration(width=16, depth=1, heads=2)
run = PretrainingConfiguration("mae", default_settings("mae"), encoder, decoder, epochs=1, batch=4, views_per_case=1)
run = replace(run, augmentation=kind.Augmentation())
command, stop = {"arguments": ["pretrain"], "directory": "."}, StopRequest()
with open_job(folder / "job", "pretrain", command, folder / "home", stop) as job:
    pretrain(cohort, run, Session(job, torch.device("cpu"), stop), [])
print(load_pretrained(folder / "job").run == run, Job(folder / "job").settings["input"], cohort.cases[0].facts)
"""


def test_a_kind_is_one_file(tmp_path):
    libraries = tmp_path / "libraries"
    for library in (Path(core).parent, Path(training).parent):
        shutil.copytree(library, libraries / library.name, ignore=shutil.ignore_patterns("__pycache__"))
    (libraries / "MAEMCTrainingLib" / "data" / "kinds" / "spot.py").write_text(KIND)
    draws = np.random.default_rng(0)
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", np.full((16, 16), 0.5, np.float32) + draws.random((16, 16), np.float32) / 8)
    command = [sys.executable, "-P", "-c", RUN, str(tmp_path), str(libraries)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True spot SpotFacts(brightest=0.6")
    assert (tmp_path / "job" / "checkpoints" / "last" / "model.safetensors").is_file()
