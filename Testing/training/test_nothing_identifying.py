"""Names planted in a manifest, in its files and in its folders reach nothing that a cache, a job or a report keeps."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import write_manifest
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.jobs.launching import launch
from PIL import Image

PLANTED = ("Zorro", "MRN4711", "Hospital_of_Sevilla", "dictated by")
NETWORK = ["encoder.image_size=16", "encoder.patch_size=8", "encoder.width=16", "encoder.depth=1", "encoder.heads=2"]
DECODER = ["decoder.width=16", "decoder.depth=1", "decoder.heads=2"]
USUAL = ["--preset", "tiny", "--device", "cpu", "--threads", "1", "--quiet", "epochs=1"]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A folder, a manifest, pictures, patients, cases and a column of free text, all with names that identify."""
    folder = tmp_path_factory.mktemp("data") / "Hospital_of_Sevilla"
    (folder / "Zorro^Diego").mkdir(parents=True)
    draws, rows = np.random.default_rng(0), []
    for number in range(12):
        image = folder / "Zorro^Diego" / f"MRN4711-{number}.png"
        gray = np.clip(draws.normal(80 + 60 * (number % 2), 20, (20, 20)), 0, 255).astype(np.uint8)
        Image.fromarray(gray).save(image)
        extra = {"note": f"dictated by Zorro {number % 3}", "fold": str(number // 2 % 2)}
        rows.append(Case(f"MRN4711-{number}", f"Zorro-{number}", image, "image", number % 2, None, 5.0, values=extra))
    (folder / "Zorro^Diego" / "MRN4711-damaged.png").write_text("no picture")
    damaged = folder / "Zorro^Diego" / "MRN4711-damaged.png"
    rows.append(Case("MRN4711-damaged", "Zorro-99", damaged, "image", 1, None, 5.0, values=rows[0].values))
    return write_manifest(folder / "Zorro.csv", rows)


def kept_of(folder):
    """What names of PLANTED the files of a folder hold, and their names."""
    found = set()
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        where = str(path.relative_to(folder))
        found |= {(word, where) for word in PLANTED if word.encode() in content or word in where}
    return found


def test_a_job_and_its_reports_hold_no_name(planted, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "home"))
    data, out = ["--data", str(planted)], tmp_path / "out"
    assert main(["pretrain", "--method", "mae", *data, "--output", str(out / "pre"), *USUAL, *NETWORK, *DECODER]) == 0
    assert "MRN4711-damaged" in capsys.readouterr().err  # the terminal names the user's own case
    words = ["finetune", "--from", str(out / "pre"), *data, "--output", str(out / "fine"), "--folds-from", "fold"]
    assert main([*words, *USUAL]) == 0
    assert main(["export", str(out / "fine"), "--output", str(out / "m.maemc"), "--id", "m", "--quiet"]) == 0
    assert kept_of(out) == set()
    # The results of an evaluation are the user's own: its table has the case_ids, and nothing else of these.
    assert main(["evaluate", str(out / "fine"), *data, "--output", str(out / "other"), "--quiet"]) == 3
    assert {where for _, where in kept_of(out)} == {"other/predictions.csv"}
    assert {word for word, _ in kept_of(out)} == {"MRN4711"}
    assert json.loads((out / "other" / "metrics.json").read_text())["failed"] == [14]  # its row of the manifest


def test_a_run_that_fails_in_the_background_names_nobody(planted, tmp_path):
    """What it prints stays in its job's folder; typed at a terminal the same command says all of it."""
    broken = planted.with_name("Zorro-broken.csv")
    broken.write_text(planted.read_text().replace("MRN4711-3,", "MRN4711-4,", 1))
    words = ["finetune", "--from", "scratch", "--data", str(broken), "--output", str(tmp_path / "job"), *USUAL]
    home, environment = tmp_path / "home", {**os.environ, "OMP_NUM_THREADS": "1"}
    assert launch(words, tmp_path / "job", home, environment=environment).wait(timeout=300) == 3
    assert (tmp_path / "job" / "output.txt").read_text() and kept_of(tmp_path / "job") == set()
    typed = subprocess.run(
        [sys.executable, "-m", "MAEMCTrainingLib", *words, "--output", str(tmp_path / "typed")],
        env={**environment, "MAEMC_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert typed.returncode == 3 and "MRN4711-4" in typed.stderr
