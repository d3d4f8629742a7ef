"""``maemc-train fuse`` as it is typed: its linear probe, and what it refuses."""

import json

import torch
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.classifiers.cases import division_of
from MAEMCTrainingLib.classifiers.fold_model import fold_weights
from MAEMCTrainingLib.classifiers.presets import fusion_preset
from MAEMCTrainingLib.classifiers.starting_point import from_job
from MAEMCTrainingLib.classifiers.task import ClassifierTask
from MAEMCTrainingLib.engine.configuration import override
from MAEMCTrainingLib.pretraining.presets import pretraining_preset
from PIL import Image


def test_a_linear_probe_moves_the_head_alone(
    ball_cohort, ball_home, subtypes, balls, tmp_path, pretrain_in, write_subtypes, monkeypatch
):
    """Batch norms too stay as the pre-training left them."""
    monkeypatch.setenv("MAEMC_HOME", str(ball_home))
    small = ["encoder.image_size=64", "epochs=1", "batch=4", "views_per_case=1"]
    pretrain_in(
        tmp_path / "pre", ball_cohort.subset([12, 13, 14, 15]), override(pretraining_preset("tiny", "resmae"), small)
    )
    start, job = from_job(tmp_path / "pre"), tmp_path / "job"
    manifest = write_subtypes(tmp_path / "manifest.csv", balls)
    words = ["fuse", "--from", tmp_path / "pre", "--linear-probe", "--data", manifest, "--clinical", "age:years,sex"]
    words += ["--target", "subtype", "--output", job, "--folds", "2", "--preset", "tiny", "--device", "cpu", "--quiet"]
    assert main([str(word) for word in [*words, "epochs=2", "batch=6"]]) == 0
    report = json.loads((job / "metrics.json").read_text())
    assert {"images alone", "pre-trained encoder, frozen"} < set(report["baselines"])
    run = override(fusion_preset("tiny", start.encoder), ["folds=2", "linear_probe=true"])
    for fold in division_of(subtypes, run).folds:
        drawn = ClassifierTask(subtypes, fold, run, start.preprocessing, start.state).module.state_dict()
        found = fold_weights(job, fold.number)
        moved = {name.split(".")[0] for name in drawn if not torch.equal(found[name], drawn[name])}
        assert moved == {"branch_norms", "projections", "attributes", "rounds", "heads"}
        assert all(torch.equal(found[f"encoder.{name}"], start.state[name]) for name in start.state)


def test_pictures_are_refused(tmp_path, capsys):
    rows = ("case_id,patient_id,image,kind,label", "a,p,a.png,image,0", "b,q,b.png,image,1")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    for name in "ab":
        Image.new("L", (9, 9)).save(tmp_path / f"{name}.png")
    assert main(["fuse", "--data", str(tmp_path / "m.csv"), "--output", str(tmp_path / "job")]) == 3
    message = capsys.readouterr().err
    assert "these data are 2-D pictures" in message and "train with finetune" in message
    assert not (tmp_path / "job").exists()
