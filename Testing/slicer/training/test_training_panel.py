"""The panel: its choices and what they start, and jobs as they are after a restart of Slicer."""

import os
import statistics
import time
from pathlib import Path

import pytest
import slicer
from MAEMCLib.errors import InputError, UsageError


def test_request_is_the_command_line(panel, tmp_path):
    from MAEMCTrainingPanel.request import JobRequest

    folder, arguments = JobRequest("pretrain", "m.csv", tmp_path / "job", settings="epochs=6 name='a b'").command()
    assert folder == tmp_path / "job"
    assert arguments[:5] == ["pretrain", "--data", os.path.abspath("m.csv"), "--output", str(folder)]
    assert arguments[-2:] == ["epochs=6", "name=a b"]
    assert arguments[arguments.index("--method") + 1] == "maemc"
    _folder, arguments = JobRequest("finetune", "m.csv", startFrom="x", folds=3, linearProbe=True).command()
    assert arguments[arguments.index("--from") + 1] == os.path.abspath("x")
    assert arguments[arguments.index("--folds") + 1] == "3"
    assert "--linear-probe" in arguments
    assert "--method" not in arguments
    for kind, start, given in (("pretrain", "x", True), ("finetune", "scratch", True), ("finetune", "x", False)):
        _folder, arguments = JobRequest(kind, "m.csv", startFrom=start, backbone="resnet18").command()
        assert ("--backbone" in arguments) is given, "the encoder of a pre-training is not to be chosen again"
    assert JobRequest("pretrain", "m.csv", method="simclr").command()[0].name == "simclr-tiny-1"
    assert JobRequest("finetune", "m.csv").command()[0].name == "finetune-tiny-1"
    for wrong in ({"kind": "dream"}, {"settings": "epochs"}, {"settings": "--data=x"}, {"settings": "a='b"}):
        with pytest.raises(UsageError):
            JobRequest(**{"kind": "pretrain", "data": "m.csv", **wrong}).command()


def test_request_is_understood_by_the_command_line(panel, tmp_path):
    """Every option that the panel writes is one that maemc-train has."""
    from MAEMCTrainingLib.__main__ import _parser
    from MAEMCTrainingLib.pretraining.registry import METHODS
    from MAEMCTrainingPanel import choices
    from MAEMCTrainingPanel.request import JobRequest

    for method in METHODS:
        for finetuning, kind in ((False, "pretrain"), (True, "finetune")):
            for preset in choices.presets(finetuning):
                for protocol in choices.protocols():
                    request = JobRequest(
                        kind, "m.csv", None, method, "resnet18", preset=preset, protocol=protocol, linearProbe=True
                    )
                    options, rest = _parser().parse_known_args(request.command()[1])
                    assert rest == []
                    assert options.preset == preset


def test_every_choice_has_its_sentence(panel):
    from MAEMCTrainingPanel import choices

    for finetuning in (False, True):
        for texts in (choices.presets(finetuning), choices.presets(finetuning, False)):
            for name, (title, sentence) in texts.items():
                assert title, name
                assert sentence.endswith("."), f"{name} has no sentence on it"
    selector, protocols = panel.ui.protocolSelector, choices.protocols()
    assert [selector.itemData(index) for index in range(selector.count)] == list(protocols)
    assert all(sentence.endswith(".") for sentence in protocols.values())


def test_list_shows_what_is_true_and_finds_it_again(panel, written_job, home):
    written_job("done", "finished", created="2026-01-01T00:00:00+00:00")
    written_job("killed", "running", step=5, steps=10, epoch=0, epochs=2, created="2026-01-02T00:00:00+00:00")
    written_job("broken", "failed", kind="finetune", message="Training diverged.", created="2026-01-03T00:00:00+00:00")
    panel.wait(lambda: len(panel.rows()) == 3, "the list")
    panel.run(0.1)
    assert [row[:4] for row in panel.rows()] == [
        ["broken", "fine-tuning", "failed", "0 %"],
        ["killed", "pre-training", "stopped", "50 %"],
        ["done", "pre-training", "finished", "100 %"],
    ]
    panel.ui.jobsTable.selectRow(0)
    panel.run(0.1)
    assert panel.ui.headlineLabel.text == "broken: failed"
    assert panel.ui.messageLabel.text == "Training diverged."
    assert not panel.ui.stopButton.enabled
    assert panel.ui.resumeButton.enabled
    assert not panel.ui.modelButton.enabled
    panel.ui.jobsTable.selectRow(2)
    panel.run(0.1)
    assert not panel.ui.resumeButton.enabled
    assert panel.ui.resumeButton.toolTip == "It is finished."
    # a restart: another instance, with nothing but the folders
    from MAEMCTrainingPanel.logic import MAEMCTrainingLogic

    logic = MAEMCTrainingLogic()
    assert [job.folder.name for job in logic.jobs()] == ["broken", "killed", "done"]
    logic.cleanup()


