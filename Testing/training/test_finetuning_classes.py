"""Fine-tuning by the column of a manifest: more than two classes, and two of other names, to the bundle's score."""

import csv
import json

import numpy as np
import pytest
from MAEMCLib.__main__ import main as maemc
from MAEMCTrainingLib.__main__ import main as train
from PIL import Image
from sklearn.metrics import roc_auc_score


def predictions(folder):
    with open(folder / "predictions.csv", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module", params=["nodules", "pictures"])
def three_classes(request, balls, write_subtypes, tmp_path_factory):
    """A fine-tuning of three classes by the command, and its bundle: (folder, words that name a case to score)."""
    folder = tmp_path_factory.mktemp("three")
    manifest, network = folder / "manifest.csv", ["encoder.width=16", "encoder.depth=1", "encoder.heads=2"]
    if request.param == "nodules":
        write_subtypes(manifest, balls)
        case = [str(balls.parent / "volume 0.nrrd"), "--point", "0,0,0"]
    else:
        network += ["encoder.image_size=32", "encoder.patch_size=8"]
        draws, rows = np.random.default_rng(0), ["case_id,patient_id,image,kind,subtype"]
        for number in range(15):
            pixels = draws.integers(0, 80 + 80 * (number % 3), (40, 48)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            rows.append(f"case-{number},p-{number},{number}.png,image,{('old', 'small', 'young')[number % 3]}")
        manifest.write_text("\n".join(rows))
        case = [str(folder / "0.png")]
    words = ["finetune", "--from", "scratch", "--target", "subtype", "--data", str(manifest), "--folds", "2"]
    words += ["--output", str(folder / "job"), "--preset", "tiny", "--backbone", "tiny", "--device", "cpu", "--quiet"]
    assert train([*words, *network, "epochs=2", "batch=6", "validation_fraction=0.3"]) == 0
    bundle = ["--output", str(folder / "three.maemc"), "--id", "three"]
    assert train(["export", str(folder / "job"), *bundle, "--quiet"]) == 0
    return folder, case


def test_more_than_two_classes(three_classes, tmp_path, capsys):
    """Their names from the column to the score, and the same probabilities by every way."""
    folder, case = three_classes
    classes, rows = ["old", "small", "young"], predictions(folder / "job")
    report = json.loads((folder / "job" / "metrics.json").read_text())
    assert list(report["classes"]) == classes == [row["class"] for row in report["by_class"]]
    table = np.array([[float(row[f"probability of {name}"]) for name in classes] for row in rows])
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=2e-6)
    labels = np.array([classes.index(row["class"]) for row in rows])
    assert report["metrics"]["macro_auc"]["value"] == pytest.approx(roc_auc_score(labels, table, multi_class="ovr"))
    assert "two_class_metrics" not in report and not report["calibration"]["calibrated"]
    capsys.readouterr()
    assert maemc(["score", *case, "--model", str(folder / "three.maemc"), "--device", "cpu", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)["nodules"][0]["class_probabilities"]
    assert list(scored) == classes and sum(scored.values()) == pytest.approx(1)
    assert train(["evaluate", str(folder / "job"), "--output", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert (again["metrics"], again["by_class"]) == (report["metrics"], report["by_class"])
    for name in ("job", "three.maemc"):
        words = ["evaluate", str(folder / name), "--data", str(folder / "manifest.csv"), "--device", "cpu"]
        assert train([*words, "--target", "subtype", "--output", str(tmp_path / name)]) == 0
        first = next(row for row in predictions(tmp_path / name) if row["case_id"] == "case-0")
        assert [float(first[f"probability of {c}"]) for c in classes] == pytest.approx(list(scored.values()), abs=2e-6)
    report = json.loads((tmp_path / "job" / "metrics.json").read_text())
    assert list(report["classes"]) == classes and "macro_auc" in report["metrics"]


def test_two_classes_of_a_column_keep_their_names(balls, write_subtypes, tmp_path, capsys):
    manifest = write_subtypes(tmp_path / "manifest.csv", balls)
    words = ["finetune", "--from", "scratch", "--target", "sex", "--data", str(manifest), "--folds", "2", "--quiet"]
    words += ["--output", str(tmp_path / "job"), "--preset", "tiny", "--device", "cpu", "encoder.width=16"]
    assert train([*words, "encoder.depth=1", "epochs=1", "positive=female", "validation_fraction=0.3"]) == 0
    assert train(["evaluate", str(tmp_path / "job"), "--output", str(tmp_path / "again")]) == 0
    for name in ("job", "again"):
        report = json.loads((tmp_path / name / "metrics.json").read_text())
        assert list(report["classes"]) == ["male", "female"]
        assert report["two_class_metrics"]["auc"]["value"] == report["metrics"]["macro_auc"]["value"]
        rows = predictions(tmp_path / name)
        assert {row["class"] for row in rows} == {"male", "female"} and "probability of female" in rows[0]
    bundle = str(tmp_path / "sex.maemc")
    assert train(["export", str(tmp_path / "job"), "--output", bundle, "--id", "sex", "--quiet"]) == 0
    capsys.readouterr()
    case = [str(balls.parent / "volume 0.nrrd"), "--point", "0,0,0", "--model", bundle, "--device", "cpu", "--json"]
    assert maemc(["score", *case]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["nodules"][0]["class"] in ("male", "female") and 0 < found["nodules"][0]["probability"] < 1
