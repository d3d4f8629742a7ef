"""Model bundles and the worker's lines."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from hypothesis import strategies as st
from MAEMCLib.characteristics.alike import SIDE, packed
from MAEMCLib.models.autoencoder import Autoencoder
from MAEMCLib.models.bundle import CARD, Member, ModelBundle, read_card, save_bundle
from MAEMCLib.models.card import ModelCard
from MAEMCLib.models.reference_case import open_predictor
from MAEMCLib.models.store import list_models
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.heads.linear import LinearHead
from MAEMCLib.report.card import card_text
from MAEMCLib.results import Alike, NoduleResult
from MAEMCLib.worker.server import Server, serve

from .judging import Reader
from .mutations import mutated, mutated_json

_METRIC = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 55}
_POINT = {
    "threshold": 0.5,
    "counts": dict.fromkeys(("tp", "fp", "tn", "fn"), 1),
    "metrics": {"sensitivity": _METRIC, "specificity": _METRIC},
}


def _bundle(path: Path) -> ModelBundle:
    torch.set_num_threads(1)
    encoder = {"patch_size": 50, "width": 8, "depth": 1, "heads": 2}
    decoder = {"width": 8, "depth": 1, "heads": 2}
    card = {
        "id": "fuzzed",
        "version": "1.0",
        "title": "Random weights",
        "architecture": {"encoder": encoder, "decoder": decoder},
        "preprocessing": {"mean": 0.25, "std": 0.3},
        "fusion": "mean",
        "classes": ["benign-like", "malignant-like"],
        "positive_class": "malignant-like",
        "thresholds": {"rule_out": 0.4, "balanced": 0.5, "rule_in": 0.6},
        "calibration": {"calibrated": False, "reason": "random weights", "slope": 1.0, "intercept": 0.0},
        "intended_use": "Tests only.",
        "limitations": "All.",
        "training": {"summary": "none", "cases": 3, "data": "none", "prevalence": 0.5},
        "metrics": {"auc": _METRIC},
        "baselines": {"size": {"auc": _METRIC}},
        "operating_points": {"balanced": _POINT},
        "applicability": {"smallest_diameter_mm": 5.0, "largest_diameter_mm": 30.0},
        "notes": ["none"],
        "characteristics": {"names": ["margin"], "shown": ["margin"], "figures": {"margin": {"head": _METRIC}}},
        "alike": {"names": ["malignancy"], "member": 0, "nodules": 3, "attribution": "Nobody.", "judged": 2,
                  "agreement": {"malignancy": {"alike": _METRIC, "random": _METRIC}}},
    }  # fmt: skip
    configuration = EncoderConfiguration(**encoder)
    members = [
        Member("classifier", "classifier-0", LinearHead(configuration, 2, seed=0).state_dict()),
        Member("decoder", "decoder", Autoencoder(configuration, DecoderConfiguration(**decoder)).state_dict()),
        Member("characteristics", "characteristics-0", {"weight": torch.ones(1, 8), "bias": torch.ones(1)}),
        Member("alike", "alike", {name: torch.from_numpy(array) for name, array in _nodules().items()}),
    ]
    return save_bundle(path, card, members)


def _nodules() -> dict[str, np.ndarray]:
    """Three training nodules of three patients."""
    draws = np.random.default_rng(0)
    ratings, pictures = draws.integers(0, 6, (3, 1, 4)), draws.integers(0, 256, (3, SIDE, SIDE))
    return packed(draws.normal(size=(3, 8)), np.arange(3), np.array([4.0, 5.0, np.nan]), ratings, pictures)


def _card(folder: Path):
    values = _bundle(folder / "bundle").card.values

    def read(content: bytes) -> None:
        card_text(ModelCard.parse(content, hashlib.sha256(content).hexdigest(), "bundle"))

    return mutated_json(values), read


def _zip(folder: Path):
    sound = _bundle(folder / "bundle.maemc")
    content = sound.path.read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive, zipfile.ZipFile(sound.path) as plain:
        for name in plain.namelist():
            archive.writestr(name, plain.read(name))
    path = folder / "spoiled.maemc"

    def read(spoiled: bytes) -> None:
        path.write_bytes(spoiled)
        card = read_card(path)
        if not ModelBundle(path, card).problems() and card.sha256 == sound.card.sha256:
            for role in ("classifier", "decoder"):
                for mine, theirs in zip(ModelBundle(path, card).weights(role), sound.weights(role), strict=True):
                    assert all(torch.equal(mine[name], theirs[name]) for name in theirs), "other weights were accepted"

    return st.one_of(mutated(content), mutated(packed.getvalue())), read


def _store(folder: Path):
    """A damaged neighbor in the folder of models: all others are listed."""
    home = folder / "home" / "models"
    shutil.copytree(_bundle(folder / "bundle").path, home / "sound")
    content = _bundle(folder / "bundle.maemc").path.read_bytes()

    def read(spoiled: bytes) -> None:
        (home / "neighbor.maemc").write_bytes(spoiled)
        with mock.patch.dict(os.environ, MAEMC_HOME=str(home.parent)):
            assert "sound" in [model.path.name for model in list_models() if model.card], "a sound model is not listed"

    return mutated(content, len(content) - 3000), read


def _member(role: str):
    """safetensors of a role whose hash on the card is right, as a stranger may write them."""

    def made(folder: Path):
        sound = _bundle(folder / "bundle")
        name = sound.card.members(role)[0]
        content = (sound.path / name).read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")

        def read(spoiled: bytes) -> None:
            values = json.loads((sound.path / CARD).read_text())
            values["files"][name] = {"sha256": hashlib.sha256(spoiled).hexdigest(), "bytes": len(spoiled)}
            (folder / "spoiled").mkdir(exist_ok=True)
            for file in sound.path.iterdir():
                shutil.copy(file, folder / "spoiled" / file.name)
            (folder / "spoiled" / name).write_bytes(spoiled)
            (folder / "spoiled" / CARD).write_text(json.dumps(values))
            told = open_predictor(ModelBundle.open(folder / "spoiled"), "cpu").beside.told(np.ones((1, 1, 8)), [True])
            json.dumps(told[0]["characteristics"], allow_nan=False)
            json.dumps([one.number for one in told[0]["alike"]])

        return mutated(content, 0, header + (role != "classifier") * 400), read

    return made


def _page() -> dict:
    """A nodule's page of a report, small."""
    plane = {"dtype": "float32", "shape": [2, 2], "data": base64.b64encode(bytes(16)).decode()}
    axes = [[[0.0, 1.0], [2.0, 3.0]], [[1.0, 0.0], [0.0, 2.0]]]
    row = NoduleResult("N1", (1.0, 2.0, 3.0), "scored", probability=0.5, gate="green", class_name="benign-like")
    told = {"margin": {"rating": 4.2, "word": "rather sharp"}}
    row = replace(row, characteristics=told, alike=(Alike(2, 0.5, 5.0, {"malignancy": [1, 2]}),))
    given = {"setting": "incidental", "age": 65, "long_mm": 8.4, "short_mm": 7.2, "type": "solid", "risk": "low"}
    views = {"axial": {"hu": plane, "inside": plane, "axes": axes}}
    return {"result": row.to_json(), "views": views, "clinical": given, "remarks": ["Accepted."]}


