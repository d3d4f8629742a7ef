"""``maemc-train evaluate --data``: who judges whose patients, groups, cases of like size, moved clicks."""

import json
import shutil

import numpy as np
import pytest
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCTrainingLib.evaluation import clicks, scored_data
from MAEMCTrainingLib.evaluation.clicks import moved_points
from MAEMCTrainingLib.evaluation.predictions import read_predictions
from MAEMCTrainingLib.statistics.calibration import Calibration
from MAEMCTrainingLib.statistics.metrics import auc

from Testing.training.judged_jobs import read_values, report_of, rows_of


def test_patients_that_were_trained_on_are_scored_by_the_member_that_never_saw_them(jobs, manifest, tmp_path, evaluate):
    code, out, _ = evaluate(jobs / "fine", "--data", jobs / "cache", "--output", tmp_path / "own")
    assert code == 0 and "64 of the 64 patients were trained on: each is scored by the one member" in out
    assert "LEAKY" not in out
    ours, own = np.array(read_values(tmp_path / "own")), read_predictions(jobs / "fine" / "predictions.csv")
    assert [row["patient_id"] for row in rows_of(tmp_path / "own" / "predictions.csv")] == list(own.patients)
    calibration = Calibration(**report_of(jobs / "fine")["calibration"])
    assert np.abs(ours - calibration.apply(own.network[:, 1])).max() < 2e-6
    # The whole model gives other numbers: most of its members saw each patient.
    code, _, _ = evaluate(jobs / "fine.maemc", "--data", jobs / "cache", "--output", tmp_path / "whole")
    assert code == 0 and np.abs(np.array(read_values(tmp_path / "whole")) - ours).max() > 0.01


def test_overlap_with_the_training_s_patients(jobs, manifest, tmp_path, evaluate, monkeypatch):
    rows = list(read_manifest(manifest).rows[:8])
    new = [Case(**{**vars(row), "patient_id": f"new-{number}"}) for number, row in enumerate(rows)]
    write_manifest(tmp_path / "some.csv", rows[:4] + new[4:])
    write_manifest(tmp_path / "other.csv", new)
    code, out, _ = evaluate(jobs / "fine", "--data", tmp_path / "some.csv", "--output", tmp_path / "h")
    assert code == 0 and "4 of the 8 patients were trained on: each is scored by the one member" in out
    # A job that is leaky has no member that never saw a patient.
    leaky = tmp_path / "leaky"
    shutil.copytree(jobs / "fine", leaky)
    settings = json.loads((leaky / "job.json").read_text())
    (leaky / "job.json").write_text(json.dumps(settings | {"leaky": True}))
    code, out, _ = evaluate(leaky, "--data", tmp_path / "some.csv", "--output", tmp_path / "l")
    assert code == 0 and "LEAKY: 4 of the 8 patients were trained on" in out
    assert "On the 4 cases of other patients the AUC is" in out
    assert "<p class='leaky'>LEAKY: 4" in (tmp_path / "l" / "report.html").read_text()
    code, out, _ = evaluate(jobs / "fine", "--data", tmp_path / "other.csv", "--output", tmp_path / "o")
    assert code == 0 and "None of these patients was trained on" in out
    # A job's numbers are its bundle's.
    assert evaluate(jobs / "fine.maemc", "--data", tmp_path / "other.csv", "--output", tmp_path / "b")[0] == 0
    assert read_values(tmp_path / "o") == read_values(tmp_path / "b")
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [
        "metrics.json",
        "predictions.csv",
        "report.html",
    ]
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "elsewhere"))
    code, out, _ = evaluate(jobs / "fine", "--data", tmp_path / "some.csv", "--output", tmp_path / "k")
    assert code == 0 and "different keys" in out and "LEAKY" not in out


