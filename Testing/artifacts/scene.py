"""A scene of MAEMC Nodule on the stand-in host, in a process of its own.

    scene.py make CHECKOUT CT SCENE.mrb     place two nodules on a CT, score them, save
    scene.py open CHECKOUT SCENE.mrb        open the scene

Both print what the panel then shows and holds as one JSON document. CHECKOUT: the folder of the code that is run.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

POINTS_RAS = ((0.0, 0.0, 0.0), (6.0, -5.0, 4.0))
PATIENCE_SECONDS = 120


def main() -> None:
    action, checkout, *paths = sys.argv[1], *map(os.path.abspath, sys.argv[2:])
    sys.path[:0] = [str(Path(checkout) / "Testing" / "host")]
    from slicerhost import module_factory, start

    application = start(tempfile.mkdtemp())
    module_factory.load_module(Path(checkout) / "MAEMCNodule" / "MAEMCNodule.py")
    module_factory.select("MAEMCNodule")
    import slicer

    widget = slicer.util.getModuleWidget("MAEMCNodule")
    try:
        settle(application, widget.logic)
        if action == "make":
            slicer.util.loadVolume(paths[0]).SetName("Balls")
            settle(application, widget.logic)
            widget.ui.placeButton.click()
            points = widget.logic.getParameterNode().points
            points.AddControlPoint(list(POINTS_RAS[0]))
            settle(application, widget.logic)
            widget.ui.scoreAtOnceCheckBox.checked = False
            points.AddControlPoint(list(POINTS_RAS[1]))
            volume = widget.logic.getParameterNode().inputVolume
            widget.logic.requestScore(volume, points, [points.GetNthControlPointID(1)], pictures=False)
            settle(application, widget.logic)
            if not slicer.util.saveScene(paths[1]):
                raise SystemExit("the scene was not saved")
        else:
            slicer.util.loadScene(paths[0])
            settle(application, widget.logic)
        print(json.dumps(contents(widget), indent=1))
    finally:
        module_factory.unload("MAEMCNodule")


def settle(application, logic) -> None:
    """Until nothing is under way and the panel shows it."""
    quiet, end = time.monotonic() + 0.5, time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < quiet:
        application.processEvents()
        time.sleep(0.01)
        if logic.isBusy():
            quiet = time.monotonic() + 0.5
        if time.monotonic() > end:
            raise SystemExit(f"not done within {PATIENCE_SECONDS} s: {logic.status}")


def contents(widget) -> dict:
    """What the panel shows, the cells of the scene's table, and the pictures that belong to the nodules."""
    import slicer

    (analysis,) = widget.logic.analyses()
    table, shown = analysis.tableNode, widget.ui.resultTable
    columns = range(table.GetNumberOfColumns())
    return {
        "volume": analysis.volumeNode.GetName(),
        "points": [analysis.pointsNode.GetNthControlPointLabel(i) for i in range(len(POINTS_RAS))],
        "shown": [[shown.item(row, column).text() for column in range(4)] for row in range(shown.rowCount)],
        "headline": widget.ui.headlineLabel.text,
        "columns": [table.GetColumnName(column) for column in columns],
        "rows": [[table.GetCellText(row, column) for column in columns] for row in range(table.GetNumberOfRows())],
        "rois": slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode"),
        "pictures": sorted(
            node.GetName()
            for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if node is not analysis.volumeNode
        ),
        "asked": widget.logic.worker.sent,
    }


if __name__ == "__main__":
    main()
