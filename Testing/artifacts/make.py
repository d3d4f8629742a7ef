"""Makes the artifacts of one revision again: files that its programs wrote, for tests that today's code reads them.

    python Testing/artifacts/make.py f15ed39

The revision is checked out and run in a folder of its own, so that the paths inside the files say nothing of a machine.
All CTs and pictures are synthetic. What a test does not need is left out, so that the files stay small.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = Path("/tmp/a")
SIDE, SPACING = 32, 2.2  # a cube of 70 mm
NETWORK = ["encoder.patch_size=25", "encoder.width=8", "encoder.depth=1", "encoder.heads=2"]
DECODER = ["decoder.width=8", "decoder.depth=1", "decoder.heads=2"]
FLAT = ["encoder.image_size=32", "encoder.patch_size=8", "encoder.width=8", "encoder.depth=1", "encoder.heads=2"]
QUICK = ["--preset", "tiny", "--device", "cpu", "--threads", "1", "--quiet"]
FOLDS = ["--folds", "2", "validation_fraction=0.25", "batch=4", "optimization.learning_rate=0.005"]
INPUTS = ("manifest.csv", "points.csv", "card.toml", "view.png", *(f"ct-{number}.nrrd" for number in range(8)))
MADE = ("nodule.maemc", "picture.maemc", "fused.maemc", "results.csv", "scene.mrb", "scene.json", "scores.json")
JOBS = ("pre", "fine", "fused", "stopped")
LEFT_OUT = ("caches", "previews", "tensorboard", "report.html", "lock", "optimizer.safetensors")


def main() -> None:
    revision = sys.argv[1]
    WORK.mkdir()
    try:
        subprocess.run(["git", "worktree", "add", "--detach", WORK / "code", revision], cwd=ROOT, check=True)
        check_code()
        write_inputs(WORK)
        train(WORK)
        score(WORK)
        keep(WORK, HERE / revision)
        run_calls(WORK / "calls", HERE / revision)
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", WORK / "code"], cwd=ROOT, check=True)
        shutil.rmtree(WORK)


def check_code() -> None:
    """Ends this program where Python would run other code than the revision's."""
    code = "import MAEMCTrainingLib, MAEMCLib; print(MAEMCTrainingLib.__file__, MAEMCLib.__file__)"
    found = subprocess.check_output([sys.executable, "-c", code], env=_environment(), cwd=WORK, text=True)
    if found.count(str(WORK)) != 2:
        raise SystemExit(f"This Python runs {found.strip()}. Use one whose own packages come after PYTHONPATH.")


