"""Pictures for README and the Extensions Index, from the real modules on the stand-in host: ``make screenshots``.

    python Testing/screenshots.py [nodule] [training]

Shows synthetic chests only, never a patient. The model is the shipped one, or that of MAEMC_HOME; jobs are real ones.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "Resources" / "Screenshots"
LARGE, SMALL, PANEL_WIDTH = 560, 278, 420
sys.path.insert(0, str(ROOT / "Testing" / "host"))


def main() -> int:
    from slicerhost import module_factory, opengl, start

    if opengl.missing():
        print(opengl.missing(), file=sys.stderr)
        return 1
    from training_screenshots import training_pictures

    os.environ.setdefault("MAEMC_HOME", tempfile.mkdtemp())
    wanted = sys.argv[1:] or ["nodule", "training"]
    application = start(tempfile.mkdtemp())
    module_factory.load_module(ROOT / "MAEMCNodule" / "MAEMCNodule.py")
    module_factory.load_module(ROOT / "MAEMCTraining" / "MAEMCTraining.py")
    try:
        for name, pictures in (("nodule", nodule_pictures), ("training", training_pictures)):
            if name in wanted:
                for path in pictures(application, OUTPUT):
                    print(path)
    finally:
        module_factory.unload("MAEMCTraining")
        module_factory.unload("MAEMCNodule")
    return 0


def nodule_pictures(application, output: Path):
    """Two overlays of a scored chest; yields the pictures' paths."""
    import slicer
    from slicerhost import module_factory
    from slicerhost.slice_view import SliceView

    module_factory.select("MAEMCNodule")
    widget = slicer.util.getModuleWidget("MAEMCNodule")
    volume, nodules = _sample_chest()
    views = {"Red": SliceView("Red", (LARGE, LARGE))}
    views |= {name: SliceView(name, (SMALL, SMALL)) for name in ("Green", "Yellow")}
    widget.parent.resize(PANEL_WIDTH, LARGE + SMALL + 4)
    widget.parent.show()
    _wait(application, widget.logic)
    for view in views.values():
        view.show(volume)
    for number, (_name, ras, _label) in enumerate(nodules):
        views["Red"].jump(ras)
        widget.ui.placeButton.click()
        views["Red"].click(ras)
        views["Red"].move((ras[0] + 60, ras[1] + 60, ras[2]))
        _wait(application, widget.logic)
        if widget.logic.analyses()[0].tableNode.GetNumberOfRows() != number + 1:
            raise SystemExit(f"nodule {number + 1} did not arrive: {widget.logic.status}")
    for kind, name in ((1, "MAEMCNodule"), (2, "MAEMCNoduleDifference")):
        widget.ui.overlaySelector.currentIndex = kind
        widget.ui.resultTable.selectRow(len(nodules) - 1)  # the larger ones are outside what the model knows
        _wait(application, widget.logic)
        for view in views.values():
            view.set_field_of_view(150)
        output.mkdir(parents=True, exist_ok=True)
        _compose(widget, views).save(str(output / f"{name}.png"))
        yield output / f"{name}.png"
    for view in views.values():
        view.close()


def _sample_chest():
    """The volume node of the sample chest, in a lung window, and its nodules with RAS points."""
    import numpy as np
    import slicer
    from MAEMCTrainingLib.phantom.sample_chest import make_sample_chest

    chest, nodules = make_sample_chest()
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    node = slicer.util.addVolumeFromArray(chest.array, flip @ chest.affine, "Sample chest (synthetic)")
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevel(1500, -500)
    return node, [(name, tuple(flip[:3, :3] @ np.array(point)), label) for name, point, label in nodules]


def _wait(application, logic, rest: float = 0.4) -> None:
    deadline = time.monotonic() + 180
    quiet = time.monotonic() + rest
    while time.monotonic() < max(quiet, deadline if logic.isBusy() else 0):
        application.processEvents()
        time.sleep(0.01)


def _compose(widget, views):
    """Panel on the left; axial view above, coronal and sagittal below, as in Slicer's usual layout."""
    from PySide6 import QtCore, QtGui

    parent = widget.parent
    parent.resize(PANEL_WIDTH, max(LARGE + 4 + SMALL, parent.layout().totalHeightForWidth(PANEL_WIDTH)))
    panel = parent.grab()
    picture = QtGui.QPixmap(PANEL_WIDTH + 4 + LARGE, panel.height())
    picture.fill(QtGui.QColor(60, 60, 60))
    painter = QtGui.QPainter(picture)
    painter.drawPixmap(0, 0, panel)
    places = {"Red": (0, 0), "Green": (0, LARGE + 4), "Yellow": (SMALL + 4, LARGE + 4)}
    for name, (x, y) in places.items():
        pixels = views[name].screenshot()
        height, width, _channels = pixels.shape
        image = QtGui.QImage(pixels.tobytes(), width, height, 3 * width, QtGui.QImage.Format.Format_RGB888)
        painter.drawImage(QtCore.QPoint(PANEL_WIDTH + 4 + x, y), image)
    painter.end()
    return picture


if __name__ == "__main__":
    sys.exit(main())
