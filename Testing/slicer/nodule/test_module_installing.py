"""What the machine lacks, as a user meets it: PyTorch, packages, pip's own words; and a process that hangs."""

import os
import signal
import subprocess
import sys
import types

import pytest
import slicer
from MAEMCLib.errors import MAEMCError
from MAEMCLib.worker.client import WorkerClient

FAILED = subprocess.CalledProcessError(1, ["C:/Users/Müller Hans/PythonSlicer.exe", "-m", "pip", "install", "torch"])
NO_SPACE = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
NO_NETWORK = (
    "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError('<pip._vendor."
    "Connection object at 0x7f7b>: Failed to establish a new connection: [Errno -2] Name or service not known')': /x/"
)
NO_PROXY = "WARNING: Retrying after connection broken by 'ProxyError('Cannot connect to proxy.')'"
NO_TRUST = "Could not fetch URL: SSLError(CERTIFICATE_VERIFY_FAILED)"
NO_RIGHTS = "ERROR: OSError: [WinError 5] Access is denied: 'C:\\Users\\Müller Hans\\x.dll'"
NONE_FOUND = (
    "ERROR: Could not find a version that satisfies the requirement torch>=2.4 (from versions: none)",
    "ERROR: No matching distribution found for torch>=2.4",
)
NONE_FITS = "ERROR: Could not find a version that satisfies the requirement torch>=9 (from versions: 2.4.0, 2.5.0)"
NO_COMPILER = ("Building wheel", "error: subprocess-exited-with-error", "[notice] A new release of pip is available")


def test_a_failed_installation_says_pips_last_words_and_one_action(panel):
    from MAEMCNodulePanel import pipwords

    for lines, reason, action in (
        ([NO_SPACE, ""], "No space", "Free"),
        ([NO_NETWORK, *NONE_FOUND], "Name or service not known", "network connection"),
        ([NO_PROXY, *NONE_FOUND], "proxy", "HTTP_PROXY"),
        ([NO_TRUST, *NONE_FOUND], "CERTIFICATE", "certificate"),
        ([NONE_FITS, NONE_FOUND[1]], "torch>=9", "update Slicer"),
        ([NO_RIGHTS], "x.dll", "rights"),
        (NO_COMPILER, "subprocess-exited", "Details"),
        ([], "CalledProcessError", "Details"),
    ):
        text = pipwords.failureText("PyTorch could not be installed", lines, FAILED)
        assert text.startswith("PyTorch could not be installed (")
        assert reason in text and action in text
        assert "exit status" not in text and "Müller" not in text and "0x7f7b" not in text
        assert not any("Müller" in line for line in pipwords.lastLines)
    pipwords.lastLines.clear()


class Extension(types.ModuleType):
    """The PyTorch extension, as far as it matters here."""

    def __init__(self, install, uninstall=lambda: None):
        super().__init__("PyTorchUtils")
        calls = self.calls = []

        class PyTorchUtilsLogic:
            def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
                calls.append(("install", askConfirmation))
                return install()

            def uninstallTorch(self, askConfirmation=False, forceComputationBackend=None):
                calls.append("uninstall")
                uninstall()

        self.PyTorchUtilsLogic = PyTorchUtilsLogic


@pytest.fixture
def panel(instant_panel):
    instant_panel.settle()
    return instant_panel


def lacking(panel, code, text="It is missing."):
    from MAEMCNodulePanel.status import Status

    panel.logic.statusLine.set(Status("error", text, code))
    panel.widget.refresh()


def no_disk():
    print(NO_SPACE)
    raise FAILED


