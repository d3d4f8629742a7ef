"""Bundles of 2-D pictures from end to end: cards, numbers, files, bad input; and what other bundles keep doing."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from MAEMCLib.__main__ import main
from MAEMCLib.applicability import gate_of
from MAEMCLib.cases.case import Case
from MAEMCLib.errors import InputError, ModelError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import content_sha256, write_volume
from MAEMCLib.images.gray import square
from MAEMCLib.inputs import view as picture_view
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.region import NoduleROI
from MAEMCLib.inputs.settings import PicturePreprocessing
from MAEMCLib.inputs.view import View
from MAEMCLib.models.bundle import Member, ModelBundle, save_bundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.networks.encoders import encoder_configuration
from MAEMCLib.networks.heads.linear import LinearHead
from MAEMCLib.scoring import CaseScorer, prepare
from MAEMCLib.worker.protocol import encode_array
from MAEMCLib.worker.server import Server
from PIL import Image

VIT = {"image_size": 64, "patch_size": 8, "width": 32, "depth": 2, "heads": 4, "position": "2d"}
RESNET = {"backbone": "resnet18", "image_size": 64}
POINT = ["--point", "35,35,35"]


def card_of(random_card, encoder, **changes):
    return {
        **random_card,
        "id": "pictures",
        "input": "picture",
        "architecture": {"encoder": encoder},
        "preprocessing": {"image_size": encoder["image_size"], "view_share": 1.0, "mean": 0.3, "std": 0.25},
        **changes,
    }


def members_of(encoder, count=1):
    networks = [LinearHead(encoder_configuration(encoder), 2, seed=seed) for seed in range(count)]
    with torch.no_grad():
        for network in networks:
            network.head.weight.mul_(30)
    return [Member("classifier", f"classifier-{n}", network.state_dict()) for n, network in enumerate(networks)]


def picture_case(path):
    return Case("", "", path, "image", nodule_id="P1")


def scored_picture(path, predictor):
    with CaseScorer(predictor.card, lambda: predictor) as scorer:
        (found,) = scorer.score([picture_case(path)])
    return found.result, found.prepared


@pytest.fixture(scope="module")
def vit_bundle(tmp_path_factory, random_card):
    path = tmp_path_factory.mktemp("vit") / "vit.maemc"
    return save_bundle(path, card_of(random_card, VIT), members_of(VIT, 2)).path


@pytest.fixture(scope="module")
def resnet_bundle(tmp_path_factory, random_card):
    path = tmp_path_factory.mktemp("resnet") / "resnet.maemc"
    return save_bundle(path, card_of(random_card, RESNET), members_of(RESNET)).path


@pytest.fixture(scope="module")
def resnet_nodules(tmp_path_factory, random_card):
    """A model of nodules with a convolutional backbone and without an autoencoder."""
    encoder = {**RESNET, "image_size": 96}
    card = {**random_card, "architecture": {"encoder": encoder}}
    return save_bundle(tmp_path_factory.mktemp("nodules") / "n.maemc", card, members_of(encoder)).path


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "Bild ä 1.png"
    values = np.random.default_rng(0).integers(0, 255, (70, 90)).astype(np.uint8)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def ct(tmp_path):
    array = np.random.default_rng(0).integers(-1000, 300, (70, 70, 70)).astype(np.int16)
    write_volume(CTVolume(array, np.eye(4)), tmp_path / "ct.nrrd")
    return tmp_path / "ct.nrrd"


@pytest.fixture
def maemc(capfd):
    def run(*arguments):
        code = main([*(str(argument) for argument in arguments), "--device", "cpu"])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"input": "volume"}, "input 'volume'"),
        ({"input": None}, "input 'None'"),
        ({"input": []}, "input"),
        ({"fusion": "axial"}, "no axial plane"),
        ({"preprocessing": {"image_size": 64.5}}, "whole number"),
        ({"preprocessing": {"image_size": 64, "window_lower": -1000}}, "not understood"),
        ({"preprocessing": {"image_size": 64, "std": 0}}, "contradict"),
    ],
)
def test_cards_at_fault(tmp_path, random_card, changes, words):
    with pytest.raises(ModelError, match=words):
        save_bundle(tmp_path / "m.maemc", card_of(random_card, VIT, **changes), members_of(VIT))


def test_a_card_whose_sizes_differ(tmp_path, random_card):
    bundle = save_bundle(
        tmp_path / "m.maemc", card_of(random_card, VIT, preprocessing={"image_size": 32}), members_of(VIT)
    )
    with pytest.raises(ModelError, match="32 pixels"):
        Predictor(bundle, "cpu")


def test_a_card_without_input_means_nodules(random_bundle, vit_bundle):
    assert ModelBundle.open(random_bundle).card.input == "nodule"
    assert Predictor(ModelBundle.open(vit_bundle), "cpu").branches == ("picture",)


@pytest.mark.parametrize("encoder", [VIT, RESNET], ids=["vit", "resnet18"])
def test_probability_by_hand(tmp_path, random_card, picture, encoder):
    calibration = {"calibrated": True, "slope": 1.7, "intercept": -0.3}
    members = members_of(encoder, 2)
    predictor = Predictor(
        save_bundle(tmp_path / "m", card_of(random_card, encoder, calibration=calibration), members), "cpu"
    )
    shown = Image.fromarray(square(np.asarray(Image.open(picture)) / np.float32(255)))
    shown = (np.asarray(shown.resize((64, 64), Image.Resampling.BILINEAR)) - 0.3) / 0.25
    expected = []
    for member in members:
        network = LinearHead(encoder_configuration(encoder), 2)
        network.load_state_dict(member.tensors)
        with torch.no_grad():
            logits = network.eval().logits(torch.from_numpy(shown.astype(np.float32))[None, None])[0].double()
        expected.append(1 / (1 + math.exp(-(1.7 * float(logits[1] - logits[0]) - 0.3))))
    result, prepared = scored_picture(picture, predictor)
    assert result.probability == pytest.approx(np.mean(expected), abs=1e-5) and len(set(expected)) == 2
    assert (result.interval_low, result.interval_high) == pytest.approx((min(expected), max(expected)), abs=1e-5)
    assert (result.point_lps, result.status, result.padded_fraction) == (None, "scored", pytest.approx(1 - 70 / 90))
    image = predictor.image(prepared, "picture")
    twice = predictor.alone(np.stack([image, image]), "picture", prepared.values)
    assert predictor.probabilities(twice)[1, 1] == pytest.approx(result.probability, abs=1e-6)


def test_a_picture_at_several_angles_is_the_mean_of_their_logits(tmp_path, random_card, picture):
    """And its familiarity is that of the mean features, as the training measured them."""
    values = {"image_size": 64, "view_share": 64 / 90, "mean": 0.3, "std": 0.25}  # one pixel is one pixel
    members = members_of(RESNET, 2)

    def opened(angles):
        card = card_of(random_card, RESNET, preprocessing=values | {"angles": angles})
        return Predictor(save_bundle(tmp_path / f"{angles}", card, members), "cpu")

    upright, turned = opened(1), opened(4)
    _, prepared = scored_picture(picture, turned)
    image = upright.image(prepared, "picture")
    np.testing.assert_array_equal(turned.image(prepared, "picture"), image)  # what is explained is upright
    four = np.ascontiguousarray([np.rot90(image, turns) for turns in range(4)])
    logits, tokens = upright._outputs(upright.alone(four, "picture", prepared.values), None)
    margins = (logits[..., 1] - logits[..., 0]).mean(axis=1)
    expected = (1 / (1 + np.exp(-margins))).mean()
    (found,) = turned.predict([prepared])
    assert found.probability == pytest.approx(expected, abs=1e-4)
    assert abs(found.probability - upright.predict([prepared])[0].probability) > 1e-5
    seen = []
    turned.distances = [{"picture": lambda token, seen=seen: seen.append(token) or np.zeros(1)}] * 2
    turned.card = replace(turned.card, training_distances=[float(n) for n in range(101)])
    turned.predict([prepared])
    np.testing.assert_allclose(seen[0], tokens[0].mean(axis=0), atol=1e-3)


@pytest.mark.parametrize("shape", [(40, 40), (41, 64), (64, 41), (30, 51)])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_view_lies_where_the_network_looks(shape, share):
    """On a ramp each value of the network's input tells its own place in the picture."""
    settings = PicturePreprocessing(image_size=32, view_share=share)
    rows = np.repeat(np.arange(shape[0], dtype=np.float32)[:, None] + 100, shape[1], axis=1)
    view = View.of(rows, settings)
    shown = picture_view.views(rows, settings)[0]
    centers = view.top + (np.arange(32) + 0.5) * view.width / 32  # from the picture's border
    inside = (centers > 2) & (centers < shape[0] - 2)
    np.testing.assert_allclose(shown[inside, 16], centers[inside] - 0.5 + 100, atol=0.1)
    frame = (
        picture_view.views(np.ones(shape, np.float32), PicturePreprocessing(image_size=1024, view_share=share))[0] < 0.5
    )
    assert view.outside(rows) == pytest.approx(frame.mean(), abs=0.01)


