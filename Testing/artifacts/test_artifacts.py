"""Files that f15ed39 wrote still open: a scene, bundles, results, jobs, a cache; and what people typed still runs."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from MAEMCLib.__main__ import main as maemc
from MAEMCTrainingLib.__main__ import main as train

HERE = Path(__file__).resolve().parent
MADE = HERE / "f15ed39"
sys.path.insert(0, str(HERE))
from calls import ending  # noqa: E402


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A copy of the artifacts, as current folder and with the MAEMC_HOME that made them."""
    folder = tmp_path / "a"
    shutil.copytree(MADE, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MAEMC_HOME", str(folder / "home"))
    return folder


@pytest.mark.parametrize("name", ["nodule", "picture", "fused"])
def test_a_bundle_gives_the_probabilities_that_it_gave(name, there, capsys):
    known = json.loads((MADE / "scores.json").read_text())[name]
    assert maemc(["score", *known["arguments"], "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["nodules"]
    assert len(found) == len(known["nodules"])
    for now, then in zip(found, known["nodules"], strict=True):
        assert {key: now[key] for key in then} == pytest.approx(then, abs=1e-6)


def test_a_bundle_is_verified_and_holds_its_decoder(there, capsys):
    for name in ("nodule", "picture", "fused"):
        assert maemc(["models", "verify", f"{name}.maemc"]) == 0
    assert maemc(["explain", "ct-1.nrrd", "--point", "0,0,0", "--model", "nodule.maemc", "--output", "maps"]) == 0
    capsys.readouterr()
    assert {f"{kind}_{plane}.nrrd" for kind in ("reconstruction", "error") for plane in ("axial", "coronal")} <= {
        path.name for path in (there / "maps").iterdir()
    }


def test_an_unfinished_batch_is_refused_and_its_rows_stay(there, capsys):
    before = (there / "results.csv").read_text()
    batch = ["batch", "manifest.csv", "--output", "results.csv", "--model", "nodule.maemc", "--device", "cpu"]
    assert maemc(batch) == 2
    said = capsys.readouterr().err
    assert "holds results of another version of MAEMC" in said and "Choose another output" in said
    assert (there / "results.csv").read_text() == before


def test_a_finished_job_is_exported_and_scores_as_its_bundle_did(there, capsys):
    for job, name in (("fine", "nodule"), ("fused", "fused")):
        assert train(["export", job, "--output", "new.maemc", "--id", "new", "--title", "New"]) == 0
        capsys.readouterr()
        words = [*json.loads((MADE / "scores.json").read_text())[name]["arguments"][:-1], "new.maemc"]
        assert maemc(["score", *words, "--device", "cpu", "--json"]) == 0
        found = [one["probability"] for one in json.loads(capsys.readouterr().out)["nodules"]]
        known = json.loads((MADE / "scores.json").read_text())[name]["nodules"]
        assert found == pytest.approx([one["probability"] for one in known], abs=1e-6)


def test_a_finished_job_is_evaluated_again(there):
    then = json.loads((MADE / "fine" / "metrics.json").read_text())
    assert train(["evaluate", "fine", "--output", "again", "--quiet"]) == 0
    now = json.loads((there / "again" / "metrics.json").read_text())
    for name, metric in then["metrics"].items():
        value = metric["value"] if isinstance(metric, dict) else metric
        found = now["metrics"][name]["value"] if isinstance(metric, dict) else now["metrics"][name]
        assert found == pytest.approx(value, abs=1e-12), name
    assert (there / "again" / "predictions.csv").read_bytes() == (MADE / "fine" / "predictions.csv").read_bytes()


def test_jobs_are_listed_and_shown(there, capsys):
    for note in (there / "home" / "jobs").glob("*.json"):
        note.write_text(note.read_text().replace("/tmp/a", there.as_posix()))
    assert train(["jobs", "list"]) == 0
    listed = {line.split()[-1]: line.split()[:2] for line in capsys.readouterr().out.splitlines()}
    assert listed == {
        str(there / "pre"): ["finished", "pretrain"],
        str(there / "fine"): ["finished", "finetune"],
        str(there / "fused"): ["finished", "fuse"],
        str(there / "stopped"): ["stopped", "pretrain"],
    }
    assert train(["jobs", "show", "fine"]) == 0
    assert capsys.readouterr().out.startswith("fine: finetune, finished, 100 % done")


def test_an_unfinished_job_is_refused_and_left_as_it_is(there, capsys):
    arguments = json.loads((there / "stopped" / "job.json").read_text())["command"]["arguments"]
    assert train(arguments) == 2
    said = capsys.readouterr().err
    assert "was begun by an earlier version of MAEMC" in said and "Traceback" not in said
    assert json.loads((there / "stopped" / "state.json").read_text())["status"] == "stopped"
    assert json.loads((there / "stopped" / "job.json").read_text()) == json.loads(
        (MADE / "stopped" / "job.json").read_text()
    )


def test_a_cache_is_refused_with_what_to_do(there, capsys):
    for arguments in (
        ["pretrain", "--method", "mae", "--data", "cache", "--output", "new", "--preset", "tiny", "--device", "cpu"],
        ["evaluate", "nodule.maemc", "--data", "cache", "--output", "new"],
    ):
        assert train(arguments) == 3
        said = capsys.readouterr().err
        assert "is no cache of this version" in said and "Build it again from its manifest" in said


def test_calls_end_as_they_did(there, capsys):
    ended = {}
    for code, program, *arguments in json.loads((MADE / "calls.json").read_text()):
        now = ending(program, arguments)
        said = capsys.readouterr().err
        assert "Traceback" not in said or "--verbose" in arguments, said
        if now != code:
            ended[" ".join([program, *arguments])] = (code, now, said)
    assert ended == {}


def test_a_scene_opens_with_its_rows_and_pictures_and_computes_nothing(there):
    missing = [name for name in ("PySide6", "slicer_core") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"no scene can be opened: not installed: {', '.join(missing)}")
    then = json.loads((MADE / "scene.json").read_text())
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, HERE / "scene.py", "open", HERE.parents[1], "scene.mrb"],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    now = json.loads(done.stdout[done.stdout.index("{") :])
    assert now.pop("asked") <= 1, "the device is asked, no nodule"
    then.pop("asked")
    columns_now, columns_then = now.pop("columns"), then.pop("columns")
    for row_now, row_then in zip(now.pop("rows"), then.pop("rows"), strict=True):  # there are more columns now
        cells = dict(zip(columns_now, row_now, strict=True))
        assert cells | dict(zip(columns_then, row_then, strict=True)) == cells
    then["shown"] = [row[:4] for row in then["shown"]]  # the findings are shorter there now
    assert now == then