def test_the_panel_shows_why_an_installation_failed(panel, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", Extension(no_disk))
    lacking(panel, "no-torch")
    assert panel.ui.installButton.text == "Install PyTorch"
    panel.ui.installButton.click()
    text = panel.ui.statusLabel.text
    assert "No space left on device" in text and "Free some gigabytes" in text
    assert not panel.ui.installButton.isHidden()
    panel.ui.detailsButton.checked = True
    assert "the installation that failed last" in panel.ui.detailsText.plainText
    assert "Errno 28" in panel.ui.detailsText.plainText and "Müller" not in panel.ui.detailsText.plainText


def test_a_declined_installation_is_no_failure(panel, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", Extension(lambda: None))
    lacking(panel, "no-torch")
    panel.ui.installButton.click()
    assert panel.logic.status.kind == "idle" and panel.ui.statusLabel.text == "PyTorch was not installed."
    assert panel.ui.detailsButton.isHidden() and not panel.ui.installButton.isHidden()

    def declined(*arguments, **options):
        raise RuntimeError("User declined package installation")

    monkeypatch.setattr(slicer.packaging, "pip_ensure", declined)
    lacking(panel, "no-safetensors")
    assert panel.ui.installButton.text == "Install packages"
    monkeypatch.setattr(slicer.packaging, "pip_check", lambda requirements: False)
    panel.ui.installButton.click()
    assert panel.logic.status.kind == "idle" and panel.ui.statusLabel.text == "Nothing was installed."


@pytest.fixture
def python_with_broken_torch(tmp_path):
    """A Python whose torch is there and cannot be imported, as after an aborted installation."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(
        "raise OSError('[WinError 126] module not found. Error loading c10.dll')\n"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}:$PYTHONPATH" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return str(python)


def test_a_broken_pytorch_is_repaired(panel, monkeypatch, python_with_broken_torch):
    extension = Extension(lambda: "torch")
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    panel.logic.queue.worker = WorkerClient(python_with_broken_torch)
    panel.logic.requestDevice()
    panel.settle()
    assert panel.logic.status.code == "torch-broken"
    assert "c10.dll" in panel.ui.statusLabel.text and panel.ui.statusLabel.text.endswith("Press Repair PyTorch.")
    assert panel.ui.installButton.text == "Repair PyTorch" and not panel.ui.installButton.isHidden()
    answers = [False, True]
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *arguments, **options: answers.pop(0))
    panel.ui.installButton.click()
    assert extension.calls == [] and panel.ui.statusLabel.text == "PyTorch was left as it is."
    panel.ui.installButton.click()
    panel.settle()
    assert extension.calls == ["uninstall", ("install", False)]
    assert panel.logic.status.code == "torch-broken" and "Restart Slicer" in panel.ui.statusLabel.text


def test_a_package_that_is_there_by_half_is_installed_over_itself(panel, monkeypatch):
    """What a package says of itself is that it is there: asking pip for what is missing would do nothing, for ever."""
    asked = []
    monkeypatch.setattr(
        slicer.util, "confirmOkCancelDisplay", lambda text, *more, **options: asked.append(text) or True
    )
    monkeypatch.setattr(panel.logic.worker, "stop", lambda: None)  # its process would need seconds to start anew
    slicer.packaging.requests.clear()
    lacking(panel, "no-safetensors")
    panel.ui.installButton.click()
    (again, ensured) = [entry["requirements"] for entry in slicer.packaging.requests]
    slicer.packaging.requests.clear()
    assert again == ["--force-reinstall", "--no-deps", "safetensors>=0.4.3"] and ensured == ["safetensors>=0.4.3"]
    assert "safetensors is installed and does not work" in asked[0]
    panel.settle()
    assert panel.logic.status.kind == "idle"
    monkeypatch.setattr(slicer.packaging, "pip_check", lambda requirements: False)
    lacking(panel, "no-timm")  # of a model with one of timm's networks
    panel.ui.installButton.click()
    assert slicer.packaging.requests[0]["requirements"] == ["safetensors>=0.4.3", "timm>=1.0"]
    slicer.packaging.requests.clear()


def test_a_slicer_without_packaging_is_told_to_be_updated(panel, monkeypatch, tmp_path):
    from MAEMCNodulePanel import installing

    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.delattr(slicer, "packaging")
    lacking(panel, "no-safetensors")
    panel.ui.installButton.click()
    assert (
        "needs Slicer 5.12 or newer" in panel.ui.statusLabel.text
        and slicer.app.applicationVersion in panel.ui.statusLabel.text
    )
    with pytest.raises(MAEMCError, match=r"5\.12"):
        installing.missingRequirements(str(tmp_path))


def test_the_worker_is_asked_for_all_that_scoring_needs(panel, tmp_path):
    """A safetensors that cannot be imported is said at the start, not at each nodule."""
    import json

    from MAEMCNodulePanel import installing

    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['safetensors'] = None\n")
    line = json.dumps({"id": 1, "request": "device"}).encode() + b"\n"
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "MAEMCLib", "serve"],
        input=line,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=300,
        check=False,
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["kind"] == "error" and answer["code"] == "no-safetensors", answer
    assert installing.buttonText(answer["code"]) == "Install packages"


def test_a_process_that_hangs_is_said_and_stop_is_the_way_out(cold_panel, add_ct, monkeypatch):
    from MAEMCNodulePanel import details

    panel = cold_panel
    panel.wait(lambda: panel.logic.worker.pid, "the process")
    pid = panel.logic.worker.pid
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(details, "SILENT_SECONDS", 0.5)
    panel.wait(lambda: "has not answered for 1 s" in panel.ui.statusLabel.text, "the sentence")
    assert "Stop" in panel.ui.statusLabel.text and panel.ui.stopButton.enabled
    panel.ui.stopButton.click()
    panel.settle()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert panel.ui.statusLabel.text == "Stopped."


def test_while_it_scores_the_status_line_counts(panel, add_ct, monkeypatch):
    from MAEMCNodulePanel import details

    add_ct()
    panel.settle()
    client = panel.logic.worker
    monkeypatch.setattr(client, "poll", list)
    monkeypatch.setattr(details, "ELAPSED_SHOWN_FROM_SECONDS", 0.2)
    panel.place((0, 0, 0))
    panel.run(0.4)
    assert panel.ui.statusLabel.text in ("Scoring N1 ... 0 s", "Scoring N1 ... 1 s")
    client.silent_seconds = 25.2
    panel.run(0.1)
    assert panel.ui.statusLabel.text.startswith("The scoring process has not answered for 25 s. Press Stop")
    client.silent_seconds = 0.0
    panel.ui.stopButton.click()
    panel.settle()
    assert panel.records()[0].message == "Stopped."
