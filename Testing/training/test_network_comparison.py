"""``maemc-train compare``: two networks on the same cases, by the command that people type."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCLib.images.gray import read_gray
from MAEMCLib.inputs.nodule import Preprocessing
from MAEMCLib.inputs.view import views
from MAEMCLib.networks.configuration import BackboneConfiguration
from MAEMCLib.networks.heads.linear import LinearHead
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.data.cohort import join
from MAEMCTrainingLib.data.kinds import KINDS
from MAEMCTrainingLib.data.sources import Source
from MAEMCTrainingLib.engine.configuration import Augmentation
from MAEMCTrainingLib.evaluation.predictions import read_predictions
from MAEMCTrainingLib.network_comparison.compared_maps import reason_against_maps
from MAEMCTrainingLib.network_comparison.compared_network import ComparedNetwork, open_networks
from MAEMCTrainingLib.network_comparison.comparing import compare_networks
from PIL import Image

QUIET = ["--quiet", "--device", "cpu", "--threads", "1"]
SMALL = ["--preset", "tiny", "--threads", "1", "--device", "cpu", "--quiet"]
TRANSFORMER = [
    *("encoder.image_size=32", "encoder.patch_size=8", "encoder.width=32", "encoder.depth=2", "encoder.heads=4"),
    *("decoder.width=16", "decoder.depth=1", "decoder.heads=2"),
]


def draw_pictures(folder, cases, seed):
    """A manifest of pictures with disks, small for benign and large for malignant; every third without a label."""
    draws = np.random.default_rng(seed)
    rows = []
    for number in range(cases):
        label = number % 2
        y, x = np.mgrid[:64, :64] - np.array([32, 32])[:, None, None] - draws.integers(-8, 9, 2)[:, None, None]
        gray = draws.normal(60, 15, (64, 64)) + 150 * (np.hypot(x, y) < (16 if label else 7))
        name = f"{seed}-{number}.png"
        Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8)).save(folder / name)
        rows.append(
            {
                "case_id": f"case {seed}-{number}",
                "patient_id": f"patient {seed}-{number // 2 * 2 + number % 2 if number < 20 else number}",
                "image": name,
                "kind": "image",
                "label": "" if number % 3 == 2 else label,
                "modality": "US" if number % 4 < 2 else "MG",
                "anatomy": "BREAST" if number % 8 < 4 else "",
            }
        )
    path = folder / f"manifest {seed}.csv"
    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """A folder: ``mae`` and ``moco`` learned from manifest 1, ``tuned`` and ``probe`` from moco on manifest 2."""
    folder = tmp_path_factory.mktemp("networks")
    environment = pytest.MonkeyPatch()
    environment.setenv("MAEMC_HOME", str(folder / "home"))
    first, second = (str(draw_pictures(folder, 24, seed)) for seed in (1, 2))
    pretrain = ["pretrain", "--data", first, *SMALL, "epochs=1"]
    assert main([*pretrain, "--method", "mae", "--output", str(folder / "mae"), *TRANSFORMER]) == 0
    moco = ["--method", "moco-v2", "--output", str(folder / "moco"), "encoder.image_size=96", "batch=8"]
    assert main([*pretrain, *moco]) == 0
    finetune = ["finetune", "--from", str(folder / "moco"), "--data", second, "--folds", "2", *SMALL, "epochs=2"]
    assert main([*finetune, "--output", str(folder / "tuned"), "validation_fraction=0.2", "batch=8"]) == 0
    assert main([*finetune, "--output", str(folder / "probe"), "validation_fraction=0.2", "--linear-probe"]) == 0
    model = ["--output", str(folder / "tuned.maemc"), "--id", "tuned"]
    assert main(["export", str(folder / "tuned"), *model, "--quiet"]) == 0
    yield folder
    environment.undo()


def compare(jobs, output, first, second, *words, data="manifest 2.csv"):
    """What comparison.json holds. Names of the folder's jobs, or scratch."""
    networks = [name if name == "scratch" else str(jobs / name) for name in (first, second)]
    assert main(["compare", *networks, "--data", str(jobs / data), "--output", str(output), *QUIET, *words]) == 0
    return json.loads((output / "comparison.json").read_text())