def test_gate_and_warnings(tmp_path, random_card, vit_bundle):
    card = ModelBundle.open(vit_bundle).card

    def assessed(shape, of=card):
        values = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
        Image.fromarray(values).save(tmp_path / "x.png")
        return gate_of(prepare(picture_case(tmp_path / "x.png"), of).findings)

    assert assessed((64, 80)) == ("grey", ("likeness-unknown",))
    assert assessed((64, 160)) == ("amber", ("long",))
    assert assessed((64, 600))[0] == "red"
    assert assessed((12, 12))[1] == ("enlarged",)
    known = card_of(random_card, VIT, training_distances=[float(n) for n in range(101)])
    statistics = {
        "picture_mean": torch.zeros(32),
        "picture_covariance": torch.eye(32),
        "count": torch.tensor(50.0),
    }
    members = [*members_of(VIT), Member("statistics", "statistics-0", statistics)]
    predictor = Predictor(save_bundle(tmp_path / "known.maemc", known, members), "cpu")
    assert assessed((64, 80), predictor.card)[0] == "green"
    result, prepared = scored_picture(tmp_path / "x.png", predictor)
    with torch.no_grad():
        image = torch.from_numpy(predictor.image(prepared, "picture"))[None, None]
        token = predictor.members[0].encoder.features(image)
    distance = math.sqrt(float((token**2).mean()))  # covariance of identity: nothing to whiten
    assert result.ood_percentile == pytest.approx(distance, rel=0.03)  # the reference is 0, 1 ... 100 itself


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
        f"{kind}{end}" for kind in ("attention", "rollout", "heads") for end in (".png", ".npy", "_interpolated.npy")
    ]
    assert code == 0 and {path.name for path in (tmp_path / "e").iterdir()} == {*names, "maps.json"}
    assert "Rank correlation" in out and "in random order" in out and "xplanation" not in out
    assert "Research only, not for clinical use." in out
    load = {name: np.load(tmp_path / "e" / f"{name}.npy") for name in ("attention", "rollout", "heads")}
    grown = {name: np.load(tmp_path / "e" / f"{name}_interpolated.npy") for name in load}
    assert load["heads"].shape == (2, 4, 8, 8) and grown["heads"].shape == (2, 4, 64, 64)
    np.testing.assert_allclose(load["heads"].mean(axis=(0, 1)), load["attention"], atol=1e-6)
    assert load["rollout"].shape == (8, 8) and grown["rollout"].shape == (64, 64)
    document = json.loads((tmp_path / "e" / "maps.json").read_text(encoding="utf-8"))
    assert document["view"] == {"top": -10.0, "left": 0.0, "width": 90.0}
    assert [entry["kind"] for entry in document["maps"]] == ["attention", "rollout"]
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
    assert names == {"grad-cam.png", "grad-cam.npy", "grad-cam_interpolated.npy", "maps.json"}


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


