"""Fine-tuning: weights, protocol, fold models, out-of-fold predictions, agreement with scoring's own arithmetic."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.inputs.nodule import Preprocessing, normalize, to_montage
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.heads.linear import LinearHead
from MAEMCTrainingLib.classifiers import run as training_run
from MAEMCTrainingLib.classifiers.cases import CaseImages, labeled
from MAEMCTrainingLib.classifiers.fold_model import fold_folder, load_fold
from MAEMCTrainingLib.classifiers.presets import finetuning_preset
from MAEMCTrainingLib.classifiers.starting_point import check_protocol, from_job
from MAEMCTrainingLib.classifiers.task import ClassifierTask, feature_statistics, features, predict
from MAEMCTrainingLib.data.cohort import measure_preprocessing
from MAEMCTrainingLib.data.folds import make_folds
from MAEMCTrainingLib.data.kinds.montage_views import View, crop
from MAEMCTrainingLib.engine.configuration import override
from MAEMCTrainingLib.engine.loop import samples_of_step, steps_in_epoch
from MAEMCTrainingLib.engine.optimization import class_weights
from MAEMCTrainingLib.jobs.job import Job
from MAEMCTrainingLib.pretraining.presets import pretraining_preset
from MAEMCTrainingLib.pretraining.run import PretrainingTask
from sklearn.linear_model import LogisticRegression

CPU = torch.device("cpu")
ENCODER = EncoderConfiguration(width=16, depth=1, heads=2)


def quick(*overrides, encoder=ENCODER):
    run = replace(finetuning_preset("tiny", None), encoder=encoder)
    return override(
        run, ["epochs=12", "folds=3", "batch=8", "validation_fraction=0.2", "learning_rate=1e-3", *overrides]
    )


@pytest.fixture(scope="module")
def trained(ball_cohort, tmp_path_factory, finetune_in):
    """A fine-tuning from scratch on the twelve labeled balls: (folder, cohort, run, report)."""
    folder = tmp_path_factory.mktemp("jobs") / "fine"
    cohort, run = labeled(ball_cohort), quick()
    report = finetune_in(folder, cohort, run)
    return folder, cohort, run, report


def predictions(folder):
    with open(folder / "predictions.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_it_learns_a_class_that_is_there(trained):
    _, _, _, report = trained
    assert report["metrics"]["auc_within_folds"]["value"] > 0.9
    assert report["baselines"]["size alone"]["auc"]["value"] == 1.0
    assert report["baselines"]["majority class"]["auc"]["value"] == 0.5
    assert report["calibration"]["calibrated"] is False and "20" in report["calibration"]["reason"]
    assert report["thresholds"] == {"rule_out": 0.5, "balanced": 0.5, "rule_in": 0.5}
    assert (report["protocol"], report["leaky"]) == ("honest", False)


def test_every_case_is_predicted_once_by_the_model_that_did_not_see_it(trained):
    folder, cohort, run, report = trained
    rows = predictions(folder)
    assert [row["case_id"] for row in rows] == [case.case_id for case in cohort.cases]
    assert [int(row["label"]) for row in rows] == cohort.labels.tolist()
    assert "patient-" not in (folder / "predictions.csv").read_text()  # pseudonyms only
    folds = make_folds(cohort.labels, cohort.patients, run.folds, run.validation_fraction, run.seed)
    preprocessing = measure_preprocessing(cohort.main, run.augmentation, 250)
    for fold in folds:
        model = load_fold(Job(folder), fold.number)
        for case in fold.test:
            assert int(rows[case]["fold"]) == fold.number
            # Scoring's arithmetic, from the HU on: the mean of the two planes' logits.
            logits = []
            for plane in (0, 1):
                hu, _ = crop(cohort.main.array(case), plane, View())
                image = torch.from_numpy(to_montage(normalize(hu, preprocessing)))[None, None]
                with torch.no_grad():
                    logits.append(model.logits(image)[0].double())
            mean = (logits[0] + logits[1]) / 2
            expected = float(torch.softmax(mean, 0)[1])
            assert float(rows[case]["probability"]) == pytest.approx(expected, abs=2e-6)
    assert report["cases"] == 12


def test_finished_folds_are_not_trained_again(trained, finetune_in):
    folder, cohort, run, report = trained
    before = {n: (fold_folder(folder, n) / "result.json").stat().st_mtime_ns for n in range(3)}
    (folder / "metrics.json").unlink()
    again = finetune_in(folder, cohort, run)
    assert again == report
    assert {n: (fold_folder(folder, n) / "result.json").stat().st_mtime_ns for n in range(3)} == before
    # One fold lost: it comes back with the same numbers.
    rows = predictions(folder)
    import shutil

    shutil.rmtree(fold_folder(folder, 1))
    finetune_in(folder, cohort, run)
    assert predictions(folder) == rows


def test_other_settings_are_refused(trained, finetune_in):
    folder, cohort, run, _ = trained
    with pytest.raises(UsageError, match=r"configuration\.epochs \(12 there, 3 here\)"):
        finetune_in(folder, cohort, replace(run, epochs=3))
    with pytest.raises(UsageError, match="data_fingerprint"):
        finetune_in(folder, cohort.subset(range(11)), run)


def test_statistics_are_those_of_the_training_cases(trained):
    from MAEMCTrainingLib.engine.checkpoints import read_tensors

    folder, cohort, run, _ = trained
    fold = make_folds(cohort.labels, cohort.patients, run.folds, run.validation_fraction, run.seed)[1]
    known = np.concatenate([fold.train, fold.validation])
    model = load_fold(Job(folder), 1)
    preprocessing = measure_preprocessing(cohort.main, run.augmentation, 250)
    images = CaseImages(cohort, run.augmentation, preprocessing, 250)
    tokens = features(model.encoder, images, known, CPU).numpy()
    stored = read_tensors(fold_folder(folder, 1) / "statistics.safetensors")
    for plane, name in enumerate(("axial", "coronal")):
        np.testing.assert_allclose(stored[f"{name}_mean"], tokens[:, plane].mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(stored[f"{name}_covariance"], np.cov(tokens[:, plane].T), atol=1e-5)
    assert float(stored["count"]) == len(known)
    values = torch.arange(24.0, dtype=torch.float64).reshape(3, 2, 4)
    partly = feature_statistics(values, np.array([[True, True], [True, False], [False, False]]), ("axial", "coronal"))
    assert partly.keys() == {"count", "axial_mean", "axial_covariance", "axial_count"}  # coronal is seen of one alone
    assert partly["axial_count"] == 2 and partly["axial_mean"].tolist() == [4, 5, 6, 7]


def test_class_weights_give_each_class_half_of_the_loss():
    labels = np.repeat([0, 1], [8, 47])
    weights = class_weights(np.bincount(labels))
    assert weights[labels].sum() == pytest.approx(55)
    assert weights[0] * 8 == pytest.approx(weights[1] * 47)


def test_a_step_is_weighted_cross_entropy(ball_cohort):
    cohort = labeled(ball_cohort).subset([0, 1, 3, 5, 7, 2, 4])  # 3 benign, 4 malignant
    folds = make_folds(cohort.labels, cohort.patients, 2, 0.2, 0)
    task = ClassifierTask(cohort, folds[0], quick(), Preprocessing(), None)
    batch, _ = task.batch(samples_of_step(task, 8, 0))
    assert batch.images.shape == (len(batch), 1, 1, 250, 250) and 4 <= len(batch) <= 8
    with torch.no_grad():
        logits = task.module.logits(batch.images[:, 0]).double()
        loss = float(task.step(task.module, batch)[0]["loss"])
    labels = batch.labels.tolist()
    training = cohort.labels[folds[0].train]
    expected = np.mean(
        [
            len(training) / (2 * (training == label).sum()) * -torch.log_softmax(row, 0)[label].item()
            for row, label in zip(logits, labels, strict=True)
        ]
    )
    assert loss == pytest.approx(expected, rel=1e-5)


def test_validation_judges_the_mean_of_both_planes(ball_cohort):
    """As scoring does, and not each image by itself; against the cases one by one."""
    cohort = labeled(ball_cohort)
    run = quick()
    fold = make_folds(cohort.labels, cohort.patients, 2, 0.4, 0)[0]
    preprocessing = measure_preprocessing(cohort.main, run.augmentation, 250)
    task = ClassifierTask(cohort, fold, run, preprocessing, None)
    task.weights = np.array([0.8, 1.5])
    found = task.validate(torch.device("cpu"))
    losses, margins = [], []
    for case in fold.validation:
        shown = torch.from_numpy(np.concatenate(task.images.plain(int(case))))
        with torch.no_grad():
            logits = task.module.logits(shown[:, None]).double().mean(dim=0)
        chances = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum()
        label = int(cohort.labels[case])
        losses.append(-task.weights[label] * np.log(chances[label]))
        margins.append(float(logits[1] - logits[0]))
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    known = cohort.labels[fold.validation]
    pairs = [(a > b) + 0.5 * (a == b) for a, x in zip(margins, known, strict=True) for b, y in
             zip(margins, known, strict=True) if x > y]  # fmt: skip
    assert found["auc"] == pytest.approx(np.mean(pairs))


def test_an_epoch_shows_every_case_once_in_each_plane(ball_cohort):
    cohort = labeled(ball_cohort)
    fold = make_folds(cohort.labels, cohort.patients, 3, 0.2, 0)[0]
    for fusion, planes in (("mean", (0, 1)), ("axial", (0,)), ("coronal", (1,))):
        task = ClassifierTask(cohort, fold, quick(f"fusion={fusion}", "batch=5"), Preprocessing(), None)
        steps = steps_in_epoch(task.samples, 5)
        samples = [sample for index in range(steps) for sample in samples_of_step(task, 5, 2 * steps + index)]
        assert {sample.epoch for sample in samples} == {2}
        shown = [task.shown(sample.number) for sample in samples]
        assert sorted(shown) == sorted((int(case), (plane,)) for case in fold.train for plane in planes)
        assert task.order(2).tolist() != task.order(3).tolist()


def test_prediction_uses_the_planes_of_its_fusion():
    model = LinearHead(ENCODER, seed=3)
    tokens = torch.randn(5, 2, 16, dtype=torch.float64)
    logits = tokens.float() @ model.head.weight.T + model.head.bias
    margin = (logits[..., 1] - logits[..., 0]).detach()
    for planes, wanted in (((0, 1), margin.mean(dim=1)), ((0,), margin[:, 0]), ((1,), margin[:, 1])):
        seen = np.tile(np.isin([0, 1], planes), (5, 1))
        found = predict(model, tokens, seen, np.zeros((5, 0), np.float32), np.zeros((5, 0), bool))
        np.testing.assert_allclose(found.fused.softmax(dim=1)[:, 1], torch.sigmoid(wanted), atol=1e-6)


@pytest.fixture(scope="module")
def pretrained(ball_cohort, ball_cache, tmp_path_factory, pretrain_in):
    """A short pre-training on the four balls without a label and two labeled ones."""
    folder = tmp_path_factory.mktemp("jobs") / "pre"
    run = override(pretraining_preset("tiny", "maemc"), ["queue_size=16", "projection_width=8"])
    run = replace(run, encoder=ENCODER, decoder=DecoderConfiguration(width=16, depth=1, heads=2))
    run = override(run, ["epochs=2", "batch=4", "views_per_case=1"])
    pretrain_in(folder, ball_cohort.subset([12, 13, 14, 15, 0, 1]), run)
    return from_job(folder)


def test_honest_repeats_what_paper_marks_as_leaky(ball_cohort, pretrained):
    cohort = labeled(ball_cohort)
    assert check_protocol("honest", cohort.main, pretrained) == ("in-fold", False)
    assert check_protocol("paper", cohort.main, pretrained) == ("given", True)
    assert check_protocol("honest", cohort.main.subset(range(2, 12)), pretrained) == ("given", False)
    assert check_protocol("honest", cohort.main, None) == (None, False)
    job = pretrained.pretraining
    job = replace(job, cohort={**job.cohort, "pseudonym_key": "another"})
    strangers = replace(pretrained, pretraining=job)
    with pytest.raises(InputError, match=r"another key.*--protocol paper"):
        check_protocol("honest", cohort.main.subset(range(2, 12)), strangers)


def test_honest_pretraining_never_sees_the_patients_that_its_fold_tests(
    ball_cohort, ball_cache, pretrain_in, finetune_in, tmp_path, monkeypatch
):
    """All 16 balls pre-trained on, 12 of them evaluated: three further pre-trainings, each without its test part."""
    run = override(pretraining_preset("tiny", "maemc"), ["queue_size=16", "projection_width=8"])
    run = replace(run, encoder=ENCODER, decoder=DecoderConfiguration(width=16, depth=1, heads=2))
    run = override(run, ["epochs=1", "batch=4", "views_per_case=1"])
    pretrain_in(tmp_path / "pre", ball_cohort, run, [{"path": str(ball_cache.folder), "takes": "all"}])
    tasks = []

    class Recorded(PretrainingTask):
        def __init__(self, cohort, *rest, **more):
            tasks.append(self)
            self.started_from = None
            super().__init__(cohort, *rest, **more)

    monkeypatch.setattr(training_run, "PretrainingTask", Recorded)
    cohort, fine = labeled(ball_cohort), quick("epochs=1")
    report = finetune_in(tmp_path / "fine", cohort, fine, from_job(tmp_path / "pre"))
    assert report["leaky"] is False
    folds = make_folds(cohort.labels, cohort.patients, fine.folds, fine.validation_fraction, fine.seed)
    everyone = {case.patient for case in ball_cohort.cases}
    for fold, task in zip(folds, tasks, strict=True):
        tested = {cohort.cases[case].patient for case in fold.test}
        assert {case.patient for case in task.cohort.cases} == everyone - tested
    phases = [json.loads(line) for line in (tmp_path / "fine" / "events.jsonl").read_text().splitlines()]
    assert {e["fold"] for e in phases if e["phase"] == "pretrain"} == {0, 1, 2}
    settings = json.loads((tmp_path / "fine" / "job.json").read_text())
    assert settings["pretraining"] == "in-fold"


def test_data_that_changed_since_the_pretraining_are_refused(
    ball_cohort, ball_cache, pretrain_in, finetune_in, tmp_path
):
    run = override(pretraining_preset("tiny", "maemc"), ["queue_size=16", "projection_width=8"])
    run = replace(run, encoder=ENCODER, decoder=DecoderConfiguration(width=16, depth=1, heads=2))
    run = override(run, ["epochs=1", "batch=4", "views_per_case=1"])
    part = ball_cohort.subset(range(8))  # while the source named in job.json holds 16
    pretrain_in(tmp_path / "pre", part, run, [{"path": str(ball_cache.folder), "takes": "all"}])
    with pytest.raises(InputError, match="have changed since"):
        finetune_in(tmp_path / "fine", labeled(ball_cohort), quick("epochs=1"), from_job(tmp_path / "pre"))


def test_fewer_labels_are_a_part_of_more(ball_cohort):
    cohort = labeled(ball_cohort)
    used = []
    for count in (4, 6, 0):
        fold = make_folds(cohort.labels, cohort.patients, 3, 0.2, 0, count)[0]
        known = set(fold.train) | set(fold.validation)
        assert len(known) == (count or 8) and np.mean(cohort.labels[sorted(known)]) == 0.5
        assert not known & set(fold.test)
        used.append(known)
    assert used[0] < used[1] < used[2]


def test_it_starts_from_the_pretrained_encoder(ball_cohort, pretrained, finetune_in, tmp_path):
    cohort = labeled(ball_cohort)
    fold = make_folds(cohort.labels, cohort.patients, 3, 0.2, 0)[0]
    task = ClassifierTask(cohort, fold, quick(), pretrained.preprocessing, pretrained.state)
    for name, tensor in pretrained.state.items():
        assert torch.equal(task.module.encoder.state_dict()[name], tensor)
    anew = quick("new_patch_embedding=true")
    task = ClassifierTask(cohort, fold, anew, pretrained.preprocessing, pretrained.state)
    drawn = ClassifierTask(cohort, fold, anew, pretrained.preprocessing, None).module.encoder.state_dict()
    for name, tensor in pretrained.state.items():
        expected = drawn[name] if name.startswith("patch_embed.") else tensor
        assert torch.equal(task.module.encoder.state_dict()[name], expected), name
    assert not torch.equal(drawn["patch_embed.proj.weight"], pretrained.state["patch_embed.proj.weight"])
    report = finetune_in(tmp_path / "fine", cohort, quick("epochs=1"), pretrained, "paper")
    assert report["leaky"] is True and any("LEAKY" in note for note in report["notes"])
    assert "pre-trained encoder, frozen" in report["baselines"]
    settings = json.loads((tmp_path / "fine" / "job.json").read_text())
    assert (
        settings["preprocessing"]
        == json.loads((pretrained.pretraining.folder / "job.json").read_text())["preprocessing"]
    )


def test_linear_probe_leaves_the_encoder_and_fits_the_layer(ball_cohort, pretrained, finetune_in, tmp_path):
    cohort, run = labeled(ball_cohort), quick("linear_probe=true")
    finetune_in(tmp_path / "probe", cohort, run, pretrained, "paper")
    folds = make_folds(cohort.labels, cohort.patients, run.folds, run.validation_fraction, run.seed)
    rows = predictions(tmp_path / "probe")
    for fold in folds:
        model = load_fold(Job(tmp_path / "probe"), fold.number)
        for name, value in pretrained.state.items():
            assert torch.equal(model.encoder.state_dict()[name], value)

        # scikit-learn on standardized class tokens of the training part, each plane a sample
        def tokens(cases, model=model):
            images = CaseImages(cohort, run.augmentation, pretrained.preprocessing, 250)
            return features(model.encoder, images, cases, CPU).numpy()

        train = tokens(fold.train).reshape(-1, ENCODER.width)
        labels = np.repeat(cohort.labels[fold.train], 2)
        mean, deviation = train.mean(axis=0), train.std(axis=0)
        logistic = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000).fit(
            (train - mean) / deviation, labels
        )
        for case in fold.test:
            margins = logistic.decision_function((tokens(np.array([case]))[0] - mean) / deviation)
            expected = 1 / (1 + np.exp(-margins.mean()))
            assert float(rows[case]["probability"]) == pytest.approx(expected, abs=1e-4)


def test_linear_probe_needs_a_pretraining(ball_cohort, finetune_in, tmp_path):
    with pytest.raises(UsageError, match="learned something"):
        finetune_in(tmp_path / "p", labeled(ball_cohort), quick("linear_probe=true"))


def test_frozen_features_are_judged_out_of_fold(ball_cohort):
    """The frozen baseline against scikit-learn's own pipeline on one fold."""
    from MAEMCTrainingLib.evaluation.baselines import logistic

    cohort = labeled(ball_cohort)
    fold = make_folds(cohort.labels, cohort.patients, 3, 0.2, 0)
    values = np.random.default_rng(0).normal(size=(12, 6))
    ours = logistic(values, cohort.labels, fold, 10.0)
    training = np.concatenate([fold[0].train, fold[0].validation])
    scaled = (values - values[training].mean(0)) / values[training].std(0)
    model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000)
    model.fit(scaled[training], cohort.labels[training])
    np.testing.assert_allclose(ours[fold[0].test], model.predict_proba(scaled[fold[0].test]))


