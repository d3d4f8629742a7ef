"""``maemc-train evaluate``: a calibrated job, its report and bundle, other data, overlap of patients, bad input."""

import base64
import json
import re
import shutil
import zipfile

import numpy as np
import pytest
import torch
from MAEMCLib.__main__ import main as maemc
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCLib.models.bundle import Member, ModelBundle, save_bundle
from MAEMCLib.models.operating_points import operating_points
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.scoring import CaseScorer
from MAEMCTrainingLib.__main__ import main as maemc_train
from MAEMCTrainingLib.classifiers.cases import CaseImages, labeled
from MAEMCTrainingLib.classifiers.fold_model import fold_results, load_fold
from MAEMCTrainingLib.classifiers.task import features
from MAEMCTrainingLib.data.cohort import join, measure_preprocessing
from MAEMCTrainingLib.data.sources import Source
from MAEMCTrainingLib.engine.configuration import Augmentation, override
from MAEMCTrainingLib.evaluation.baselines import FOREST
from MAEMCTrainingLib.evaluation.figures import learning_figure, roc_curve
from MAEMCTrainingLib.evaluation.out_of_fold import calibrate, out_of_fold
from MAEMCTrainingLib.evaluation.predictions import read_predictions
from MAEMCTrainingLib.jobs.job import Job
from MAEMCTrainingLib.pretraining.presets import pretraining_preset
from MAEMCTrainingLib.statistics.metrics import auc
from sklearn.metrics import roc_curve as reference_curve

from Testing.training.judged_jobs import CASES, nodule, read_values, report_of, rows_of

CPU = torch.device("cpu")


def test_the_job_is_calibrated_and_its_report_is_whole(jobs):
    report = report_of(jobs / "fine")
    assert report["calibration"]["calibrated"] is True and report["calibration"]["method"] == "platt"
    assert report["metrics"]["auc"]["value"] > 0.75
    for metric in report["metrics"].values():
        assert set(metric) == {"value", "low", "high", "n"}
    for name in ("rule_out", "balanced", "rule_in", "half"):
        point = report["operating_points"][name]
        counts = point["counts"]
        assert sum(counts.values()) == CASES
        assert point["metrics"]["sensitivity"]["value"] == counts["tp"] / (counts["tp"] + counts["fn"])
    assert report["counts"] == report["operating_points"]["balanced"]["counts"]
    assert report["prior_in_probability"] == 0.5 and sum(fold["cases"] for fold in report["per_fold"]) == CASES
    names = {"majority class", "size alone", "radial profile, by mm", "radial profile, by radius", FOREST}
    assert {*names, "untrained encoder, frozen"} == set(report["baselines"]) == set(report["comparisons"])
    assert report["comparisons"]["size alone"]["delong"]["p"] is not None
    assert "pre-trained encoder, frozen" in report["baselines_unavailable"]


def test_the_figures_are_those_of_the_stored_predictions(jobs):
    table, report = read_predictions(jobs / "fine" / "predictions.csv"), report_of(jobs / "fine")
    oof = out_of_fold(fold_results(jobs / "fine", 4), jobs / "fine", table.case_ids, table.labels)
    calibrated = calibrate(oof)
    np.testing.assert_allclose(table.network, oof.probabilities, atol=1e-6)
    np.testing.assert_allclose(table.probabilities[:, 1], calibrated.probabilities, atol=1e-6)
    assert report["metrics"]["auc"]["value"] == pytest.approx(auc(table.labels, oof.scores))
    assert report["metrics"]["brier"]["value"] == pytest.approx(((calibrated.probabilities - table.labels) ** 2).mean())
    called = calibrated.probabilities >= calibrated.used["rule_out"]
    assert report["operating_points"]["rule_out"]["counts"]["tp"] == int((called & (table.labels == 1)).sum())
    assert report["thresholds"] == calibrated.decisions.thresholds
    assert report["calibration"]["slope"] == calibrated.decisions.calibration.slope


def test_the_page_holds_everything_itself(jobs):
    page = (jobs / "fine" / "report.html").read_text(encoding="utf-8")
    assert page.count("Research only, not for clinical use.") == 2 and "LEAKY" not in page
    assert not re.search(r"(src|href)=.(?!data:)", page) and "://" not in page and "<script" not in page
    pictures = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)'", page)
    assert len(pictures) == 2
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    report = report_of(jobs / "fine")
    for text in ("honest, 4 folds", "size alone", "rule out", "Platt", f"{report['metrics']['auc']['value']:.3f} ("):
        assert text in page
    assert "Smith" not in page and "Smith" not in (jobs / "fine" / "metrics.json").read_text()


