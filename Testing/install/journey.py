"""The journey of an installed extension: every file that was installed is used, by the code it is meant for.

    PythonSlicer journey.py INSTALLED INPUTS OUTPUT [training]

INSTALLED: the folder of scripted modules. INPUTS: what ``inputs.py`` writes. OUTPUT: an empty folder. It runs as Slicer
does: the modules in the stand-in application, the worker, the command lines and training jobs in processes of
PythonSlicer, which is looked for on PATH. Ends with an AssertionError or whatever else goes wrong first; quick checks
come first. "training" adds what takes longest: from synthetic cases to a model of one's own.
"""

import json
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 120


def main(installed: Path, inputs: Path, output: Path, training: bool) -> None:
    packages_are_whole(installed)
    widget = module_loads(installed)
    training_widget = training_module_loads(installed)
    command_line(installed, inputs, output)
    clinical_scores_are_there(installed)
    growth_is_measured(installed, inputs, output)
    reviews_are_kept(installed, output)
    tables_of_training_are_written()
    if training:
        a_model_is_trained(training_widget, installed, output)
    module_works(widget, installed, inputs, output)
    print("the journey is complete")


def packages_are_whole(installed: Path) -> None:
    """A folder without __init__.py imports as well, as a namespace, which another extension's folder could join."""
    folders = {file.parent for file in installed.glob("MAEMC*/**/*.py")}
    assert {folder.name for folder in folders} >= {"MAEMCLib", "MAEMCNodulePanel", "networks", "report"}
    assert {folder.name for folder in folders} >= {"MAEMCTrainingLib", "MAEMCTrainingPanel", "commands", "pretraining"}
    missing = [str(folder) for folder in folders if not (folder / "__init__.py").is_file()]
    assert not missing, f"no __init__.py in {missing}"


def module_loads(installed: Path):
    """Slicer loads the module and makes its panel, which is returned."""
    import application  # noqa: F401 (starts it)
    import slicer
    from slicerhost import module_factory

    module = module_factory.load_module(installed / "MAEMCNodule.py")
    assert module.icon is not None and not module.icon.isNull(), "the module has no icon"
    widget = slicer.util.getModuleWidget("MAEMCNodule")
    everything_is_from(installed)
    requirements_can_be_met(installed, "requirements.txt")
    sample_data_is_there(installed)
    dialogs_open()
    return widget


def dialogs_open() -> None:
    from MAEMCNodulePanel.correctiondialog import CorrectionDialog
    from MAEMCNodulePanel.observerdialog import ObserverDialog

    for dialog in (CorrectionDialog(), ObserverDialog()):
        dialog.dialog.deleteLater()


def training_module_loads(installed: Path):
    """The second module, which stands on the first one; returns its panel, in which a job could be started."""
    import slicer
    from slicerhost import module_factory

    module = module_factory.load_module(installed / "MAEMCTraining.py")
    from MAEMCTrainingPanel.reductiondialog import ReductionDialog

    assert module.icon is not None and not module.icon.isNull(), "MAEMCTraining has no icon"
    widget = slicer.util.getModuleWidget("MAEMCTraining")
    widget.refresh()
    assert ReductionDialog([], "auto").whyNot() == "", "the dialog cannot be taken as it opens"
    everything_is_from(installed)
    requirements_can_be_met(installed, "training-requirements.txt")
    return widget


def a_model_is_trained(widget, installed: Path, output: Path) -> None:
    """Synthetic cases, pre-training, fine-tuning in folds, and a model that MAEMC Nodule has chosen."""
    train(installed, "phantom", "--cases", "8", "--grade", "easy", "--output", str(output / "phantom"))
    data, logic = output / "phantom" / "manifest.csv", widget.logic
    common = {"device": "cpu", "settings": "epochs=1"}
    first = logic.start("pretrain", data, output / "first", **common)
    ended = logic.wait(first, PATIENCE)
    assert ended.status == "finished", ended.message
    second = logic.start("finetune", data, output / "second", startFrom=first, folds=2, protocol="paper", **common)
    ended = logic.wait(second, PATIENCE)
    assert ended.status == "finished", ended.message
    logic.showCurve(second)
    reference = logic.exportModel(second)
    assert reference == "second@1.0", reference
    maemc(installed, "models", "verify", reference)
    assert "torch" not in sys.modules, "torch was imported into Slicer's process"
    print("a model was trained")


