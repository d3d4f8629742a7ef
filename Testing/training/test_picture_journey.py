"""2-D pictures from a folder to a verified model, by the commands that people type."""

import csv
import json

import numpy as np
import pytest
from MAEMCLib.__main__ import main as maemc
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import write_manifest
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.scoring import prepare
from MAEMCTrainingLib.__main__ import main as train
from PIL import Image


@pytest.fixture(scope="module")
def journey(tmp_path_factory):
    """A folder with pictures (benign: small disks; malignant: large ones), a pre-training, a fine-tuning, a bundle."""
    folder = tmp_path_factory.mktemp("journey")
    draws = np.random.default_rng(1)
    for number in range(24):
        label = number % 2
        place = folder / "pictures" / ("malignant" if label else "benign") / f"patient {number}"
        place.mkdir(parents=True)
        y, x = np.mgrid[:40, :52] - np.array([20, 26])[:, None, None] - draws.integers(-3, 4, 2)[:, None, None]
        gray = draws.normal(60, 10, (40, 52)) + 150 * (np.hypot(x, y) < (11 if label else 4))
        Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8)).save(place / "view.png")
    environment = pytest.MonkeyPatch()
    environment.setenv("MAEMC_HOME", str(folder / "home"))
    manifest, quiet = str(folder / "m.csv"), ["--quiet", "--device", "cpu"]
    network = [
        "encoder.image_size=32",
        "encoder.patch_size=8",
        "encoder.width=32",
        "encoder.depth=2",
        "encoder.heads=4",
    ]
    decoder = ["decoder.width=16", "decoder.depth=1", "decoder.heads=2"]
    pretraining = [
        "pretrain",
        "--method",
        "mae",
        "--preset",
        "tiny",
        "--data",
        manifest,
        *network,
        *decoder,
        "epochs=2",
    ]
    finetuning = ["finetune", "--from", str(folder / "pre"), "--data", manifest, "--preset", "tiny", "--folds", "2"]
    settings = ["epochs=25", "batch=8", "validation_fraction=0.2", "angles=3"]
    assert train(["import", "images", str(folder / "pictures"), "--output", manifest, "--quiet"]) == 0
    assert train([*pretraining, "--output", str(folder / "pre"), *quiet]) == 0
    assert train([*finetuning, "--output", str(folder / "fine"), *settings, *quiet]) == 0
    export = ["export", str(folder / "fine"), "--output", str(folder / "m.maemc"), "--id", "disks", "--title", "Disks"]
    assert train(export) == 0
    yield folder
    environment.undo()


