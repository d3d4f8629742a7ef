"""A method is its two files, a head or an experiment its one: each is added to a copy of the libraries and run."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import write_manifest
from MAEMCTrainingLib.__main__ import _FILES, _parser
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
SHADES = '''
"""Shades: how bright an image is, from the features of its encoder."""

from dataclasses import dataclass

import torch
from MAEMCLib.networks.vit import Linear, initialize

from ..method import Method, MethodSettings


@dataclass(frozen=True)
class Configuration(MethodSettings):
    scale: float = 1.0


class Shades(Method):
    Configuration = Configuration
    VIEWS = "one"

    def add_parts(self, decoder, seed):
        self.head = Linear(self.encoder.width, 1)
        initialize(self.head, seed + 1)

    def forward(self, batch):
        (images,) = batch.images
        wanted = self.configuration.scale * images.mean(dim=(1, 2, 3))
        return {"loss": (self.head(self.encoder.features(images))[:, 0] - wanted).square().mean()}, None
'''
FACTS = """
title = "Shades"
sentence = "Learns how bright an image is."
source = "nobody"
class_name = "Shades"
backbone = "tiny"

[presets.tiny]
batch = 8
picture.encoder = { image_size = 32, patch_size = 8 }
"""
TABLE = '''
"""One row: a small transformer from scratch."""

from ..cell import Cell, Experiment

WORDS = ("--backbone", "tiny", "encoder.image_size=32", "encoder.patch_size=8", "epochs=1", "--folds", "2")


def cells(cases):
    return [Cell("one", "from scratch", 0, None, WORDS)]


EXPERIMENTS = {"one-row": Experiment(cells)}
'''
HEAD = '''
"""Two layers on every branch by itself."""

from torch.nn.functional import gelu

from ..classifier import Classifier, Logits, mean_of
from ..vit import Linear, initialize


class TwoLayers(Classifier):
    RELATES = False

    def build(self, seed):
        self.first, self.second = Linear(self.encoder.width, 8), Linear(8, self.classes)
        initialize(self.first, seed + 1)
        initialize(self.second, seed + 2)

    def of_features(self, features, seen, values, given):
        branches = self.second(gelu(self.first(features.to(self.first.weight.dtype)))) * seen.unsqueeze(2)
        return Logits(mean_of(branches, seen), branches, seen)


HEAD = TwoLayers
'''


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """A copy of both libraries, with the new files in it."""
    place = tmp_path_factory.mktemp("libraries")
    for name in ("MAEMCNodule/MAEMCLib", "MAEMCTraining/MAEMCTrainingLib"):
        shutil.copytree(REPOSITORY / name, place / Path(name).name, ignore=shutil.ignore_patterns("*.maemc"))
    methods = place / "MAEMCTrainingLib/pretraining/methods"
    (methods / "shades-of-gray.toml").write_text(FACTS)
    (methods / "shades_of_gray.py").write_text(SHADES)
    (place / "MAEMCTrainingLib/experiments/definitions/one_row.py").write_text(TABLE)
    (place / "MAEMCLib/networks/heads/two_layers.py").write_text(HEAD)
    return place


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A manifest of 24 pictures, bright in class 1."""
    folder, draws = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    rows = []
    for number in range(24):
        path = folder / f"{number}.png"
        Image.fromarray(draws.integers(0, 100 + 100 * (number % 2), (48, 48)).astype(np.uint8)).save(path)
        rows.append(Case(f"case-{number}", f"patient-{number}", path, "image", number % 2))
    return write_manifest(folder / "m.csv", rows)


def maemc_train(libraries, *words, library="MAEMCTrainingLib"):
    """The output of a command of the copy. Fails where it does."""
    environment = {**os.environ, "PYTHONPATH": str(libraries), "MAEMC_HOME": str(libraries / "home")}
    # Without the paths that this environment adds by itself the copy alone is found.
    code = f"import sys; sys.path.insert(0, {str(libraries)!r}); from {library}.__main__ import main; "
    command = [sys.executable, "-c", f"{code}sys.exit(main())", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=libraries)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_method_is_its_two_files(libraries, pictures, tmp_path):
    assert "shades-of-gray: Shades\n    Learns how bright an image is." in maemc_train(libraries, "methods")
    (tmp_path / "settings.toml").write_text(
        "epochs = 1\nsettings.scale = 2.0\n\n[optimization]\nlearning_rate = 0.01\n"
    )
    words = ("--method", "shades-of-gray", "--preset", "tiny", "--device", "cpu", "--threads", "1", "--quiet")
    job = tmp_path / "job"
    maemc_train(
        libraries, "pretrain", *words, "--data", pictures, "--output", job, "--config", tmp_path / "settings.toml",
        "epochs=2",
    )  # fmt: skip
    settings = json.loads((job / "job.json").read_text())["configuration"]
    assert (settings["settings"]["scale"], settings["optimization"]["learning_rate"]) == (2.0, 0.01)
    assert settings["encoder"]["image_size"] == 32, "its preset"
    assert settings["epochs"] == 2, "what is typed goes before the file"
    events = [json.loads(line) for line in (job / "events.jsonl").read_text().splitlines()]
    assert events[-1]["step"] == 6 and {"loss", "learning_rate"} <= events[-1].keys()


def test_an_experiment_is_its_file(libraries, pictures, tmp_path):
    words = ("--data", pictures, "--output", tmp_path / "t", "--device", "cpu", "--threads", "1")
    printed = maemc_train(libraries, "experiment", "one-row", *words, "--quiet")
    assert printed.split() == [str(tmp_path / "t" / "one"), str(tmp_path / "t")]
    assert "| from scratch | " in (tmp_path / "t" / "table.md").read_text()


def test_a_head_is_its_file(libraries, pictures, tmp_path):
    network = ("--backbone", "tiny", "encoder.image_size=32", "encoder.patch_size=8", "encoder.width=16", "depth=1")
    here = ("--device", "cpu", "--threads", "1", "--quiet", "--folds", "2")
    job, bundle = tmp_path / "job", tmp_path / "two.maemc"
    words = ("finetune", "--from", "scratch", "--preset", "tiny", "--data", pictures, "--output", job, *network, *here)
    maemc_train(libraries, *words, "head=two_layers", "epochs=1", "batch=6", "validation_fraction=0.2")
    assert json.loads((job / "job.json").read_text())["configuration"]["head"] == "two_layers"
    trained = [json.loads(line) for line in (job / "events.jsonl").read_text().splitlines()]
    assert max(event.get("step", 0) for event in trained) == 2
    maemc_train(libraries, "export", job, "--output", bundle, "--id", "two", "--quiet")
    assert "author's numbers" in maemc_train(libraries, "models", "verify", bundle, library="MAEMCLib")
    maemc_train(libraries, "evaluate", bundle, "--data", pictures, "--output", tmp_path / "again", "--device", "cpu")
    with open(tmp_path / "again/predictions.csv", newline="") as stream:
        judged = {row["case_id"]: row["probability"] for row in csv.DictReader(stream)}
    picture = pictures.parent / "3.png"
    answer = maemc_train(libraries, "score", picture, "--model", bundle, "--json", library="MAEMCLib")
    assert f"{json.loads(answer)['nodules'][0]['probability']:.6f}" == judged["case-3"]


def test_each_command_is_in_the_file_that_is_imported_for_it():
    def commands(parser):
        return list(parser._subparsers._group_actions[0].choices)

    assert sorted(commands(_parser())) == sorted(_FILES)
    for name in _FILES:
        assert name in commands(_parser(name))
        assert len(commands(_parser(name))) <= 3
