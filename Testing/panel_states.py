"""Pictures of the nodule panel in every state, to be looked at: ``make screenshots``.

    python Testing/panel_states.py [FOLDER]

From the real module on the stand-in host with the shipped model and synthetic chests; written to FOLDER, by default a
new one beside the temporary files. None of them is shipped.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT = 480, 800
"""Of the panel in a window of 1280 x 800."""
FOLDED = ("operatingPointsButton", "priorButton", "clinicalScoresButton", "explanationButton")
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT / "Testing" / "host")]


class Panel:
    """The module's panel, and where its pictures go."""

    def __init__(self, application, widget, folder: Path) -> None:
        self.application, self.widget, self.folder = application, widget, folder
        self.ui, self.logic = widget.ui, widget.logic
        self.resize(WIDTH)
        widget.parent.show()
        self.settle()

    def resize(self, width: int) -> None:
        self.widget.parent.resize(width, HEIGHT)

    def settle(self, rest: float = 0.4) -> None:
        """Until nothing is under way, and the panel shows it."""
        deadline, quiet = time.monotonic() + 240, time.monotonic() + rest
        while time.monotonic() < max(quiet, deadline if self.logic.isBusy() else 0):
            self.application.processEvents()
            if self.logic.isBusy():
                quiet = time.monotonic() + rest
            time.sleep(0.01)
        self.widget.refresh()
        self.application.processEvents()

    def picture(self, name: str) -> None:
        """As high as its contents, as the scrolled area of a window lets it be."""
        parent = self.widget.parent
        needed = parent.layout().totalHeightForWidth(parent.width)
        parent.resize(parent.width, max(needed, HEIGHT))
        self.application.processEvents()
        parent.grab().save(str(self.folder / f"{name}.png"))
        print(self.folder / f"{name}.png", flush=True)
        self.resize(parent.width)

    def fold(self, *opened: str) -> None:
        for name in FOLDED:
            getattr(self.ui, name).collapsed = name not in opened
        self.settle()

    def load(self, chest, name: str):
        """A CT as the only one, and chosen."""
        import numpy as np
        import slicer

        slicer.mrmlScene.Clear()
        self.settle()
        flip = np.diag([-1.0, -1.0, 1.0, 1.0])
        node = slicer.util.addVolumeFromArray(chest.array.copy(), flip @ chest.affine, name)
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevel(1500, -500)
        self.settle()
        return node

    def part(self, name: str):
        """A widget of a section."""
        return next(one for one in self.widget.parent.findChildren("QWidget") if one.objectName == name)

    def place(self, lps, wait: bool = True) -> None:
        self.ui.placeButton.click()
        self.widget._parameterNode.points.AddControlPoint([-lps[0], -lps[1], lps[2]])
        if wait:
            self.settle()


def main() -> int:
    from slicerhost import module_factory, start

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="maemc-states-"))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MAEMC_HOME", tempfile.mkdtemp())
    application = start(tempfile.mkdtemp())
    module = module_factory.load_module(ROOT / "MAEMCNodule" / "MAEMCNodule.py")
    module_factory.select("MAEMCNodule")
    try:
        panel = Panel(application, module.widgetRepresentation().self(), folder)
        for draw in (_without_results, _with_a_prior, _gates, _sections):
            draw(panel)
    finally:
        module_factory.unload("MAEMCNodule")
    return 0


def _without_results(panel: Panel) -> None:
    """Empty, a process that lacks PyTorch, being scored, an error."""
    from MAEMCLib.errors import MAEMCError
    from MAEMCTrainingLib.phantom.sample_chest import make_sample_chest

    panel.picture("empty")
    panel.logic.statusLine.fail(MAEMCError("PyTorch is not installed in Slicer's Python.", "no-torch"))
    panel.settle()
    panel.picture("installing")
    panel.logic.statusLine.set(type(panel.logic.status)())
    chest, nodules = make_sample_chest()
    panel.load(chest, "Sample chest (synthetic)")
    panel.picture("no nodules yet")
    panel.place(nodules[0][1], wait=False)
    end = time.monotonic() + 60
    while panel.logic.status.kind != "busy" and time.monotonic() < end:
        panel.application.processEvents()
    panel.widget.refresh()
    panel.picture("working")
    panel.settle()
    panel.place((400.0, 0.0, 0.0))
    panel.picture("error")


