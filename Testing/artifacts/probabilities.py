"""Probabilities of real nodules: the 90 LIDC cubes by the model that is shipped, every ninth of them at two points by
the one before, LIDC slices, and cubes with clinical values.

    python Testing/artifacts/probabilities.py ../shared/data > Testing/artifacts/probabilities.json

writes those of the code that it is run with; ``test_probabilities.py`` compares.
"""

import contextlib
import csv
import io
import json
import sys
import tarfile
import tempfile
from pathlib import Path

from MAEMCLib.__main__ import main as maemc

HERE = Path(__file__).resolve().parent
MODELS, BEFORE = HERE / "f15ed39", HERE / "lidc-rating-1.0.maemc"
CENTER, SHIFTED = "0,0,0", "4,-3,2"
BY_BEFORE = ("--point", SHIFTED, "--model", str(BEFORE))
SLICES, FUSED, BEFORE_EVERY = 40, 12, 9


def of_cubes(cubes: Path, *words: str, every: int = 1) -> dict[str, list[float]]:
    """{file: probabilities at the center, and at further points} of every nth cube. words: of the command, such as
    further points; without a model it is the shipped one."""
    files = sorted((cubes / "images").glob("*.nrrd"))[::every]
    return {file.stem: _scored(file, "--point", CENTER, *words) for file in files}


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
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = maemc(["score", str(file), *words, "--device", "cpu", "--json"])
    if code:
        raise RuntimeError(f"{file.name} was not scored: exit code {code}")
    return [nodule["probability"] for nodule in json.loads(printed.getvalue())["nodules"]]


if __name__ == "__main__":
    data = Path(sys.argv[1])
    cubes, slices = data / "lidc-cubes", data / "lidc-slices"
    tables = {
        "cubes": of_cubes(cubes, *BY_BEFORE, every=BEFORE_EVERY),
        "cubes, shipped": of_cubes(cubes),
        "cubes with values": of_cubes_with_values(cubes),
        "slices": of_slices(slices),
    }
    print(json.dumps(tables, indent=1))