def test_folders_that_vanish_or_break_break_nothing(panel, written_job):
    import shutil

    kept, gone, broken = (written_job(name) for name in ("kept", "gone", "broken"))
    panel.wait(lambda: len(panel.rows()) == 3, "the list")
    panel.ui.jobsTable.selectRow([row[0] for row in panel.rows()].index("gone"))
    shutil.rmtree(gone)
    (broken / "state.json").write_text("{", encoding="utf-8")
    panel.wait(lambda: [row[0] for row in panel.rows()] == ["broken", "kept"], "the list without what is gone")
    assert [row[2] for row in panel.rows()] == ["failed", "finished"], "a damaged job is listed as such"
    assert panel.ui.jobFrame.isHidden() or panel.ui.headlineLabel.text in ("kept: finished", "broken: failed")
    assert panel.job(kept).status == "finished"


def test_preview_metrics_and_report_are_shown(panel, written_job, monkeypatch):
    import json

    import qt

    metrics = {
        "metrics": {"auc": {"value": 0.6123, "low": 0.4, "high": 0.8}},
        "baselines": {"size alone": {"auc": {"value": 0.79}}},
        "leaky": True,
    }
    folder = written_job("tuned", kind="finetune")
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (folder / "previews").mkdir()
    picture = qt.QPixmap(900, 300)
    picture.fill(qt.QColor(10, 20, 30))
    picture.save(str(folder / "previews" / "epoch-0010.png"))
    panel.wait(lambda: panel.ui.metricsLabel.text != "", "the metrics")
    text = panel.ui.metricsLabel.text
    assert text.startswith("AUC 0.61 (0.40 to 0.80), out of fold. The nodule's size alone: 0.79.")
    assert "saw patients" in text
    assert text.endswith("Research only, not for clinical use.")
    assert panel.ui.previewLabel.pixmap.width() == 376
    assert panel.ui.modelButton.enabled
    assert not panel.ui.reportButton.enabled
    (folder / "report.html").touch()
    panel.wait(lambda: panel.ui.reportButton.enabled, "the report")
    opened = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    panel.ui.reportButton.click()
    panel.ui.openFolderButton.click()
    assert opened == [str(folder / "report.html"), str(folder)]
    (folder / "previews" / "epoch-0020.png").write_bytes(b"no picture")
    panel.run(1.3)


def test_fusion_of_the_command_line_becomes_a_model_too(panel, written_job):
    written_job("fused", kind="fuse")
    panel.wait(lambda: len(panel.rows()) == 1, "the list")
    panel.run(0.1)
    assert panel.rows()[0][:3] == ["fused", "fusion", "finished"]
    assert not panel.ui.modelButton.isHidden()
    assert panel.ui.modelButton.enabled
    assert panel.ui.modelButton.text == "Use in MAEMC Nodule"


def test_time_left_is_told(panel):
    from MAEMCTrainingLib.jobs.progress import duration
    from MAEMCTrainingPanel import jobview
    from MAEMCTrainingPanel.watching import JobEntry

    state = {"stage": "Training", "fold": 1, "folds": 5, "epoch": 2, "epochs": 60, "seconds_left": 240}
    job = JobEntry(Path("job"), "finetune", "running", 0.25, state)
    assert jobview.progressText(job) == "Training, fold 2 of 5, epoch 3 of 60, 4 min left"
    assert [duration(s) for s in (3, 89, 90, 5399, 5400)] == ["3 s", "89 s", "2 min", "90 min", "1.5 h"]


def test_unknown_job_and_foreign_folder_are_refused(panel, tmp_path, phantom):
    with pytest.raises(InputError, match="no job"):
        panel.logic.job(tmp_path)
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UsageError, match="other files"):
        panel.logic.start("pretrain", phantom, tmp_path)
    panel.choose(phantom)
    panel.ui.folderPathEdit.currentPath = str(tmp_path.parent)
    panel.ui.nameEdit.text = tmp_path.name
    panel.ui.startButton.click()
    panel.wait(lambda: panel.logic.status.kind == "error", "the refusal")
    assert "other files" in panel.ui.statusLabel.text
    assert panel.ui.startButton.enabled