def test_groups_like_size_and_moved_clicks(jobs, manifest, tmp_path, evaluate, monkeypatch):
    assert clicks.DISTANCES_MM == (1.0, 2.0, 3.0)
    monkeypatch.setattr(clicks, "DISTANCES_MM", (0.0, 2.0))
    monkeypatch.setattr(clicks, "IN_SPACE", clicks.IN_SPACE[[0, 5]])
    words = ["--by", "diameter_mm:14,18", "--by", "site", "--clicks", "--output", tmp_path / "g"]
    rows = [
        Case(**{**vars(row), "values": {"site": "AB"[number % 4 // 2]}})
        for number, row in enumerate(read_manifest(manifest).rows)
    ]
    data = write_manifest(tmp_path / "sites.csv", rows)
    code, out, error = evaluate(jobs / "fine", "--data", data, *words)
    assert code == 0, error
    report, written = report_of(tmp_path / "g"), rows_of(tmp_path / "g" / "predictions.csv")
    labels, sizes, scores = (
        np.array([float(row[name]) for row in written]) for name in ("label", "size alone", "probability")
    )
    bands = [sizes < 14, (sizes >= 14) & (sizes < 18), sizes >= 18]
    groups = report["groups"]
    assert [row["group"] for row in groups] == ["below 14", "14 to below 18", "18 and more", "A", "B"]
    assert [row["cases"] for row in groups[:3]] == [int(band.sum()) for band in bands]
    for row, own in zip(groups, [*bands, *(np.arange(64) % 4 // 2 == n for n in (0, 1))], strict=True):
        if row["auc"] is not None:
            assert row["auc"]["value"] == pytest.approx(auc(labels[own], scores[own]))
            assert row["size_auc"]["value"] == pytest.approx(auc(labels[own], sizes[own]))
    assert sum(row["auc"] is not None for row in groups) >= 3
    pairs, right = 0, 0.0
    for positive in np.flatnonzero(labels == 1):
        for negative in np.flatnonzero(labels == 0):
            one, other = sizes[positive], sizes[negative]
            if abs(one - other) <= 0.2 * (one + other) / 2:
                pairs += 1
                right += 0.5 if scores[positive] == scores[negative] else scores[positive] > scores[negative]
    assert report["like_size"]["pairs"] == pairs and report["like_size"]["model"]["value"] == pytest.approx(
        right / pairs
    )
    assert [row["distance_mm"] for row in report["clicks"]] == [0, 2]
    assert all(row["points"] == 64 * 2 and row["in_plane"] == 0 for row in report["clicks"])
    # At the point itself it is what the case was scored with; further away it changes.
    assert report["clicks"][0]["high"] < 1e-6 < report["clicks"][1]["median"] <= report["clicks"][1]["high"] < 1
    assert "Among cases of like size" in out and "If the click lies elsewhere" in out


def test_a_moved_click_in_a_slab_stays_in_its_plane():
    slab, whole = (
        moved_points(Case("a", "p", "x.nrrd", point_lps=(1.0, 2.0, 3.0)), padded, 2.0) for padded in (0.1, 0.0)
    )
    assert {point[2] for point in slab} == {3.0} and {point[2] for point in whole} == {1.0, 3.0, 5.0}
    for point in (*slab, *whole):
        assert np.linalg.norm(np.subtract(point, (1.0, 2.0, 3.0))) == pytest.approx(2.0)


def test_what_divides_nothing_is_refused(jobs, manifest, tmp_path, evaluate, monkeypatch):
    few = write_manifest(tmp_path / "few.csv", read_manifest(manifest).rows[:24])
    there = ["--data", few, "--output", tmp_path / "x"]
    monkeypatch.setattr(scored_data, "prepare", None)  # it is said before a case is read
    for words, code, message in (
        (["--by", "diameter_mm:8,8"], 2, "divides nothing"),
        (["--by", "diameter_mm:nan"], 2, "divides nothing"),
        (["--by", "diameter_mm:a"], 2, "divides nothing"),
        (["--by", ":3"], 2, "divides nothing"),
        (["--by", "nowhere"], 3, "has no column nowhere"),
        (["--by", "diameter_mm"], 2, "different texts"),
        (["--by", "case_id:3"], 2, "divides nothing"),
    ):
        result, _, error = evaluate(jobs / "fine", *there, *words)
        assert (result, message in error, "Traceback" in error) == (code, True, False), (words, error)
    unlabeled = [Case(**{**vars(row), "label": None}) for row in read_manifest(few).rows]
    words = ["--data", write_manifest(tmp_path / "unlabeled.csv", unlabeled), *there[2:], "--by", "diameter_mm:8"]
    result, _, error = evaluate(jobs / "fine", *words)
    assert result == 2 and "has a label" in error
    result, _, error = evaluate(jobs / "fine", "--by", "label")
    assert result == 2 and "give --data" in error
    result, _, error = evaluate(jobs / "fine", "--data", jobs / "cache", "--output", tmp_path / "y", "--clicks")
    assert result == 2 and "a manifest's nodules" in error