def test_a_leaky_job_says_so_on_its_page(jobs, tmp_path, evaluate):
    shutil.copytree(jobs / "fine", tmp_path / "leaky")
    settings = json.loads((jobs / "fine" / "job.json").read_text())
    settings |= {"leaky": True, "protocol": "paper", "pretraining": "in-fold"}
    (tmp_path / "leaky" / "job.json").write_text(json.dumps(settings))
    code, out, _ = evaluate(tmp_path / "leaky")
    page = (tmp_path / "leaky" / "report.html").read_text()
    assert code == 0 and "LEAKY" in out and "<p class='leaky'>LEAKY" in page
    assert "repeated in each fold" in page


def test_a_job_is_reported_again_with_the_same_figures(jobs, tmp_path, evaluate):
    names = ("metrics.json", "predictions.csv", "report.html")
    before = {name: (jobs / "fine" / name).read_bytes() for name in names}
    code, out, _ = evaluate(jobs / "fine", "--output", tmp_path / "again")
    assert code == 0 and "size alone" in out and "Research only" in out
    assert all((tmp_path / "again" / name).read_bytes() == before[name] for name in names)
    assert evaluate(jobs / "fine", "--quiet")[0] == 0
    assert all((jobs / "fine" / name).read_bytes() == before[name] for name in names)


def test_the_bundle_holds_three_points_with_rates_of_cases_that_chose_none_of_them(jobs):
    card, report = ModelBundle.open(jobs / "fine.maemc").card, report_of(jobs / "fine")
    points = operating_points(card)
    assert [point.name for point in points] == ["rule_out", "balanced", "rule_in"]
    for point in points:
        stated = report["operating_points"][point.name]
        assert point.threshold == report["thresholds"][point.name]
        assert vars(point.sensitivity) == stated["metrics"]["sensitivity"]
        assert vars(point.specificity) == stated["metrics"]["specificity"]
        assert point.sensitivity.low < point.sensitivity.value <= point.sensitivity.high
        assert point.sensitivity.n + point.specificity.n == CASES
    assert points[0].sensitivity.value >= points[2].sensitivity.value
    assert points[0].specificity.value <= points[2].specificity.value


def test_the_bundle_gives_calibrated_probabilities_and_knows_what_is_far(jobs, manifest):
    bundle, report = ModelBundle.open(jobs / "fine.maemc"), report_of(jobs / "fine")
    card = bundle.card
    assert card.calibration.calibrated and card.values["thresholds"] == report["thresholds"]
    assert card.values["training"]["prior_in_probability"] == 0.5
    assert len(card.training_distances) == 101 and len(card.members("statistics")) == 4
    out = jobs / "batch.csv"
    assert maemc(["batch", str(manifest), "--output", str(out), "--model", str(jobs / "fine.maemc"), "--quiet"]) == 0
    rows = rows_of(out)
    cohort = labeled(join([Source(manifest).build(jobs / "cache", jobs, processes=1)]))
    members = []
    for number in range(4):
        model = load_fold(Job(jobs / "fine"), number)
        preprocessing = measure_preprocessing(cohort.main, Augmentation(), 250)
        images = CaseImages(cohort, Augmentation(), preprocessing, 250)
        tokens = features(model.encoder, images, np.arange(CASES), CPU).float()
        both = model.head(tokens).detach().double().numpy()
        margin = (both[..., 1] - both[..., 0]).mean(axis=1)
        slope, intercept = report["calibration"]["slope"], report["calibration"]["intercept"]
        members.append(1 / (1 + np.exp(-(slope * margin + intercept))))
    expected = np.mean(members, axis=0)
    np.testing.assert_allclose([float(row["probability"]) for row in rows], expected, atol=2e-3)
    called = ["malignant-like" if p >= report["thresholds"]["balanced"] else "benign-like" for p in expected]
    assert np.mean([row["class"] == name for row, name in zip(rows, called, strict=True)]) > 0.98
    assert np.median([float(row["ood_percentile"]) for row in rows]) < 80
    noise = np.random.default_rng(0).uniform(-1200, 400, (60, 60, 60)).astype(np.int16)
    write_volume(CTVolume(noise, nodule(0, 1).affine), jobs / "noise.nrrd")
    write_manifest(jobs / "noise.csv", [Case("n", "p", jobs / "noise.nrrd", point_lps=(0.0, 0.0, 0.0))])
    assert maemc(["batch", str(jobs / "noise.csv"), "--output", str(jobs / "noise-out.csv"), "--model",
                  str(jobs / "fine.maemc"), "--quiet"]) == 0  # fmt: skip
    (far,) = rows_of(jobs / "noise-out.csv")
    assert float(far["ood_percentile"]) > 95 and "unlike-training: " in far["warnings"]
    assert far["gate_reasons"] == "no-nodule"  # which is worse


