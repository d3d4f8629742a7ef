"""How long each entry into the Slicer module keeps the window waiting, on a 512 x 512 x 300 CT; to beat: 100 ms.

Runs the real panel on the stand-in host with the real worker, through placing, moving, overlays, stop and removal, with
12 nodules in the scene. What the stand-in's node selectors take is left out: they are Python here and C++ in Slicer.
Beside the time that passed stands the processor time of the window's thread, which other programs do not lengthen.
"""

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_standin: list = []  # seconds that the stand-in's node selectors took
ROUNDS = 5
_TIMED = {
    "MAEMCNoduleWidget": """setup enter onTimer onPlaceNodule onScore onStop onRemove onNoduleSelected onModelSelected
        onDetailsToggled refresh _onParametersChanged _onSceneStartClose _onSceneRead""",
    "MAEMCNoduleLogic": """poll requestScore startPlacing show stop exportResults removeNodule requestDevice attach
        link""",
    "SceneObserver": """_onPointsChanged _onVolumeChanged noteInputChanged _onNodeAboutToBeRemoved _onSceneChanged""",
}


def rows():
    """Rows of the table: (entry, median and worst).

    Measured in a process of its own that, like Slicer's, holds no torch: with it Python's garbage collection alone
    takes over 100 ms now and then.
    """
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True, env=environment)
    for line in done.stdout.splitlines():
        name, samples = json.loads(line)
        passed, worked = zip(*samples, strict=True)
        middle, busy = statistics.median(passed) * 1000, statistics.median(worked) * 1000
        text = f"{middle:.1f} ms, processor {busy:.1f} ms (worst {max(passed) * 1000:.0f}, {max(worked) * 1000:.0f} ms)"
        yield f"panel, {name}", text


def measure() -> dict:
    """{entry: [(seconds passed, seconds of processor time)]} of ROUNDS rounds."""
    sys.path.insert(0, str(ROOT / "Testing" / "host"))
    from slicerhost import module_factory, start

    application = start(tempfile.mkdtemp())
    durations = defaultdict(list)
    module = module_factory.load_module(ROOT / "MAEMCNodule" / "MAEMCNodule.py")
    from slicerhost.node_combo_box import qMRMLNodeComboBox

    _time_calls(qMRMLNodeComboBox, "_refresh", defaultdict(lambda: _standin))
    from MAEMCNodulePanel.logic import MAEMCNoduleLogic
    from MAEMCNodulePanel.sceneobserver import SceneObserver
    from MAEMCNodulePanel.widget import MAEMCNoduleWidget

    for kind in (MAEMCNoduleWidget, MAEMCNoduleLogic, SceneObserver):
        for name in _TIMED[kind.__name__].split():
            _time_calls(kind, name, durations)
    widget = module.widgetRepresentation().self()
    widget.parent.show()
    try:
        for _ in range(ROUNDS):
            _session(application, module_factory, widget)
    finally:
        module_factory.unload("MAEMCNodule")
    return durations


def _session(application, module_factory, widget) -> None:
    import numpy as np
    import slicer

    rng = np.random.default_rng(0)
    voxels = rng.integers(-1000, 200, (300, 512, 512), dtype=np.int16)
    to_ras = np.diag([-0.7, -0.7, 1.0, 1.0])
    to_ras[:3, 3] = (179, 179, -150)
    volume = slicer.util.addVolumeFromArray(voxels, to_ras, "Large")
    module_factory.select("MAEMCNodule")
    _settle(application, widget)
    widget.ui.placeButton.click()
    points = widget._parameterNode.points
    points.AddControlPoint([0, 0, 0])
    for offset in range(1, 12):
        points.AddControlPoint([10 * offset, 30, 20])
    _settle(application, widget)
    for step in range(10):
        points.SetNthControlPointPosition(0, step, 0, 0)
        application.processEvents()
    _settle(application, widget)
    for index in (0, 2, 1):
        widget.ui.overlaySelector.currentIndex = index
        application.processEvents()
    widget.ui.resultTable.selectRow(0)
    widget.ui.detailsButton.checked = True
    widget.ui.scoreButton.click()
    widget.logic.poll()
    widget.logic.exportResults(widget.logic.analyses()[0], tempfile.mkdtemp())
    widget.ui.stopButton.click()
    volume.InvokeEvent(volume.ImageDataModifiedEvent)
    _settle(application, widget)
    widget.ui.removeButton.click()
    _settle(application, widget)
    slicer.mrmlScene.Clear()
    _settle(application, widget)
    module_factory.select(None)


def _settle(application, widget) -> None:
    rest = time.monotonic() + 0.2
    while widget.logic.isBusy() or time.monotonic() < rest:
        application.processEvents()
        time.sleep(0.005)


def _time_calls(kind: type, name: str, durations: dict) -> None:
    method = getattr(kind, name)

    # VTK and the stand-in look at a slot's attributes, so the measured one has to look like the original.
    @functools.wraps(method)
    def timed(*arguments, **keywords):
        before = (time.perf_counter(), time.thread_time()), tuple(map(sum, zip((0, 0), *_standin, strict=True)))
        try:
            return method(*arguments, **keywords)
        finally:
            after = (time.perf_counter(), time.thread_time()), tuple(map(sum, zip((0, 0), *_standin, strict=True)))
            own = [after[0][i] - before[0][i] - (after[1][i] - before[1][i]) for i in (0, 1)]
            durations[f"{kind.__name__}.{name}"].append(tuple(own))

    setattr(kind, name, timed)


if __name__ == "__main__":
    for entry, samples in sorted(measure().items()):
        print(json.dumps([entry, samples]))