def train(installed: Path, *arguments: str) -> None:
    """``maemc-train ARGUMENTS`` with the installed library."""
    command = ["PythonSlicer", "-m", "MAEMCTrainingLib", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"maemc-train {arguments[0]} ended with {done.returncode}: {done.stderr[-2000:]}"


def module_works(widget, installed: Path, inputs: Path, output: Path) -> None:
    """A user enters the module, scores, and leaves."""
    from slicerhost import module_factory, slot_errors

    module_factory.select("MAEMCNodule")
    try:
        a_point_is_scored(widget, inputs, output)
        a_manifest_is_scored(installed, inputs, output)
    finally:
        module_factory.unload("MAEMCTraining")
        module_factory.unload("MAEMCNodule")
    assert not slot_errors.take(), "an exception in a slot, printed above"
    assert "torch" not in sys.modules, "torch was imported into Slicer's process"


def command_line(installed: Path, inputs: Path, output: Path) -> None:
    models = json.loads(maemc(installed, "models", "list", "--json"))
    shipped = [model for model in models if model["shipped"]]
    assert shipped, "no model is shipped"
    assert not [model["problem"] for model in shipped if model["problem"]]
    assert all(Path(model["path"]).is_relative_to(installed) for model in shipped)
    maemc(installed, "models", "verify")
    assert "not for clinical use" in maemc(installed, "models", "show", shipped[0]["id"])

    scored = output / "scored"
    points = ("--points", str(inputs / "points.mrk.json"))
    dicom = ("--dicom-sr", "--segment", str(inputs / "segment.nrrd"))
    maemc(installed, "score", str(inputs / "dicom"), *points, *dicom, "--output", str(scored))
    expected = ["results.csv", "results.json", "report.html", "N1/figure.png", "N1/reconstruction_axial.nrrd"]
    missing = [name for name in expected if not (scored / name).is_file()]
    assert not missing, f"maemc score has not written {missing}"
    a_report_is_accepted(installed, scored / "dicom")

    place = ("--point", "0,0,0", "--output")
    maemc(installed, "roi", str(inputs / "ct.nrrd"), *place, str(output / "roi"))
    assert (output / "roi" / "montage_coronal.png").is_file()
    maemc(installed, "explain", str(inputs / "ct.nrrd"), *place, str(output / "explained"))
    assert (output / "explained" / "figure.png").is_file()
    pictures = ("--model", str(inputs / "pictures.maemc"), "--output", str(output / "picture"))
    maemc(installed, "explain", str(inputs / "picture.png"), *pictures)
    assert (output / "picture" / "grad-cam.png").is_file()
    fused = ("--point", "0,0,0", "--model", str(inputs / "fused.maemc"), "--clinical", "age=63", "--json")
    assert json.loads(maemc(installed, "score", str(inputs / "ct.nrrd"), *fused))["nodules"][0]["status"] == "scored"
    assert json.loads(maemc(installed, "device", "--json"))["name"] == "cpu"


def clinical_scores_are_there(installed: Path) -> None:
    """Those of the command line, and what joins the nodules of an examination."""
    from MAEMCLib.clinical.exam import examination
    from MAEMCLib.clinical.scores import SCORES, brock, bts, fleischner, herder, lung_rads, mayo, va, vdt

    modules = (brock, bts, fleischner, herder, lung_rads, mayo, va, vdt)
    assert list(SCORES.values()) == [module.SCORE for module in modules], "scores that this test does not know"
    nodule = {"type": "solid", "long_mm": 7.0, "short_mm": 6.0}
    assert examination([SCORES["lung-rads"].evaluate(nodule)]).category == "3"
    found = json.loads(maemc(installed, "risk", "va", "--age", "62", "--diameter-mm", "10", "--json"))
    assert round(found["probability"], 3) == 0.079, found


def growth_is_measured(installed: Path, inputs: Path, output: Path) -> None:
    """Of a nodule beside itself."""
    ct, mask, grown = str(inputs / "ct.nrrd"), str(inputs / "segment.nrrd"), output / "grown"
    masks = ("--point", "0,0,0", "--prior-point", "0,0,0", "--segment", mask, "--prior-segment", mask)
    found = json.loads(maemc(installed, "growth", ct, ct, *masks, "--days", "90", "--json", "--output", str(grown)))
    assert found["growth"]["within_error"] and (grown / "growth.png").is_file(), found


def a_report_is_accepted(installed: Path, folder: Path) -> None:
    """A segmentation, a report and a capture were written as DICOM, and the report is accepted by a reader."""
    (written,) = folder.iterdir()
    assert sorted(file.name for file in written.iterdir()) == ["capture.dcm", "report.dcm", "segmentation.dcm"]
    code = "import sys, pathlib; from MAEMCLib.dicom_results.accepting import accept; "
    code += "accept(pathlib.Path(sys.argv[1]), 'Reader^A', 'Hospital')"
    script = folder.parent / "accept.py"
    script.write_text(code, encoding="utf-8")
    command = ["PythonSlicer", str(script), str(written / "report.dcm")]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0 and (written / "report-accepted.dcm").is_file(), done.stderr[-2000:]


def reviews_are_kept(installed: Path, output: Path) -> None:
    """A log that is empty has a figure too."""
    maemc(installed, "review", "calibration", "--output", str(output / "calibration.png"))
    assert (output / "calibration.png").stat().st_size > 1000


def tables_of_training_are_written() -> None:
    """In the formats that scoring writes no report in."""
    from MAEMCLib.report.formats import render
    from MAEMCLib.report.sections import Report, Section, Table

    report = Report("", [Section("", [Table([("first", 1)], ("row", "value"))])])
    missing = [ending for ending in ("csv", "json", "md") if "first" not in render(report, ending)]
    assert not missing, f"a table was not written as {missing}"


def maemc(installed: Path, *arguments: str) -> str:
    """Run a command with the installed library; returns what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "CUDA_VISIBLE_DEVICES": ""}
    command = ["PythonSlicer", "-m", "MAEMCLib", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"maemc {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


def everything_is_from(installed: Path) -> None:
    """Nothing came from another copy, such as the repository's in a development environment."""
    ours = {name: module for name, module in sys.modules.items() if name.startswith("MAEMC")}
    elsewhere = [name for name, module in ours.items() if not Path(module.__file__ or "/").is_relative_to(installed)]
    assert ours and not elsewhere, f"not from the installed extension: {elsewhere}"


def requirements_can_be_met(installed: Path, name: str) -> None:
    """The panel's installation of what its processes need asks for packages that this test runs with."""
    import slicer
    from MAEMCNodulePanel.installing import installRequirements

    installRequirements(str(installed / "Resources" / name))
    requirements = slicer.packaging.requests[-1]["requirements"]
    assert requirements, f"{name} asks for nothing"
    assert slicer.packaging.pip_check(requirements), f"{requirements} are not met by what this test runs with"


def sample_data_is_there(installed: Path) -> None:
    """What the module offers in the Sample Data module exists and can be loaded."""
    import types

    import slicer

    import MAEMCNodule

    offered = []
    stand_in = types.ModuleType("SampleData")
    stand_in.SampleDataLogic = types.SimpleNamespace(
        registerCustomSampleDataSource=lambda **source: offered.append(source),
        registerCustomSampleDataCategory=lambda *arguments, **words: None,
    )
    sys.modules["SampleData"] = stand_in
    MAEMCNodule.registerSampleData()
    for source in offered:
        assert Path(source["thumbnailFileName"]).is_file(), "the sample's thumbnail is missing"
        volume = slicer.util.loadVolume(str(installed / "Resources" / "SampleData" / source["fileNames"]))
        slicer.mrmlScene.RemoveNode(volume)
    samples = list(installed.glob("Resources/SampleData/*"))
    assert len(offered) == len(samples), f"{len(samples)} samples are installed, {len(offered)} offered"


def a_point_is_scored(widget, inputs: Path, output: Path) -> None:
    """From a click's point to probability, pictures and exported files, by way of the panel."""
    import slicer

    volume = slicer.util.loadVolume(str(inputs / "ct.nrrd"))
    logic = widget.logic
    parameter_node = logic.getParameterNode()
    parameter_node.inputVolume = volume
    points = logic.startPlacing(volume)
    parameter_node.points = points
    points.AddControlPoint([0.0, 0.0, 0.0])
    analysis = logic.analysisOf(volume, points)
    point_id = points.GetNthControlPointID(0)
    wait(lambda: analysis.overlayNode(point_id, "reconstruction", "coronal"), logic)
    wait(lambda: not logic.isBusy(), logic)
    record = analysis.record(point_id)
    assert record.state == "scored", record.message
    table = analysis.tableNode.GetTable()
    assert 0 <= float(table.GetColumnByName("probability").GetValue(0)) <= 1
    widget.refresh()
    assert widget.ui.resultTable.rowCount == 1
    widget.ui.detailsButton.checked = True
    widget.exportDialog.open(analysis, point_id)
    widget.exportDialog.dialog.close()
    exported = output / "exported"
    exported.mkdir()
    for path in logic.exportResults(analysis, exported):
        assert Path(path).is_file()


def a_manifest_is_scored(installed: Path, inputs: Path, output: Path) -> None:
    """``Slicer --python-script BatchScripts/maemc_batch.py MANIFEST --output CSV``."""
    results = output / "batch.csv"
    sys.argv = ["maemc_batch.py", str(inputs / "manifest.csv"), "--output", str(results)]
    try:
        runpy.run_path(str(installed / "BatchScripts" / "maemc_batch.py"), run_name="__main__")
    except SystemExit as end:
        assert end.code == 0, f"maemc_batch.py ended with {end.code}"
    assert len(results.read_text(encoding="utf-8").splitlines()) == 2


def wait(happened, logic) -> None:
    """Let the application run until something happens; an error in the status line ends it at once."""
    import slicer

    deadline = time.monotonic() + PATIENCE
    while not happened():
        slicer.app.processEvents()
        assert logic.status.kind != "error", logic.status.text
        assert time.monotonic() < deadline, f"nothing happened in {PATIENCE} s; status: {logic.status}"
        time.sleep(0.005)


if __name__ == "__main__":
    main(*(Path(argument).resolve() for argument in sys.argv[1:4]), training="training" in sys.argv[4:])
