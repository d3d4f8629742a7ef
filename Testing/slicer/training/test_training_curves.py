"""The curves: bounded however long the job, of the right fold, as real plot nodes that leave nothing behind."""

import itertools
import sys

import pytest
import slicer


@pytest.fixture
def modules(panel):
    """The panel's packages can be imported once its module is loaded."""
    from MAEMCTrainingPanel import chart, watching

    return chart, watching


def step(number, phase="pretrain", **figures):
    return {"step": number, "epoch": 0, "phase": phase, "loss": 1.0 / number, **figures}


def test_long_job_stays_short_and_ends_at_its_end(modules):
    _chart, watching = modules
    points = watching.thinned([(number, number * 2.0) for number in range(1, 123_457)])
    assert watching.POINTS_AT_MOST / 2 <= len(points) <= watching.POINTS_AT_MOST
    assert points[0] == (1, 2.0)
    assert points[-1] == (123_456, 246_912.0)
    gaps = {after[0] - before[0] for before, after in itertools.pairwise(points[:-1])}
    assert len(gaps) == 1, "evenly thinned"


@pytest.mark.parametrize("count", [0, 1, 2, 999, 1000, 1001, 2047])
def test_no_point_is_lost_or_doubled_at_the_limits(modules, count):
    _chart, watching = modules
    steps = [x for x, _y in watching.thinned([(number, number) for number in range(count)])]
    assert steps == sorted(set(steps))
    assert len(steps) <= watching.POINTS_AT_MOST
    if count < watching.POINTS_AT_MOST:
        assert steps == list(range(count))
    assert not count or steps[-1] == count - 1


def test_pretraining_shows_its_losses_and_finetuning_its_fold_beside_all_validations(modules):
    _chart, watching = modules
    gathered = watching.JobCurves()
    gathered.add({"phase": "fold", "fold": 0})
    gathered.add({"time": "now"})
    assert gathered.shown() == ()
    gathered.add(step(1, loss_mse=2.0, loss_info_nce=3.0, gradient_norm=9.0))
    assert [curve.figure for curve in gathered.shown()] == ["loss", "loss_info_nce", "loss_mse"]
    gathered.add(step(1, "finetune", fold=0))
    gathered.add({"step": 1, "phase": "validation", "fold": 0, "loss": 0.5, "better": True})
    gathered.add(step(1, "pretrain", fold=1))
    assert [(c.figure, c.fold) for c in gathered.shown()] == [("loss", 1)], "the pre-training inside a fold"
    gathered.add(step(1, "finetune", fold=1))
    gathered.add({"step": 1, "phase": "validation", "fold": 1, "loss": 0.4, "better": True})
    assert [(c.figure, c.fold) for c in gathered.shown()] == [("loss", 1), ("validation", 0), ("validation", 1)]
    gathered.add({"step": 2, "phase": "finetune", "fold": 1, "loss": None})
    assert gathered.shown()[0].steps == (1,), "a loss that is no number is no point"


def test_loss_of_one_part_is_drawn_once(modules):
    _chart, watching = modules
    gathered = watching.JobCurves()
    for number in (1, 2, 3):
        gathered.add(step(number, loss_mse=1.0 / number, loss_info_nce=3.0))
    assert [curve.figure for curve in gathered.shown()] == ["loss", "loss_info_nce"]


def nodes():
    found = [node for node in slicer.mrmlScene.GetNodes() if node.GetAttribute("MAEMC.TrainingCurve") == "1"]
    return sorted(node.GetClassName() for node in found)