def test_a_network_and_itself(jobs, tmp_path):
    report = compare(jobs, tmp_path, "tuned", "tuned")
    assert report["cka"]["diagonal"] == pytest.approx([1.0] * len(report["cka"]["layers_a"]))
    assert report["cka"]["layers_a"] == ["input", "act1", "layer1", "layer2", "layer3", "layer4", "features"]
    (label,) = report["classes"]
    assert label["spaces"]["a"] == label["spaces"]["b"] != label["spaces"]["pixels"]
    assert label["counts"] == {"benign": 8, "malignant": 8} and label["unknown"] == 8 and label["majority"] == 0.5
    assert report["maps"]["iou"]["value"] == 1 > report["maps"]["iou_of_different_patients"]["value"]
    assert report["data"]["cases"] == 24


def test_what_is_written(jobs, tmp_path):
    words = ["--columns", "modality,modality+anatomy"]
    report = compare(jobs, tmp_path, "probe", "tuned", *words)
    named = {row["name"]: row for row in report["classes"]}
    assert list(named) == ["label", "modality", "modality+anatomy"]
    assert named["modality"]["counts"] == {"MG": 12, "US": 12}
    assert named["modality+anatomy"]["counts"] == {"MG + BREAST": 6, "US + BREAST": 6}
    assert named["modality+anatomy"]["unknown"] == 12
    pictures = {row["picture"] for row in report["classes"]} | {"cka.png", "maps.png"}
    assert {path.name for path in tmp_path.glob("*.png")} == pictures and len(pictures) == 5
    for name in pictures:
        assert Image.open(tmp_path / name).size[0] > 600
    page = (tmp_path / "comparison.html").read_text()
    assert page.count("<img") == 5 and page.count("Research only, not for clinical use.") >= 3
    assert "http:" not in page and "https:" not in page and str(jobs) not in page
    assert str(jobs) not in (tmp_path / "comparison.json").read_text()
    again = compare(jobs, tmp_path, "probe", "tuned", *words)
    assert again == report
    compare(jobs, tmp_path, "mae", "tuned")  # fewer pictures: those of the comparison before go
    assert {path.name for path in tmp_path.glob("*.png")} == {"cka.png", "tsne-1-label.png"}


def test_pixels_are_the_first_layer_of_both(jobs, tmp_path):
    """Different sides, and different networks: what goes in is still the same, and the heat map is not square."""
    report = compare(jobs, tmp_path, "mae", "moco")
    cka = report["cka"]
    assert cka["layers_a"] == ["input", "block 1", "block 2", "features"] and len(cka["layers_b"]) == 7
    assert np.shape(cka["values"]) == (4, 7) and cka["diagonal"] is None
    assert 0.9 < cka["values"][0][0] < 1  # 32 and 96 pixels of the same pictures
    assert report["a"]["side"] == 32 and report["b"]["side"] == 96
    assert "transformer" in report["maps"]["reason"]


def test_scratch_is_the_architecture_of_the_other_drawn_anew(jobs, tmp_path):
    report = compare(jobs, tmp_path, "scratch", "mae")
    assert report["a"]["architecture"] == report["b"]["architecture"] and report["maps"]["kind"] == "attention rollout"
    assert report["a"]["patients_seen"] == 0 and report["a"]["patients"] == "It was trained on no patient."
    assert report["cka"]["diagonal"][0] == pytest.approx(1) and report["cka"]["diagonal"][-1] < 0.999
    first, second = open_networks(str(jobs / "tuned"), "scratch")
    assert second.is_classifier and not torch.equal(first.module.head.weight, second.module.head.weight)


def test_the_fold_model_and_the_bundles_first_member_are_one(jobs, tmp_path):
    report = compare(jobs, tmp_path, "tuned", "tuned.maemc")
    assert report["cka"]["diagonal"] == pytest.approx([1.0] * 7) and report["maps"]["iou"]["value"] == 1
    assert report["b"]["patients_unknown"] and "does not say which patients" in report["b"]["patients"]
    assert "first of its 2 members" in report["b"]["what"]
    assert report["classes"][0]["unseen"] is None  # nobody can tell
    assert "look better than those of others" in (tmp_path / "comparison.html").read_text()


def test_what_tells_more_than_two_classes_apart_has_no_map_to_compare():
    module = LinearHead(BackboneConfiguration("resnet18", 64), 3)
    network = ComparedNetwork("three", "", module, Preprocessing(), Augmentation(), KINDS["nodule"])
    assert "for the second of two classes, and three and three tell more apart" in reason_against_maps(
        [network, network]
    )


