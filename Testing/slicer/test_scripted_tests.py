"""The scripts for a real Slicer, run in the stand-in application: what they check is checked here as well."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SCRIPTS = REPOSITORY / "scripted_tests"

# What ``Slicer --no-main-window --python-script SCRIPT`` does; 99: the script has not ended Slicer,
# which would stay open; 98: exceptions in slots, which Slicer only prints.
SLICER = """
import runpy, sys
from pathlib import Path

settings, script, *modules = sys.argv[1:]
from slicerhost import module_factory, start

start(settings)
for module in modules:
    module_factory.load_module(Path(module))
sys.path.insert(0, str(Path(script).parent))
sys.argv = [script]
code = 99
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit as end:
    code = end.code
from slicerhost import slot_errors

sys.exit(98 if slot_errors.take() else code)
"""


def run_in_slicer(script: Path, tmp_path: Path, random_bundle: Path, *modules: str) -> subprocess.CompletedProcess:
    home = tmp_path / "Müller home"
    (home / "models").mkdir(parents=True)
    shutil.copy(random_bundle, home / "models")
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY / "Testing" / "host"),
        "QT_QPA_PLATFORM": "offscreen",
        "MAEMC_HOME": str(home),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", SLICER, str(tmp_path / "settings"), str(script), *modules]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


MINUTES = ("test_training_module.py", "test_batch.py")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.name, marks=[pytest.mark.soak] if path.name in MINUTES else [])
        for path in sorted(SCRIPTS.glob("test_*.py"))
    ],
)
def test_script_passes(name, tmp_path, random_bundle):
    modules = [str(REPOSITORY / name / f"{name}.py") for name in ("MAEMCNodule", "MAEMCTraining")]
    done = run_in_slicer(SCRIPTS / name, tmp_path, random_bundle, *modules)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    assert "checks passed" in done.stdout


def test_failing_script_ends_slicer_with_1(tmp_path, random_bundle):
    """Here because the module is not installed; a script that stopped halfway would leave Slicer open."""
    done = run_in_slicer(SCRIPTS / "test_self_test.py", tmp_path, random_bundle)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED module_tells_about_itself" in done.stdout


def test_every_script_is_in_the_readme():
    readme = (SCRIPTS / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in SCRIPTS.glob("test_*.py") if path.name not in readme] == []
