"""The journeys themselves: ``python -m Testing.structure.walks ROOT NAME FOLDER`` walks one and prints its figures.

FOLDER holds the inputs and keeps what a journey leaves for the next: the job of the pre-training, of the fine-tuning.
Nothing here names a module of ours except by what is promised: the commands of pyproject.toml, Slicer's modules, and
what people see of them.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import json
import os
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from .tracer import Tracer

COUNTED = ("cut_roi", "sample_stack", "read_card")
"""Functions that sample the region around a nodule, and the one that reads a model's card."""
CASES = 8
NETWORK = ["encoder.width=16", "encoder.depth=1", "encoder.heads=2", "encoder.patch_size=50"]
DECODER = ["decoder.width=16", "decoder.depth=1", "decoder.heads=2"]
SHORT = ["epochs=2", "batch=4"]
PATIENCE_SECONDS = 300


def score(root: Path, folder: Path) -> dict:
    """One point in one CT, with the model that is shipped."""
    words = ["score", str(folder / "ct-0.nrrd"), "--point", "0,0,0", "--device", "cpu", "--json"]
    return _command(root, folder, "maemc", [*words, "--output", str(folder / "scored")], 1)


def pretrain(root: Path, folder: Path) -> dict:
    """MAEMC-NET on a manifest of CTs."""
    words = ["pretrain", "--data", str(folder / "manifest.csv"), "--preset", "tiny", "--output", str(folder / "pre")]
    more = ["views_per_case=1", "queue_size=16", "projection_width=8"]
    return _command(root, folder, "maemc-train", [*words, *_QUIET, *NETWORK, *DECODER, *SHORT, *more], CASES)


def finetune(root: Path, folder: Path) -> dict:
    """From that pre-training, in two folds."""
    words = ["finetune", "--from", str(folder / "pre"), "--data", str(folder / "manifest.csv"), "--preset", "tiny"]
    words += ["--folds", "2", "--output", str(folder / "fine"), "validation_fraction=0.25"]
    return _command(root, folder, "maemc-train", [*words, *_QUIET, *SHORT], CASES)


def export(root: Path, folder: Path) -> dict:
    """Of that fine-tuning."""
    words = ["export", str(folder / "fine"), "--output", str(folder / "model.maemc"), "--id", "balls"]
    return _command(root, folder, "maemc-train", [*words, "--title", "Balls"], CASES)


_QUIET = ["--quiet", "--device", "cpu"]


def click(root: Path, folder: Path) -> dict:
    """In MAEMC Nodule: the button, the point, the row."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    sys.path.insert(0, str(next((root / "Testing").rglob("slicerhost/__init__.py")).parent.parent))
    from slicerhost import module_factory, start

    application = start(str(folder / "slicer"))
    module = module_factory.load_module(root / "MAEMCNodule" / "MAEMCNodule.py")
    import slicer

    volume = slicer.util.loadVolume(str(folder / "ct-0.nrrd"))
    module_factory.select("MAEMCNodule")
    widget = module.widgetRepresentation().self()

    def wait(done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {PATIENCE_SECONDS} s: {widget.logic.status}")
            application.processEvents()
            time.sleep(0.005)

    def quiet() -> bool:
        return not widget.logic.isBusy()

    wait(lambda: widget.ui.placeButton.enabled and quiet())
    tracer = _tracer(root, folder)
    with tracer.following():
        widget.ui.placeButton.click()
        parameters = widget.logic.getParameterNode()
        assert parameters.inputVolume is volume
        parameters.points.AddControlPoint([0.0, 0.0, 0.0])
        table = widget.logic.analyses()[0].tableNode
        wait(lambda: table.GetNumberOfRows() == 1 and quiet())
    column = table.GetTable().GetColumnByName("probability")
    assert 0 <= float(column.GetValue(0)) <= 1, "no probability in the row"
    module_factory.unload("MAEMCNodule")
    return tracer.figures() | {"nodules": 1}


WALKS = {walk.__name__: walk for walk in (score, click, pretrain, finetune, export)}


def _command(root: Path, folder: Path, script: str, words: list[str], nodules: int) -> dict:
    """Follow one of the console scripts; raises RuntimeError where it does not end well."""
    module, _, function = _project(root)["scripts"][script].partition(":")
    command = getattr(importlib.import_module(module), function)
    tracer = _tracer(root, folder)
    with contextlib.redirect_stdout(sys.stderr), tracer.following():
        code = command(words)
    if code:
        raise RuntimeError(f"{script} {words[0]} ended with {code}")
    return tracer.figures() | {"nodules": nodules}


def _tracer(root: Path, folder: Path) -> Tracer:
    watched = [folder / "manifest.csv", *(root / "Resources" / "Models").glob("*.maemc")]
    return Tracer(_packages(root), COUNTED, watched)


def _packages(root: Path) -> list[Path]:
    """The folders of the product's packages: those of the libraries and, beside them, of the panels."""
    folders = {root / folder for folder in _package_folders(root).values()}
    return sorted(file.parent for folder in {one.parent for one in folders} for file in folder.glob("*/__init__.py"))


def _project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _package_folders(root: Path) -> dict[str, str]:
    tool = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    return {name: folder for name, folder in tool["package-dir"].items() if "." not in name}


def _write_inputs(folder: Path) -> None:
    """Eight CTs of eight patients with a ball each, small in those of class 0 and large in the others."""
    import numpy as np
    import SimpleITK as sitk

    k, j, i = np.meshgrid(*(np.arange(n) - n // 2 for n in (72, 76, 80)), indexing="ij")
    distance = np.sqrt(i**2 + j**2 + k**2)
    with open(folder / "manifest.csv", "w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["case_id", "patient_id", "image", "label", "diameter_mm", "l_mm", "p_mm", "s_mm"])
        for number in range(CASES):
            rng, radius = np.random.default_rng(number), 9 if number % 2 else 4
            voxels = rng.normal(-820, 40, distance.shape)
            voxels[distance < radius] += 840
            image = sitk.GetImageFromArray(voxels.astype(np.int16))
            image.SetOrigin([-40.0, -38.0, -36.0])
            sitk.WriteImage(image, str(folder / f"ct-{number}.nrrd"))
            table.writerow(
                [f"case-{number}", f"patient-{number}", f"ct-{number}.nrrd", number % 2, 2 * radius, 0, 0, 0]
            )


def main() -> None:
    """Walk one journey of the tree at ROOT."""
    root, name, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    sys.path[:0] = sorted({str((root / place).parent) for place in _package_folders(root).values()})
    os.environ["MAEMC_HOME"] = str(folder / "home")
    if hasattr(os, "sched_setaffinity"):  # with one processor, regions are cut in this process, where we see it
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if not (folder / "manifest.csv").exists():
        _write_inputs(folder)
    print(json.dumps(WALKS[name](root, folder)))


if __name__ == "__main__":
    main()
