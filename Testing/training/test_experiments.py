"""Experiments: their cells, real jobs for each of them, the table and the picture; the small rival network."""

import csv
import json
import shutil

import matplotlib.image
import numpy as np
import pytest
import torch
from MAEMCLib.errors import UsageError
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.classifiers.cases import labeled
from MAEMCTrainingLib.classifiers.presets import finetuning_preset
from MAEMCTrainingLib.engine.configuration import override
from MAEMCTrainingLib.engine.session import Session
from MAEMCTrainingLib.experiments.auc_table import write_aucs
from MAEMCTrainingLib.experiments.cell import Cell
from MAEMCTrainingLib.experiments.registry import experiment_named
from MAEMCTrainingLib.experiments.run import ExperimentRun, run_experiment
from MAEMCTrainingLib.experiments.small_cnn import SmallCNN, small_cnn_run, train_small_cnn
from MAEMCTrainingLib.jobs.job import open_job
from MAEMCTrainingLib.jobs.stopping import StopRequest
from PIL import Image

NETWORK = ("encoder.patch_size=50", "encoder.position=1d", "encoder.width=16", "encoder.depth=1", "encoder.heads=2")
FAST = ("epochs=2", "batch=8", "folds=2", "validation_fraction=0.2")


def test_cells_take_the_same_number_of_steps():
    cells = experiment_named("patch-size").list_cells(240)
    assert len({cell.name for cell in cells}) == len(cells) == 27
    for cell in cells:
        settings = dict(word.split("=") for word in cell.finetuning)
        assert int(settings["epochs"]) * (cell.labels or 240) == pytest.approx(120 * 240, rel=0.01)
        override(finetuning_preset("tiny", None), list(cell.finetuning))  # every word is a setting
    assert {cell.labels for cell in experiment_named("patch-size").list_cells(50)} == {30, 0}
    with pytest.raises(UsageError, match="patch-size"):
        experiment_named("patch-sizes")


def test_cells_are_jobs_that_are_not_done_twice(ball_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "home"))
    decoder = ("decoder.width=16", "decoder.depth=1", "decoder.heads=2", "epochs=1", "views_per_case=1", "batch=8")
    cells = [
        Cell("scratch-all", "tiny, from scratch", 0, None, (*NETWORK, *FAST)),
        Cell("scratch-4", "tiny, from scratch", 4, None, (*NETWORK, *FAST, "labeled_cases=4")),
        Cell("pre-all", "tiny, pre-trained", 0, (*NETWORK, *decoder), FAST),
    ]
    commands = []

    def maemc_train(arguments):
        commands.append(arguments[0])
        return main(arguments)

    output = tmp_path / "table"
    training, machine = ("--preset", "tiny", "--threads", "1"), ("--device", "cpu")
    data, experiment = [ball_cache.folder], experiment_named("patch-size")
    run = ExperimentRun(experiment, data, [], output, training, machine, quiet=True)
    for _ in range(2):
        assert run_experiment(run, cells, maemc_train, cells) == 0
    assert commands == ["finetune", "finetune", "pretrain", "finetune"]
    with open(output / "table.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["row"], row["labels"]) for row in rows[:3]] == [
        ("tiny, from scratch", "all"),
        ("tiny, from scratch", "4"),
        ("tiny, pre-trained", "all"),
    ]
    assert {row["row"] for row in rows[3:]} >= {"size alone"}
    assert all(0 <= float(row["auc_low"]) <= float(row["auc"]) <= float(row["auc_high"]) <= 1 for row in rows)
    assert "| tiny, pre-trained | " in (output / "table.md").read_text()
    assert matplotlib.image.imread(output / "experiment.png").std() > 0.01


def test_a_cell_that_fails_ends_the_experiment_with_its_code(ball_cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "home"))
    cells = [Cell("wrong", "wrong", 0, None, ("epohcs=3",)), Cell("never", "never", 0, None, ())]
    run = ExperimentRun(experiment_named("patch-size"), [ball_cache.folder], [], tmp_path / "t", quiet=True)
    assert run_experiment(run, cells, main, cells) == 2
    assert "Did you mean epochs" in capsys.readouterr().err and not (tmp_path / "t" / "never").exists()
    write_aucs(cells, tmp_path / "t")
    assert not (tmp_path / "t" / "table.csv").exists()


def test_the_small_network_sees_every_slice_of_a_montage():
    network = SmallCNN(3).eval()
    images = torch.randn(2, 1, 250, 250)
    with torch.no_grad():
        logits = network.logits(images)
        for image, row in zip(images, logits, strict=True):
            pooled = []
            for tile in range(25):
                y, x = divmod(tile, 5)
                maps = network.features(image[None, :, 50 * y : 50 * y + 50, 50 * x : 50 * x + 50])[0]
                pooled.append(torch.cat([maps.flatten(1).max(dim=1).values, maps.flatten(1).mean(dim=1)]))
            expected = network.head(sum(pooled) / 25)
            torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


def test_the_small_network_learns_the_balls(ball_cohort, tmp_path):
    cohort = labeled(ball_cohort)
    run = small_cnn_run(override(finetuning_preset("tiny", None), ["folds=2", "validation_fraction=0.2"]))
    run = override(run, ["epochs=6", "batch=8"])
    stop = StopRequest()
    with open_job(tmp_path / "cnn", "finetune", {"arguments": []}, tmp_path, stop) as job:
        probabilities = train_small_cnn(cohort, run, Session(job, torch.device("cpu"), stop))
    large, small = probabilities[cohort.labels == 1], probabilities[cohort.labels == 0]
    assert np.mean(large[:, None] > small[None]) > 0.9
    written = json.loads((tmp_path / "cnn" / "metrics.json").read_text())
    assert written["auc"]["value"] == pytest.approx(np.mean(large[:, None] > small[None]))