def test_a_bundle_on_a_manifest_gives_what_batch_gives(jobs, manifest, tmp_path, evaluate):
    some = write_manifest(tmp_path / "some.csv", read_manifest(manifest).rows[:24])
    code, out, _ = evaluate(jobs / "fine.maemc", "--data", some, "--output", tmp_path / "e")
    assert code == 0 and "these are among them cannot be known" in out
    assert maemc(["batch", str(some), "--output", str(tmp_path / "b.csv"), "--model", str(jobs / "fine.maemc"),
                  "--quiet"]) == 0  # fmt: skip
    batch = {row["case_id"]: row["probability"] for row in rows_of(tmp_path / "b.csv")}
    rows = rows_of(tmp_path / "e" / "predictions.csv")
    assert {row["case_id"]: row["probability"] for row in rows} == batch
    assert all(row["fold"] == "" and re.fullmatch("P[0-9a-f]{16}", row["patient_id"]) for row in rows)
    report = report_of(tmp_path / "e")
    thresholds = report_of(jobs / "fine")["thresholds"]
    assert report["thresholds"] == thresholds and report["overlap"]["state"] == "unknown"
    probabilities = np.array([float(row["probability"]) for row in rows])
    labels = np.array([int(row["label"]) for row in rows])
    assert report["counts"]["tp"] == int(((probabilities >= thresholds["balanced"]) & (labels == 1)).sum())
    assert report["metrics"]["auc"]["value"] == pytest.approx(auc(labels, probabilities), abs=1e-3)
    page = (tmp_path / "e" / "report.html").read_text()
    assert "cannot be known" in page and "://" not in page and "green" in page


def test_a_cache_gives_nearly_the_same_as_its_manifest_and_an_id_the_same_as_its_bundle(
    jobs, manifest, tmp_path, evaluate
):
    assert evaluate("nodules@1.0", "--data", jobs / "cache", "--output", tmp_path / "c")[0] == 4
    assert maemc(["models", "import", str(jobs / "fine.maemc")]) == 0
    assert evaluate("nodules@1.0", "--data", jobs / "cache", "--output", tmp_path / "c")[0] == 0
    predictor = Predictor(ModelBundle.open(jobs / "fine.maemc"), "cpu")
    with CaseScorer(predictor.card, lambda: predictor) as scorer:
        results = [scorer.score([row])[0].result for row in read_manifest(manifest).rows[:24]]
    np.testing.assert_allclose(read_values(tmp_path / "c")[:24], [result.probability for result in results], atol=1e-3)


def test_cases_that_cannot_be_scored_are_named_and_left_out(jobs, manifest, tmp_path, evaluate):
    rows = list(read_manifest(manifest).rows[:20])
    rows[5] = Case(**{**vars(rows[5]), "point_lps": (500.0, 0.0, 0.0)})
    rows[0] = Case(**{**vars(rows[0]), "label": None})
    write_manifest(tmp_path / "m.csv", rows)
    code, out, error = evaluate(jobs / "fine.maemc", "--data", tmp_path / "m.csv", "--output", tmp_path / "e")
    assert code == 3 and "c5 was not scored" in error
    report = report_of(tmp_path / "e")
    assert (report["cases"], report["failed"], report["unlabeled"]) == (18, [7], 1)
    assert "1 cases have no label" in out and "could not be scored" in out