def run(program: str, *arguments: str, expect: int | None = 0, folder: Path = WORK) -> subprocess.CompletedProcess:
    """Run a program of the revision in a folder: ``maemc``, ``maemc-train`` or a script of this folder."""
    environment = {**_environment(), "MAEMC_HOME": str(folder / "home")}
    done = subprocess.run(_command(program, arguments), cwd=folder, env=environment, capture_output=True, text=True)
    if expect is not None and done.returncode != expect:
        raise SystemExit(f"{program} {' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done


def _command(program: str, arguments) -> list[str]:
    modules = {"maemc": ["-m", "MAEMCLib"], "maemc-train": ["-m", "MAEMCTrainingLib"]}
    return [sys.executable, *modules.get(program, [str(HERE / program)]), *map(str, arguments)]


def _environment() -> dict[str, str]:
    folders = [WORK / "code" / "MAEMCNodule", WORK / "code" / "MAEMCTraining"]
    own = {"PYTHONPATH": os.pathsep.join(map(str, folders)), "MAEMC_HOME": str(WORK / "home")}
    return {**os.environ, **own, "OMP_NUM_THREADS": "1", "QT_QPA_PLATFORM": "offscreen"}


def write_inputs(folder: Path) -> None:
    """Eight CTs with one ball each, large in the odd ones, with an age and a sex; and as many pictures of disks."""
    draws = np.random.default_rng(0)
    rows = []
    for number in range(8):
        label, name = number % 2, f"ct-{number}.nrrd"
        radius = (9.0 if label else 4.5) + 0.2 * number
        write_ct(folder / name, radius, draws)
        values = {"age": 50 + 3 * number, "sex": ("female", "male")[number // 2 % 2]}
        row = {"case_id": f"case-{number}", "patient_id": f"patient-{number}", "image": name}
        rows.append({**row, "l_mm": 0, "p_mm": 0, "s_mm": 0, "label": label, **values})
        place = folder / "pictures" / ("malignant" if label else "benign") / f"patient-{number}"
        place.mkdir(parents=True)
        y, x = np.mgrid[:40, :44] - np.array([20, 22])[:, None, None]
        gray = 60 + 8 * draws.integers(-2, 3, x.shape) + 150 * (np.hypot(x, y) < radius)
        Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8)).save(place / "view.png", optimize=True)
    shutil.copy(place / "view.png", folder / "view.png")
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (folder / "points.csv").write_text("id,l_mm,p_mm,s_mm\nfirst,0,0,0\nsecond,2.5,-3,4\n", encoding="utf-8")
    (folder / "card.toml").write_text('id = "balls"\nversion = "3.0"\ntitle = "Balls"\n', encoding="utf-8")
    write_ct(folder / "scene.nrrd", 9.0, None)


def write_ct(path: Path, radius: float, draws: np.random.Generator | None) -> None:
    """A ball of soft tissue at LPS (0, 0, 0) in lung; with noise of few values, or without, so that files are small."""
    k, j, i = (SPACING * (np.mgrid[:SIDE, :SIDE, :SIDE] - SIDE // 2)).astype(np.float64)
    voxels = -850 + 880 / (1 + np.exp(np.sqrt(i**2 + j**2 + k**2) - radius))
    if draws is not None:
        voxels += 20 * draws.integers(-1, 2, i.shape)
    image = sitk.GetImageFromArray(np.round(voxels / 20).astype(np.int16) * 20)
    image.SetSpacing([SPACING] * 3)
    image.SetOrigin([-SPACING * (SIDE // 2)] * 3)
    sitk.WriteImage(image, str(path), useCompression=True)


def train(folder: Path) -> None:
    """The jobs, their bundles, a run that was stopped, and a cache."""
    data = ["--data", "manifest.csv", *QUICK]
    few = ["epochs=4", "batch=4", "views_per_case=1"]
    run("maemc-train", "pretrain", "--method", "mae", "--output", "pre", *data, *NETWORK, *DECODER, *few)
    run("maemc-train", "finetune", "--from", "pre", "--output", "fine", *data, *FOLDS, "epochs=25")
    run("maemc-train", "export", "fine", "--output", "nodule.maemc", "--id", "nodule", "--title", "Balls")
    fusing = ["--clinical", "age:years,sex", "--branches", "axial,coronal", "width=8", "rounds=1"]
    run("maemc-train", "fuse", "--backbone", "tiny", "--output", "fused", *data, *FOLDS, *fusing, *NETWORK, "epochs=25")
    run("maemc-train", "export", "fused", "--output", "fused.maemc", "--id", "fused", "--title", "Balls and ages")
    run("maemc-train", "import", "images", "pictures", "--output", "pictures.csv", "--quiet")
    seen = ["--data", "pictures.csv", *QUICK]
    run(
        "maemc-train",
        "finetune",
        "--from",
        "scratch",
        "--backbone",
        "tiny",
        "--output",
        "flat",
        *seen,
        *FOLDS,
        *FLAT,
        "epochs=40",
    )
    run("maemc-train", "export", "flat", "--output", "picture.maemc", "--id", "picture", "--title", "Disks")
    stop_early("pretrain", "--method", "mae", "--output", "stopped", *data, *NETWORK, *DECODER, "epochs=500")
    run("maemc-train", "cache", "manifest.csv", "--output", "cache", "--quiet")


def stop_early(*arguments: str) -> None:
    """Start a training and interrupt it after its first steps, as Ctrl-C does."""
    process = subprocess.Popen(_command("maemc-train", arguments), cwd=WORK, env=_environment())
    events = WORK / "stopped" / "events.jsonl"
    while not (events.is_file() and '"loss"' in events.read_text()):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.wait()


def score(folder: Path) -> None:
    """A table of results without its last row, a scene with its rows, and the exact values of some points."""
    run("maemc", "batch", "manifest.csv", "--output", "results.csv", "--model", "nodule.maemc", "--device", "cpu")
    lines = (folder / "results.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "results.csv").write_text("".join(lines[:-1]), encoding="utf-8")
    scene = run("scene.py", "make", "code", "scene.nrrd", "scene.mrb").stdout
    (folder / "scene.json").write_text(scene, encoding="utf-8")
    calls = {
        "nodule": ["ct-1.nrrd", "--points", "points.csv", "--model", "nodule.maemc"],
        "picture": ["view.png", "--model", "picture.maemc"],
        "fused": ["ct-1.nrrd", "--points", "points.csv", "--clinical", "age=63", "--clinical", "sex=male"],
    }
    calls["fused"] += ["--model", "fused.maemc"]
    scores = {}
    for name, words in calls.items():
        nodules = json.loads(run("maemc", "score", *words, "--device", "cpu", "--json").stdout)["nodules"]
        keys = ("nodule_id", "probability", "interval_low", "interval_high", "class")
        scores[name] = {"arguments": words, "nodules": [{key: one[key] for key in keys} for one in nodules]}
    (folder / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")


def keep(work: Path, target: Path) -> None:
    """Copy what the tests read, without the name of this machine."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name in (*INPUTS, *MADE):
        shutil.copy(work / name, target / name)
    for name in JOBS:
        shutil.copytree(work / name, target / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
        state = json.loads((target / name / "state.json").read_text(encoding="utf-8"))
        (target / name / "state.json").write_text(json.dumps({**state, "host": "machine"}, indent=1), encoding="utf-8")
    shutil.rmtree(target / "stopped" / "checkpoints")
    shutil.copytree(work / "home", target / "home", ignore=shutil.ignore_patterns("models"))
    (target / "cache").mkdir()
    shutil.copy(work / "cache" / "index.json", target / "cache")


def run_calls(folder: Path, target: Path) -> None:
    """Run every call of calls.json in a copy of what was kept, and write down how each of them ended."""
    shutil.copytree(target, folder)
    ended = run("calls.py", HERE / "calls.json", folder=folder).stdout
    (target / "calls.json").write_text(ended, encoding="utf-8")


if __name__ == "__main__":
    main()
