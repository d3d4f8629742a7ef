"""The house's rules, read from the imports: which way the arrows point, and what the light half may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CORE = REPOSITORY / "MAEMCNodule" / "MAEMCLib"
TRAINING = REPOSITORY / "MAEMCTraining" / "MAEMCTrainingLib"
PANEL = REPOSITORY / "MAEMCNodule" / "MAEMCNodulePanel"
TRAINING_PANEL = REPOSITORY / "MAEMCTraining" / "MAEMCTrainingPanel"
SLICER = {"slicer", "qt", "ctk", "vtk"}
LIGHT = [
    *("errors", "results", "applicability", "scoring", "files.atomic", "images.ct", "images.files"),
    *("images.dicom.series", "images.reading_process", "inputs.region", "inputs.nodule", "cases.points"),
    *("cases.manifest", "models.card", "models.store", "models.bundle"),
    *("worker.client", "worker.protocol", "report.scores", "report.formats", "figures.nodule"),
    *("batch.run", "commands.score", "commands.models", "commands.batch"),
]


BUILDERS = {CORE / "networks" / "backbones.py"}
"""The one file of the core library that may import timm, and does so only for a model that asks for it."""


def imported(file: Path) -> set[str]:
    """Top-level names that a file imports anywhere, relative imports left out."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize(
    "folder, forbidden",
    [
        (CORE, SLICER | {"MAEMCTrainingLib", "MAEMCNodulePanel", "timm", "torchvision", "lightly"}),
        (TRAINING, SLICER | {"MAEMCNodulePanel", "MAEMCTrainingPanel", "lightly"}),
        (PANEL, {"torch", "timm", "torchvision", "MAEMCTrainingLib", "MAEMCTrainingPanel", "SimpleITK"}),
        (TRAINING_PANEL, {"torch", "timm", "torchvision", "SimpleITK"}),
    ],
    ids=["core", "training", "panel", "training panel"],
)
def test_arrows_point_one_way(folder, forbidden):
    files = sorted(folder.rglob("*.py"))
    assert files
    wrong = {str(file.relative_to(REPOSITORY)): imported(file) & forbidden for file in files if file not in BUILDERS}
    assert not {name: names for name, names in wrong.items() if names}


def unsafe(file: Path) -> list[str]:
    """Calls and imports that run what a file holds: pickle in its forms, eval, exec, a shell."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            found += [name for name in names if name.split(".")[0] in ("pickle", "cPickle", "dill", "joblib", "shelve")]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("eval", "exec", "torch.load", "torch.save", "os.system", "os.popen"):
                found.append(called)
            for keyword in node.keywords:
                if keyword.arg in ("shell", "allow_pickle") and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                ):
                    found.append(f"{called}({keyword.arg}=...)")
    return found


def test_nothing_is_unpickled_or_evaluated():
    files = [file for folder in (CORE, TRAINING, PANEL, TRAINING_PANEL) for file in sorted(folder.rglob("*.py"))]
    assert not {str(file): calls for file in files if (calls := unsafe(file))}


def test_the_check_for_unsafe_calls_sees_them(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("import pickle\neval('1')\nnumpy.load(x, allow_pickle=True)\nrun(a, shell=True)\ntorch.load(f)\n")
    assert len(unsafe(bad)) == 5


def test_light_half_imports_without_torch_and_heavy_packages():
    code = "import sys\n" + "\n".join(f"import MAEMCLib.{name}" for name in LIGHT)
    heavy = ("torch", "SimpleITK", "pydicom", "matplotlib", "scipy", "highdicom")
    code += f"\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_scoring_needs_neither_timm_nor_torchvision():
    code = "import sys, MAEMCLib.models.predictor, MAEMCLib.models.autoencoder\n"
    code += "import MAEMCLib.worker.server, MAEMCLib.machine.device\n"
    code += "print([m for m in ('timm', 'torchvision', 'scipy', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