def test_bad_input(jobs, manifest, tmp_path, evaluate):
    rows = read_manifest(manifest).rows
    write_manifest(tmp_path / "one.csv", [row for row in rows if row.label == 1][:3])
    write_manifest(tmp_path / "none.csv", [Case(**{**vars(row), "label": None}) for row in rows[:3]])
    (tmp_path / "file").touch()
    damaged = tmp_path / "damaged.maemc"
    content = bytearray((jobs / "fine.maemc").read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    stopped = tmp_path / "stopped"
    shutil.copytree(jobs / "fine", stopped)
    moment = "2026-01-01T00:00:00+00:00"
    (stopped / "state.json").write_text(json.dumps({"status": "stopped", "updated": moment}))
    broken = tmp_path / "broken"
    shutil.copytree(jobs / "fine", broken)
    (broken / "predictions.csv").write_text("case_id\nx\n")
    there = ["--output", tmp_path / "out"]
    model = jobs / "fine.maemc"
    for words, code, message in (
        ([model, "--data", tmp_path / "one.csv", *there], 3, "is of the class benign"),
        ([model, "--data", tmp_path / "none.csv", *there], 2, "No case of"),
        ([model, "--data", tmp_path / "gone.csv", *there], 3, "There is no manifest"),
        ([model, "--data", manifest, "--output", tmp_path / "file" / "x"], 3, "cannot be written"),
        ([model, "--data", manifest, "--output", jobs / "fine"], 2, "holds a job"),
        ([model, "--data", manifest], 2, "--output DIR"),
        ([model], 2, "Say what to score"),
        ([damaged, "--data", manifest, *there], 4, "cannot be trusted"),
        (["nothing", "--data", manifest, *there], 4, "There is no model"),
        ([stopped], 3, "is stopped, not finished"),
        ([stopped, "--data", manifest, *there], 3, "is stopped, not finished"),
        ([broken], 3, "cannot be read"),
    ):
        result, _, error = evaluate(*words)
        assert (result, message in error, "Traceback" in error) == (code, True, False), (words, error)


def test_a_model_that_gives_nan_is_refused(tmp_path, manifest, random_card, random_members, evaluate):
    tensors = {name: tensor * float("nan") for name, tensor in random_members[0].tensors.items()}
    path = save_bundle(tmp_path / "nan.maemc", random_card, [Member("classifier", "c", tensors)]).path
    code, _, error = evaluate(path, "--data", manifest, "--output", tmp_path / "e")
    assert code == 3 and "None of the 64 labeled cases could be scored" in error and "no finite result" in error
    assert not (tmp_path / "e" / "metrics.json").exists()


def test_few_cases_and_an_uncalibrated_bundle(jobs, manifest, random_bundle, tmp_path, evaluate):
    rows = list(read_manifest(manifest).rows[:9])
    rows[2] = Case(**{**vars(rows[2]), "diameter_mm": None})
    write_manifest(tmp_path / "few.csv", rows)
    code, out, _ = evaluate(random_bundle, "--data", tmp_path / "few.csv", "--output", tmp_path / "e")
    assert code == 0 and "Only 5 benign, 4 malignant cases" in out and "not calibrated: random weights" in out
    assert "All thresholds of the model are 0.5" in out
    assert "No baseline 'size alone': 1 cases have no diameter_mm" in out
    with zipfile.ZipFile(random_bundle) as archive:
        assert "training_distances" not in json.loads(archive.read("bundle.json"))


def test_a_pretraining_is_judged_by_its_own_task(ball_cohort, pretrain_in, manifest, tmp_path, monkeypatch, capsys):
    run = override(pretraining_preset("tiny", "maemc"), ["queue_size=16", "projection_width=8"])
    run = override(run, ["epochs=1", "batch=8", "views_per_case=1", "encoder.width=16", "encoder.depth=1",
                         "encoder.heads=2", "decoder.width=16", "decoder.depth=1", "decoder.heads=2"])  # fmt: skip
    pretrain_in(tmp_path / "pre", ball_cohort.subset(range(8)), run)
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path))
    write_manifest(tmp_path / "few.csv", read_manifest(manifest).rows[:4])
    words = ["evaluate", str(tmp_path / "pre"), "--data", str(tmp_path / "few.csv")]
    assert maemc_train(words) == 2 and "it has not seen" in capsys.readouterr().err
    # The balls' pseudonyms were made with another key.
    assert maemc_train([*words, "--output", str(tmp_path / "out")]) == 3
    assert "key" in capsys.readouterr().err


def test_roc_curve_is_scikit_learns():
    draws = np.random.default_rng(0)
    labels, scores = draws.integers(0, 2, 50), np.round(draws.random(50), 1)
    ours = roc_curve(labels, scores)
    theirs = reference_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(ours, theirs[:2])


def test_learning_curves_need_recorded_training():
    assert learning_figure([]) is None
    assert learning_figure([{"phase": "fold", "fold": 0}]) is None
    trained = [{"phase": phase, "fold": 0, "epoch": epoch, "loss": 1.0, "step": epoch}
               for phase in ("pretrain", "finetune") for epoch in (0, 1)]  # fmt: skip
    assert len(learning_figure(trained).axes) == 2
    assert len(learning_figure([*trained[2:], {"phase": "validation", "fold": 0, "epoch": 1, "loss": 0.9}]).axes) == 1
