"""The experiments of the papers: every cell is made of settings that there are; repeats; the downstream protocol."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from MAEMCLib.errors import InputError
from MAEMCLib.inputs.nodule import from_montage
from MAEMCTrainingLib.classifiers.cases import labeled
from MAEMCTrainingLib.classifiers.export import export
from MAEMCTrainingLib.classifiers.presets import finetuning_preset, fusion_preset
from MAEMCTrainingLib.classifiers.task import ClassifierTask
from MAEMCTrainingLib.data.cohort import measure_preprocessing
from MAEMCTrainingLib.data.folds import make_folds
from MAEMCTrainingLib.data.kinds.montage_views import MontagePresentation
from MAEMCTrainingLib.engine.configuration import Augmentation, override
from MAEMCTrainingLib.engine.task import Sample
from MAEMCTrainingLib.evaluation.predictions import PredictionTable, of_second
from MAEMCTrainingLib.experiments.cell import FINETUNE, FUSE, Cell, repeated
from MAEMCTrainingLib.experiments.registry import experiment_named, experiments
from MAEMCTrainingLib.experiments.repeats import write_repeats
from MAEMCTrainingLib.pretraining.presets import pretraining_preset
from MAEMCTrainingLib.statistics.repeats import repeated_auc

PICTURES = {"methods", "less-is-more", "modan-mulsupcon", "bus-mae"}


def parted(words):
    """(value of --method, value of --backbone, KEY=VALUE words)"""
    named = {name: words[words.index(name) + 1] for name in ("--method", "--backbone") if name in words}
    return named.get("--method"), named.get("--backbone"), [word for word in words if "=" in word]


@pytest.mark.parametrize("name", sorted(experiments()))
def test_every_word_of_every_cell_is_a_setting(name):
    experiment, kind = experiment_named(name), "picture" if name in PICTURES else "nodule"
    cells = experiment.list_cells(240)
    assert len({cell.name for cell in cells}) == len(cells)
    for cell in cells:
        if cell.pretraining is not None:
            method, backbone, words = parted(cell.pretraining)
            method = method or "maemc"
            override(pretraining_preset("tiny", method, kind, backbone), words)
        _, backbone, words = parted(cell.finetuning)
        if experiment.command == FUSE:
            override(fusion_preset("tiny", None, kind), words)
        elif experiment.command == FINETUNE:
            override(finetuning_preset("tiny", None, kind, backbone), words)
        else:
            assert not cell.finetuning  # nothing follows the pre-training


def test_published_tables_have_their_rows():
    ratios = [cell.pretraining[-1] for cell in experiment_named("maemc-table-4").list_cells(9)]
    assert [float(word.partition("=")[2]) for word in ratios] == [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9]
    rows = [cell.row for cell in experiment_named("maemc-table-2").list_cells(9)]
    assert rows == ["supervised", "moco-v1", "moco-v2", "mae", "simclr", "cmae", "fcmae", "maemc"]
    assert len(experiment_named("modan-mulsupcon").list_cells(9)) == 4 * 10 + 3
    assert len(experiment_named("less-is-more").list_cells(9)) == 7 * 5


def predicted(folder, scores, labels, folds):
    folder.mkdir(parents=True)
    names = [f"case-{n}" for n in range(len(labels))]
    patients = [f"P{n // 2}" for n in range(len(labels))]
    table = of_second(scores)
    PredictionTable(names, patients, labels, table, folds, table).write(folder / "predictions.csv")
    (folder / "metrics.json").write_text("{}")


def test_repeats_are_compared_with_the_first_row(tmp_path):
    draws = np.random.default_rng(0)
    labels = np.tile([0, 0, 1, 1], 20)
    folds = np.repeat(np.arange(5), 16)
    cells = [cell for row in ("good", "bad") for cell in repeated(Cell(row, row, 0, None, ()), 6)]
    assert [cell.name for cell in cells[:2]] == ["good-0", "good-1"] and cells[3].finetuning == ("seed=3",)
    signal = {"good": 2.0, "bad": 0.3}
    scores = {}
    for cell in cells[:-1]:
        values = 1 / (1 + np.exp(-(signal[cell.row] * labels + draws.normal(size=80))))
        scores.setdefault(cell.row, []).append(np.round(values, 6))
        predicted(tmp_path / cell.name, values, labels, folds)
    write_repeats(cells, tmp_path)
    stored = json.loads((tmp_path / "repeats.json").read_text())
    assert stored["comparisons"] == {}  # nothing to compare before all of a row's repeats are there
    predicted(tmp_path / "bad-5", scores["bad"][0], labels, folds)
    write_repeats(cells, tmp_path)
    stored = json.loads((tmp_path / "repeats.json").read_text())
    found = stored["comparisons"]["bad"]
    assert found["difference"]["low"] > 0
    assert found["holm"] == pytest.approx(2 / 2**6)  # six of six pairs, two-sided
    assert stored["auc"]["good"] == pytest.approx(repeated_auc(labels, np.array(scores["good"]), folds).tolist())
    assert "Research only" in (tmp_path / "repeats.md").read_text()


def test_the_encoder_stays_in_its_frozen_epochs(ball_cohort):
    """Driven as the loop drives it: the head moves from the first epoch, the encoder from the third."""
    from MAEMCTrainingLib.engine.optimization import build_optimizer, set_learning_rate

    cohort = labeled(ball_cohort)
    run = override(finetuning_preset("tiny", None), ["epochs=4", "frozen_epochs=2", "encoder.width=16", "depth=1"])
    fold = make_folds(cohort.labels, cohort.patients, 3, 0.2, 0)[0]
    task = ClassifierTask(cohort, fold, run, measure_preprocessing(cohort.main, run.augmentation, 250), None)
    optimizer = build_optimizer(task.parameters(), run.optimization, torch.device("cpu"))
    before = {name: value.clone() for name, value in task.module.state_dict().items()}
    for epoch in range(3):
        set_learning_rate(optimizer, 1e-2, epoch)
        optimizer.zero_grad()
        task.step(task.module, task.batch([Sample(0, number) for number in range(3)])[0])[0]["loss"].backward()
        optimizer.step()
        moved = {name for name, value in task.module.state_dict().items() if not torch.equal(value, before[name])}
        assert {name.split(".")[0] for name in moved} == ({"head"} if epoch < 2 else {"head", "encoder"})


def test_repeats_share_their_folds(ball_cohort, tmp_path, finetune_in):
    run = override(finetuning_preset("tiny", None), ["epochs=1", "folds=2", "encoder.width=16", "depth=1", "batch=8"])
    reports = [finetune_in(tmp_path / str(seed), labeled(ball_cohort), replace(run, seed=seed)) for seed in (0, 1)]
    rows = [(tmp_path / str(seed) / "predictions.csv").read_text().splitlines()[1:] for seed in (0, 1)]
    assert [row.split(",")[:4] for row in rows[0]] == [row.split(",")[:4] for row in rows[1]]
    assert rows[0] != rows[1] and reports[0]["folds"] == 2


def test_without_data_processing_there_is_one_slice(ball_cohort, tmp_path, finetune_in):
    preprocessing = measure_preprocessing(ball_cohort, Augmentation(), 250)
    whole, single = (
        MontagePresentation(ball_cohort, Augmentation(mode=mode), preprocessing, 250) for mode in ("none", "single")
    )
    middle, shown = from_montage(whole.plain(3)[0])[12], single.plain(3)[0]
    assert shown.shape == (250, 250)
    np.testing.assert_allclose(shown[2::5, 2::5], middle, atol=1e-5)  # five pixels for one
    assert single.training_image(3, 0, 0, 7, 6)[0] == pytest.approx(shown)
    run = override(finetuning_preset("tiny", None), ["epochs=1", "folds=2", "depth=1", "batch=8", "mode=single"])
    finetune_in(tmp_path / "job", labeled(ball_cohort), run)
    with pytest.raises(InputError, match="single slices"):
        texts = {"id": "x", "version": "1", "title": "x", "intended_use": "x"}
        export(tmp_path / "job", tmp_path / "x.maemc", texts)