def test_curves_are_real_plot_nodes_and_none_is_saved(modules, tmp_path):
    chart, watching = modules
    line = watching.Curve("loss", None, (1.0, 2.0, 3.0), (0.9, 0.5, 0.4))
    other = watching.Curve("loss_mse", None, (1.0, 2.0), (0.8, 0.3))
    chart.showCurves("A job", (line, other))
    (chartNode,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert chartNode.GetTitle() == "A job"
    assert chartNode.GetNumberOfPlotSeriesNodes() == 2
    table = chartNode.GetNthPlotSeriesNode(0).GetTableNode().GetTable()
    assert [table.GetColumnByName("value").GetValue(row) for row in range(3)] == [0.9, 0.5, 0.4]
    assert [chartNode.GetNthPlotSeriesNode(i).GetName() for i in range(2)] == ["Loss", "Reconstruction (MSE)"]
    assert nodes() == ["vtkMRMLPlotChartNode"] + ["vtkMRMLPlotSeriesNode"] * 2 + ["vtkMRMLTableNode"] * 2
    assert not any(node.GetSaveWithScene() for node in slicer.util.getNodesByClass("vtkMRMLTableNode"))
    # the next job has one curve: nothing of the other is left
    chart.showCurves("Another", (line,))
    assert nodes() == ["vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode"]
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear()
    assert not chart.isInScene()
    slicer.util.loadScene(str(path))
    assert nodes() == []
    chart.remove()


@pytest.mark.parametrize("kind", ["vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode"])
def test_nodes_deleted_by_hand_are_made_again(modules, kind):
    chart, watching = modules
    line = watching.Curve("loss", None, (1.0, 2.0, 3.0), (0.9, 0.5, 0.4))
    chart.showCurves("A job", (line,))
    slicer.mrmlScene.RemoveNode(slicer.util.getNodesByClass(kind)[0])
    chart.showCurves("A job", (line,))
    (chartNode,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert chartNode.GetNthPlotSeriesNode(0).GetTableNode().GetNumberOfRows() == 3
    chart.remove()
    assert nodes() == []


def test_curve_is_seen_followed_and_left(panel, plot_view, written_job, slicer_app):
    events = [step(number, loss_mse=1.0) for number in range(1, 50)]
    folder = written_job("seen", events=events)
    view = plot_view()
    before = slicer_app.layoutManager().layout
    panel.wait(lambda: panel.job(folder) is not None, "the list")
    panel.wait(lambda: panel.ui.curveButton.enabled, "the events")
    assert view.chart_node is None, "the layout stays as it is until somebody asks for the curve"
    panel.ui.curveButton.click()
    panel.wait(lambda: view.chart_node is not None, "the curve")
    assert slicer_app.layoutManager().layout != before
    assert view.screenshot().std() > 10
    drawn = view.chart_node.GetNthPlotSeriesNode(0).GetTableNode()
    assert drawn.GetNumberOfRows() == 49
    with open(folder / "events.jsonl", "a", encoding="utf-8") as stream:
        stream.write('{"step": 50, "epoch": 1, "phase": "pretrain", "loss": 0.02}\n{"step": 51, "ep')
    panel.wait(lambda: drawn.GetNumberOfRows() == 50, "what came since")
    from slicerhost import module_factory

    module_factory.select(None)
    assert slicer_app.layoutManager().layout == before, "leaving the module brings back what was there"


def test_closing_the_scene_ends_the_curve_without_an_error(panel, written_job):
    folder = written_job("seen", events=[step(1), step(2)])
    panel.wait(lambda: panel.job(folder) is not None, "the list")
    panel.ui.jobsTable.selectRow(0)
    panel.logic.requestCurve(folder)
    panel.wait(lambda: nodes() != [], "the curve")
    slicer.mrmlScene.Clear()
    panel.run(1.3)
    assert nodes() == []
    panel.ui.curveButton.click()
    panel.wait(lambda: nodes() != [], "the curve again")


def test_torch_stays_out(panel):
    """In this process other tests have imported it, so a new one is asked."""
    import subprocess

    code = "import sys, MAEMCTrainingLib.jobs.job, MAEMCTrainingLib.engine.configuration\n"
    code += "import MAEMCTrainingLib.pretraining, MAEMCTrainingLib.data.store, MAEMCTrainingLib.data.sources\n"
    code += "import MAEMCLib.cases.manifest, MAEMCLib.models.store\n"
    code += "print([name for name in ('torch', 'SimpleITK', 'scipy', 'sklearn', 'matplotlib') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
