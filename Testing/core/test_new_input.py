"""A new kind of input is one file: put into the library's folder, it is scored and explained from the command line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import MAEMCLib
import numpy as np
import pytest
from PIL import Image

KIND = '''"""Several lines of a scanner, of which the brightest is seen."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..applicability import Finding
from ..images.gray import read_gray
from .input import Input, Prepared
from .view import PicturePreprocessing


@dataclass(frozen=True)
class Line:
    values: np.ndarray
    point_lps: None = None
    padded_fraction: float = 0.0


class Lines(Input):
    name, noun, described, title = "lines", "line", "lines of a scanner", "Line report"
    planes: ClassVar = {"mean": ("line",)}
    settings = PicturePreprocessing
    array_names = ("line",)

    def prepare(self, case, card, values, reader=None, beside=True):
        gray = read_gray(case.image)
        dark = (Finding("amber", "dark", "It is dark."),) if gray.max() < 0.5 else ()
        line = Line(gray[int(gray.sum(axis=1).argmax())])
        return Prepared(line, values, case, dark)

    def images(self, region, plane, settings, side):
        return np.resize(region.values, (1, side, side)).astype(np.float32)

    def restored(self, image, settings):
        return image

    def arrays(self, region, settings):
        return {"line": region.values}

    def region(self, arrays):
        return Line(arrays["line"])

    def synthetic(self, number):
        return Line(np.linspace(0, 1, 50 + number, dtype=np.float32))


INPUT = Lines()
'''
BUNDLE = """
import json, sys
from MAEMCLib.models.bundle import Member, save_bundle
from MAEMCLib.models.reference_case import measure
from MAEMCLib.networks.configuration import EncoderConfiguration
from MAEMCLib.networks.heads.linear import LinearHead
card = json.loads(sys.argv[2])
network = LinearHead(EncoderConfiguration(**card["architecture"]["encoder"]), 2, seed=1)
save_bundle(sys.argv[1], card, [Member("classifier", "classifier-0", network.state_dict())], measure)
"""
ENCODER = {"image_size": 32, "patch_size": 8, "width": 16, "depth": 1, "heads": 2, "position": "2d"}


@pytest.fixture
def run(tmp_path):
    """Runs Python text with a copy of the library that has the new kind."""
    shutil.copytree(Path(MAEMCLib.__file__).parent, tmp_path / "MAEMCLib", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "MAEMCLib" / "inputs" / "lines.py").write_text(KIND)

    def started(text, *arguments):
        code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{text}"
        words = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return started


WORKER = """
import json, sys
from pathlib import Path
from MAEMCLib.cases.case import Case
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.models.reference_case import open_predictor
from MAEMCLib.scoring import prepare
from MAEMCLib.worker.protocol import decode_case, encode_case
predictor = open_predictor(ModelBundle.open(Path(sys.argv[1])), "cpu")
case = prepare(Case("", "", Path(sys.argv[2]), "lines"), predictor.card)
sent = decode_case(json.loads(json.dumps(encode_case(case, predictor.card))), predictor.card)
print([found.probability for found in predictor.predict([case, sent])])
"""
MAEMC = "from MAEMCLib.__main__ import main; sys.exit(main(sys.argv[1:]))"


def test_a_new_kind_of_input_is_one_file(run, random_card, tmp_path):
    card = {**random_card, "id": "lines", "input": "lines", "architecture": {"encoder": ENCODER}}
    card["preprocessing"] = {"image_size": 32}
    image = tmp_path / "scan.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 90, (9, 40)).astype(np.uint8)).save(image)
    model = tmp_path / "m.maemc"
    run(BUNDLE, model, json.dumps(card))
    words = ["--model", model, "--device", "cpu"]
    (row,) = json.loads(run(MAEMC, "score", image, *words, "--json"))["nodules"]
    assert (row["nodule_id"], row["status"], row["gate"], row["gate_reasons"]) == ("L1", "scored", "amber", ["dark"])
    assert "line" in run(MAEMC, "score", image, *words, "--output", tmp_path / "scored").splitlines()[0]
    assert "Line report" in (tmp_path / "scored" / "report.html").read_text()
    assert "where the classifier looks" in run(MAEMC, "explain", image, *words, "--output", tmp_path / "explained")
    assert np.load(tmp_path / "explained" / "attention_line.npy").shape == (32, 32)
    (tmp_path / "m.csv").write_text("case_id,image,kind\na,scan.png,image\nb,scan.png,image\n")
    run(MAEMC, "batch", tmp_path / "m.csv", *words, "--output", tmp_path / "r.csv")
    assert f"{row['probability']:.6f}" in (tmp_path / "r.csv").read_text()
    assert "author's numbers" in run(MAEMC, "models", "verify", model)
    assert json.loads(run(WORKER, model, image)) == pytest.approx([row["probability"]] * 2, abs=1e-6)
