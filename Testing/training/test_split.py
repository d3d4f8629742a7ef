"""The manifest's ``split`` and fixed folds: who trains, who chooses, who tests, in every command that trains."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCLib.errors import InputError, UsageError
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.data.cases import parts_of, split_patients
from MAEMCTrainingLib.data.cohort import join
from MAEMCTrainingLib.data.folds import divide
from MAEMCTrainingLib.data.store import open_store
from PIL import Image

from Testing.training.stores import build_rows

NETWORK = ["encoder.image_size=16", "encoder.patch_size=8", "encoder.width=16", "encoder.depth=1", "encoder.heads=2"]
USUAL = ["--preset", "tiny", "--device", "cpu", "--threads", "1", "--quiet"]
SPLIT = ["train"] * 12 + ["val"] * 4 + ["test"] * 6


def disk(draws, label):
    y, x = np.mgrid[:20, :20] - 10
    gray = draws.normal(60, 15, (20, 20)) + 120 * (np.hypot(x, y) < (7 if label else 3))
    return np.clip(gray, 0, 255).astype(np.uint8)


def pictures(folder, words=SPLIT, changed=(), **columns):
    """A manifest of disks, large for class 1; of the changed rows label and picture are others."""
    folder.mkdir()
    draws, rows = np.random.default_rng(3), []
    for number, word in enumerate(words):
        label, image = number % 2, folder / f"{number}.png"
        gray = disk(draws, label)
        if number in changed:
            label, gray = 1 - label, 255 - gray
        Image.fromarray(gray).save(image)
        extra = {name: values[number] for name, values in columns.items()}
        split = word or None
        rows.append(Case(f"c{number}", f"p{number}", image, "image", label, split, 5.0 + number, values=extra))
    return write_manifest(folder / "m.csv", rows)


def finetune(manifest, job, *words):
    more = ["--backbone", "tiny", *NETWORK, "epochs=2", "batch=4", *words]
    return main(["finetune", "--from", "scratch", "--data", str(manifest), "--output", str(job), *USUAL, *more])


def weights(job, fold=0):
    return (job / "folds" / str(fold) / "checkpoints" / "best" / "model.safetensors").read_bytes()


def table(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def report(job):
    return json.loads((job / "metrics.json").read_text())


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("words", [SPLIT, ["train"] * 16 + ["test"] * 6])
def test_rows_of_the_test_part_move_no_weight_and_no_choice(words, home, tmp_path):
    """Other labels and other pictures of the test rows give the same models, to the bit."""
    tests = [number for number, word in enumerate(words) if word == "test"]
    for name, changed in (("one", ()), ("two", tests)):
        manifest = pictures(tmp_path / f"data-{name}", words, changed)
        assert finetune(manifest, tmp_path / name, *([] if "val" in words else ["--folds", "2"])) == 0
    one, two = tmp_path / "one", tmp_path / "two"
    folds = len(list((one / "folds").iterdir()))
    assert folds == (1 if "val" in words else 2)
    assert [weights(one, fold) for fold in range(folds)] == [weights(two, fold) for fold in range(folds)]
    kept = [json.loads((job / "job.json").read_text()) for job in (one, two)]
    assert kept[0]["preprocessing"] == kept[1]["preprocessing"] and kept[0]["cohort"] == kept[1]["cohort"]
    for key in ("thresholds", "calibration", "prior_in_probability", "training_distances"):
        assert report(one)[key] == report(two)[key]
    assert report(one)["parts"]["test"]["metrics"] != report(two)["parts"]["test"]["metrics"]


def test_one_model_that_nothing_would_stop_is_refused_before_a_picture_is_read(home, tmp_path, capsys):
    manifest = pictures(tmp_path / "data", ["train"] * 16 + ["test"] * 6)
    assert finetune(manifest, tmp_path / "job", "--folds", "1") == 3
    assert "folds is 1" in capsys.readouterr().err and not (tmp_path / "job" / "caches").exists()


def test_validation_rows_choose_and_test_rows_are_the_figures(home, tmp_path):
    assert finetune(pictures(tmp_path / "data"), tmp_path / "job") == 0
    found = report(tmp_path / "job")
    assert found["evaluation"] == "test rows" and (found["folds"], found["cases"]) == (1, 6)
    parts = found["parts"]
    assert {name: part["cases"] for name, part in parts.items()} == {"validation": 4, "test": 6}
    assert parts["test"]["metrics"]["auc"] == found["metrics"]["auc"] and parts["validation"]["chose_the_epoch"]
    rows = table(tmp_path / "job" / "predictions.csv")
    assert [int(row["row"]) for row in rows] == list(range(18, 24))  # the manifest's own rows, the header being 1
    chose = table(tmp_path / "job" / "predictions-validation.csv")
    assert [int(row["row"]) for row in chose] == list(range(14, 18))
    result = json.loads((tmp_path / "job" / "folds" / "0" / "result.json").read_text())
    assert [row["row"] for row in result["validation"]] == list(range(14, 18)) and result["trained_on"] == 12
    page = (tmp_path / "job" / "report.html").read_text()
    assert "Test rows of the manifest" in page and "Validation rows of the manifest" in page
    log = (tmp_path / "job" / "log.txt").read_text()
    assert "12 train, 4 validation, 6 test cases" in log and "one model" in log
    before = (tmp_path / "job" / "metrics.json").read_text()
    assert main(["evaluate", str(tmp_path / "job"), "--quiet"]) == 0  # from what is stored alone
    assert (tmp_path / "job" / "metrics.json").read_text() == before


def test_without_validation_rows_folds_are_of_the_training_rows(home, tmp_path):
    manifest = pictures(tmp_path / "data", ["train"] * 16 + ["test"] * 6)
    assert finetune(manifest, tmp_path / "job", "--folds", "2") == 0
    found, rows = report(tmp_path / "job"), table(tmp_path / "job" / "predictions.csv")
    assert (found["evaluation"], found["cases"], found["folds"]) == ("out-of-fold", 16, 2)
    assert [int(row["row"]) for row in rows] == list(range(2, 18))
    assert found["parts"]["test"]["cases"] == 6 and "validation" not in found["parts"]
    tested = table(tmp_path / "job" / "predictions-test.csv")
    scores = [
        [row["probability"] for row in json.loads((place / "result.json").read_text())["parts"]["test"]]
        for place in sorted((tmp_path / "job" / "folds").iterdir())
    ]
    np.testing.assert_allclose([float(row["probability"]) for row in tested], np.mean(scores, axis=0), atol=1e-6)
    card = tmp_path / "m.maemc"
    assert main(["export", str(tmp_path / "job"), "--output", str(card), "--id", "m", "--quiet"]) == 0


def test_pretraining_takes_the_training_rows_alone(home, tmp_path):
    words = ["pretrain", "--method", "mae", "--data", str(pictures(tmp_path / "data")), *USUAL, *NETWORK, "epochs=1"]
    decoder = ["decoder.width=16", "decoder.depth=1", "decoder.heads=2"]
    assert main([*words, *decoder, "--output", str(tmp_path / "pre")]) == 0
    settings = json.loads((tmp_path / "pre" / "job.json").read_text())
    assert settings["cohort"]["cases"] == 12 and len(settings["cohort"]["pseudonyms"]) == 12
    assert "6 test and 4 validation cases" in (tmp_path / "pre" / "log.txt").read_text()
    # Nobody who is tested was seen: nothing has to be repeated, and nothing leaks.
    start = ["finetune", "--from", str(tmp_path / "pre"), "--data", str(tmp_path / "data" / "m.csv")]
    assert main([*start, "--output", str(tmp_path / "fine"), *USUAL, "epochs=1"]) == 0
    assert report(tmp_path / "fine")["pretraining"] == "given" and not report(tmp_path / "fine")["leaky"]
    # In folds of the training rows those were seen, so that it is repeated: without the fold's and the test rows.
    folds = pictures(tmp_path / "folds", ["train"] * 12 + ["test"] * 10)
    start[start.index("--data") + 1] = str(folds)
    assert main([*start, "--folds", "2", "--output", str(tmp_path / "again"), *USUAL, "epochs=1"]) == 0
    assert report(tmp_path / "again")["pretraining"] == "in-fold"


def test_words_that_are_none_are_refused_with_their_names(tmp_path):
    rows = read_manifest(pictures(tmp_path / "data", ["train", "Val", "TEST", "holdout", "", "dev"])).rows
    with pytest.raises(InputError, match=r"says dev, holdout\..*train, val \(or validation\) and test"):
        parts_of(rows)
    kept = [row for row in rows if row.split not in ("holdout", "dev")]
    assert parts_of(kept) == ["train", "validation", "test", "train"]
    assert parts_of([replace(row, split=None) for row in kept]) == [None] * 4
    # A row without a word goes where its patient's others are, and nobody is in two parts.
    assert parts_of([kept[2], replace(kept[3], patient_id=kept[2].patient_id)]) == ["test", "test"]
    with pytest.raises(InputError, match="more than one split: p2"):
        parts_of([kept[2], replace(kept[0], patient_id=kept[2].patient_id)])


def test_a_patient_in_two_parts_of_two_manifests_is_refused(tmp_path):
    home = tmp_path / "home"
    one = read_manifest(pictures(tmp_path / "one", ["train", "train"])).rows
    two = [replace(row, case_id=f"x{row.case_id}", split="test") for row in one]
    caches = [build_rows(rows, tmp_path / name, home) for name, rows in (("a", one), ("b", two))]
    with pytest.raises(InputError, match="more than one split"):
        join(caches)


def test_the_split_and_the_columns_survive_the_cache(balls, home, tmp_path):
    words = ("train", "train", "test")
    rows = [
        replace(row, split=words[number % 3], values={"fold": "abc"[number % 3], "note": f"t{number}"})
        for number, row in enumerate(read_manifest(balls).rows)
    ]
    built = build_rows(rows, tmp_path / "cache", home)
    cache = open_store(built.folder)
    assert join([cache]).parts.tolist() == [words[number % 3] for number in range(16)]
    groups = [case.values["fold"] for case in cache.cases]
    assert [case.values["fold"] for case in built.cases] == [row.values["fold"] for row in rows]
    assert len(set(groups)) == 3 and groups[0] == groups[3] != groups[1]
    changed = [replace(row, split=None, values={}) for row in rows]
    assert not join([build_rows(changed, tmp_path / "cache", home)]).is_divided


def test_metadata_train_the_same_from_the_cache_that_the_command_makes(home, tmp_path, capsys):
    modality = [("CT", "US", "MR")[number % 3] for number in range(8)]
    manifest = pictures(tmp_path / "data", [""] * 8, modality=modality)
    assert main(["cache", str(manifest), "--output", str(tmp_path / "cache")]) == 0
    assert "8 cases cached, 0 left out; 8 pictures." in capsys.readouterr().err
    assert main(["cache", str(manifest), "--output", str(tmp_path / "other"), "--slice-step", "2"]) == 2
    assert "--slice-step is of nodules in CT" in capsys.readouterr().err
    words = ["pretrain", "--method", "supervised", "columns=modality", "encoder.image_size=32", "epochs=1", "batch=4"]
    for name, data in (("one", manifest), ("two", tmp_path / "cache")):
        assert main([*words, "--data", str(data), "--output", str(tmp_path / name), *USUAL]) == 0
    one, two = (tmp_path / name / "checkpoints" / "last" / "model.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    words[words.index("columns=modality")] = "columns=vendor"
    assert main([*words, "--data", str(tmp_path / "cache"), "--output", str(tmp_path / "three"), *USUAL]) == 3
    assert "has no column vendor" in capsys.readouterr().err


def test_fixed_folds_are_those_of_the_column(home, tmp_path):
    column = [str(number // 2 % 3) for number in range(22)]
    manifest = pictures(tmp_path / "data", [""] * 22, fold=column)
    assert finetune(manifest, tmp_path / "job", "--folds-from", "fold") == 0
    rows = table(tmp_path / "job" / "predictions.csv")
    assert [row["fold"] for row in rows] == column and report(tmp_path / "job")["folds"] == 3
    assert main(["finetune", "--from", "scratch", "--data", str(manifest), "--output", str(tmp_path / "no"), "--folds",
                 "2", "--folds-from", "fold", *USUAL]) == 2  # fmt: skip
    assert finetune(manifest, tmp_path / "no", "--folds-from", "folds") == 3


def test_fixed_folds_that_cannot_be_used_are_refused(tmp_path):
    def cohort(column, words=("",) * 8, patients=range(8)):
        folder = tmp_path / f"data-{len(list(tmp_path.iterdir()))}"
        rows = read_manifest(pictures(folder, words, fold=column)).rows
        rows = [replace(row, patient_id=f"p{patient}") for row, patient in zip(rows, patients, strict=True)]
        return join([build_rows(rows, folder / "cache", tmp_path / "home")])

    def folds(made):
        return divide(made, made.labels, 5, 0.3, 0, folds_from="fold").folds

    names = ["north"] * 4 + ["south"] * 4
    first, second = folds(cohort(names))
    assert (first.test.tolist(), second.test.tolist()) == ([0, 1, 2, 3], [4, 5, 6, 7])
    assert sorted([*first.train, *first.validation]) == [4, 5, 6, 7]
    with pytest.raises(InputError, match="1 patients have cases in more than one fold"):
        folds(cohort(names, patients=[0, 1, 2, 3, 3, 4, 5, 6]))
    with pytest.raises(InputError, match="2 of 8 cases have no value"):
        folds(cohort([*names[:6], "", ""]))
    with pytest.raises(InputError, match="no column fold with 2 to 20 values"):
        folds(cohort([""] * 8))
    with pytest.raises(InputError, match="one class only"):
        folds(cohort(["0", "1"] * 4))
    # Validation rows stop the training of every fold, and test rows are in none.
    words = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    for fold in folds(cohort(["0", "0", "1", "1"] * 2, words)):
        assert fold.validation.tolist() == [4, 5] and not {6, 7} & {*fold.train, *fold.test}


def test_a_part_of_one_class_is_refused(tmp_path):
    rows = read_manifest(pictures(tmp_path / "data", ["train"] * 6 + ["test", ""])).rows
    made = join([build_rows(rows, tmp_path / "cache", tmp_path / "home")])
    with pytest.raises(InputError, match=r"'test' .* 1 labeled cases, all of one class"):
        divide(made, made.labels, 2, 0.3, 0)


def test_an_experiment_draws_its_pretraining_from_the_training_rows(tmp_path):
    manifest = pictures(tmp_path / "data")
    (first,), (second,) = split_patients([manifest], tmp_path / "out", 0.5)
    assert {row.split for row in read_manifest(first).rows} == {"train"} and len(read_manifest(first).rows) == 6
    kept = [row.split for row in read_manifest(second).rows]
    assert [kept.count(word) for word in ("train", "validation", "test")] == [6, 4, 6]


def test_a_fusion_obeys_the_split_as_well(balls, home, tmp_path):
    with open(balls, newline="") as stream:
        rows = list(csv.DictReader(stream))[:12]
    for number, row in enumerate(rows):
        row |= {"image": str(balls.parent / row["image"]), "age": str(40 + 3 * number)}
        row["split"] = ("train", "train", "train", "train", "val", "val", "test", "test")[number % 8]
    with open(tmp_path / "m.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    words = ["fuse", "--data", str(tmp_path / "m.csv"), "--clinical", "age", "--output", str(tmp_path / "job"), *USUAL]
    assert main([*words, "epochs=1", "encoder.image_size=64", "width=8", "rounds=1", "images_alone=false"]) == 0
    found = report(tmp_path / "job")
    assert found["evaluation"] == "test rows" and (found["cases"], found["folds"]) == (2, 1)
    assert {name: part["cases"] for name, part in found["parts"].items()} == {"validation": 2, "test": 2}
    result = json.loads((tmp_path / "job" / "folds" / "0" / "result.json").read_text())
    assert result["trained_on"] == 8 and [row["row"] for row in result["test"]] == [8, 9]
    assert "Test rows of the manifest" in (tmp_path / "job" / "report.html").read_text()


def test_patients_are_split_the_same_way_whatever_their_names(tmp_path):
    def parts(prefix):
        image = tmp_path / "one.png"
        image.touch()
        rows = [Case(f"case-{n}", f"{prefix}{n // 2}", image, kind="image") for n in range(9)]
        path = write_manifest(tmp_path / prefix / "all.csv", rows)
        ((one,), (two,)) = split_patients([path], tmp_path / prefix, 0.4)
        both = [read_manifest(part).rows for part in (one, two)]
        return [[row.case_id for row in rows] for rows in both], [{row.patient_id for row in rows} for rows in both]

    cases, patients = parts("a")
    assert cases == parts("zz")[0] and sorted(cases[0] + cases[1]) == [f"case-{n}" for n in range(9)]
    assert len(patients[0]) == 2 and not patients[0] & patients[1]
    with pytest.raises(UsageError, match="without any"):
        split_patients([tmp_path / "a" / "all.csv"], tmp_path, 0.01)