def test_nodules_of_a_convolutional_network_without_autoencoder(maemc, resnet_nodules, ct, tmp_path):
    code, out, _ = maemc("explain", ct, *POINT, "--model", resnet_nodules, "--output", tmp_path / "e")
    assert code == 0 and "holds no autoencoder" in out and "Grad-CAM" in out
    maps = {"attention_axial.nrrd", "attention_coronal.nrrd"}
    assert {path.name for path in (tmp_path / "e").iterdir()} == {"figure.png", *maps}
    code, _, _ = maemc("score", ct, *POINT, "--model", resnet_nodules, "--output", tmp_path / "s", "--quiet")
    names = {path.name for path in (tmp_path / "s" / "N1").iterdir()}
    assert code == 0 and names == {"figure.png", "montage_axial.png", "montage_coronal.png", *maps}
    assert asked("predict", resnet_nodules)[0]["kind"] == "result"
    answer = asked("explain", resnet_nodules)[-1]
    assert set(answer["attention"]) == {"axial", "coronal"} and answer["reconstruction"] == {} == answer["error"]


def test_grad_cam_of_a_nodule_lies_in_its_geometry(resnet_nodules):
    """The tile that is lit is that of the slices which the network was shown there."""
    from MAEMCLib.explain.explanation import explain
    from MAEMCLib.inputs.montage import to_montage

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
