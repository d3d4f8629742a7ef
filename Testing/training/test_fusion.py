"""Fusion: the loss, folds of several classes, standardization, its baselines, evaluation, export."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from MAEMCLib.__main__ import main as maemc
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.networks.classifier import Logits
from MAEMCLib.networks.configuration import EncoderConfiguration, GraphConfiguration, encoder_configuration
from MAEMCLib.networks.heads.graph import GraphHead
from MAEMCLib.report.formats import render
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.classifiers.cases import division_of
from MAEMCTrainingLib.classifiers.fold_model import fold_weights
from MAEMCTrainingLib.classifiers.presets import FusionConfiguration, fusion_preset
from MAEMCTrainingLib.classifiers.run import train_folds
from MAEMCTrainingLib.classifiers.task import ClassifierTask, branch_loss, standardization
from MAEMCTrainingLib.data.cohort import measure_preprocessing
from MAEMCTrainingLib.data.folds import Fold
from MAEMCTrainingLib.data.kinds.montage_views import View, montage
from MAEMCTrainingLib.engine.checkpoints import read_tensors
from MAEMCTrainingLib.engine.configuration import Augmentation, Optimization, override
from MAEMCTrainingLib.engine.session import Session
from MAEMCTrainingLib.engine.task import Sample
from MAEMCTrainingLib.evaluation import baselines
from MAEMCTrainingLib.evaluation.baselines import VALUES
from MAEMCTrainingLib.evaluation.page import evaluation_report
from MAEMCTrainingLib.evaluation.report import evaluate_again, evaluate_job
from MAEMCTrainingLib.jobs.job import Job, open_job
from MAEMCTrainingLib.jobs.stopping import StopRequest
from MAEMCTrainingLib.statistics import intervals, metrics
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

CPU = torch.device("cpu")
ENCODER = EncoderConfiguration(width=16, depth=1, heads=2)
RUN = FusionConfiguration(
    ENCODER,
    width=8,
    folds=2,
    epochs=2,
    batch=4,
    validation_fraction=0.3,
    checkpoint_seconds=0.0,
    augmentation=Augmentation(shift_mm=1),
    optimization=Optimization(learning_rate=1e-2),
)


@pytest.fixture(scope="module")
def cohort(subtypes):
    return subtypes


def fuse_in(folder, cohort, run, start=None):
    stop = StopRequest()
    with open_job(folder, "fuse", {"arguments": ["fuse"], "directory": "."}, folder.parent, stop) as job:
        return evaluate_job(train_folds(cohort, run, Session(job, CPU, stop), [], start))


@pytest.fixture(scope="module")
def trained(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs") / "fused"
    return folder, fuse_in(folder, cohort, RUN)


# Folds and loss


def test_every_class_is_trained_in_every_fold_and_no_patient_is_on_two_sides(cohort):
    folds = division_of(cohort, replace(RUN, folds=3)).folds
    assert sorted(case for fold in folds for case in fold.test) == list(range(12))
    for fold in folds:
        assert set(cohort.labels[fold.train]) == {0, 1, 2}
        assert not set(cohort.patients[fold.train]) & set(cohort.patients[np.r_[fold.test, fold.validation]])


def test_a_class_of_one_patient_is_refused_and_one_of_few_is_said(cohort):
    rare = np.array([3, *cohort.labels[1:]])
    made = replace(cohort, labels=rare, classes=(*cohort.classes, "rare"))
    with pytest.raises(InputError, match="Only one patient has a case of the class rare"):
        division_of(made, RUN)
    said = []
    rare[1] = 3
    division_of(replace(made, labels=rare), replace(RUN, folds=3), said.append)
    assert any("tests no case of the class rare" in line for line in said)


def test_a_class_that_a_fold_could_not_train_on_is_refused(cohort):
    # Two patients have the rare class, both beside another one, and are dealt into one fold's test and validation.
    made = replace(cohort, labels=np.array([2, 2] + [0, 1] * 5), classes=("a", "b", "rare"))
    for seed in range(30):
        run = replace(RUN, split_seed=seed, folds=2)
        try:
            folds = division_of(made, run).folds
        except InputError as error:
            assert "has no case of the class rare to train on" in str(error)
        else:
            assert all(2 in made.labels[fold.train] for fold in folds)


def test_the_branches_loss_is_that_of_the_observed_ones():
    draws = torch.Generator().manual_seed(0)
    branches, observed = torch.randn(3, 4, 3, generator=draws), torch.ones(3, 4, dtype=torch.bool)
    observed[0, 1] = observed[2, 0] = observed[2, 3] = False
    fused, labels = torch.randn(3, 3, generator=draws), torch.tensor([2, 0, 1])
    weights = torch.tensor([0.5, 2.0, 1.0])
    found = branch_loss(Logits(fused, branches, observed), labels, weights)
    expected = 0.0
    for case in range(3):
        label, weight = int(labels[case]), float(weights[case])
        own = [-float(torch.log_softmax(branches[case, k].double(), 0)[label]) for k in range(4) if observed[case, k]]
        expected += weight * sum(own) / len(own) / 3
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_numbers_are_standardized_by_the_training_part_alone(cohort):
    fold = division_of(cohort, RUN).folds[0]
    preprocessing = measure_preprocessing(cohort.main, RUN.augmentation, 250)
    task = ClassifierTask(cohort, fold, RUN, preprocessing, None)
    known = [cohort.values[case, 0] for case in fold.train if cohort.given[case, 0]]
    assert float(task.module.center[0]) == pytest.approx(np.mean(known), rel=1e-6)
    assert float(task.module.scale[0]) == pytest.approx(np.std(known), rel=1e-5)
    assert (float(task.module.center[1]), float(task.module.scale[1])) == (0, 1)
    values = cohort.values.copy()
    values[fold.test] = 999  # what is tested on cannot be seen in it
    again = standardization(replace(cohort, values=values), fold.train)
    assert torch.equal(again[0].float(), task.module.center)


# Metrics


def test_metrics_of_several_classes_are_those_of_scikit_learn():
    draws = np.random.default_rng(1)
    labels = draws.integers(0, 3, 80)
    scores = draws.dirichlet([1, 1, 1], 80) + 0.4 * np.eye(3)[labels]
    scores /= scores.sum(axis=1, keepdims=True)
    patients = np.arange(80) // 2
    samples = intervals.patient_samples(labels, patients, 50)
    found = metrics.evaluate_classes(labels, scores, patients, samples)
    called = scores.argmax(axis=1)
    assert found["macro_auc"].value == pytest.approx(roc_auc_score(labels, scores, multi_class="ovr"))
    assert found["macro_f1"].value == pytest.approx(f1_score(labels, called, average="macro"))
    assert found["accuracy"].value == pytest.approx((labels == called).mean())
    assert found["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(labels, called))
    assert found["macro_auc"].low < found["macro_auc"].value < found["macro_auc"].high
    table = np.array(metrics.confusion_matrix(labels, scores))
    assert table.sum() == 80 and np.trace(table) == (labels == called).sum()
    assert table[1, 2] == ((labels == 1) & (called == 2)).sum()
    rows = metrics.by_class(labels, scores, ["a", "b", "c"], patients)
    assert rows[2]["auc"].value == pytest.approx(roc_auc_score(labels == 2, scores[:, 2]))
    with pytest.raises(InputError, match="1 of 80 predictions are no probabilities"):
        spoilt = np.where(np.arange(80)[:, None] == 3, np.nan, scores)
        metrics.evaluate_classes(labels, spoilt, patients, samples)


def test_bootstrap_samples_draw_whole_patients_of_each_stratum():
    labels, patients = np.array([0, 0, 1, 1, 2, 2, 0, 1]), np.array([0, 0, 1, 1, 2, 3, 4, 4])
    samples = intervals.patient_samples(labels, patients, 200)
    assert (samples[0] == 1).all() and samples.shape == (201, 8)
    assert (samples[:, 0] == samples[:, 1]).all() and (samples[:, 6] == samples[:, 7]).all()
    assert (samples[1:, 4] + samples[1:, 5] == 2).all()  # two patients have class 2 alone
    assert (samples[1:, 6] == 1).all()  # one patient has 0 and 1
    assert len(np.unique(samples[1:, 4])) == 3


def test_what_is_missing_is_said_in_a_column_of_its_own():
    values, given = np.array([[3.0, 1], [np.nan, 0], [5.0, 7]]), np.array([[True, True], [False, True], [True, False]])
    table = baselines.tabular_features(values, given, (0, 2), np.array([0, 1]))
    # Number, whether it is missing, two choices. The mean is of the known cases 0 and 1, of which 0 has a value.
    assert table.tolist() == [[3, 0, 0, 1], [3, 1, 1, 0], [5, 0, 0, 0]]


# The job


def test_a_job_evaluates_every_case_once_beside_its_baselines(trained, cohort):
    folder, found = trained
    report = json.loads(json.dumps(found.to_json()))
    assert Job(folder).status == "finished" and Job(folder).settings["kind"] == "fuse"
    assert report["cases"] == 12 and sum(map(sum, report["confusion_matrix"])) == 12
    assert [sum(row) for row in report["confusion_matrix"]] == [4, 4, 4]
    assert {"images alone", "majority class", VALUES, "radial profile, by mm"} < set(report["baselines"])
    assert report["baselines"]["majority class"]["macro_auc"]["value"] == 0.5
    assert set(report["branches"]) == {"axial", "coronal", "clinical"}
    assert report["metrics"]["macro_auc"]["low"] is not None
    with open(folder / "predictions.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case_id"] for row in rows] == [case.case_id for case in cohort.cases]
    assert [int(row["label"]) for row in rows] == cohort.labels.tolist()
    for row in rows:
        assert sum(float(row[f"probability of {name}"]) for name in cohort.classes) == pytest.approx(1, abs=1e-5)
    assert "patient-" not in (folder / "predictions.csv").read_text()
    assert not any("balls" in path.read_text() for path in (folder / "metrics.json", folder / "report.html"))
    text = render(evaluation_report(found), "txt")
    assert "macro F1" in text and "Research only" in text and "age 10" in text and "{" not in text
    assert "Research only" in (folder / "report.html").read_text()


def test_evaluated_again_without_its_data_it_says_the_same(trained, tmp_path):
    folder, found = trained
    report = json.loads(json.dumps(found.to_json()))
    again = evaluate_again(Job(folder), tmp_path / "again").to_json()
    for key in ("confusion_matrix", "baselines", "notes", "classes"):
        assert json.loads(json.dumps(again[key])) == report[key]
    assert again["metrics"]["macro_auc"] == report["metrics"]["macro_auc"]


@pytest.fixture(scope="module")
def two_classes(balls, ball_cache, tmp_path_factory, write_subtypes):
    """A job of two classes without the baseline, started by the command."""
    folder = tmp_path_factory.mktemp("two")
    path = write_subtypes(folder / "manifest.csv", balls)
    words = ["fuse", "--data", str(path), "--clinical", "age:years,sex", "--output", str(folder / "job")]
    words += ["--folds", "2", "--backbone", "tiny", "--quiet", "epochs=1", "batch=6", "images_alone=false"]
    words += ["encoder.width=16", "encoder.depth=1", "encoder.heads=2", "encoder.patch_size=50"]
    # The cache that the session has, where the command looks for it.
    name = f"manifest-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    shutil.copytree(ball_cache.folder, folder / "job" / "caches" / name)
    assert main(words) == 0
    return folder / "job"


def test_two_classes_have_thresholds_and_the_usual_metrics(two_classes):
    report = json.loads((two_classes / "metrics.json").read_text())
    assert list(report["classes"]) == ["benign-like", "malignant-like"]
    assert report["two_class_metrics"]["auc"]["value"] == report["metrics"]["macro_auc"]["value"]
    assert report["calibration"]["calibrated"] is False and "20" in report["calibration"]["reason"]
    assert set(report["operating_points"]) == {"rule_out", "balanced", "rule_in", "half"}
    assert {"majority class", VALUES, "untrained encoder, frozen"} < set(report["baselines"])
    counts = report["operating_points"]["half"]["counts"]
    assert counts["tp"] + counts["fn"] == 6


def test_the_exported_bundle_scores_as_the_fold_models_do(two_classes, tmp_path, balls, ball_cohort, capsys):
    words = ["export", str(two_classes), "--output", str(tmp_path / "fused.maemc"), "--id", "fused", "--quiet"]
    assert main(words) == 0
    bundle = ModelBundle.open(tmp_path / "fused.maemc")
    age, sex = bundle.card.clinical
    assert (age.unit, age.low, age.high, age.optional) == ("years", 51.5, 79.5, True)
    assert sex.choices == ("female", "male") and not sex.optional
    assert bundle.card.positive_class == "malignant-like" and "age" in bundle.card.values["training"]["summary"]
    with open(balls, newline="") as stream:
        image = balls.parent / next(csv.DictReader(stream))["image"]
    words = ["score", str(image), "--point", "0,0,0", "--model", str(bundle.path), "--device", "cpu", "--json"]
    capsys.readouterr()
    assert maemc([*words, "--clinical", "age=60", "--clinical", "sex=male"]) == 0
    nodule = json.loads(capsys.readouterr().out)["nodules"][0]
    images = torch.zeros(1, 2, 1, 250, 250)
    for plane in (0, 1):
        image = montage(ball_cohort.array(0), plane, View(), bundle.card.preprocessing)[0]
        images[0, plane, 0] = torch.from_numpy(np.array(image))
    members = []
    for number in range(2):
        network = GraphHead(
            encoder_configuration(bundle.card.values["architecture"]["encoder"]),
            graph=GraphConfiguration(("axial", "coronal"), (0, 2)),
        ).eval()
        network.load_state_dict(fold_weights(two_classes, number))
        given = torch.ones(1, 2, dtype=torch.bool)
        with torch.no_grad():
            fused = network(images, given, torch.tensor([[60.0, 1.0]]), given).fused[0].double()
        members.append(float(fused.softmax(0)[1]))
    assert nodule["probability"] == pytest.approx(np.mean(members), abs=1e-4)
    assert [nodule["interval_low"], nodule["interval_high"]] == pytest.approx(sorted(members), abs=1e-4)
    assert maemc([*words, "--clinical", "age=60"]) == 2
    assert "asks for sex (female or male)" in capsys.readouterr().err


def test_evaluate_and_export_know_a_fusion(two_classes, tmp_path, capsys):
    assert main(["evaluate", str(two_classes), "--output", str(tmp_path / "again")]) == 0
    assert "macro F1" in capsys.readouterr().out and (tmp_path / "again" / "report.html").exists()


def test_a_fusion_is_evaluated_on_other_data(two_classes, tmp_path, capsys):
    """A manifest with its values: what batch gives, of the job from memory and of its bundle alike."""
    manifest = two_classes.parent / "manifest.csv"
    bundle = tmp_path / "fused.maemc"
    assert main(["export", str(two_classes), "--output", str(bundle), "--id", "fused", "--quiet"]) == 0
    for reference, name in ((two_classes, "job"), (bundle, "bundle")):
        words = ["evaluate", str(reference), "--data", str(manifest), "--output", str(tmp_path / name)]
        assert main([*words, "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "size alone" in out and "4 cases have no label" in out and "Macro: the mean over classes" in out
    batch = ["batch", str(manifest), "--output", str(tmp_path / "b.csv"), "--model", str(bundle), "--device", "cpu"]
    assert maemc([*batch, "--quiet"]) == 0
    with open(tmp_path / "b.csv", newline="") as stream:
        scored = {row["case_id"]: row["probability"] for row in csv.DictReader(stream)}
    rows = {}
    for name in ("job", "bundle"):
        with open(tmp_path / name / "predictions.csv", newline="") as stream:
            rows[name] = list(csv.DictReader(stream))
        for row in rows[name]:
            assert float(row["probability of malignant-like"]) == pytest.approx(float(scored[row["case_id"]]), abs=2e-6)
    assert rows["job"] == rows["bundle"] and len(rows["job"]) == 12
    report = json.loads((tmp_path / "job" / "metrics.json").read_text())
    assert report["evaluation"] == "other data" and sum(report["gates"].values()) == 12
    assert {"macro_auc", "macro_f1"} < set(report["metrics"]) and "auc" in report["two_class_metrics"]


def test_other_classes_than_the_label_need_their_column(trained, tmp_path, balls, capsys, write_subtypes):
    folder, _ = trained
    manifest = write_subtypes(tmp_path / "manifest.csv", balls)
    words = ["evaluate", str(folder), "--data", str(manifest), "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 2 and "--target COLUMN" in capsys.readouterr().err
    main([*words, "--target", "subtype"])
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(report["classes"]) == ["old", "small", "young"] and len(report["by_class"]) == 3
    assert main([*words[:-4], "--output", str(tmp_path / "no"), "--target", "sex"]) == 3
    assert "has the sex 'female', and the model knows old, small, young" in capsys.readouterr().err


def test_a_fusion_with_another_seed_has_other_folds(cohort):
    """Where split_seed says nothing; with it repeats share their folds, as those of a fine-tuning do."""

    def tested(*words):
        return [fold.test.tolist() for fold in division_of(cohort, override(RUN, words)).folds]

    assert tested() != tested("seed=1") == tested("split_seed=1")
    assert tested("seed=1", "split_seed=0") == tested()


def test_presets_and_settings_are_checked():
    assert fusion_preset("default", None).encoder.backbone == "resnet18"
    assert fusion_preset("tiny", ENCODER).encoder_rate == 0.3
    with pytest.raises(UsageError, match="no preset 'paper'"):
        fusion_preset("paper", None)
    with pytest.raises(UsageError, match="rounds is 0"):
        override(RUN, ["rounds=0"])
    with pytest.raises(UsageError, match="encoder_rate is 0"):
        override(RUN, ["encoder_rate=0"])


def test_a_pretrained_encoder_begins_where_it_ended(cohort):
    fold = division_of(cohort, RUN).folds[0]
    preprocessing = measure_preprocessing(cohort.main, RUN.augmentation, 250)
    state = {name: tensor + 1 for name, tensor in ClassifierTask(
        cohort, fold, RUN, preprocessing, None
    ).module.encoder.state_dict().items()}  # fmt: skip
    task = ClassifierTask(cohort, fold, replace(RUN, encoder_rate=0.3), preprocessing, state)
    assert all(torch.equal(task.module.encoder.state_dict()[name], state[name]) for name in state)
    scales = {named.name.split(".")[0]: named.scale for named in task.parameters()}
    assert scales["encoder"] == 0.3 and scales["heads"] == 1.0


def test_masked_branches_and_values_are_never_read(cohort):
    """A batch of cases without a series or a value holds zeros there, and the mask says so."""
    places = np.arange(12)
    places[3] = -1
    made = replace(cohort, branches=("axial", "more"), further={"more": (cohort.main, places)})
    fold = Fold(0, np.array([3, 4, 0, 1, 2, 5]), np.array([6, 7, 8]), np.array([9, 10, 11]))
    task = ClassifierTask(made, fold, RUN, measure_preprocessing(cohort.main, RUN.augmentation, 250), None)
    batch, figures = task.batch([Sample(0, 0), Sample(0, 1)])
    assert batch.seen.tolist() == [[True, False], [True, True]] and batch.given.tolist() == [[False, True], [True] * 2]
    assert (batch.images[0, 1] == 0).all() and (batch.images[1, 1] != 0).any() and figures["observed"] == 0.75


def test_weights_of_the_baseline_are_not_kept(trained):
    folder, _ = trained
    assert not list(folder.rglob("images-alone")) and not (folder / "folds/0/checkpoints/last").exists()
    assert "center" in read_tensors(folder / "folds/0/checkpoints/best/model.safetensors")
