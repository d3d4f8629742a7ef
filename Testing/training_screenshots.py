"""Pictures of MAEMC Training: a pre-training half way, a finished fine-tuning, the methods for 2-D pictures and one of
them; real jobs on synthetic cases."""

import csv
import os
import time
from pathlib import Path

PLOT, PANEL_WIDTH = (560, 400), 420
CASES = 40
PATIENCE_SECONDS = 1200


def training_pictures(application, output: Path):
    """Train, and take the panel with its plot view; yields the pictures' paths. Takes some minutes."""
    import slicer
    from MAEMCTrainingLib.phantom.writing import write_phantom
    from slicerhost import module_factory
    from slicerhost.plot_view import PlotView

    home = Path(os.environ["MAEMC_HOME"])
    manifest = write_phantom(home / "synthetic", CASES, 1, "easy", field="region", processes=os.cpu_count() or 1)
    module_factory.select("MAEMCTraining")
    widget = slicer.util.getModuleWidget("MAEMCTraining")
    view = PlotView("PlotView1", PLOT)
    ui = widget.ui
    slices = _write_slices(manifest, home / "slices")
    ui.dataPathEdit.currentPath = str(slices)
    _wait(application, lambda: widget.logic.data is not None and not widget.logic.isBusy())
    ui.methodSelector.currentIndex = ui.methodSelector.findData("moco-v2")
    yield _compose_list(application, widget, output / "MAEMCTrainingMethods.png")
    ui.dataPathEdit.currentPath = str(manifest)
    _wait(application, lambda: widget.logic.data is not None and widget.logic.data.input == "nodule")
    ui.methodSelector.currentIndex = ui.methodSelector.findData("maemc")
    ui.startButton.click()
    _wait(application, lambda: view.chart_node is not None and _job(widget).progress > 0.6)
    yield _compose(application, widget, view, output / "MAEMCTraining.png")
    _wait(application, lambda: not _job(widget).active)
    first = widget.logic.selected
    ui.kindSelector.currentIndex = ui.kindSelector.findData("finetune")
    _wait(application, lambda: ui.startFromSelector.findData(str(first)) >= 0)
    ui.startFromSelector.currentIndex = ui.startFromSelector.findData(str(first))
    ui.protocolSelector.currentIndex = ui.protocolSelector.findData("paper")
    ui.settingsEdit.text = "epochs=20"
    ui.startButton.click()
    _wait(application, lambda: widget.logic.selected != first)
    _wait(application, lambda: not _job(widget).active)
    ui.newButton.collapsed = False
    yield _compose(application, widget, view, output / "MAEMCTrainingFinished.png")
    ui.dataPathEdit.currentPath = str(slices)
    _wait(application, lambda: widget.logic.data is not None and widget.logic.data.input == "picture")
    ui.kindSelector.currentIndex = ui.kindSelector.findData("pretrain")
    ui.settingsEdit.text = ""
    ui.methodSelector.currentIndex = ui.methodSelector.findData("mae")
    second = widget.logic.selected
    ui.startButton.click()
    _wait(application, lambda: widget.logic.selected != second)
    _wait(application, lambda: not _job(widget).active)
    ui.newButton.collapsed = False
    yield _compose(application, widget, view, output / "MAEMCTrainingPictures.png")
    view.close()


def _write_slices(manifest: Path, folder: Path) -> Path:
    """The manifest of three axial slices about each nodule as PNG pictures, with what is known of them."""
    import numpy as np
    from MAEMCLib.cases.manifest import read_manifest
    from MAEMCLib.images.files import read_volume
    from MAEMCLib.inputs.nodule import Preprocessing, normalize
    from PIL import Image

    folder.mkdir()
    with open(folder / "manifest.csv", "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        names = ("case_id", "patient_id", "image", "kind", "volume_id", "slice_index", "label", "modality", "anatomy")
        writer.writerow(names)
        for number, row in enumerate(read_manifest(manifest).rows):
            volume = read_volume(row.image)
            point = np.linalg.solve(volume.affine, [*row.point_lps, 1.0])[:3]
            i, j, k = np.rint(point).astype(int)
            for index in (-3, 0, 3):
                tile = volume.array[k + index, max(0, j - 24) : j + 24, max(0, i - 24) : i + 24]
                gray = np.rint(255 * normalize(tile, Preprocessing())).astype(np.uint8)
                image = f"{row.case_id}_{index}.png"
                Image.fromarray(gray).save(folder / image)
                what = ("slice", row.case_id, index, row.label, "CT", "chest" if number % 3 else "neck")
                writer.writerow((f"{row.case_id}_{index}", row.patient_id, image, *what))
    return folder / "manifest.csv"


def _compose_list(application, widget, path: Path) -> Path:
    """The panel with its list of methods open."""
    from PySide6 import QtCore, QtGui

    selector = widget.ui.methodSelector
    widget.parent.resize(PANEL_WIDTH, 900)
    widget.parent.show()
    _rest(application)
    picture = QtGui.QPixmap(widget.parent.grab())
    selector.showPopup()
    _rest(application)
    popup = selector.view().window().grab()
    below = selector.mapTo(widget.parent, QtCore.QPoint(0, 0)).y() + selector.height
    painter = QtGui.QPainter(picture)
    painter.drawPixmap(selector.mapTo(widget.parent, QtCore.QPoint(0, 0)).x(), below, popup)
    painter.end()
    selector.hidePopup()
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.copy(0, 0, PANEL_WIDTH, below + popup.height() + 34).save(str(path))
    return path


def _job(widget):
    """The selected job; an ended one that has not finished ends the pictures."""
    job = widget.logic.snapshot.job(widget.logic.selected)
    if job is not None and job.status in ("failed", "stopped"):
        raise SystemExit(f"{job.folder}: {job.message}")
    return job


def _wait(application, condition) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    rest = time.monotonic() + 2.5  # what is shown is up to two seconds old
    while time.monotonic() < rest or not condition():
        if time.monotonic() > deadline:
            raise SystemExit("the training took too long for a picture")
        application.processEvents()
        time.sleep(0.01)


def _rest(application, seconds: float = 0.5) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        application.processEvents()
        time.sleep(0.01)


def _compose(application, widget, view, path: Path) -> Path:
    """Panel on the left, the plot view on the right, as tall as the panel needs."""
    from PySide6 import QtCore, QtGui

    widget.parent.resize(PANEL_WIDTH, 900)
    widget.parent.show()
    _rest(application)
    height = max(widget.parent.layout().heightForWidth(PANEL_WIDTH), widget.parent.minimumSizeHint.height(), PLOT[1])
    widget.parent.resize(PANEL_WIDTH, height)
    _rest(application)
    view.resize((PLOT[0], height))
    pixels = view.screenshot()
    picture = QtGui.QPixmap(PANEL_WIDTH + 4 + PLOT[0], height)
    picture.fill(QtGui.QColor(60, 60, 60))
    painter = QtGui.QPainter(picture)
    painter.drawPixmap(0, 0, widget.parent.grab())
    image = QtGui.QImage(pixels.tobytes(), PLOT[0], height, 3 * PLOT[0], QtGui.QImage.Format.Format_RGB888)
    painter.drawImage(QtCore.QPoint(PANEL_WIDTH + 4, 0), image)
    painter.end()
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(str(path))
    return path
