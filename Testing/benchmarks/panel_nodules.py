"""Sixty nodules in one scene: how long each entry into the Slicer module computes inside the module's own files.

Runs the real panel on the stand-in host with the real worker, under a profiler that counts the processor time of the
window's thread inside our own functions, and beside it what the libraries take that they call (MRML, with its drawing
of sixty segments; numpy, SimpleITK); what the stand-in does in Python where Slicer has C++ is left out. The profiler
itself makes each step longer.
"""

import cProfile
import functools
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NODULES = 60
_OWN = ("MAEMCNodulePanel", "MAEMCLib")
_LIBRARIES = ("slicer_core", "vtk", "numpy", "SimpleITK", "PySide6", "Shiboken")
_ENTRIES = {
    "MAEMCNoduleWidget": """onTimer onPlaceNodule onScore onRemove onNoduleSelected onNext onToggleOverlay
        _onParametersChanged _onSceneRead _onNodeAdded _onViewChanged""",
    "SceneObserver": "_onPointsChanged _onVolumeChanged _onVolumeRenamed _onNodeAboutToBeRemoved _onSceneChanged",
    "NoduleEdits": "undo",
}
"""What Slicer calls, by class: events, timers, buttons."""


def rows():
    """Rows of the table: the longest step, and the longest of each entry that takes a tenth of that."""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True, env=environment)
    longest = json.loads(done.stdout.splitlines()[-1])
    worst = max(longest, key=longest.get)
    yield f"panel, {NODULES} nodules, longest step", f"{_text(longest[worst])} ({worst})"
    for name, seconds in sorted(longest.items(), key=lambda entry: -entry[1][0]):
        if name != worst and seconds[0] >= longest[worst][0] / 10:
            yield f"panel, {NODULES} nodules, {name}", _text(seconds)


def _text(seconds: list) -> str:
    own, libraries = (1000 * one for one in seconds)
    return f"{own:.0f} ms, in libraries {libraries:.0f} ms"


def measure() -> dict:
    """{entry: (processor time in s inside own files, in the libraries that they call) of its longest step}."""
    sys.path.insert(0, str(ROOT / "Testing" / "host"))
    from slicerhost import module_factory, start

    application = start(tempfile.mkdtemp())
    module = module_factory.load_module(ROOT / "MAEMCNodule" / "MAEMCNodule.py")
    from MAEMCNodulePanel.edits import NoduleEdits
    from MAEMCNodulePanel.sceneobserver import SceneObserver
    from MAEMCNodulePanel.widget import MAEMCNoduleWidget
    from slicerhost.slice_view import SliceView

    steps = defaultdict(list)
    for kind in (MAEMCNoduleWidget, SceneObserver, NoduleEdits):
        for name in _ENTRIES[kind.__name__].split():
            _profile_calls(kind, name, steps)
    views = [SliceView(name, (200, 200)) for name in ("Red", "Green", "Yellow")]
    widget = module.widgetRepresentation().self()
    widget.parent.show()
    try:
        _session(application, module_factory, widget, tempfile.mkdtemp())
    finally:
        for view in views:
            view.close()
        module_factory.unload("MAEMCNodule")
    return {name: max(seconds) for name, seconds in steps.items()}


def _session(application, module_factory, widget, folder: str) -> None:
    import numpy as np
    import slicer

    rng = np.random.default_rng(0)
    voxels = rng.integers(-1000, 200, (200, 256, 256), dtype=np.int16)
    to_ras = np.diag([-1.2, -1.2, 1.5, 1.0])
    to_ras[:3, 3] = (153, 153, -150)
    volume = slicer.util.addVolumeFromArray(voxels, to_ras, "Large")
    module_factory.select("MAEMCNodule")
    _settle(application, widget)
    widget.ui.placeButton.click()
    points = widget._parameterNode.points
    for number in range(NODULES):
        points.AddControlPoint([40 * (number % 5) - 80, 40 * (number // 5 % 4) - 60, 35 * (number // 20) - 35])
    _settle(application, widget)
    for _ in range(8):
        widget.onNext()
        _settle(application, widget)
    for index in (0, 2, 1):
        widget.ui.overlaySelector.currentIndex = index
        _settle(application, widget)
    points.SetNthControlPointLabel(7, "RUL")
    points.SetNthControlPointPosition(3, 5, 5, 5)
    volume.SetName("Renamed")
    _settle(application, widget)
    widget.ui.removeButton.click()
    widget.logic.edits.undo()
    widget.onScore()
    _settle(application, widget)
    slicer.util.saveScene(str(Path(folder) / "many.mrb"))
    slicer.mrmlScene.Clear()
    slicer.util.loadScene(str(Path(folder) / "many.mrb"))
    _settle(application, widget)
    slicer.mrmlScene.RemoveNode(widget._parameterNode.points)
    _settle(application, widget)
    slicer.mrmlScene.Clear()
    module_factory.select(None)


def _settle(application, widget) -> None:
    rest = time.monotonic() + 0.2
    while widget.logic.isBusy() or time.monotonic() < rest:
        application.processEvents()
        time.sleep(0.005)


_running: list = []


def _profile_calls(kind: type, name: str, steps: dict) -> None:
    method = getattr(kind, name)

    # VTK and the stand-in look at a slot's attributes, so the profiled one has to look like the original.
    @functools.wraps(method)
    def profiled(*arguments, **keywords):
        if _running:  # within another step
            return method(*arguments, **keywords)
        profile = cProfile.Profile(time.thread_time)
        _running.append(profile)
        try:
            return profile.runcall(method, *arguments, **keywords)
        finally:
            _running.clear()
            steps[f"{kind.__name__}.{name}"].append(_own_seconds(profile))

    setattr(kind, name, profiled)


def _own_seconds(profile: cProfile.Profile) -> tuple:
    """Of a profile the time of our own functions, with Python's own that they call; and of libraries' functions that
    they call."""
    total, libraries = 0.0, 0.0
    for (file, _line, name), (_calls, _all, own, _cumulative, callers) in pstats.Stats(profile).stats.items():
        if _is_own(file):
            total += own
        elif file == "~":  # of C: to each caller its part
            part = sum(part[2] for (caller, *_rest), part in callers.items() if _is_own(caller))
            ours = not any(library in name for library in _LIBRARIES)
            total, libraries = total + part * ours, libraries + part * (not ours)
    return total, libraries


def _is_own(file: str) -> bool:
    return any(part in _OWN for part in Path(file).parts)


if __name__ == "__main__":
    print(json.dumps(measure()))
