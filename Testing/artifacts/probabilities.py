"""Probabilities of real nodules: the 90 LIDC cubes by the model that is shipped, every ninth of them at two points by
the one before, LIDC slices, and cubes with clinical values.

    python Testing/artifacts/probabilities.py ../shared/data > Testing/artifacts/probabilities.json

writes those of the code that it is run with; ``test_probabilities.py`` compares. In float32, also where the processor
has instructions for bfloat16 and scoring uses them: their number moves by 0.001.
"""

import contextlib
import csv
import io
import json
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from MAEMCLib.__main__ import main as maemc

HERE = Path(__file__).resolve().parent
MODELS, BEFORE = HERE / "f15ed39", HERE / "lidc-rating-1.0.maemc"
CENTER, SHIFTED = "0,0,0", "4,-3,2"
BY_BEFORE = {"points": (CENTER, SHIFTED), "every": 9}
SLICES, FUSED = 40, 12


def of_cubes(cubes: Path, *words: str, every: int = 1, points: Sequence[str] = (CENTER,)) -> dict[str, list[float]]:
    """{file: probabilities at each of the points} of every nth cube. words: of the command, such as another model than
    the shipped one."""
    files = sorted((cubes / "images").glob("*.nrrd"))[::every]
    with tempfile.TemporaryDirectory() as folder:
        manifest, results = Path(folder, "manifest.csv"), Path(folder, "results.csv")
        rows = [f"{file.stem},{n},{file.absolute()},{point}" for file in files for n, point in enumerate(points)]
        manifest.write_text("\n".join(["case_id,nodule_id,image,l_mm,p_mm,s_mm", *rows]) + "\n", encoding="utf-8")
        _run("batch", str(manifest), "--output", str(results), *words)
        with open(results, newline="", encoding="utf-8") as stream:
            scored = [(row["case_id"], float(row["probability"])) for row in csv.DictReader(stream)]
    return {file.stem: [p for case, p in scored if case == file.stem] for file in files}


def of_cubes_with_values(cubes: Path) -> dict[str, list[float]]:
    """The same of some cubes by the fused model, with ages and sexes that are made up."""
    files = sorted((cubes / "images").glob("*.nrrd"))[:: 90 // FUSED]
    found = {}
    for number, file in enumerate(files):
        values = ["--clinical", f"age={50 + 2 * number}", "--clinical", f"sex={('female', 'male')[number % 2]}"]
        found[file.stem] = _scored(file, "--point", SHIFTED, *values, "--model", str(MODELS / "fused.maemc"))
    return found


def of_slices(slices: Path) -> dict[str, list[float]]:
    """{file: probability} of middle slices of nodules by the picture model."""
    with open(slices / "labels.csv", newline="", encoding="utf-8") as stream:
        middle = [row["file"] for row in csv.DictReader(stream) if row["is_mid"] == "1"]
    found = {}
    with tempfile.TemporaryDirectory() as folder, tarfile.open(slices / "slices.tar") as archive:
        members = {Path(member.name).name: member for member in archive.getmembers()}
        for name in middle[:: len(middle) // SLICES][:SLICES]:
            file = Path(folder, name)
            file.write_bytes(archive.extractfile(members[name]).read())
            found[file.stem] = _scored(file, "--model", str(MODELS / "picture.maemc"))
    return found


def _scored(file: Path, *words: str) -> list[float]:
    printed = _run("score", str(file), *words, "--json")
    return [nodule["probability"] for nodule in json.loads(printed)["nodules"]]


def _run(*words: str) -> str:
    """What a command on the CPU prints."""
    printed = io.StringIO()
    widened = mock.patch("MAEMCLib.machine.device.computes_natively", return_value=False)
    with widened, contextlib.redirect_stdout(printed):
        code = maemc([*words, "--device", "cpu"])
    if code:
        raise RuntimeError(f"maemc {' '.join(words)} ended with exit code {code}")
    return printed.getvalue()


if __name__ == "__main__":
    data = Path(sys.argv[1])
    cubes, slices = data / "lidc-cubes", data / "lidc-slices"
    tables = {
        "cubes": of_cubes(cubes, "--model", str(BEFORE), **BY_BEFORE),
        "cubes, shipped": of_cubes(cubes),
        "cubes with values": of_cubes_with_values(cubes),
        "slices": of_slices(slices),
    }
    print(json.dumps(tables, indent=1))