@pytest.mark.soak
def test_whom_each_network_has_seen(jobs, tmp_path, monkeypatch):
    """The model of the first fold has not seen the patients that this fold tests; moco has seen none of these."""
    monkeypatch.setenv("MAEMC_HOME", str(jobs / "home"))
    table = read_predictions(jobs / "tuned" / "predictions.csv")
    tested = {patient for patient, fold in zip(table.patients, table.folds, strict=True) if fold == 0}
    trained = set(table.patients) - tested
    report = compare(jobs, tmp_path, "moco", "tuned")
    assert report["a"]["patients_seen"] == 0 and report["b"]["patients_seen"] == len(trained) > 0
    assert not report["a"]["patients_unknown"] and not report["b"]["patients_unknown"]
    assert report["classes"][0]["unseen"] == len(tested) and tested.isdisjoint(trained)
    assert report["classes"][0]["spaces"]["a"]["nearest_of_unseen"]["n"] == len(tested)
    assert "moco has no linear layer" in report["maps"]["reason"] and not (tmp_path / "maps.png").exists()
    first = compare(jobs, tmp_path, "moco", "tuned", data="manifest 1.csv")
    # A fine-tuned network has also learned from the patients of its pre-training.
    assert first["a"]["patients_seen"] == first["b"]["patients_seen"] == first["data"]["patients"]
    assert first["classes"][0]["unseen"] is None
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "another home"))  # and with it another key of the pseudonyms
    other = compare(jobs, tmp_path / "other", "moco", "tuned")
    assert other["a"]["patients_seen"] is None and other["b"]["patients_unknown"]
    assert "made with another key" in other["a"]["patients"] and other["classes"][0]["unseen"] is None


def test_figures_are_of_the_presented_cases(jobs, tmp_path):
    """The features and the nearest neighbors, computed here from the cases as scoring sees them."""
    report = compare(jobs, tmp_path, "tuned", "scratch")
    network = open_networks(str(jobs / "tuned"), "scratch")[0]
    cohort = join([Source(jobs / "manifest 2.csv").open(tmp_path / "own", jobs / "home")])
    images = [
        views(read_gray(row.image), network.preprocessing)[0] for row in read_manifest(jobs / "manifest 2.csv").rows
    ]
    with torch.no_grad():
        found = network.encoder.features(torch.from_numpy(np.stack(images))[:, None]).numpy()
    for space, values in (("pixels", np.stack(images).reshape(len(images), -1)), ("a", found)):
        right = []
        for i in np.flatnonzero(cohort.labels >= 0):
            others = [j for j in np.flatnonzero(cohort.labels >= 0) if cohort.patients[j] != cohort.patients[i]]
            nearest = min(others, key=lambda j: np.sum((values[i] - values[j]) ** 2))
            right.append(cohort.labels[nearest] == cohort.labels[i])
        assert report["classes"][0]["spaces"][space]["nearest"]["value"] == pytest.approx(np.mean(right))


def test_fewer_cases_are_drawn_by_seed(jobs, tmp_path):
    report = compare(jobs, tmp_path, "mae", "scratch", "--cases", "10")
    assert report["data"]["cases"] == 10 and report["data"]["of_cases"] == 24
    assert report["perplexity"] == 3
    assert compare(jobs, tmp_path, "mae", "scratch", "--cases", "10") == report