DECODER = ("decoder.width=16", "decoder.depth=1", "decoder.heads=2")


def test_reconstruction_is_judged_on_other_patients(balls, tmp_path, monkeypatch, capsys):
    """maemc-table-6 by its command: unlabeled cases are as good as others, nobody is judged who was learned from."""
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "home"))
    output = tmp_path / "table"
    settings = [*NETWORK, *DECODER, "epochs=1", "views_per_case=1", "batch=4"]
    command = ["experiment", "maemc-table-6", "--data", str(balls), "--output", str(output), "--threads", "1"]
    assert main([*command, "--device", "cpu", "--quiet", *settings]) == 0
    with open(output / "table.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["row"] for row in rows[:4]] == ["mae", "mae", "maemc", "maemc"]
    assert {row["plane"] for row in rows} == {"axial", "coronal"}
    for method in ("mae", "maemc"):
        report = json.loads((output / method / "pretext.json").read_text())
        assert (report["method"], report["cases"], report["left_out_as_seen"]) == (method, 3, 0)  # 20 % of 16 patients
        levels = report["gray_levels"]["coronal"]["network"]["whole montages"]["ssim"]["value"]
        assert f"{levels:.3f}" in (output / "table.md").read_text()
    shared = [row for row in rows if row["row"] == "linear between visible slices"]
    assert len(shared) == 2 and 0 < float(shared[0]["hidden pixels mae"]) < 255
    assert matplotlib.image.imread(output / "experiment.png").std() > 0.01
    commands = []
    monkeypatch.setattr("MAEMCTrainingLib.commands.experiment.run_command", commands.append)
    main([*command, "--device", "cpu", "--quiet", *settings])
    assert commands == []  # all is done
    capsys.readouterr()
    assert main([*command, "--only", "mea"]) == 2 and "They are mae, maemc." in capsys.readouterr().err
    assert main([*command, "--target", "subtype"]) == 2 and "resmae-fusion" in capsys.readouterr().err
    Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / "p.png")
    (tmp_path / "pictures.csv").write_text("case_id,patient_id,kind,image\na,a,image,p.png\nb,b,image,p.png\n")
    pictures = [
        "experiment",
        "maemc-table-6",
        "--data",
        str(tmp_path / "pictures.csv"),
        "--output",
        str(tmp_path / "p"),
    ]
    assert main(pictures) == 2 and "2-D pictures" in capsys.readouterr().err and not (tmp_path / "p").exists()


@pytest.mark.soak
def test_fusions_stand_beside_each_other(balls, tmp_path, monkeypatch):
    """resmae-fusion by its command, with a clinical value that tells the class."""
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "home"))
    with open(balls, newline="") as stream:
        found = list(csv.DictReader(stream))
    data, output = tmp_path / "manifest.csv", tmp_path / "table"
    with open(data, "w", newline="") as stream:
        writer = csv.DictWriter(stream, [*found[0], "age"])
        writer.writeheader()
        for number, row in enumerate(found):
            writer.writerow(
                row | {"image": str(balls.parent / row["image"]), "age": f"{40 + number + 30 * (number % 2)}"}
            )
    command = ["experiment", "resmae-fusion", "--data", str(data), "--clinical", "age:years", "--output", str(output)]
    settings = ["epochs=1", "batch=4", "encoder.image_size=64", "folds=2", "validation_fraction=0.3"]
    words = ["--only", "scratch", "--threads", "1", "--device", "cpu", "--quiet"]
    assert main([*command, *words, *settings]) == 0
    with open(output / "table.csv", newline="") as stream:
        rows = {row["row"]: row for row in csv.DictReader(stream)}
    assert list(rows)[:2] == ["fusion, from scratch", "fusion, from scratch, images alone"]
    assert {"majority class", "size alone", "clinical values alone (logistic)"} < set(rows)
    assert float(rows["clinical values alone (logistic)"]["macro_auc"]) == 1.0
    assert float(rows["majority class"]["macro_auc"]) == 0.5
    assert matplotlib.image.imread(output / "experiment.png").std() > 0.01
    # A second fusion of the same cases is set beside the first.
    shutil.copytree(output / "scratch", output / "resmae")
    with open(output / "resmae" / "predictions.csv", newline="") as stream:
        predictions = list(csv.DictReader(stream))
    for row in predictions:  # it knows every case
        row["probability of benign-like"] = str(1 - int(row["label"]))
        row["probability of malignant-like"] = row["label"]
    with open(output / "resmae" / "predictions.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, predictions[0])
        writer.writeheader()
        writer.writerows(predictions)
    experiment = experiment_named("resmae-fusion")
    ExperimentRun(experiment, [], [], output).write_table(experiment.list_cells(0))
    with open(output / "table.csv", newline="") as stream:
        table = {row["row"]: row for row in csv.DictReader(stream)}
    over = table["fusion, pre-trained by resmae"]["over_first"]
    assert float(over) == pytest.approx(1 - float(rows["fusion, from scratch"]["macro_auc"]))
