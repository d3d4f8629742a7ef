"""Pictures from the command line, in batches and from Slicer: files, bad input; and what other bundles keep doing."""

import csv
import json

import numpy as np
import pytest
from MAEMCLib.cases.case import Case
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import content_sha256
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.region import NoduleROI
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.scoring import CaseScorer, prepare
from MAEMCLib.worker.protocol import encode_array
from MAEMCLib.worker.server import Server
from PIL import Image

from Testing.core.picture_models import POINT, picture_case


def test_score_prints_a_table_without_points(maemc, vit_bundle, picture):
    code, out, err = maemc("score", picture, "--model", vit_bundle)
    assert (code, err) == (0, "") and out.startswith("picture") and "\nP1 " in out
    assert "L, P, S" not in out and "Research only, not for clinical use." in out


@pytest.mark.parametrize("bundle", ["vit_bundle", "resnet_bundle"])
def test_score_writes_table_report_and_overlay(maemc, picture, tmp_path, bundle, request):
    model = request.getfixturevalue(bundle)
    code, out, _ = maemc("score", picture, "--model", model, "--json", "--output", tmp_path / "aus ü")
    assert code == 0
    (result,) = json.loads(out)["nodules"]
    assert (
        result["point_lps"] is None
        and 0 < result["probability"] < 1
        and result["image"] == content_sha256(picture)[:12]
    )
    assert {path.name for path in (tmp_path / "aus ü").iterdir()} == {
        "results.csv",
        "results.json",
        "report.html",
        "report.pdf",
        "overlay.png",
    }
    with (tmp_path / "aus ü" / "results.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["probability"]) == pytest.approx(result["probability"], abs=1e-6) and row["l_mm"] == ""
    page = (tmp_path / "aus ü" / "report.html").read_text(encoding="utf-8")
    assert "Picture report" in page and "not for clinical use" in page and "L, P, S" not in page
    assert page.count("data:image/png;base64,") == 2 and "://" not in page and "xplanation" not in page
    assert np.ptp(np.asarray(Image.open(tmp_path / "aus ü" / "overlay.png"))) > 200


def test_explain_writes_every_map_as_picture_and_array(maemc, vit_bundle, picture, tmp_path):
    code, out, _ = maemc("explain", picture, "--model", vit_bundle, "--output", tmp_path / "e")
    names = [
        f"{kind}{end}"
        for kind in ("attention", "rollout", "occlusion", "heads")
        for end in (".png", ".npy", "_interpolated.npy")
    ]
    assert code == 0 and {path.name for path in (tmp_path / "e").iterdir()} == {*names, "maps.json"}
    assert "Rank correlation" in out and "turned and shifted at random" in out and "xplanation" not in out
    assert "Research only, not for clinical use." in out
    load = {name: np.load(tmp_path / "e" / f"{name}.npy") for name in ("attention", "rollout", "heads")}
    grown = {name: np.load(tmp_path / "e" / f"{name}_interpolated.npy") for name in load}
    assert load["heads"].shape == (2, 4, 8, 8) and grown["heads"].shape == (2, 4, 64, 64)
    np.testing.assert_allclose(load["heads"].mean(axis=(0, 1)), load["attention"], atol=1e-6)
    assert load["rollout"].shape == (8, 8) and grown["rollout"].shape == (64, 64)
    document = json.loads((tmp_path / "e" / "maps.json").read_text(encoding="utf-8"))
    assert document["view"] == {"top": -10.0, "left": 0.0, "width": 90.0}
    assert [entry["kind"] for entry in document["maps"]] == ["attention", "rollout", "occlusion"]
    for entry in document["maps"]:
        assert set(entry["sanity"]) == {
            "randomized",
            "deletion",
            "insertion",
            "deletion_random",
            "insertion_random",
        }
        assert all(0 <= entry["sanity"][name] <= 1 for name in list(entry["sanity"])[1:])


def test_explain_of_a_convolutional_network_is_grad_cam_and_says_so(maemc, resnet_bundle, picture, tmp_path):
    code, out, _ = maemc("explain", picture, "--model", resnet_bundle, "--output", tmp_path / "e")
    assert code == 0 and "no attention weights; Grad-CAM" in out
    names = {path.name for path in (tmp_path / "e").iterdir()}
    maps = {f"{kind}{end}" for kind in ("grad-cam", "occlusion") for end in (".png", ".npy", "_interpolated.npy")}
    assert names == {*maps, "maps.json"}


def write_bad(folder, ct):
    random = np.random.default_rng(0)
    Image.fromarray(np.full((1, 1), 9, np.uint8)).save(folder / "one.png")
    Image.fromarray(np.full((50, 50), 90, np.uint8)).save(folder / "constant.png")
    (folder / "text.png").write_text("not a picture")
    for name, shape in (("color", (60, 50, 3)), ("long", (20, 900)), ("small", (8, 8))):
        Image.fromarray(random.integers(0, 255, shape).astype(np.uint8)).save(folder / f"{name}.png")
    return {"ct.nrrd": ct}


@pytest.mark.parametrize(
    "name, words",
    [
        ("one.png", "1 x 1 pixels"),
        ("constant.png", "one gray value"),
        ("text.png", "no PNG or JPEG"),
        ("none.png", "There is no file or folder"),
        ("ct.nrrd", "is a volume"),
        (".", "is a folder"),
    ],
)
def test_pictures_that_cannot_be_scored(maemc, vit_bundle, tmp_path, ct, name, words):
    write_bad(tmp_path, ct)
    code, out, err = maemc("score", tmp_path / name, "--model", vit_bundle, "--json", "--output", tmp_path / "out")
    assert (code, words in err) == (3, True), err
    (result,) = json.loads(out)["nodules"]
    assert result["status"] == "failed" and result["probability"] is None and words in result["message"]
    assert not (tmp_path / "out" / "overlay.png").exists()
    code, _, err = maemc("explain", tmp_path / name, "--model", vit_bundle, "--output", tmp_path / "e")
    assert (code, words in err) == (3, True), err


@pytest.mark.parametrize("name, gate", [("color", "grey"), ("long", "red"), ("small", "amber")])
def test_odd_pictures_are_scored_and_marked(maemc, vit_bundle, tmp_path, ct, name, gate):
    write_bad(tmp_path, ct)
    code, out, _ = maemc(
        "score", tmp_path / f"{name}.png", "--model", vit_bundle, "--json", "--output", tmp_path / "out"
    )
    (result,) = json.loads(out)["nodules"]
    assert (code, result["status"], result["gate"]) == (0, "scored", gate)
    assert (tmp_path / "out" / "overlay.png").is_file()


def test_points_and_models_that_do_not_go_together(maemc, vit_bundle, random_bundle, picture, ct, tmp_path):
    for command in ("score", "explain"):
        more = ["--output", tmp_path / "o"] if command == "explain" else []
        code, _, err = maemc(command, picture, *POINT, "--model", vit_bundle, *more)
        assert (code, "--point does not go with it" in err) == (2, True), err
        code, _, err = maemc(command, ct, "--model", random_bundle, *more)
        assert (code, "No point was given" in err) == (2, True), err
        code, _, err = maemc(command, picture, *POINT, "--model", random_bundle, *more)
        assert (code, "2 dimensions" in err) == (3, True), err


def test_a_model_of_pictures_in_the_hands_of_slicer(vit_bundle):
    """The panel prepares a nodule in its own process, and the worker gets its region: both say what is wrong."""
    bundle = ModelBundle.open(vit_bundle)
    with pytest.raises(InputError, match="2-D pictures"):
        prepare(
            Case("", "", CTVolume(np.zeros((60, 60, 60), np.int16), np.eye(4)), point_lps=(30, 30, 30)), bundle.card
        )
    (answer,) = asked("predict", vit_bundle)
    assert (answer["kind"], answer["code"]) == ("error", "input-kind") and "2-D pictures" in answer["message"]


def asked(request, model):
    stacks = np.random.default_rng(1).uniform(-1100, 300, (2, 25, 50, 50)).astype(np.float32)
    nodule = {"axial": encode_array(stacks[0]), "coronal": encode_array(stacks[1])}
    answers = []
    message = {"id": 1, "request": request, "model": str(model), "device": "cpu", "nodules": [nodule]}
    Server(answers.append).answer(json.dumps(message).encode())
    return [answer for answer in answers if answer["kind"] != "progress"]


def test_batch_takes_rows_of_pictures_and_slices(maemc, vit_bundle, picture, ct, tmp_path):
    write_bad(tmp_path, ct)
    lines = [
        "case_id,patient_id,image,kind,volume_id,slice_index,l_mm,p_mm,s_mm",
        f"a,p1,{picture.name},image,,,,,",
        f"b,p1,{picture.name},slice,v,3,,,",
        "c,p2,text.png,image,,,,,",
        "d,p3,ct.nrrd,nodule,,,35,35,35",
        "e,p4,color.png,slice,w,1,,,",
        "f,p4,none.png,image,,,,,",
        *(f"g{number},p5,{picture.name},image,,,,," for number in range(15)),  # more than are computed at once
    ]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, out, _ = maemc("batch", tmp_path / "m.csv", "--model", vit_bundle, "--output", tmp_path / "r.csv")
    assert code == 3 and "18 scored, 3 failed" in out
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["case_id"]: row for row in csv.DictReader(stream)}
    assert list(rows)[:6] == list("abcdef") and len({rows[name]["probability"] for name in ("a", "b", "g14")}) == 1
    assert "no PNG" in rows["c"]["message"] and "nodule in a CT" in rows["d"]["message"]
    (result,) = json.loads(maemc("score", picture, "--model", vit_bundle, "--json")[1])["nodules"]
    assert float(rows["a"]["probability"]) == pytest.approx(result["probability"], abs=1e-6)