def test_pretraining_batches(ball_cohort):
    """What a method is fed: planes as they are, patients, noise keyed by epoch and sample."""
    run = override(pretraining_preset("tiny", "maemc"), ["queue_size=16"])
    run = override(replace(run, encoder=ENCODER), ["batch=5", "views_per_case=2", "mode=none"])
    preprocessing = measure_preprocessing(ball_cohort, run.augmentation, 250)
    task = PretrainingTask(ball_cohort, run, preprocessing)
    assert steps_in_epoch(task.samples, 5) == 7  # 32 samples, evenly: four batches of 5, three of 4
    steps = [samples_of_step(task, 5, 7 + index) for index in range(7)]
    assert [len(step) for step in steps] == [5, 5, 5, 5, 4, 4, 4]
    assert sorted(sample for step in steps for sample in step) == [(1, n) for n in range(32)]
    batch, figures = task.batch(steps[2])
    axial, coronal = batch.images
    assert axial.shape == coronal.shape == (5, 1, 250, 250)
    assert batch.noise.shape == (5, 2, 25) and not torch.equal(batch.noise[:, 0], batch.noise[:, 1])
    assert figures == {"padded_fraction": 0.0}
    for row, (_, sample) in enumerate(steps[2]):
        hu, _ = crop(ball_cohort.array(sample // 2), 1, View())
        np.testing.assert_allclose(coronal[row, 0], to_montage(normalize(hu, preprocessing)))
        assert int(batch.patient[row]) == ball_cohort.patients[sample // 2]
    again, _ = PretrainingTask(ball_cohort, run, preprocessing).batch(steps[1] + steps[2])
    assert torch.equal(again.noise[5:], batch.noise)  # of the sample, whatever the batch
    pixels = np.concatenate([task.batch(step)[0].images[0].numpy().ravel() for step in steps])
    assert abs(pixels.mean()) < 0.1 and abs(pixels.std() - 1) < 0.1


def test_data_without_labels_is_refused(ball_cohort):
    with pytest.raises(UsageError, match="No case of the data has a label"):
        labeled(ball_cohort.subset([12, 13]))