def test_entering_leaving_scene_and_reload(panel, written_job, scene):
    from slicerhost import module_factory

    written_job("done", events=[{"step": 1, "phase": "pretrain", "loss": 1.0}])
    panel.wait(lambda: len(panel.rows()) == 1, "the list")
    module_factory.select(None)
    panel.run(0.3)
    assert not panel.widget.timer.active, "nothing is polled while nobody looks"
    slicer.mrmlScene.Clear()
    module_factory.select("MAEMCTraining")
    assert panel.widget.timer.active
    panel.wait(lambda: panel.ui.curveButton.enabled, "the events")
    panel.ui.curveButton.click()
    panel.wait(lambda: slicer.util.getNodesByClass("vtkMRMLPlotChartNode"), "the curve")
    slicer.util.reloadScriptedModule("MAEMCTraining")
    panel.widget.enter()
    panel.wait(lambda: len(panel.rows()) == 1, "the list after a reload")
    assert slicer.util.getModuleLogic("MAEMCTraining").jobs()[0].folder.name == "done"


def test_missing_packages_are_offered_to_be_installed(panel, phantom, monkeypatch):
    from MAEMCNodulePanel import panelwidget
    from MAEMCNodulePanel.status import Status

    panel.choose(phantom)
    panel.logic.probe.problem = Status("error", "PyTorch is not installed.", "no-torch")
    panel.widget.refresh()
    assert panel.ui.statusLabel.text == "PyTorch is not installed."
    assert not panel.ui.installButton.isHidden()
    assert not panel.ui.startButton.enabled
    asked = []
    monkeypatch.setattr(panelwidget, "install", lambda code, path: asked.append((code, Path(path).name)))
    monkeypatch.setattr(panel.logic, "requestDevice", lambda: setattr(panel.logic.probe, "problem", None))
    panel.ui.installButton.click()
    assert asked == [("no-torch", "training-requirements.txt")]
    panel.widget.refresh()
    assert panel.ui.startButton.enabled


def test_other_packages_than_torch_are_missed_by_name(panel, phantom, monkeypatch, tmp_path):
    """The probe's own answer, when torch is there and another package is not."""
    from MAEMCTrainingPanel import device

    lacking = tmp_path / "requirements.txt"
    lacking.write_text("# comment\nnumpy>=1\nno-such-package-of-maemc>=3\n", encoding="utf-8")
    monkeypatch.setattr(device, "REQUIREMENTS", lacking)

    class Client:
        def poll(self):
            return [{"kind": "result", "device": {"name": "cuda:0", "title": "Some GPU"}}]

        silent_seconds = 0.0

        def stop(self):
            pass

    panel.choose(phantom)
    panel.logic.probe._client = Client()
    panel.wait(lambda: panel.logic.probe.problem is not None, "the answer")
    panel.run(0.1)
    assert panel.ui.deviceStateLabel.text == "Trains on: Some GPU"
    assert panel.ui.statusLabel.text == ("Training needs packages that are not installed: no-such-package-of-maemc>=3.")
    assert not panel.ui.installButton.isHidden()
    assert panel.ui.startButton.toolTip == panel.ui.statusLabel.text


def test_nothing_keeps_the_window_waiting(panel, written_job, phantom):
    """30 ms, never 100, with twenty jobs and one of 20,000 events selected; the processor's time, as others run too."""
    events = [
        {"step": n, "phase": "pretrain", "loss": 1 / n, "loss_mse": 0.5, "loss_info_nce": 2.0} for n in range(1, 20_001)
    ]
    for number in range(19):
        written_job(f"job-{number}")
    folder = written_job("long", events=events, created="2026-02-01T00:00:00+00:00")
    panel.wait(lambda: len(panel.rows()) == 20, "the list")
    panel.logic.requestCurve(folder)
    taken = {"onTimer": [], "refresh": []}
    for name, seconds in taken.items():
        function = getattr(panel.widget, name)
        for _ in range(30):
            before = time.thread_time()
            function()
            seconds.append(time.thread_time() - before)
            panel.run(0.05)
    panel.wait(lambda: slicer.util.getNodesByClass("vtkMRMLPlotChartNode"), "the curve")
    for name, seconds in taken.items():
        assert statistics.median(seconds) < 0.03 and max(seconds) < 0.1, (name, seconds)