def test_batch_of_nodules_refuses_rows_of_pictures(maemc, random_bundle, picture, tmp_path):
    (tmp_path / "m.csv").write_text(f"case_id,patient_id,image,kind\na,p1,{picture.name},image\n", encoding="utf-8")
    code, _, _ = maemc("batch", tmp_path / "m.csv", "--model", random_bundle, "--output", tmp_path / "r.csv")
    assert code == 3 and "only nodules can be scored" in (tmp_path / "r.csv").read_text(encoding="utf-8")


@pytest.mark.soak
def test_nodules_of_a_convolutional_network_without_autoencoder(maemc, resnet_nodules, ct, tmp_path):
    code, out, _ = maemc("explain", ct, *POINT, "--model", resnet_nodules, "--output", tmp_path / "e")
    assert code == 0 and "holds no autoencoder" in out and "Grad-CAM" in out
    maps = {"attention_axial.nrrd", "attention_coronal.nrrd"}
    assert {path.name for path in (tmp_path / "e").iterdir()} == {
        *("figure.png", "seen.png", "explanation.json"),
        *maps,
    }
    code, _, _ = maemc("score", ct, *POINT, "--model", resnet_nodules, "--output", tmp_path / "s", "--quiet")
    names = {path.name for path in (tmp_path / "s" / "N1").iterdir()}
    assert code == 0 and names == {
        *("figure.png", "seen.png", "explanation.json", "montage_axial.png", "montage_coronal.png"),
        *maps,
    }
    assert asked("predict", resnet_nodules)[0]["kind"] == "result"
    answer = asked("explain", resnet_nodules)[-1]
    assert set(answer["attention"]) == {"axial", "coronal"} and answer["reconstruction"] == {} == answer["error"]


