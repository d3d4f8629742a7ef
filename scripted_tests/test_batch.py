"""BatchScripts/maemc_batch.py and the command line in a real Slicer: the same numbers as the module's logic.

Slicer --no-splash --no-main-window --python-script scripted_tests/test_batch.py
"""

import csv
import json
import runpy
import subprocess
import tempfile
from pathlib import Path

import session
import slicer

POINTS_RAS = [(10.0, -5.0, 3.0), (-20.0, 12.0, -8.0)]


def batch_gives_the_numbers_of_the_logic() -> None:
    with tempfile.TemporaryDirectory() as folder:
        image, manifest, output = write_inputs(Path(folder))
        assert batch([str(manifest), "--output", str(output)]) == 0
        with output.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["status"] for row in rows] == ["scored", "scored"]
        probabilities = [float(row["probability"]) for row in rows]
        compare(probabilities, with_logic(image), "the batch and the logic")
        compare(probabilities, with_command_line(image), "the batch and the command line")


def case_that_cannot_be_scored_is_told_and_stops_nothing() -> None:
    with tempfile.TemporaryDirectory() as folder:
        image, manifest, output = write_inputs(Path(folder))
        with manifest.open("a", encoding="utf-8") as stream:
            stream.write("gone,somebody,not-there.nrrd,0,0,0\n")
        assert batch([str(manifest), "--output", str(output)]) == 3, "exit code 3: some input could not be scored"
        with output.open(encoding="utf-8", newline="") as stream:
            rows = {row["case_id"]: row for row in csv.DictReader(stream)}
        assert rows["gone"]["status"] == "failed"
        assert rows["gone"]["message"]
        assert {row["status"] for case, row in rows.items() if case != "gone"} == {"scored"}
        assert image.is_file()


def batch(arguments: list) -> int:
    """What ``Slicer --python-script maemc_batch.py ARGUMENTS`` does, without ending this Slicer; its exit code."""
    module = Path(slicer.modules.maemcnodule.path).parent
    return runpy.run_path(str(module / "BatchScripts" / "maemc_batch.py"))["main"](arguments)


def with_logic(image: Path) -> list:
    from MAEMCNodule import MAEMCNoduleLogic

    volume = slicer.util.loadVolume(str(image))
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Nodules")
    for point in POINTS_RAS:
        points.AddControlPoint(list(point))
    logic = MAEMCNoduleLogic()
    try:
        table = logic.score(volume, points, timeout=session.PATIENCE_SECONDS).GetTable()
    finally:
        logic.cleanup()
    return [table.GetColumnByName("probability").GetValue(row) for row in range(table.GetNumberOfRows())]


def with_command_line(image: Path) -> list:
    from MAEMCLib.machine.child_processes import library_environment
    from MAEMCNodulePanel.interpreter import slicerPython

    command = [slicerPython(), "-m", "MAEMCLib", "score", str(image), "--ras", "--json"]
    for r, a, s in POINTS_RAS:
        command += ["--point", f"{r},{a},{s}"]
    done = subprocess.run(command, env=library_environment(), capture_output=True, text=True, check=True)
    return [result["probability"] for result in json.loads(done.stdout)["nodules"]]


def compare(one: list, other: list, what: str) -> None:
    assert len(one) == len(other) == len(POINTS_RAS)
    largest = max(abs(a - b) for a, b in zip(one, other, strict=True))
    print(f"{what} differ by {largest:.1e} at most")
    assert largest <= 1e-5, what


def write_inputs(folder: Path) -> tuple:
    """A CT with two balls as NRRD and its manifest: (image, manifest, where the results go)."""
    volume = session.balls_in_lung(POINTS_RAS)
    image, manifest = folder / "two balls.nrrd", folder / "manifest.csv"
    assert slicer.util.saveNode(volume, str(image))
    slicer.mrmlScene.RemoveNode(volume)
    lines = ["case_id,patient_id,image,l_mm,p_mm,s_mm"]
    lines += [f"ball-{n},somebody,{image.name},{-r},{-a},{s}" for n, (r, a, s) in enumerate(POINTS_RAS, start=1)]
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return image, manifest, folder / "results.csv"


if __name__ == "__main__":
    session.run(batch_gives_the_numbers_of_the_logic, case_that_cannot_be_scored_is_told_and_stops_nothing)
