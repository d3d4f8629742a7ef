"""Real jobs in real processes: started from the panel, stopped, resumed, failing, outliving Slicer, made a model."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slicer
from MAEMCLib.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[3]
SHORT = "epochs=1 views_per_case=1"
LONG = "epochs=500 log_every=1"


@pytest.fixture(scope="session")
def tuned(tmp_path_factory, phantom):
    """The folder of a finished fine-tuning, made by the command line under another MAEMC_HOME."""
    folder = tmp_path_factory.mktemp("tuned") / "second"
    command = [sys.executable, "-m", "MAEMCTrainingLib", "finetune", "--data", str(phantom), "--output", str(folder)]
    command += ["--from", "scratch", "--folds", "2", "--preset", "tiny", "--device", "cpu", "--threads", "1", "--quiet"]
    environment = {**os.environ, "MAEMC_HOME": str(tmp_path_factory.mktemp("home"))}
    done = subprocess.run([*command, "epochs=1"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def known(folder, home):
    """Note a job of another MAEMC_HOME in this one."""
    from MAEMCTrainingLib.jobs.files import remember

    remember(folder, home)
    return folder


def test_started_stopped_resumed_and_finished_from_the_panel(panel, phantom, home):
    panel.choose(phantom)
    panel.ui.settingsEdit.text = LONG
    panel.ui.deviceSelector.currentIndex = panel.ui.deviceSelector.findData("cpu")
    assert panel.ui.nameEdit.placeholderText == "maemc-tiny-1"
    panel.ui.startButton.click()
    panel.wait(lambda: panel.logic.selected is not None, "the job")
    folder = panel.logic.selected
    assert folder == home / "jobs-data" / "maemc-tiny-1"
    assert panel.ui.newButton.collapsed
    assert panel.ui.nameEdit.placeholderText == "maemc-tiny-2"
    panel.waitForStatus(folder, "running")
    panel.wait(lambda: slicer.util.getNodesByClass("vtkMRMLPlotChartNode"), "the curve, without being asked for")
    (chartNode,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    panel.wait(lambda: chartNode.GetNthPlotSeriesNode(0).GetTableNode().GetNumberOfRows() > 3, "a live curve")
    assert panel.rows()[0][:3] == ["maemc-tiny-1", "pre-training", "running"]
    assert "epoch" in panel.ui.progressLabel.text
    assert panel.ui.stopButton.enabled
    assert not panel.ui.resumeButton.enabled

    panel.ui.stopButton.click()
    assert "stops after its step" in panel.ui.statusLabel.text
    job = panel.waitForStatus(folder, "stopped")
    assert panel.ui.resumeButton.enabled
    assert "Resume goes on there" in panel.ui.messageLabel.text
    step = job.state["step"]
    assert step > 0

    panel.ui.resumeButton.click()
    panel.waitForStatus(folder, "running")
    panel.wait(lambda: panel.job(folder).state.get("step", 0) > step, "going on where it was")
    panel.ui.stopButton.click()
    panel.waitForStatus(folder, "stopped")
    steps = [json.loads(line).get("step") for line in (folder / "events.jsonl").read_text("utf-8").splitlines()]
    assert steps == sorted(steps), "nothing was done twice"


def test_failure_is_told_in_the_panel(panel, phantom, tmp_path):
    """The manifest was sound when it was read, and its images have gone since."""
    import shutil

    copy = Path(shutil.copytree(phantom.parent, tmp_path / "copy"))
    panel.choose(copy / "manifest.csv")
    shutil.rmtree(copy / "images")
    panel.ui.settingsEdit.text = SHORT
    panel.ui.startButton.click()
    panel.wait(lambda: panel.logic.selected is not None, "the job")
    panel.waitForStatus(panel.logic.selected, "failed")
    panel.wait(lambda: "not there" in panel.ui.messageLabel.text, "the reason")
    assert panel.rows()[0][2] == "failed"
    assert panel.ui.resumeButton.enabled, "once the images are back"


def test_an_installed_model_is_tuned_further(panel, phantom):
    """The one that is shipped, on cases of one's own; nobody can tell whom it has seen, and the panel says so."""
    panel.choose(phantom)
    panel.ui.kindSelector.currentIndex = 1
    selector = panel.ui.startFromSelector
    assert selector.currentText == "Random weights"
    selector.currentIndex = [selector.itemText(i).startswith("Model ") for i in range(selector.count)].index(True)
    selector.activated.emit(selector.currentIndex)
    assert "does not say whom" in panel.ui.sentenceLabel.text and not panel.ui.backboneSelector.enabled
    panel.ui.foldsSpinBox.value = 3
    panel.ui.linearProbeCheckBox.checked = True
    panel.ui.startButton.click()
    panel.wait(lambda: panel.logic.selected is not None, "the job")
    job = panel.waitForStatus(panel.logic.selected, "finished", "failed")
    assert job.status == "finished", (job.folder / "output.txt").read_text("utf-8")
    settings = json.loads((job.folder / "job.json").read_text("utf-8"))
    assert settings["from"] == "another model" and settings["pretraining"] == "unknown"


