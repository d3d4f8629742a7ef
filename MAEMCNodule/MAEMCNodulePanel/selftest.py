"""The module's self-test: runs inside Slicer (Reload and Test, or runUnitTest), with whatever model is installed."""

import unittest
from pathlib import Path

import numpy as np
import slicer
from MAEMCLib.errors import InputError
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from .analysis import Analysis
from .logic import MAEMCNoduleLogic

TIMEOUT_SECONDS = 300


class PanelTest(ScriptedLoadableModuleTest):
    """A self-test: runs each of its tests in a scene of its own."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        for name in unittest.TestLoader().getTestCaseNames(type(self)):
            self.setUp()
            getattr(self, name)()


class MAEMCNoduleTest(PanelTest):
    """The nodule of the sample CT is scored, moved and removed; bad input is refused with a message."""

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
            volume, points = sampleNodule()
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


def sampleNodule():
    """The synthetic CT that the module brings along, and a point list with one point in its nodule."""
    resources = Path(__file__).resolve().parent.parent / "Resources"
    volume = slicer.util.loadVolume(str(resources / "SampleData" / "MAEMCPhantomNodule.nrrd"))
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Nodules")
    points.AddControlPoint([103.2, -31.8, -74.5], "N1")
    return volume, points