def rows_of(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_pretraining_is_repeated_in_each_fold(journey):
    report = json.loads((journey / "fine" / "metrics.json").read_text())
    assert report["pretraining"] == "in-fold" and not report["leaky"]
    assert report["cases"] == 24 and report["metrics"]["auc_within_folds"]["value"] > 0.9
    assert "random forest on the central pixels" in report["comparisons"]


def test_the_bundle_scores_pictures(journey, capsys):
    picture = str(journey / "pictures" / "malignant" / "patient 1" / "view.png")
    assert maemc(["score", picture, "--model", str(journey / "m.maemc"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["nodules"][0]["probability"] > 0.5 and answer["nodules"][0]["point_lps"] is None


def test_evaluation_on_the_manifest_agrees_with_batch(journey):
    model, manifest = str(journey / "m.maemc"), str(journey / "m.csv")
    out = str(journey / "batch.csv")
    assert maemc(["batch", manifest, "--output", out, "--model", model, "--quiet"]) == 0
    evaluation = ["evaluate", model, "--data", manifest, "--output", str(journey / "evaluated"), "--quiet"]
    assert train(evaluation) == 0
    scored = {row["case_id"]: float(row["probability"]) for row in rows_of(out)}
    judged = {row["case_id"]: float(row["probability"]) for row in rows_of(journey / "evaluated" / "predictions.csv")}
    assert judged == pytest.approx(scored, abs=1e-6) and len(judged) == 24
    (cache,) = (journey / "fine" / "caches").iterdir()  # the same of what the job has cut, by the job's own models
    words = ["evaluate", str(journey / "fine"), "--data", str(cache), "--output", str(journey / "of-cache"), "--quiet"]
    assert train(words) == 0
    # A job judges each patient by the member that never saw the patient.
    results = (journey / "fine" / "folds" / str(number) / "result.json" for number in range(2))
    tested = [row for result in results for row in json.loads(result.read_text())["test"]]
    cached = {row["case_id"]: float(row["probability"]) for row in rows_of(journey / "of-cache" / "predictions.csv")}
    assert cached == pytest.approx({row["case_id"]: row["probability"] for row in tested}, abs=2e-6)


def test_a_fold_is_judged_by_what_its_model_says_in_the_bundle(journey):
    """At all angles, in the job's own evaluation and in scoring."""
    predictor = Predictor(ModelBundle.open(journey / "m.maemc"), "cpu")
    assert predictor.card.preprocessing.angles == 3
    images = {row["case_id"]: row["image"] for row in rows_of(journey / "m.csv")}
    for number in range(2):
        result = json.loads((journey / "fine" / "folds" / str(number) / "result.json").read_text())
        for row in result["test"]:
            prepared = prepare(Case("", "", journey / images[row["case_id"]], "image"), predictor.card)
            (logit,) = predictor.reference_logits(prepared)[number]
            assert row["probability"] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)


def test_slices_of_a_volume_are_judged_together(journey):
    rows = rows_of(journey / "m.csv")
    fields = [*rows[0], "volume_id", "slice_index"]
    with open(journey / "slices.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, fields, restval="")
        writer.writeheader()
        for number, row in enumerate(sorted(rows, key=lambda row: row["label"])):  # two of one class are a volume
            patient = f"pair {number // 2}"
            writer.writerow(
                {**row, "kind": "slice", "patient_id": patient, "volume_id": patient, "slice_index": number % 2}
            )
    out = journey / "pairs"
    words = ["--data", str(journey / "slices.csv"), "--output", str(out), "--quiet"]
    assert train(["evaluate", str(journey / "m.maemc"), *words]) == 0
    single = {row["case_id"]: float(row["probability"]) for row in rows_of(journey / "batch.csv")}
    by_volume = {}
    for row in rows_of(journey / "slices.csv"):
        by_volume.setdefault(row["volume_id"], []).append(single[row["case_id"]])
    expected = [1 / (1 + np.exp(-np.mean([np.log(p / (1 - p)) for p in pair]))) for pair in by_volume.values()]
    found = [float(row["probability"]) for row in rows_of(out / "predictions.csv")]
    assert len(found) == 12
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_ct_and_a_point_are_refused_by_a_model_of_pictures(journey, balls, capsys):
    words = ["score", str(journey / "pictures" / "benign" / "patient 0" / "view.png"), "--point", "0,0,0"]
    assert maemc([*words, "--model", str(journey / "m.maemc")]) == 2
    assert "point" in capsys.readouterr().err
    nodules = ["finetune", "--from", str(journey / "pre"), "--data", str(balls), "--preset", "tiny", "--quiet"]
    assert train([*nodules, "--output", str(journey / "wrong")]) == 3
    assert "learned from 2-D pictures" in capsys.readouterr().err


def test_what_takes_slices_of_volumes_can_be_evaluated_and_scored_on_them(journey):
    """By their numbers, towards S; the slices of one volume are one case."""
    draws, rows = np.random.default_rng(2), []
    for number in range(4):
        hu = draws.normal(-800, 60, (6, 40, 40))
        y, x = np.mgrid[:40, :40] - 20
        hu[:, np.hypot(x, y) < (9 if number % 2 else 3)] = 100
        write_volume(CTVolume(hu.astype(np.int16), np.diag([1.0, 1.0, 2.0, 1.0]), "v"), journey / f"v{number}.nrrd")
        for index in (1, 4):
            extra = {"volume_id": f"v{number}", "slice_index": str(index)}
            image = journey / f"v{number}.nrrd"
            rows.append(Case(f"{number}-{index}", f"q{number}", image, "slice", number % 2, values=extra))
    manifest = str(write_manifest(journey / "volumes.csv", rows))
    model, out = str(journey / "m.maemc"), journey / "volumes"
    assert train(["evaluate", str(journey / "fine"), "--data", manifest, "--output", str(out), "--quiet"]) == 0
    assert len(rows_of(out / "predictions.csv")) == 4
    assert maemc(["batch", manifest, "--output", str(journey / "v.csv"), "--model", model, "--quiet"]) == 0
    scored = rows_of(journey / "v.csv")
    assert [row["status"] for row in scored] == ["scored"] * 8 and len({row["input_sha256"] for row in scored}) == 8