def test_process_that_dies_before_it_begins_is_told_at_once(panel, phantom, monkeypatch, tmp_path):
    """As where torch is installed by half: nothing ever takes the job's lock."""
    (tmp_path / "torch.py").write_text("raise ImportError('DLL load failed')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    folder = panel.logic.start("pretrain", phantom, tmp_path / "job", settings=SHORT)
    panel.logic.select(folder)
    job = panel.waitForStatus(folder, "failed")
    assert "DLL load failed" in job.message


def test_job_outlives_slicer_and_is_found_again(slicer_app, phantom, home, tmp_path):
    """Another Slicer, a process of its own, starts a job and ends; the job goes on, and a new logic finds it."""
    script = f"""
import sys
sys.path.insert(0, {str(REPOSITORY / "Testing" / "host")!r})
from slicerhost import module_factory, start
start({str(tmp_path / "settings")!r})
for name in ("MAEMCNodule", "MAEMCTraining"):
    module_factory.load_module({str(REPOSITORY)!r} + f"/{{name}}/{{name}}.py")
import slicer
folder = slicer.util.getModuleLogic("MAEMCTraining").start(
    "pretrain", {str(phantom)!r}, {str(tmp_path / "job")!r}, device="cpu", settings={SHORT!r})
assert "torch" not in sys.modules
module_factory.unload("MAEMCTraining")
module_factory.unload("MAEMCNodule")
print(folder)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    from MAEMCTrainingLib.jobs.job import Job, known_jobs

    folder = tmp_path / "job"
    assert Job(folder).status in ("queued", "running"), "it was still at work when Slicer had ended"
    (job,) = known_jobs(home)
    assert job.folder == folder
    deadline = time.monotonic() + 90
    while Job(folder).status != "finished":
        assert time.monotonic() < deadline, (folder / "output.txt").read_text("utf-8")
        time.sleep(0.1)
    assert (folder / "checkpoints" / "last" / "model.safetensors").is_file()


def test_finished_finetuning_becomes_the_model_of_the_other_module(panel, tuned, written_job, home):
    written_job("first")
    second = known(tuned, home)
    panel.wait(lambda: len(panel.rows()) == 2, "the list")
    panel.ui.kindSelector.currentIndex = 1
    assert [panel.ui.startFromSelector.itemText(i) for i in range(2)] == ["first", "Random weights"]
    row = [row[0] for row in panel.rows()].index("second")
    panel.ui.jobsTable.selectRow(row)
    panel.wait(lambda: panel.ui.metricsLabel.text.startswith("AUC"), "the metrics")
    assert panel.ui.modelButton.enabled
    panel.ui.modelButton.click()
    assert not panel.ui.modelButton.enabled
    panel.wait(lambda: panel.logic.status.kind != "busy", "the export")
    assert panel.logic.status.kind == "idle", panel.logic.status
    assert "MAEMC Nodule now scores with second@1.0" in panel.ui.statusLabel.text
    from slicerhost import module_factory

    module_factory.select("MAEMCNodule")
    nodule = slicer.util.getModuleWidget("MAEMCNodule")
    assert nodule.ui.modelSelector.currentData == "second@1.0"
    assert nodule.logic.chosenModel().card.id == "second"
    # a second click makes no second model
    module_factory.select("MAEMCTraining")
    assert panel.logic.exportModel(second) == "second@1.0"
    (place,) = [path.name for path in (home / "models").iterdir() if not path.name.startswith(".")]
    assert place.startswith("second-1-0-")
    # another job of the same name is another version, and nothing is overwritten
    (second / "model.maemc").unlink()
    assert panel.logic.exportModel(second) == "second@2.0"


def test_what_cannot_be_exported_is_told(panel, written_job):
    panel.logic.requestModel(written_job("first"))
    panel.wait(lambda: panel.logic.status.kind == "error", "the refusal")
    assert "takes a fine-tuning" in panel.ui.statusLabel.text


def test_stopping_what_is_no_job_is_refused(panel, tmp_path):
    with pytest.raises(InputError):
        panel.logic.stop(tmp_path / "gone")


def test_closing_slicer_does_not_wait_for_what_is_being_imported(panel, tmp_path):
    """A command that would take minutes ends with the module; a job would go on."""
    from MAEMCTrainingPanel.commands import ChildCommands

    slow = tmp_path / "MAEMCSlow.py"
    slow.write_text("import time\nprint('begun', flush=True)\ntime.sleep(300)\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    logic, commands = panel.logic, ChildCommands(sys.executable, environment)
    logic._commands.append(commands)
    logic._inBackground(print, lambda: commands.run("MAEMCSlow"))
    panel.wait(lambda: commands._running, "the command")
    (process,) = commands._running
    future = logic._tasks[0][0]
    started = time.monotonic()
    logic.cleanup()
    panel.wait(future.done, "its end", 10)
    assert time.monotonic() - started < 5
    assert process.returncode != 0
