"""The reference case: drawn alike everywhere, told from a wrong installation, computed once for each."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from MAEMCLib.__main__ import main
from MAEMCLib.cases.values import ClinicalField
from MAEMCLib.errors import ModelError
from MAEMCLib.files.atomic import home
from MAEMCLib.inputs import INPUTS
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.machine import device
from MAEMCLib.models import reference_case
from MAEMCLib.models.bundle import Member, ModelBundle, save_bundle
from MAEMCLib.models.card import graph_of
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.models.reference_case import case_for, difference, measure, open_predictor
from MAEMCLib.models.store import find_model, import_model
from MAEMCLib.networks.configuration import EncoderConfiguration
from MAEMCLib.networks.heads.graph import GraphHead
from MAEMCLib.networks.heads.linear import LinearHead


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, random_card, random_members):
    path = tmp_path_factory.mktemp("reference") / "m.maemc"
    return save_bundle(path, {**random_card, "id": "told"}, random_members, measure)


def test_the_drawing_never_changes():
    """Bundles everywhere hold the logits of these very numbers; another drawing needs another name."""
    drawn = INPUTS["nodule"].synthetic(0)
    digest = hashlib.sha256(drawn.axial.astype("<f4").tobytes() + drawn.coronal.astype("<f4").tobytes()).hexdigest()
    assert digest == "102772102a10653fce94b1826868021a0543022589e305dd8128ef5409c42d8b"
    assert (
        hashlib.sha256(INPUTS["picture"].synthetic(0).gray.astype("<f4").tobytes()).hexdigest()
        == "d05c938783fb7a3bcaa77e3acd88a2bfec75d5bb58febba1a72b5561a9c4c88a"
    )
    assert drawn.axial.shape == drawn.coronal.shape == (25, 50, 50)
    assert -945 < drawn.axial.min() < -900 and 50 <= drawn.axial.max() <= 60


def test_the_author_and_this_machine_agree(bundle):
    assert bundle.card.reference["case"] == "synthetic-1" and len(bundle.card.reference["logits"]) == 3
    assert difference(Predictor(bundle, "cpu")) < 1e-5


def test_an_installation_that_computes_otherwise_is_refused_everywhere(bundle, tmp_path, monkeypatch, capsys):
    judged = LinearHead.of_features

    def otherwise(self, *observed):
        found = judged(self, *observed)
        return replace(found, branches=found.branches * 1.05)

    monkeypatch.setattr(LinearHead, "of_features", otherwise)
    with pytest.raises(ModelError, match="other numbers than the model's author") as caught:
        open_predictor(bundle, "cpu")
    assert caught.value.code == "reference" and torch.__version__ in str(caught.value)
    with pytest.raises(ModelError, match="other numbers"):
        import_model(bundle.path)
    assert main(["models", "verify", str(bundle.path)]) == 4
    assert "other numbers" in capsys.readouterr().err
    assert not home().exists() or not list(home().rglob("*.json"))  # a failure is not remembered
    monkeypatch.undo()
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "home"))
    open_predictor(bundle, "cpu")


def test_it_is_computed_once_for_each_installation(bundle, monkeypatch):
    calls = []
    monkeypatch.setattr(reference_case, "difference", lambda predictor: calls.append(predictor.device))
    for _ in range(3):
        open_predictor(bundle, "cpu")
    assert calls == ["cpu"]
    monkeypatch.setattr(torch, "__version__", "99.0")
    open_predictor(bundle, "cpu")
    open_predictor(bundle, "cpu")
    assert calls == ["cpu", "cpu"]
    (file,) = (home() / "checked").iterdir()
    assert len(json.loads(file.read_text())) == 2
    file.write_text("{ torn")
    open_predictor(bundle, "cpu")
    assert len(calls) == 3


def test_a_home_that_cannot_be_written_costs_the_check_each_time(bundle, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "file"))
    assert open_predictor(bundle, "cpu").predict([Prepared(INPUTS["nodule"].synthetic(0))])


@pytest.mark.parametrize("logits", [[[1.0]], [[1.0, 2.0]] * 3, [[1e9]] * 3])
def test_expectations_that_are_not_the_members(tmp_path, random_card, random_members, logits):
    card = {**random_card, "reference": {"case": "synthetic-1", "logits": logits}}
    with pytest.raises(ModelError):
        open_predictor(save_bundle(tmp_path / "m", card, random_members), "cpu")


def test_a_bundle_without_one_opens_and_is_called_unverified(
    random_bundle, tmp_path, random_card, random_members, capsys
):
    assert open_predictor(ModelBundle.open(random_bundle), "cpu").predict([Prepared(INPUTS["nodule"].synthetic(0))])
    assert main(["models", "verify", str(random_bundle)]) == 0 and "unverified" in capsys.readouterr().out
    assert main(["models", "show", str(random_bundle)]) == 0 and "unverified" in capsys.readouterr().out
    later = {**random_card, "reference": {"case": "synthetic-2", "logits": [[1.0]] * 3}}
    assert open_predictor(save_bundle(tmp_path / "m", later, random_members), "cpu")
    assert main(["models", "import", str(random_bundle)]) == 0 and "unverified" in capsys.readouterr().err
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["unverified" in line for line in lines] == [True, False]


def test_an_import_without_pytorch_defers_the_check(bundle):
    code = "import sys; sys.modules['torch'] = None; from MAEMCLib.__main__ import main; "
    done = subprocess.run(
        [sys.executable, "-c", code + f"sys.exit(main(['models', 'import', {str(bundle.path)!r}]))"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "checked when it is first used" in done.stderr and "told@1.0 is at" in done.stdout
    assert open_predictor(ModelBundle.open(find_model("told")), "cpu")


def test_models_of_fusion_and_of_pictures_have_one(tmp_path, random_card):
    encoder = {"patch_size": 50, "width": 16, "depth": 1, "heads": 2}
    asked = (
        ClinicalField("age", "number", "years", 40, 80),
        ClinicalField("sex", "choice", choices=("f", "m")),
        ClinicalField("image_2", "series", optional=True),
    )
    graph = {"branches": ["axial", "coronal", "image_2"], "width": 8, "rounds": 2}
    fused = {
        **random_card,
        "architecture": {"encoder": encoder, "decoder": None, "graph": graph},
        "fusion": "graph",
        "clinical": [one.to_json() for one in asked],
        "classes": ["a", "b", "c"],
        "positive_class": "",
    }
    network = GraphHead(EncoderConfiguration(**encoder), 3, 1, graph_of(fused, asked, "m"))
    fused_bundle = save_bundle(tmp_path / "f", fused, [Member("classifier", "c", network.state_dict())], measure)
    small = {"image_size": 64, "patch_size": 8, "width": 32, "depth": 2, "heads": 4, "position": "2d"}
    flat = {
        **random_card,
        "input": "picture",
        "architecture": {"encoder": small},
        "preprocessing": {"image_size": 64, "mean": 0.3, "std": 0.25, "angles": 3, "view_share": 0.5},
    }
    network = LinearHead(EncoderConfiguration(**small), 2, seed=3)
    flat_bundle = save_bundle(tmp_path / "p", flat, [Member("classifier", "c", network.state_dict())], measure)
    assert [len(row) for row in fused_bundle.card.reference["logits"]] == [2]
    for one in (fused_bundle, flat_bundle):
        predictor = open_predictor(one, "cpu")
        assert difference(predictor) < 1e-5
        predictor.predict([case_for(one.card)])


@pytest.mark.parametrize("native", [False, True])
def test_half_precision_is_widened_where_the_processor_lacks_it(
    tmp_path, random_card, random_members, monkeypatch, native
):
    monkeypatch.setattr(device, "computes_natively", lambda kind: native)
    halves = [
        Member(m.role, m.name, {name: tensor.to(torch.bfloat16) for name, tensor in m.tensors.items()})
        for m in random_members
    ]
    half = save_bundle(tmp_path / "half", random_card, halves, measure)
    predictor = Predictor(half, "cpu")
    assert predictor.members[0].encoder.norm.weight.dtype == (torch.bfloat16 if native else torch.float32)
    assert difference(predictor) < (0.1 if native else 1e-5)
    whole = save_bundle(tmp_path / "whole", random_card, random_members, measure)
    np.testing.assert_allclose(half.card.reference["logits"], whole.card.reference["logits"], atol=0.1)


def test_instructions_are_read_from_the_processor(monkeypatch):
    monkeypatch.setattr(device, "_library_uses", lambda kind: True)
    for flags, expected in (({"avx2", "fma"}, False), ({"avx512f"}, False), ({"amx_bf16"}, True), ({"bf16"}, True)):
        monkeypatch.setattr(device, "_processor_flags", lambda flags=flags: flags)
        device.computes_natively.cache_clear()
        assert device.computes_natively(torch.bfloat16) is expected
    monkeypatch.setattr(device, "_library_uses", lambda kind: False)
    device.computes_natively.cache_clear()
    assert device.computes_natively(torch.bfloat16) is False
    device.computes_natively.cache_clear()
