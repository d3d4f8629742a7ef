"""The worker process as the panel meets it: killed, stopped, without torch; and Slicer's own process free of torch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slicer
from MAEMCLib.worker.client import WorkerClient

ROOT = Path(__file__).resolve().parents[3]


def test_killed_worker_is_restarted_and_the_row_still_arrives(cold_panel, add_ct):
    panel = cold_panel
    add_ct()
    panel.settle()
    first = panel.logic.worker.pid
    assert first is not None
    panel.place((0, 0, 0))
    panel.logic.poll()
    assert panel.records()[0].state == "pending"
    os.kill(first, signal.SIGKILL)
    panel.settle()
    assert panel.records()[0].state == "scored"
    assert panel.logic.worker.pid not in (None, first)
    # killed while idle: the next nodule starts it again
    os.kill(panel.logic.worker.pid, signal.SIGKILL)
    panel.run(0.2)
    panel.place((6, 0, 0), panel.parameters.points)
    panel.settle()
    assert [record.state for record in panel.records()] == ["scored", "scored"]


def test_stop_ends_it_at_once_and_keeps_what_is_there(cold_panel, add_ct):
    panel = cold_panel
    add_ct()
    panel.settle()
    points = panel.place((0, 0, 0))
    panel.settle()
    result = panel.records()[0].result
    pid = panel.logic.worker.pid
    for x in range(1, 5):
        points.AddControlPoint([x, 0, 0])
    panel.widget.onTimer()
    assert panel.ui.stopButton.enabled
    started = time.monotonic()
    panel.ui.stopButton.click()
    assert time.monotonic() - started < 2.0
    panel.settle()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    records = panel.records()
    assert records[0].result == result
    waiting = [record for record in records if record.state == "waiting"]
    assert waiting
    assert {record.message for record in waiting} == {"Stopped."}
    assert not panel.ui.stopButton.enabled
    panel.ui.scoreButton.click()
    panel.settle()
    assert {record.state for record in panel.records()} == {"scored"}


def test_worker_ends_with_the_module(cold_panel):
    from slicerhost import module_factory

    cold_panel.settle()
    pid = cold_panel.logic.worker.pid
    module_factory.unload("MAEMCNodule")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.fixture
def python_without_torch(tmp_path):
    """A Python in which torch cannot be imported, as in a Slicer without the PyTorch extension's packages."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{hidden}:$PYTHONPATH" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return str(python)


def test_without_torch_the_panel_offers_to_install_it(panel, add_ct, python_without_torch, monkeypatch, tmp_path):
    panel.logic.queue.worker = WorkerClient(python_without_torch)
    add_ct()
    panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    assert panel.records()[0].state == "failed"
    assert "PyTorch" in panel.ui.statusLabel.text
    assert not panel.ui.installButton.isHidden()
    # the extension is not there: its absence is the message, and nothing is installed
    panel.ui.installButton.click()
    panel.run(0.1)
    assert "Extensions Manager" in panel.ui.statusLabel.text
    # with the extension, and its real signature, it is asked once and with a bounded version
    (tmp_path / "PyTorchUtils.py").write_text(
        "calls = []\n"
        "class PyTorchUtilsLogic:\n"
        "    def installTorch(\n"
        "        self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None\n"
        "    ):\n"
        "        calls.append((askConfirmation, torchVersionRequirement))\n"
        "        return None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    panel.widget.onInstall()
    import PyTorchUtils

    assert PyTorchUtils.calls == [(True, ">=2.5")]
    monkeypatch.delitem(sys.modules, "PyTorchUtils")


def test_another_interface_of_the_pytorch_extension_is_told(scene, monkeypatch, tmp_path):
    from MAEMCLib.errors import MAEMCError
    from MAEMCNodulePanel.installing import installTorch

    (tmp_path / "PyTorchUtils.py").write_text(
        "class PyTorchUtilsLogic:\n    def installTorch(self, backend='cpu'):\n        raise AssertionError\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "PyTorchUtils", raising=False)
    with pytest.raises(MAEMCError, match="another interface"):
        installTorch()
    monkeypatch.delitem(sys.modules, "PyTorchUtils")


SCRIPT = """
import sys
sys.path.insert(0, {host!r})
from slicerhost import module_factory, start
app = start({settings!r})
import slicer
module = module_factory.load_module({module!r})
before = set(sys.modules)
heavy = [name for name in ("torch", "SimpleITK", "pydicom", "matplotlib", "scipy") if name in before]
assert not heavy, f"imported when the module is loaded: {{heavy}}"
module_factory.select("MAEMCNodule")
from MAEMCNodulePanel.selftest import sampleNodule
table = slicer.util.getModuleLogic("MAEMCNodule").score(*sampleNodule(), timeout=300)
print("probability", table.GetCellText(0, 1))
assert "torch" not in sys.modules and "safetensors" not in sys.modules
module_factory.unload("MAEMCNodule")
print("no torch")
"""


def test_torch_never_enters_slicers_process(models, tmp_path):
    script = SCRIPT.format(
        host=str(ROOT / "Testing" / "host"),
        settings=str(tmp_path / "settings"),
        module=str(ROOT / "MAEMCNodule" / "MAEMCNodule.py"),
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "probability 0." in done.stdout
    assert "no torch" in done.stdout


def test_report_holds_versions_and_log_but_no_patient(panel, add_ct):
    from MAEMCNodulePanel.report import reportText

    add_ct("MUELLER^HANS 1950")
    panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    text = reportText(panel.logic)
    assert "MAEMC 0." in text
    assert "device asked for: auto" in text
    assert "torch: 2." in text
    assert "MUELLER" not in text
    panel.ui.copyReportButton.click()
    import qt

    assert qt.QApplication.clipboard().text() == reportText(panel.logic)
    assert f"Slicer {slicer.app.applicationVersion}" in text
