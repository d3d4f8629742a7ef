"""The application object, sample data, packaging, and what happens without OpenGL."""

import subprocess
import sys
from pathlib import Path

import pytest

HOST = Path(__file__).resolve().parent.parent / "host"


def test_application_surface(scene):
    import slicer

    app = slicer.app
    assert app.mrmlScene() is slicer.mrmlScene is scene
    assert app.coreIOManager() is app.ioManager()
    assert app.mainWindow() is None
    assert slicer.util.mainWindow() is None
    assert (app.majorVersion, app.minorVersion) == (5, 12)
    assert app.applicationName == "Slicer"
    assert Path(app.temporaryPath).is_dir()
    assert app.commandOptions().testingEnabled
    assert slicer.modules.markups.logic().IsA("vtkSlicerMarkupsLogic")
    assert slicer.util.getModuleLogic("Volumes").IsA("vtkSlicerVolumesLogic")
    with pytest.raises(SystemExit):
        app.exit(3)


def test_render_blocker_and_wait_cursor(scene):
    import slicer

    with slicer.util.RenderBlocker():
        assert slicer.app.isRenderPaused()
    assert not slicer.app.isRenderPaused()
    with slicer.util.WaitCursor():
        pass
    with slicer.util.tryWithErrorDisplay("failed", show=False), slicer.util.WaitCursor(True):
        pass


def test_confirmation_answers_no_when_testing(scene):
    import slicer

    assert slicer.util.confirmOkCancelDisplay("Delete?") is False


def test_sample_data(scene, tmp_path):
    import numpy as np
    import SampleData
    import slicer

    volume = slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16), name="CT")
    path = tmp_path / "sample ct.nrrd"
    assert slicer.util.saveNode(volume, str(path), {})
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="MAEMC", sampleName="Sample", uris=path.as_uri(), fileNames=path.name, nodeNames="SampleCT"
    )
    node = SampleData.downloadSample("Sample")
    assert node.GetName() == "SampleCT"
    del slicer.modules.sampleDataSources["MAEMC"]
    with pytest.raises(ValueError, match="same length"):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            sampleName="Bad", uris=["a", "b"], fileNames="a", nodeNames="a"
        )


def test_packaging_installs_nothing(scene, tmp_path):
    import slicer

    slicer.packaging.requests.clear()
    assert slicer.packaging.pip_check("numpy>=1")
    assert not slicer.packaging.pip_check(["numpy>=1", "no-such-package-at-all"])
    slicer.packaging.pip_ensure(["no-such-package-at-all"], requester="MAEMC")
    assert slicer.packaging.requests == [{"requirements": ["no-such-package-at-all"], "requester": "MAEMC"}]
    slicer.packaging.requests.clear()


def test_console_process_reports_through_the_event_loop(scene):
    import time

    import slicer

    lines, finished = [], []
    slicer.util.launchConsoleProcess(
        [sys.executable, "-c", "print('one'); print('two')"],
        blocking=False,
        logCallback=lines.append,
        completedCallback=lambda code: finished.append(code),
    )
    end = time.monotonic() + 20
    while not finished and time.monotonic() < end:
        slicer.app.processEvents()
        time.sleep(0.01)
    assert finished == [0]
    assert [line.strip() for line in lines if line.strip()][:2] == ["one", "two"]


def test_vtk_errors_are_noticed(scene):
    import vtk
    from slicerhost import hygiene

    vtk.vtkImageReslice().Update()
    assert any("Input port 0" in text for text in hygiene.take_vtk_errors())


def test_missing_opengl_is_a_reason_not_a_crash(scene, monkeypatch):
    from slicerhost import opengl

    monkeypatch.setattr(opengl, "PROBE", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    opengl.missing.cache_clear()
    try:
        assert "no OpenGL" in opengl.missing()
    finally:
        opengl.missing.cache_clear()


def test_starts_outside_pytest(tmp_path):
    program = f"""
import sys
sys.path.insert(0, {str(HOST)!r})
from slicerhost import start
app = start({str(tmp_path)!r}, testing=False)
import slicer, qt
assert slicer.app is app and not app.testingEnabled()
label = qt.QLabel("text")
label.grab().save({str(tmp_path / "label.png")!r})
print("done")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout
    assert (tmp_path / "label.png").stat().st_size > 100
