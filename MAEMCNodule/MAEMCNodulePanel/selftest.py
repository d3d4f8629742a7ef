"""The module's self-test: runs inside Slicer (Reload and Test, or runUnitTest), with whatever model is installed."""

import numpy as np
import slicer
from MAEMCLib.errors import InputError
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from .analysis import Analysis
from .logic import MAEMCNoduleLogic

TIMEOUT_SECONDS = 300


class MAEMCNoduleTest(ScriptedLoadableModuleTest):
    """A ball in air-filled lung is scored, moved and removed; bad input is refused with a message."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_badInputIsRefused()
        self.setUp()
        self.test_pointIsScoredAndRemoved()

    def test_badInputIsRefused(self) -> None:
        logic = MAEMCNoduleLogic()
        points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
        points.AddControlPoint([0, 0, 0])
        mr = slicer.util.addVolumeFromArray(np.arange(8000, dtype=np.int16).reshape(20, 20, 20), name="MR")
        try:
            self.assertRaises(InputError, logic.score, mr, points)
            self.assertRaises(InputError, logic.score, None, points)
        finally:
            logic.cleanup()

    def test_pointIsScoredAndRemoved(self) -> None:
        logic = MAEMCNoduleLogic()
        try:
            volume, points = ballInLung()
            table = logic.score(volume, points, timeout=TIMEOUT_SECONDS)
            self.assertEqual(table.GetNumberOfRows(), 1)
            analysis = Analysis(table)
            (pointID, record), *_rest = analysis.records()
            self.assertEqual(record.state, "scored", record.message)
            self.assertTrue(0 <= record.result["probability"] <= 1)
            self.assertIsNotNone(analysis.roiNode(pointID))
            self.assertIn(f"{record.result['probability']:.2f}", points.GetNthControlPointLabel(0))
            logic.removeNodule(analysis, pointID)
            self.assertEqual(table.GetNumberOfRows(), 0)
            self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode"), 0)
        finally:
            logic.cleanup()


def ballInLung():
    """A CT of 100 mm with a ball of 14 mm in lung, and a point list with one point in the ball."""
    grid = np.stack(np.meshgrid(*[np.arange(100) - 50] * 3, indexing="ij"))
    ball = 1 / (1 + np.exp(np.linalg.norm(grid, axis=0) - 7))
    voxels = np.round(-850 + 880 * ball).astype(np.int16)
    toRas = np.diag([-1.0, -1.0, 1.0, 1.0])
    toRas[:3, 3] = (50, 50, -50)
    volume = slicer.util.addVolumeFromArray(voxels, toRas, "Ball in lung")
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Ball")
    points.AddControlPoint([0, 0, 0], "N1")
    return volume, points