def _gates(panel: Panel) -> None:
    """Green or what the three nodules of the chest have, where no nodule is, a nodule cut by the border, thick slices,
    the reader first."""
    from dataclasses import replace

    import numpy as np
    from MAEMCTrainingLib.phantom.sample_chest import make_sample_chest

    chest, nodules = make_sample_chest()
    panel.load(chest, "Sample chest (synthetic)")
    for number, (_name, point, _label) in enumerate(nodules, start=1):
        panel.place(point)
        panel.picture(f"nodule {number}")
    panel.place((0.0, 0.0, float(nodules[0][1][2])))
    panel.picture("no nodule")
    index = np.rint(chest.to_index(np.array(nodules[1][1]))).astype(int)
    panel.load(replace(chest, array=chest.array[: index[2] + 1]), "Cut at the nodule (synthetic)")
    panel.place(nodules[1][1])
    panel.picture("partial mask")
    thick = chest.affine.copy()
    thick[:, 2] *= 2
    panel.load(replace(chest, array=chest.array[::2], affine=thick), "Slices of 4 mm (synthetic)")
    panel.place(nodules[1][1])
    panel.picture("thick slices")
    panel.load(chest, "Sample chest (synthetic)")
    panel.logic.reviewing.readerFirst = True
    panel.place(nodules[1][1])
    panel.picture("reader first")
    panel.logic.reviewing.readerFirst = False
    panel.settle()


def _sections(panel: Panel) -> None:
    """Each section open; narrow, wide, dark."""
    from PySide6 import QtGui

    analysis, selected = panel.logic.shownAnalysis(), panel.widget._parameterNode.selectedPoint
    for name, text in {"setting": "incidental", "age": "65", "sex": "female", "risk": "high", "smoker": "yes"}.items():
        panel.logic.setScoreValue(analysis, selected, name, text)
    for name in FOLDED:
        panel.fold(name)
        panel.picture(f"open {name.removesuffix('Button')}")
    panel.fold()
    for width in (400, 700):
        panel.resize(width)
        panel.settle()
        panel.picture(f"{width} px")
    panel.resize(WIDTH)
    panel.application.setPalette(_dark(QtGui))
    panel.fold("explanationButton")
    panel.picture("dark")
    panel.fold("clinicalScoresButton")
    panel.picture("dark clinical scores")
    panel.fold()


def _dark(gui):
    """Slicer's dark palette (qSlicerStyle)."""
    palette, role = gui.QPalette(), gui.QPalette.ColorRole
    colors = {
        role.Window: "#323232", role.WindowText: "#e6e6e6", role.Base: "#2a2a2a", role.AlternateBase: "#323232",
        role.Text: "#e6e6e6", role.Button: "#3c3c3c", role.ButtonText: "#e6e6e6", role.Highlight: "#4c7bb5",
        role.HighlightedText: "#ffffff", role.ToolTipBase: "#323232", role.ToolTipText: "#e6e6e6",
        role.PlaceholderText: "#909090", role.Light: "#505050", role.Mid: "#282828", role.Dark: "#202020",
    }  # fmt: skip
    for one, color in colors.items():
        palette.setColor(one, gui.QColor(color))
    for one in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(gui.QPalette.ColorGroup.Disabled, one, gui.QColor("#808080"))
    return palette


def _with_a_prior(panel: Panel) -> None:
    """A nodule beside itself in an earlier CT, in which it was smaller."""
    import slicer
    from MAEMCTrainingLib.phantom.sample_chest import make_sample_chest
    from scipy.ndimage import zoom

    chest, nodules = make_sample_chest()
    current, point = panel.load(chest, "Current (synthetic)"), nodules[1][1]
    prior = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Prior (synthetic)")
    prior.CopyContent(current)
    prior.SetName("Prior (synthetic)")
    k, j, i = chest.to_index(point).round().astype(int)[::-1]
    array = slicer.util.arrayFromVolume(prior)
    part = array[k - 8 : k + 9, j - 16 : j + 17, i - 16 : i + 17]
    smaller = zoom(part.astype(float), 0.8, order=1, mode="nearest", grid_mode=True)
    low = [(n - m) // 2 for n, m in zip(part.shape, smaller.shape, strict=True)]
    part[tuple(slice(a, a + m) for a, m in zip(low, smaller.shape, strict=True))] = smaller
    prior.GetImageData().Modified()
    panel.widget._parameterNode.inputVolume = current
    panel.settle()
    panel.place(point)
    panel.fold("priorButton")
    selector, days = panel.part("priorSelector"), panel.part("daysEdit")
    selector.setCurrentNode(prior)
    selector.emit("nodeActivated(vtkMRMLNode*)", prior)
    days.text = "180"
    days.emit("editingFinished()")
    panel.part("placeInPriorButton").click()
    panel.widget._parameterNode.points.AddControlPoint([-point[0], -point[1], point[2]])
    panel.settle()
    panel.widget._parameterNode.inputVolume = current
    panel.settle()
    link = panel.part("linkSelector")
    link.currentIndex = 1
    link.emit("activated(int)", 1)
    panel.part("compareButton").click()
    panel.settle()
    panel.picture("prior beside current")
    panel.fold()


if __name__ == "__main__":
    sys.exit(main())