def _lines(folder: Path):
    model = str(_bundle(folder / "bundle").path)
    zeros = {"dtype": "int16", "shape": [25, 50, 50], "data": ""}
    region = {"axial": zeros, "coronal": zeros}
    documents = [
        {"id": 1, "request": "hello"},
        {"id": 2, "request": "device", "device": "cpu"},
        {
            "id": 3,
            "request": "predict",
            "model": model,
            "device": "cpu",
            "nodules": [region | {"clinical": {"age": 3}}],
        },
        {
            "id": 4,
            "request": "explain",
            "model": model,
            "device": "cpu",
            "nodules": [{"axial": zeros, "coronal": zeros}],
        },
        {
            "id": 5,
            "request": "report_page",
            "model": model,
            "device": "cpu",
            "document": "one",
            "number": 0,
            "nodule": _page(),
        },
        {"id": 6, "request": "alike", "model": model, "numbers": [1, 3]},
    ]
    answers: list[dict] = []
    server = Server(answers.append)

    def read(line: bytes) -> None:
        answers.clear()
        server.answer(line.replace(b"\n", b" "))
        kinds = [answer["kind"] for answer in answers]
        assert kinds and kinds[-1] in ("result", "error"), f"answered {kinds}"
        json.dumps(answers, allow_nan=False).encode()
        assert not any(answer.get("code") == "internal" for answer in answers), f"internal: {answers[-1]}"

    return st.one_of([mutated_json(document) for document in documents]), read


def _stream(folder: Path):
    sound = b'{"id": 1, "request": "hello"}\n{"id": 2, "request": "nothing"}\n{"id": 3, "request": "hello"}\n'

    def read(content: bytes) -> None:
        answers = io.BytesIO()
        serve(io.BytesIO(content + b'\n{"id": "last", "request": "hello"}\n'), answers)
        lines = [json.loads(line) for line in answers.getvalue().splitlines()]
        assert lines and lines[-1]["id"] == "last" and lines[-1]["kind"] == "result", "the last line is unanswered"

    return mutated(sound), read


MODELS = (
    Reader("bundle.json, parsed and shown", _card),
    Reader(".maemc", _zip),
    Reader("models list beside a damaged one", _store),
    Reader("safetensors header", _member("classifier"), native=True),
    Reader("heads of characteristics", _member("characteristics"), native=True),
    Reader("training nodules", _member("alike"), native=True),
    Reader("worker: a line", _lines),
    Reader("worker: a stream", _stream),
)