def rewritten(jobs, name, change):
    """Manifest 2 with other rows: ``change`` is called with its rows."""
    with open(jobs / "manifest 2.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows = change(rows)
    with open(jobs / name, "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return name


def test_one_class_gives_no_figures_and_says_so(jobs, tmp_path):
    data = rewritten(jobs, "benign.csv", lambda rows: [row for row in rows if row["label"] == "0"])
    report = compare(jobs, tmp_path, "mae", "scratch", data=data)
    assert report["classes"][0]["reason"] == "all 8 cases are benign" and report["classes"][0]["spaces"] == {}
    assert "No figures: all 8 cases are benign" in (tmp_path / "comparison.html").read_text()
    data = rewritten(jobs, "unlabeled.csv", lambda rows: [row | {"label": ""} for row in rows])
    assert compare(jobs, tmp_path, "mae", "scratch", data=data)["classes"][0]["reason"] == "no case says anything there"


def test_cases_that_are_all_the_same(jobs, tmp_path):
    data = rewritten(jobs, "same.csv", lambda rows: [row | {"image": rows[0]["image"]} for row in rows])
    report = compare(jobs, tmp_path, "mae", "scratch", data=data)
    assert report["same"] == ["pixels", "a", "b"] and report["classes"][0]["spaces"]["a"] == {}
    assert all(value is None for row in report["cka"]["values"] for value in row)
    assert (tmp_path / "cka.png").is_file()


def refused(jobs, tmp_path, capsys, first, second, *words, data="manifest 2.csv"):
    """(exit code, message); nothing was written."""
    data = data if isinstance(data, str) and data.startswith("/") else str(jobs / data)
    code = main(["compare", first, second, "--data", data, "--output", str(tmp_path / "out"), *QUIET, *words])
    assert not list((tmp_path / "out").glob("*.*"))
    return code, capsys.readouterr().err


def test_what_cannot_be_compared(jobs, tmp_path, capsys, balls):
    mae, moco = str(jobs / "mae"), str(jobs / "moco")
    code, text = refused(jobs, tmp_path, capsys, "scratch", "scratch")
    assert code == 2 and "Both are scratch" in text
    code, text = refused(jobs, tmp_path, capsys, "imagenet", mae)
    assert code == 2 and "--from imagenet" in text
    code, text = refused(jobs, tmp_path, capsys, mae, str(tmp_path / "gone"))
    assert code == 3 and "no job folder" in text
    code, text = refused(jobs, tmp_path, capsys, mae, moco, "--columns", "modality,scanner")
    assert code == 3 and "no column scanner" in text and "anatomy" in text
    code, text = refused(jobs, tmp_path, capsys, mae, moco, "--columns", "modality,,")
    assert code == 2 and "empty name" in text
    code, text = refused(jobs, tmp_path, capsys, mae, moco, "--cases", "3")
    assert code == 2 and "at least 4" in text
    code, text = refused(jobs, tmp_path, capsys, mae, moco, data=str(balls))
    assert code == 3 and "holds nodules in CT, but the networks look at 2-D pictures" in text
    code, text = refused(jobs, tmp_path, capsys, mae, moco, data=str(tmp_path))
    assert code == 3 and "is a folder without a cache" in text
    few = rewritten(jobs, "few.csv", lambda rows: rows[:3])
    code, text = refused(jobs, tmp_path, capsys, mae, moco, data=few)
    assert code == 3 and "3 cases" in text
    state = json.loads((jobs / "moco" / "state.json").read_text())
    (jobs / "moco" / "state.json").write_text(json.dumps(state | {"status": "stopped"}))
    code, text = refused(jobs, tmp_path, capsys, mae, moco)
    (jobs / "moco" / "state.json").write_text(json.dumps(state))
    assert code == 3 and "is stopped, not finished" in text
    state = json.loads((jobs / "tuned" / "state.json").read_text())
    (jobs / "tuned" / "state.json").write_text(json.dumps(state | {"status": "failed"}))
    code, text = refused(jobs, tmp_path, capsys, mae, str(jobs / "tuned"))
    (jobs / "tuned" / "state.json").write_text(json.dumps(state))
    assert code == 3 and "is failed, not finished" in text
    assert main(["compare", mae, moco, "--data", str(jobs / "manifest 2.csv"), "--output", mae, *QUIET]) == 2
    assert "holds a job" in capsys.readouterr().err
    caches = next((jobs / "mae" / "caches").iterdir())
    code, text = refused(jobs, tmp_path, capsys, mae, moco, "--columns", "vendor", data=str(caches))
    assert code == 3 and "has no column vendor" in text and "give the manifest" in text


@pytest.mark.parametrize("stage", ["Showing", "t-SNE 3", "Drawing"])
def test_what_was_there_stays_until_all_is_computed(jobs, tmp_path, stage):
    (tmp_path / "comparison.json").write_text("old")

    def interrupt(text, done, total):
        if text.startswith(stage):
            raise KeyboardInterrupt

    words = (
        (str(jobs / "mae"), "scratch"),
        jobs / "manifest 2.csv",
        tmp_path,
        jobs / "home",
        torch.device("cpu"),
        [],
        500,
    )
    with pytest.raises(KeyboardInterrupt):
        compare_networks(*words, progress=interrupt)
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.json", "caches"}
    assert (tmp_path / "comparison.json").read_text() == "old"


def test_ctrl_c(jobs, tmp_path):
    words = ["compare", str(jobs / "moco"), "scratch", "--data", str(jobs / "manifest 2.csv"), "--output"]
    # The first draw of t-SNE imports scikit-learn: the signal comes before anything is written.

    def heed_interrupts():  # what runs in the background of a shell, as these tests may, inherits that it ignores them
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-m", "MAEMCTrainingLib", *words, str(tmp_path / "out"), *QUIET],
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    patience = time.monotonic() + 60
    while not (tmp_path / "out" / "caches").exists() and time.monotonic() < patience:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130 and "Stopped. No result was written" in message
    assert "Traceback" not in message and not list((tmp_path / "out").glob("comparison.*"))


def test_nodules(balls, tmp_path, monkeypatch, capsys):
    """MAEMC-NET's own encoder on montages, from the command; cases without a label are shown too."""
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "home"))
    network = ["encoder.width=32", "encoder.depth=2", "encoder.heads=4", "decoder.width=16", "decoder.depth=1"]
    pretrain = ["pretrain", "--data", str(balls), "--output", str(tmp_path / "pre"), *SMALL, "epochs=1", *network]
    assert main([*pretrain, "decoder.heads=2", "encoder.patch_size=50"]) == 0
    out = ["--output", str(tmp_path / "out"), "--columns", "diameter_mm"]
    assert main(["compare", str(tmp_path / "pre"), "scratch", "--data", str(balls), *out, "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert report["data"]["image"] == "the axial plane of each nodule" and report["data"]["cases"] == 16
    assert report["classes"][0]["unknown"] == 4 and len(report["classes"][1]["counts"]) == 16
    assert report["maps"]["grids"] == [5, 5] and report["maps"]["kind"] == "attention rollout"
    assert "CKA of the same layers" in printed and "Research only" in printed
    coarse = read_manifest(balls)
    other = write_manifest(tmp_path / "other.csv", coarse.rows)
    cache = ["cache", str(other), "--output", str(tmp_path / "cache"), "--slice-step", "2", "--quiet"]
    assert main(cache) == 0
    assert main(["compare", str(tmp_path / "pre"), "scratch", "--data", str(tmp_path / "cache"), *out[:2], *QUIET]) == 3
    assert "are 1 mm apart, these are 2 mm apart" in capsys.readouterr().err


@pytest.mark.soak
def test_real_slices(lidc_slices, tmp_path, monkeypatch):
    """A few dozen nodules of LIDC-IDRI: a network that learned from some of them, and one that learned nothing."""
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "home"))
    everything = str(tmp_path / "slices.csv")
    assert main(["import", "images", str(lidc_slices), "--output", everything, "--quiet"]) == 0
    with open(everything, newline="") as stream:
        rows = list(csv.DictReader(stream))
    patients = list(dict.fromkeys(row["patient_id"] for row in rows))
    for name, chosen in (("pre.csv", patients[:12]), ("shown.csv", patients[6:30])):
        with open(tmp_path / name, "w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(row for row in rows if row["patient_id"] in chosen)
    pretrain = ["pretrain", "--method", "moco-v2", "--data", str(tmp_path / "pre.csv"), *SMALL, "epochs=1", "batch=16"]
    assert main([*pretrain, "--output", str(tmp_path / "pre"), "view_share=0.5"]) == 0
    out = ["--output", str(tmp_path / "out"), "--columns", "malignancy_median_high"]
    words = ["compare", str(tmp_path / "pre"), "scratch", "--data", str(tmp_path / "shown.csv")]
    assert main([*words, *out, *QUIET]) == 0
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    shown = {row["volume_id"] for row in rows if row["patient_id"] in patients[6:30]}
    assert report["data"]["cases"] == len(shown) > 24 and report["data"]["patients"] == 24
    assert report["a"]["patients_seen"] == 6 and report["a"]["shown"] == "the central 50% of the picture's side"
    diagonal = report["cka"]["diagonal"]
    assert diagonal[0] == pytest.approx(1) and diagonal[1] > 0.95 > diagonal[-2] > 0
    ratings = report["classes"][1]
    assert set(ratings["counts"]) <= set("12345") and sum(ratings["counts"].values()) == len(shown)
    for space in ratings["spaces"].values():
        assert 0 < space["nearest"]["value"] < 1 and space["nearest"]["low"] < space["nearest"]["high"]
