"""The module's self-test: runs inside Slicer (Reload and Test, or runUnitTest), with PyTorch installed."""

import subprocess
import tempfile
from pathlib import Path

import MAEMCTrainingLib
from MAEMCLib.machine.child_processes import library_environment
from MAEMCNodulePanel.interpreter import slicerPython
from MAEMCNodulePanel.selftest import PanelTest

from . import chart
from .dataset import readData
from .logic import MAEMCTrainingLogic

TIMEOUT_SECONDS = 600


class MAEMCTrainingTest(PanelTest):
    """Six synthetic cases are pre-trained on for one epoch; data that cannot be used are named."""

    def test_badDataAreNamed(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            manifest = Path(folder) / "manifest.csv"
            manifest.write_text("case_id,image\nc,ct.nrrd\n", encoding="utf-8")
            self.assertIn("patient_id", readData(manifest).problem)
            self.assertIn("no manifest", readData(Path(folder) / "gone.csv").problem)

    def test_jobRunsToItsEnd(self) -> None:
        logic = MAEMCTrainingLogic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                manifest = phantom(Path(folder))
                self.assertEqual(readData(manifest).cases, 6)
                job = logic.start("pretrain", manifest, Path(folder) / "job", device="cpu", settings="epochs=1")
                ended = logic.wait(job, TIMEOUT_SECONDS)
                self.assertEqual(ended.status, "finished", ended.message)
                logic.showCurve(job)
                self.assertTrue(chart.isInScene())
            finally:
                logic.cleanup()
        self.assertFalse(chart.isInScene())


def phantom(folder: Path) -> Path:
    """The manifest of six synthetic cases, written by a process of its own."""
    command = [slicerPython(), "-m", "MAEMCTrainingLib", "phantom", "--cases", "6", "--output", str(folder)]
    subprocess.run(command, env=library_environment(MAEMCTrainingLib), check=True, capture_output=True)
    return folder / "manifest.csv"