def test_grad_cam_of_a_nodule_lies_in_its_geometry(resnet_nodules):
    """The tile that is lit is that of the slices which the network was shown there."""
    from MAEMCLib.explain.explanation import explain
    from MAEMCLib.inputs.nodule import to_montage

    stacks = np.random.default_rng(3).uniform(-1100, 300, (2, 25, 50, 50)).astype(np.float32)
    predictor = Predictor(ModelBundle.open(resnet_nodules), "cpu")
    roi = NoduleROI(stacks[0], stacks[1], (0.0, 0.0, 0.0), 1.0, 0.0)
    explanation = explain(predictor, Prepared(roi))
    assert explanation.attention_kind == "Grad-CAM" and explanation.reconstruction == {} == explanation.error
    for plane in ("axial", "coronal"):
        grid = explanation.maps[plane][0].grid
        montage = to_montage(explanation.attention[plane])
        assert montage.min() >= 0 and montage.max() <= 1
        if grid.max() > 0:
            row, column = np.unravel_index(grid.argmax(), grid.shape)
            cell = 250 // len(grid)
            assert montage[row * cell + cell // 2, column * cell + cell // 2] > 0.9


CRASHING = """
import os, signal
from MAEMCLib.images import reading_process as module
real = module.read_gray
module.read_gray = lambda path: os.kill(os.getpid(), signal.SIGSEGV) if path.name == "crash.dcm" else real(path)
module.main()
"""


def test_a_picture_that_crashes_its_reader_costs_itself(vit_bundle, picture, monkeypatch):
    monkeypatch.setattr("MAEMCLib.images.reading_process._PROGRAM", CRASHING)
    crash = picture.with_name("crash.dcm")
    crash.write_bytes(bytes(128) + b"DICM")
    predictor = Predictor(ModelBundle.open(vit_bundle), "cpu")
    with CaseScorer(predictor.card, lambda: predictor) as scorer:
        lost, kept = (one.result for one in scorer.score([picture_case(crash), picture_case(picture)]))
    assert (lost.status, kept.status) == ("failed", "scored")
    assert "SIGSEGV" in lost.message
