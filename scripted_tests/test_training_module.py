"""The module MAEMC Training in a real Slicer: a job started, stopped and resumed from the panel, and its curve.

Slicer --no-splash --no-main-window --python-script scripted_tests/test_training_module.py
"""

import os
import sys
import tempfile
from pathlib import Path

import session
import slicer


def module_tells_about_itself() -> None:
    module = slicer.modules.maemctraining
    assert module.title
    assert "not for clinical use" in module.helpText
    assert not module.icon.isNull()
    assert (Path(module.path).parent / "Resources" / "UI" / "MAEMCTraining.ui").is_file()


def job_is_started_stopped_and_resumed() -> None:
    from MAEMCTrainingPanel.selftest import phantom

    widget = slicer.util.getModuleWidget("MAEMCTraining")
    widget.enter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            widget.ui.folderPathEdit.currentPath = folder
            widget.ui.dataPathEdit.currentPath = str(phantom(Path(folder) / "phantom"))
            session.wait(lambda: widget.logic.data is not None, "the data to be counted")
            session.wait(lambda: widget.ui.startButton.enabled, f"Start ({widget.ui.startButton.toolTip})")
            assert widget.ui.countsLabel.text.startswith("Nodules in CT: 6 cases of 6 patients")
            selector = widget.ui.methodSelector
            assert not selector.model().item(0).isEnabled(), "what somebody has is a heading"
            assert selector.currentData == "maemc"
            assert selector.findData("spark") > 0
            assert selector.findData("modan-mulsupcon") < 0, "the synthetic cases are all chests in CT"
            assert "doi.org" in widget.ui.methodTextLabel.text
            widget.ui.settingsEdit.text = "epochs=30 views_per_case=4 batch=4 log_every=1"
            widget.ui.deviceSelector.currentIndex = widget.ui.deviceSelector.findData("cpu")
            widget.ui.startButton.click()
            session.wait(lambda: job(widget) is not None and job(widget).state.get("step", 0) > 2, "the first steps")
            session.wait(lambda: rows_of_curve() > 2, "the curve")
            widget.ui.stopButton.click()
            session.wait(lambda: not job(widget).active, "the end of the step")
            assert job(widget).status == "stopped", job(widget)
            session.wait(lambda: widget.ui.resumeButton.enabled, "Resume")
            widget.ui.resumeButton.click()
            session.wait(lambda: job(widget).status in ("finished", "failed"), "the end")
            assert job(widget).status == "finished", job(widget).message
            slicer.mrmlScene.Clear()
            session.run_events(1.5)
            assert rows_of_curve() == 0, "the curve is of the scene"
        finally:
            if widget.logic.selected is not None and job(widget) is not None and job(widget).active:
                widget.logic.stop(widget.logic.selected)
            widget.exit()


def reloaded_module_finds_its_jobs_and_passes_its_self_test() -> None:
    slicer.util.reloadScriptedModule("MAEMCTraining")
    assert slicer.util.getModuleLogic("MAEMCTraining").jobs() == (), "the folder of the job before is gone"
    slicer.selfTests["MAEMCTraining"]()


def torch_stays_out_of_slicer() -> None:
    assert "torch" not in sys.modules, "PyTorch belongs into the training process"


def job(widget):
    """The selected job as the panel knows it."""
    return widget.logic.snapshot.job(widget.logic.selected)


def rows_of_curve() -> int:
    """Points of the first line of the chart; 0 where there is no chart."""
    charts = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    return charts[0].GetNthPlotSeriesNode(0).GetTableNode().GetNumberOfRows() if charts else 0


if __name__ == "__main__":
    home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    os.environ["MAEMC_HOME"] = home.name  # the user's own list of jobs stays as it is
    session.run(
        module_tells_about_itself,
        job_is_started_stopped_and_resumed,
        reloaded_module_finds_its_jobs_and_passes_its_self_test,
        torch_stays_out_of_slicer,
    )
