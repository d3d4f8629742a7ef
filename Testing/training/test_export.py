"""From a job to a bundle that scoring opens: members, card, numbers that agree."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import MAEMCLib
import numpy as np
import pytest
import torch
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.errors import InputError, ModelError
from MAEMCLib.explain.explanation import explain
from MAEMCLib.figures.words import sentences
from MAEMCLib.images.files import read_volume
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.region import cut_roi
from MAEMCLib.models.bundle import Member, ModelBundle, save_bundle
from MAEMCLib.models.operating_points import operating_points
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.models.reference_case import difference, open_predictor
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.classifiers.cases import CaseImages, labeled
from MAEMCTrainingLib.classifiers.export import export, read_card_texts
from MAEMCTrainingLib.classifiers.fold_model import load_fold
from MAEMCTrainingLib.classifiers.presets import finetuning_preset
from MAEMCTrainingLib.classifiers.starting_point import from_job
from MAEMCTrainingLib.classifiers.task import features, predict
from MAEMCTrainingLib.engine.configuration import Augmentation, override
from MAEMCTrainingLib.evaluation import reconstruction_errors
from MAEMCTrainingLib.evaluation.report import evaluate_again
from MAEMCTrainingLib.jobs import revision
from MAEMCTrainingLib.jobs.job import Job
from MAEMCTrainingLib.jobs.revision import code_revision
from MAEMCTrainingLib.pretraining.presets import pretraining_preset
from MAEMCTrainingLib.pretraining.run import load_pretrained

CPU = torch.device("cpu")
ENCODER = EncoderConfiguration(width=16, depth=1, heads=2)
TEXTS = {"id": "balls", "version": "0.1", "title": "Balls", "intended_use": "A test.", "attribution": "Nobody."}


@pytest.fixture(scope="module")
def jobs(ball_cohort, pretrain_in, finetune_in, tmp_path_factory):
    """A pre-training on the unlabeled balls and a fine-tuning on the labeled ones: their folders."""
    folder = tmp_path_factory.mktemp("jobs")
    run = override(pretraining_preset("tiny", "maemc"), ["queue_size=16", "projection_width=8"])
    run = replace(run, encoder=ENCODER, decoder=DecoderConfiguration(width=16, depth=1, heads=2))
    run = override(run, ["epochs=2", "batch=4", "views_per_case=1"])
    pretrain_in(folder / "pre", ball_cohort.subset([12, 13, 14, 15]), run)
    fine = override(finetuning_preset("tiny", ENCODER), ["epochs=3", "folds=3", "validation_fraction=0.2"])
    finetune_in(folder / "fine", labeled(ball_cohort), fine, from_job(folder / "pre"))
    return folder


@pytest.mark.parametrize("name", ["model.maemc", "model folder ö"])
def test_the_bundle_opens_verified_and_says_what_it_is(jobs, tmp_path, name):
    export(jobs / "fine", tmp_path / name, TEXTS)
    card = ModelBundle.open(tmp_path / name).card
    values = card.values
    report = json.loads((jobs / "fine" / "metrics.json").read_text())
    assert (card.id, card.version, card.fusion, card.calibration.calibrated) == ("balls", "0.1", "mean", False)
    assert len(card.members("classifier")) == len(card.members("statistics")) == 3
    assert len(card.members("decoder")) == 1
    assert values["metrics"] == report["metrics"] and values["thresholds"] == report["thresholds"]
    assert values["operating_points"] == report["operating_points"]
    assert operating_points(card) == () and "at least 20" in values["thresholds_reason"]  # of twelve cases
    assert values["calibration"]["slope"] == 1.0 and "20" in values["calibration"]["reason"]
    assert values["training"]["prior_in_probability"] == 0.5  # of class weights
    assert not card.training_distances and "training_errors" not in values  # of twelve cases
    assert values["software"]["exported by"] == code_revision()
    assert values["training"]["prevalence"] == 0.5 and values["training"]["cases"] == 12
    assert values["training"]["pretraining"]["cases"] == 4
    assert f"{report['metrics']['auc']['value']:.3f}" in values["training"]["summary"]
    assert values["training"]["attribution"] == "Nobody."
    sizes = [2 * ((9.0 if number % 2 else 4.0) + 0.1 * number) for number in range(12)]  # of those with a label
    middle = (card.limits.smallest_diameter_mm, card.limits.largest_diameter_mm)
    assert middle == pytest.approx(np.percentile(sizes, (5, 95)))
    text = json.dumps(values)
    pseudonyms = json.loads((jobs / "fine" / "job.json").read_text())["cohort"]["pseudonyms"]
    assert len(pseudonyms) == 12 and not any(word in text for word in [*pseudonyms, "patient-", "case-", str(jobs)])


def test_scoring_gives_the_fold_models_mean(jobs, balls, ball_cohort, tmp_path):
    export(jobs / "fine", tmp_path / "m.maemc", TEXTS)
    predictor = Predictor(ModelBundle.open(tmp_path / "m.maemc"), "cpu")
    rows = read_manifest(balls).rows[:4]
    rois = [cut_roi(read_volume(row.image), row.point_lps) for row in rows]
    preprocessing = load_pretrained(jobs / "pre").preprocessing
    members = []
    for number in range(3):
        model = load_fold(Job(jobs / "fine"), number)
        cohort = labeled(ball_cohort)
        values = features(model.encoder, CaseImages(cohort, Augmentation(), preprocessing, 250), np.arange(4), CPU)
        found = predict(model, values, cohort.seen[:4], cohort.values[:4], cohort.given[:4])
        members.append(found.fused.softmax(dim=1)[:, 1].numpy())
    for index, prediction in enumerate(predictor.predict([Prepared(roi) for roi in rois])):
        # The cache holds whole HU, the region fractions: less than a thousandth of a gray value.
        assert prediction.members == pytest.approx([m[index] for m in members], abs=2e-3)


def test_a_new_case_s_error_has_its_place_among_the_training_s(jobs, balls, ball_cohort, finetune_in, monkeypatch):
    monkeypatch.setattr(reconstruction_errors, "FEWEST_CASES", 12)
    run = override(finetuning_preset("tiny", ENCODER), ["epochs=1", "folds=2", "validation_fraction=0.2"])
    folder = jobs / "with errors"
    finetune_in(folder, labeled(ball_cohort), run, from_job(jobs / "pre"))
    bundle = export(folder, jobs / "errors.maemc", TEXTS)
    stored, predictor = bundle.card.values["training_errors"], open_predictor(bundle, "cpu")
    assert set(stored) == {"axial", "coronal"} and all(len(row) == 101 for row in stored.values())
    rows = [row for row in read_manifest(balls).rows if row.label is not None]
    errors = {"axial": [], "coronal": []}
    for row in rows:
        found = explain(predictor, Prepared(cut_roi(read_volume(row.image), row.point_lps)))
        for plane, values in errors.items():
            values.append(found.mean_error[plane])
            place = np.interp(found.mean_error[plane], stored[plane], np.arange(101))
            assert found.error_percentile[plane] == pytest.approx(place)
            assert f"larger than in {place:.0f} % of the training's cases" in " ".join(sentences(found))
    for plane, values in errors.items():  # the cache holds whole HU
        np.testing.assert_allclose(stored[plane], np.percentile(values, np.arange(101)), atol=0.5)
    again = evaluate_again(Job(folder)).to_json()
    assert again["training_errors"] == stored


def test_the_decoder_is_the_pretrainings(jobs, tmp_path):
    bundle = export(jobs / "fine", tmp_path / "m.maemc", TEXTS)
    (tensors,) = bundle.weights("decoder")
    expected = load_pretrained(jobs / "pre").module.autoencoder_state()
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name].half()) for name in tensors)


def test_what_cannot_be_exported_says_why(jobs, tmp_path):
    with pytest.raises(InputError, match=r"'pretrain'.*takes a fine-tuning"):
        export(jobs / "pre", tmp_path / "m.maemc", TEXTS)
    with pytest.raises(InputError, match="no job folder"):
        export(tmp_path, tmp_path / "m.maemc", TEXTS)
    state = (jobs / "fine" / "state.json").read_text()
    (jobs / "fine" / "state.json").write_text(state.replace("finished", "stopped"))
    with pytest.raises(InputError, match="stopped, not finished"):
        export(jobs / "fine", tmp_path / "m.maemc", TEXTS)
    (jobs / "fine" / "state.json").write_text(state)
    assert not (tmp_path / "m.maemc").exists()


def test_it_is_exported_alike_when_its_pretraining_is_gone(jobs, tmp_path):
    before = export(jobs / "fine", tmp_path / "before.maemc", TEXTS)
    hidden = (jobs / "pre").rename(jobs / "hidden")
    try:
        after = export(jobs / "fine", tmp_path / "after.maemc", TEXTS)
    finally:
        hidden.rename(jobs / "pre")
    assert after.card.files == before.card.files and len(after.card.members("decoder")) == 1
    assert after.card.values["training"] == before.card.values["training"]


def test_a_job_that_kept_nothing_is_exported_with_what_there_is(jobs, tmp_path, capsys):
    """As jobs of earlier versions are: with the autoencoder while its pre-training is as it was, then without."""
    old = tmp_path / "old"
    shutil.copytree(jobs / "fine", old)
    for name in ("start.json", "autoencoder.safetensors"):
        (old / name).unlink()
    stored = json.loads((old / "job.json").read_text())  # the starting point was named in the job itself
    (old / "job.json").write_text(json.dumps({**stored, "from": str(jobs / "pre")}))
    whole = export(old, tmp_path / "whole.maemc", TEXTS)
    assert whole.card.files == export(jobs / "fine", tmp_path / "kept.maemc", TEXTS).card.files
    weights = jobs / "pre" / "checkpoints" / "last" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        words = ["export", str(old), "--output", str(tmp_path / "bare.maemc"), "--id", "balls"]
        assert main(words) == 0
    finally:
        weights.write_bytes(content)
    assert "gone or changed" in capsys.readouterr().err
    card = ModelBundle.open(tmp_path / "bare.maemc").card
    assert card.decoder is None and not card.members("decoder")
    assert any("reconstructs no region" in note for note in card.values["notes"])
    assert all(card.files[name] == whole.card.files[name] for name in card.files)


def test_an_exported_bundle_brings_a_reference_case_that_is_checked(jobs, tmp_path):
    bundle = export(jobs / "fine", tmp_path / "m.maemc", TEXTS)
    assert len(bundle.card.reference["logits"]) == 3
    assert difference(Predictor(bundle, "cpu")) < 1e-5
    for seed, name in ((1, "a"), (2, "b")):
        other = load_fold(Job(jobs / "fine"), seed).state_dict()
        members = [Member("classifier", f"c{n}", other) for n in range(3)]
        card = {key: bundle.card.values[key] for key in bundle.card.values if key != "training_distances"}
        with pytest.raises(ModelError, match="other numbers than the model's author"):
            open_predictor(save_bundle(tmp_path / name, card, members), "cpu")


def test_half_the_size_in_bfloat16(jobs, tmp_path):
    whole = export(jobs / "fine", tmp_path / "whole.maemc", TEXTS)
    words = ["export", str(jobs / "fine"), "--output", str(tmp_path / "half.maemc"), "--id", "balls", "--precision"]
    assert main([*words, "bfloat16"]) == 0
    half = ModelBundle.open(tmp_path / "half.maemc")
    name = half.card.members("classifier")[0]
    assert {tensor.dtype for tensor in half.header(name).values()} == {"BF16"}
    assert half.card.files[name]["bytes"] < 0.6 * whole.card.files[name]["bytes"]
    assert difference(open_predictor(half, "cpu")) < 0.1
    np.testing.assert_allclose(half.card.reference["logits"], whole.card.reference["logits"], atol=0.1)
    with pytest.raises(SystemExit):
        main([*words, "float8"])


def test_the_code_s_revision(tmp_path, monkeypatch):
    """Of this checkout; a copy of the package elsewhere, even inside another repository, has its version only."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    if head.returncode == 0:
        assert code_revision().removesuffix(" changed") == f"git {head.stdout.strip()}"
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(revision, "__file__", str(tmp_path / "revision.py"))
    (tmp_path / "revision.py").touch()
    assert code_revision() == f"maemc {MAEMCLib.__version__}"


def test_card_texts(tmp_path):
    path = tmp_path / "card.toml"
    path.write_text('id = "a"\nversion = "1"\ntitle = "T"\nintended_use = "Research"\nlicence = "CC BY 3.0"\n')
    assert read_card_texts(path)["licence"] == "CC BY 3.0"
    path.write_text('id = "a"\nauc = 0.99\n')
    with pytest.raises(InputError, match="unknown: auc"):  # no number is written by hand
        read_card_texts(path)
    path.write_text('id = "a"\n')
    with pytest.raises(InputError, match="missing: version, title, intended_use"):
        read_card_texts(path)
    path.write_text("id =")
    with pytest.raises(InputError, match="cannot be read"):
        read_card_texts(path)
