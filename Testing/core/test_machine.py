"""A machine that lacks something says what and how to get it, in every program alike."""

import errno
import json
import os
import subprocess
import sys

import pytest
from MAEMCLib.machine.installation import explained

TORCHES = {
    "absent": ("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')", "no-torch"),
    "library": ("raise OSError('[WinError 126] module not found: C:/Users/Smith/torch/lib/c10.dll')", "torch-broken"),
    "half": ("from ._C import *", "torch-broken"),
    "dependency": (
        "raise ModuleNotFoundError(\"No module named 'typing_extensions'\", name='typing_extensions')",
        "torch-broken",
    ),
    "other numpy": ("raise RuntimeError('module compiled against NumPy 1.x')", "torch-broken"),
    "without numpy": ("def from_numpy(array):\n    raise RuntimeError('Numpy is not available')", "torch-broken"),
    "remains": ("", "torch-broken"),
    "memory": ("raise ImportError('libtorch_cpu.so: failed to map segment from shared object')", "memory"),
}


def run(arguments, stubs, text=None):
    environment = {**os.environ, "PYTHONPATH": str(stubs)}
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], input=text, capture_output=True, text=True, env=environment
    )


@pytest.mark.parametrize("kind", TORCHES)
def test_a_pytorch_that_is_absent_or_broken_is_said_to_be(kind, tmp_path):
    code, answer = TORCHES[kind][1], None
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(TORCHES[kind][0] + "\n")
    device = run(["MAEMCLib", "device"], tmp_path)
    train = run(["MAEMCTrainingLib", "pretrain", "--data", "m.csv", "--output", tmp_path / "job"], tmp_path)
    for done in (device, train):
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        assert "should not have happened" not in done.stderr
        assert ("There is not enough memory" if code == "memory" else "PyTorch is") in done.stderr
        assert ("pip install --force-reinstall torch" in done.stderr) == (code == "torch-broken")
        assert "Smith" not in done.stderr
    if kind == "dependency":
        assert "it needs the package typing_extensions, which is missing" in device.stderr
    worker = run(["MAEMCLib", "serve"], tmp_path, '{"id": 1, "request": "device"}\n{"id": 2, "request": "hello"}\n')
    answer, hello = map(json.loads, worker.stdout.splitlines())
    assert answer["code"] == code and answer["message"] in device.stderr
    assert hello["kind"] == "result" and worker.returncode == 0


COMMANDS = {
    "phantom": ("scipy", ["--cases", "1"]),
    "sample-chest": ("scipy", []),
    "pretrain": ("scipy", ["--data", "m.csv"]),
    "finetune": ("scikit-learn", ["--data", "m.csv", "--from", "scratch"]),
    "pretrain of another backbone": ("timm", ["--data", "m.csv", "--method", "simclr"]),
    "experiment": ("scipy", ["bus-mae", "--data", "m.csv"]),
    "reduce": ("scipy", ["m.csv", "--method", "ssim"]),
    "import": ("scipy", ["lidc", "nowhere"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_missing_extra_is_said_before_the_work(name, tmp_path):
    package, arguments = COMMANDS[name]
    module = {"scikit-learn": "sklearn"}.get(package, package)
    (tmp_path / "stubs" / module).mkdir(parents=True)
    (tmp_path / "stubs" / module / "__init__.py").write_text(f"raise ModuleNotFoundError('no', name={module!r})\n")
    words = ["MAEMCTrainingLib", name.split()[0], *arguments, "--output", tmp_path / "out"]
    done = run(words, tmp_path / "stubs")
    assert done.returncode == 2, done.stderr
    assert f"This command needs maemc[train]: pip install 'maemc[train]' ({package}" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "error, code, says",
    [
        (MemoryError(), "memory", "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), "memory", "can't allocate"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory", "not enough memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/home/x/a.csv"), "not-written", "disk is full (a.csv)"),
        (RuntimeError("ITK: No space left on device"), "not-written", "disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/a.csv"), "file", "a.csv cannot be used (Permission"),
        (
            ModuleNotFoundError("No module named 'scipy'", name="scipy"),
            "no-scipy",
            "pip install --force-reinstall scipy",
        ),
        (ImportError("cannot import name 'x'", name="sklearn.base"), "no-sklearn", "reinstall scikit-learn"),
    ],
)
def test_an_error_of_the_machine_is_explained(error, code, says):
    known = explained(error)
    assert known.code == code and says in str(known)


def test_a_defect_of_ours_is_not_blamed_on_the_machine():
    assert explained(ValueError("shape")) is None and explained(KeyError("x")) is None
    assert explained(ImportError("cannot import name", name="MAEMCLib.images.ct")) is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk is /dev/full")
@pytest.mark.parametrize("words", [["MAEMCLib", "models", "list"], ["MAEMCTrainingLib", "methods"]])
def test_output_on_a_full_disk_is_one_sentence(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3 and done.stderr.count("\n") == 1 and "The disk is full." in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_worker_without_its_pipes_says_so(closed):
    command = f"{sys.executable} -m MAEMCLib serve {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "one of them is closed" in done.stderr and done.stderr.count("\n") == 1


INTERRUPTED = """
import os, sys
class WhileLoading:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, WhileLoading())
from MAEMCTrainingLib.__main__ import main
sys.exit(main({arguments!r}))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    "name, number, arguments, ended",
    [
        ("MAEMCTrainingLib.commands", 2, ["methods"], (130, "maemc-train: interrupted\n")),
        ("numpy", 2, ["phantom", "--output", "x", "--cases", "1"], (130, "maemc-train: interrupted\n")),
        ("torch", 2, ["export", "x", "--output", "y"], (130, "maemc-train: interrupted\n")),
        ("MAEMCTrainingLib.jobs.job", 15, ["jobs", "list"], (143, "maemc-train: terminated\n")),
    ],
)
def test_ctrl_c_while_training_loads_is_one_line(name, number, arguments, ended):
    code = INTERRUPTED.format(name=name, number=number, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == ended


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux")
def test_a_name_that_is_no_text_here_is_refused_and_aborts_nothing(lidc_cubes, tmp_path):
    """SimpleITK ends the process at such a name, without a word of Python's."""
    environment = {**os.environ, "PYTHONUTF8": "0", "LC_ALL": "C"}
    image = min((lidc_cubes / "images").glob("*.nrrd"))
    command = [sys.executable, "-m", "MAEMCLib", "roi", image, "--point=0,0,0", "--output", tmp_path / "aus \u00fc"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 3 and "is no text in this locale" in done.stderr and done.stderr.count("\n") == 1
