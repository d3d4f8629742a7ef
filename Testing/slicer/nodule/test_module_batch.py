"""The script for ``Slicer --python-script``: the rows and exit codes of ``maemc batch``."""

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "MAEMCNodule" / "BatchScripts" / "maemc_batch.py"


@pytest.fixture
def script(slicer_app):
    specification = importlib.util.spec_from_file_location("maemc_batch", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def manifest(tmp_path, lung_voxels):
    """Two nodules of one CT and a case whose file is missing, in a folder with a space and an umlaut."""
    from MAEMCLib.images.ct import CTVolume
    from MAEMCLib.images.files import write_volume

    folder = tmp_path / "Fälle 1"
    affine = np.eye(4)
    affine[:3, 3] = (-50, -55, -45)
    write_volume(CTVolume(lung_voxels(), affine), folder / "lung.nrrd")
    path = folder / "manifest.csv"
    path.write_text(
        "case_id,patient_id,image,l_mm,p_mm,s_mm\na,1,lung.nrrd,0,0,0\nb,1,lung.nrrd,5,5,0\nc,2,gone.nrrd,0,0,0\n",
        encoding="utf-8",
    )
    return path


def rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return [{**row, "seconds": "", "time": ""} for row in csv.DictReader(stream)]


def test_script_gives_what_the_command_gives(script, manifest, models, tmp_path):
    by_script, by_command = tmp_path / "script.csv", tmp_path / "command.csv"
    assert script.main([str(manifest), "--output", str(by_script)]) == 3, "one case could not be scored"
    command = [sys.executable, "-m", "MAEMCLib", "batch", str(manifest), "--output", str(by_command)]
    assert subprocess.run(command, check=False).returncode == 3
    assert rows(by_script) == rows(by_command)
    assert [row["status"] for row in rows(by_script)] == ["scored", "scored", "failed"]


def test_script_passes_wrong_usage_on(script):
    assert script.main([]) == 2
