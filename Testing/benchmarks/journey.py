"""A reader's way through the panel, as clicks and seconds: choose, click, read, compare with the prior, accept, export.

On the stand-in host, with the real worker and the shipped model. What is typed counts as a click. The two CTs come with
a segment of the nodule each; drawing one is not counted.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEAR_MM, SOLID_HU = 14.0, -400
DAYS = "180"


def rows():
    """Rows of the table: (step, clicks and seconds), and the whole way."""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True, env=environment)
    steps = json.loads(done.stdout.splitlines()[-1])
    for name, clicks, seconds in [*steps, ("whole way", sum(s[1] for s in steps), sum(s[2] for s in steps))]:
        yield f"journey, {name}", f"{clicks} clicks, {seconds:.1f} s"


class User:
    """Presses what there is to be pressed, and counts it."""

    def __init__(self, application, widget) -> None:
        self.application, self.widget, self.clicks, self.steps = application, widget, 0, []
        self._since = time.monotonic()

    def part(self, name: str):
        windows = [self.widget.parent, *self.application.topLevelWidgets()]
        return next(one for top in windows for one in top.findChildren("QWidget") if one.objectName == name)

    def press(self, name: str) -> None:
        self.clicks += 1
        self.part(name).click()

    def choose(self, name: str, index: int) -> None:
        self.clicks += 1
        selector = self.part(name)
        selector.currentIndex = index
        selector.emit("activated(int)", index)

    def type(self, name: str, text: str) -> None:
        self.clicks += 1
        self.part(name).text = text
        self.part(name).emit("editingFinished()")

    def wait(self, condition) -> None:
        until = time.monotonic() + 300
        while not condition():
            if time.monotonic() > until:
                raise SystemExit(f"the journey hangs: {self.widget.logic.status}")
            self.application.processEvents()
            time.sleep(0.005)

    def settle(self) -> None:
        self.wait(lambda: not self.widget.logic.isBusy())
        self.widget.refresh()

    def begin(self) -> None:
        """The time runs from now on."""
        self.clicks, self._since = 0, time.monotonic()

    def done(self, step: str) -> None:
        """End a step."""
        now = time.monotonic()
        self.steps.append((step, self.clicks, now - self._since))
        self.begin()


def measure() -> list:
    """[(step, clicks, seconds)]."""
    sys.path[:0] = [str(ROOT / "Testing" / "host"), str(ROOT / "Testing")]
    home = os.environ["MAEMC_HOME"] = tempfile.mkdtemp()
    from MAEMCLib.review.observer import Observer, store_observer
    from slicerhost import module_factory, start

    store_observer(Path(home), Observer("Doe^Jane", "General Hospital"))  # asked once, long ago
    application = start(tempfile.mkdtemp())
    module = module_factory.load_module(ROOT / "MAEMCNodule" / "MAEMCNodule.py")
    module_factory.select("MAEMCNodule")
    widget = module.widgetRepresentation().self()
    widget.parent.show()
    user = User(application, widget)
    user.settle()
    try:
        _walk(user)
    finally:
        module_factory.unload("MAEMCNodule")
    return user.steps


def _walk(user: User) -> None:
    import numpy as np

    (prior, current), place = _chests()
    chosen, logic = user.widget._parameterNode, user.widget.logic
    user.settle()
    user.begin()
    chosen.inputVolume = current
    user.clicks += 1
    user.settle()
    user.done("choose the CT")
    _place(user, place)
    user.done("click, number and pictures")
    user.press("priorButton")
    selector = user.part("priorSelector")
    user.clicks += 1
    selector.setCurrentNode(prior)
    selector.emit("nodeActivated(vtkMRMLNode*)", prior)
    user.type("daysEdit", DAYS)
    user.press("placeInPriorButton")
    chosen.points.AddControlPoint(np.asarray(place, float).tolist())
    user.clicks += 1
    user.settle()
    chosen.inputVolume = current
    user.clicks += 1
    user.settle()
    user.choose("linkSelector", 1)
    user.press("compareButton")
    assert user.part("growthLabel").text
    user.done("compare with the prior")
    user.press("acceptButton")
    assert user.part("decisionLabel").text, logic.status
    user.done("accept")
    user.press("exportButton")
    user.part("folderButton").directory = tempfile.mkdtemp()
    user.press("writeButton")
    user.wait(lambda: "Writing" not in user.part("exportStatusLabel").text and not logic.isBusy())
    assert "results.csv" in user.part("exportStatusLabel").text, user.part("exportStatusLabel").text
    user.done("export")


def _place(user: User, place) -> None:
    user.press("placeButton")
    user.clicks += 1  # in the slice view
    user.widget._parameterNode.points.AddControlPoint(list(place))
    user.settle()


def _chests() -> tuple:
    """((prior, current) volume nodes, each with a segment of its nodule; R, A, S of the nodule). The prior is the same
    chest with a smaller segment: what is timed does not depend on how much the nodule has grown."""
    import numpy as np
    import slicer
    from MAEMCTrainingLib.phantom.sample_chest import make_sample_chest

    chest, nodules = make_sample_chest()
    point = np.asarray(nodules[-1][1], float)  # the larger ones are outside what the model knows
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    grid = np.moveaxis(np.indices(chest.array.shape)[::-1], 0, -1)
    distance = np.linalg.norm(chest.to_lps(grid) - point, axis=-1)
    volumes = []
    for name, reach in (("Prior", 0.8 * NEAR_MM), ("Current", NEAR_MM)):
        volume = slicer.util.addVolumeFromArray(chest.array.copy(), flip @ chest.affine, name)
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{name} nodules")
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        segment = segmentation.GetSegmentation().AddEmptySegment("nodule")
        inside = ((distance < reach) & (chest.array > SOLID_HU)).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(inside, segmentation, segment, volume)
        volumes.append(volume)
    return tuple(volumes), tuple(flip[:3, :3] @ point)


if __name__ == "__main__":
    print(json.dumps(measure()))
