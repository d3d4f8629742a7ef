"""The extension as Slicer would install it: what is listed in CMake is there, works, and cannot be spared."""

import contextlib
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from Testing.structure.imports import import_graph

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
HOST = HERE.parent / "host"
MODULES = Path("lib/Slicer-5.13/qt-scripted-modules")
NAMES = ("MAEMCNodule", "MAEMCTraining")
SLOW_IMPORTS = (
    "numpy",
    "torch",
    "safetensors.torch",
    "SimpleITK",
    "pydicom",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks and Unix sockets are needed")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a space and letters outside ASCII in its name."""
    # Not when this file is collected: the host sets PySide6's options before its first import.
    reason = "PySide6 or a library that it needs is missing"
    pytest.importorskip("PySide6.QtWidgets", reason=reason, exc_type=ImportError)
    pytest.importorskip("slicer_core", reason="slicer-core is not installed")
    folder = tmp_path_factory.mktemp("install") / "Äußere Lunge"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def source(place) -> Path:
    """A copy of what a developer's checkout holds of the extension."""
    copy = place / "SlicerMAEMC"
    copy.mkdir()
    for name in ("CMakeLists.txt", "LICENSE", "README.md"):
        shutil.copy(REPOSITORY / name, copy)
    for name in (*NAMES, "Resources/Models"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def installed(place, source) -> Path:
    """The folder of scripted modules of the installed extension."""
    cmake(configuration(source, place / "build", place / "installed"))
    cmake(["--build", str(place / "build"), "--target", "install"])
    return place / "installed" / MODULES


@pytest.fixture(scope="module")
def inputs(place) -> Path:
    runpy.run_path(str(HERE / "inputs.py"))["write"](place / "inputs")
    return place / "inputs"


@pytest.fixture(scope="module")
def listed(source) -> list[str]:
    """What the modules' CMakeLists.txt list, in the places where it is installed: one folder for both."""
    return sorted(file for name in NAMES for file in names_in_cmake(source / name / "CMakeLists.txt"))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_listed_is_what_there_is(name):
    """Fails where a file was added or removed, and says what to write into the module's CMakeLists.txt."""
    module = REPOSITORY / name
    there = {
        path.relative_to(module).as_posix()
        for path in module.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name not in ("CMakeLists.txt", "README.md")
    }
    if name == "MAEMCNodule":  # it brings the shipped models along
        there |= {f"Resources/Models/{path.name}" for path in (REPOSITORY / "Resources" / "Models").glob("*.maemc")}
    names = names_in_cmake(module / "CMakeLists.txt")
    assert len(names) == len(set(names)), "a file is listed twice"
    assert sorted(there - set(names)) == [], f"to be added to {name}/CMakeLists.txt"
    assert sorted(set(names) - there) == [], f"to be removed from {name}/CMakeLists.txt"


def test_no_file_of_one_module_takes_the_place_of_the_others():
    both = [file for name in NAMES for file in names_in_cmake(REPOSITORY / name / "CMakeLists.txt")]
    assert sorted(file for file in set(both) if both.count(file) > 1) == []


def test_exactly_the_listed_files_are_installed(installed, listed, place):
    found = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    compiled = {name for name in found if "__pycache__/" in name}
    assert found - compiled == set(listed)
    assert len(compiled) == sum(name.endswith(".py") for name in listed)
    others = {path.name for path in (place / "installed").rglob("*") if path.is_file()} - {
        path.name for path in installed.rglob("*")
    }
    assert others == {"MAEMC.s4ext"}


def test_a_listed_file_that_is_missing_stops_the_configuration(source, place):
    model = next((source / "Resources" / "Models").glob("*.maemc"))
    for file in (source / "MAEMCNodule" / "Resources" / "UI" / "MAEMCNodule.ui", model):
        hidden = file.rename(file.with_name("hidden"))
        try:
            with pytest.raises(subprocess.CalledProcessError):
                cmake(configuration(source, place / "build-incomplete", place / "nowhere"))
        finally:
            hidden.rename(file)


@pytest.mark.parametrize(
    ("arguments", "accepted"),
    [
        ("NAME Small SCRIPTS Small.py RESOURCES small.txt WITH_GENERIC_TESTS", True),
        ("NAME Small SCRIPTS Small RESOURCES small.txt", True),
        ("NAME Small SCRIPTS Small.py WITH_TYPO", False),
        ("NAME Small RESOURCES small.txt", False),
        ("SCRIPTS Small.py", False),
        ("NAME Small SCRIPTS Small.py gone.py", False),
        ("NAME Small SCRIPTS Small.py RESOURCES gone.txt", False),
    ],
)
def test_stand_in_is_as_strict_as_slicer(tmp_path, arguments, accepted):
    small = tmp_path / "small"
    small.mkdir()
    for name in ("Small.py", "small.txt"):
        (small / name).touch()
    lines = ["cmake_minimum_required(VERSION 3.28)", "project(Small)", "find_package(Slicer REQUIRED)"]
    lines += ["include(${Slicer_USE_FILE})", f"slicerMacroBuildScriptedModule({arguments})"]
    (small / "CMakeLists.txt").write_text("\n".join(lines), encoding="utf-8")
    with contextlib.nullcontext() if accepted else pytest.raises(subprocess.CalledProcessError):
        cmake(configuration(small, tmp_path / "build", tmp_path / "installed"))


@pytest.mark.parametrize("parts", [(), pytest.param(("training",), marks=pytest.mark.soak)], ids=["scoring", "all"])
def test_the_installed_extension_works(installed, inputs, place, parts):
    """Cold: each process a new interpreter, as in Slicer; training takes too long for every file."""
    packages = os.pathsep.join(packages_of_this_python())
    line = f'PYTHONPATH="$PYTHONPATH:{packages}" exec \'{sys.executable}\' -S "$@"'
    python = script(place / "cold", "PythonSlicer", line)
    done = journey(python, installed, inputs, place, *parts)
    assert done.returncode == 0, done.stderr
    assert "the journey is complete" in done.stdout
    assert ("a model was trained" in done.stdout) == bool(parts)


@pytest.fixture(scope="module")
def warm_python(place):
    """``PythonSlicer`` (with PyTorch) and ``Slicer`` (with the application) whose interpreters are warm."""
    sockets = Path(tempfile.mkdtemp(prefix="maemc-", dir="/tmp"))  # a Unix socket's path has 107 bytes at most
    servers = []
    for name, modules in (("PythonSlicer", SLOW_IMPORTS), ("Slicer", ("application",))):
        address = str(sockets / name)
        command = [sys.executable, "-S", str(HERE / "warm_python.py"), address, *modules]
        variables = environment(TMPDIR=str(place))
        variables["PYTHONPATH"] = os.pathsep.join([variables["PYTHONPATH"], *packages_of_this_python()])
        server = subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        servers.append(server)
        client = f"exec '{sys.executable}' -S -E '{HERE / 'warm_python.py'}' --run '{address}' \"$@\""
        script(place / "warm", name, client)
    for server in servers:
        assert server.stdout.readline() == b"ready\n"
    yield place / "warm"
    for server in servers:
        server.kill()
        server.communicate()
    shutil.rmtree(sockets)


@pytest.mark.soak
def test_no_listed_data_can_be_spared(installed, inputs, place, listed, warm_python):
    """Each listed file that is no code is taken away in turn: the journey must fail."""
    spared = []
    for name in listed:
        if name.endswith(".py") or name.startswith("MAEMCTrainingLib/"):
            continue
        file = installed / name
        hidden = file.rename(place / "hidden")
        try:
            done = journey(warm_python / "Slicer", installed, inputs, place)
        finally:
            hidden.rename(file)
        if done.returncode == 0:
            spared.append(name)
    assert spared == [], "installed, but the journey succeeds without them"
    done = journey(warm_python / "Slicer", installed, inputs, place)
    assert done.returncode == 0, f"with all files back it must succeed: {done.stderr}"


def test_each_file_of_code_is_imported_by_what_is_used(installed):
    """From the scripted modules, the batch script and the command lines on, along the imports: what nothing leads to
    need not be installed."""
    arrows = import_graph(installed.rglob("*.py")).imports
    scripts = [file for file in installed.rglob("*.py") if not (file.parent / "__init__.py").is_file()]
    assert {file.name for file in scripts} == {"MAEMCNodule.py", "MAEMCTraining.py", "maemc_batch.py"}
    waiting = ["MAEMCLib.__main__", "MAEMCTrainingLib.__main__"]
    for script in scripts:
        waiting += re.findall(r"^\s*(?:from|import) (MAEMC[\w.]+)", script.read_text(encoding="utf-8"), re.MULTILINE)
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            # A package is imported with what it holds.
            waiting += [*arrows[name], *([name.rpartition(".")[0]] if "." in name else [])]
    assert sorted(arrows.keys() - reached) == []


def journey(python: Path, installed: Path, inputs: Path, place: Path, *more: str) -> subprocess.CompletedProcess:
    """Run journey.py with a clean home and an output folder of its own."""
    output = place / "output"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    variables = environment(
        PATH=f"{python.parent}{os.pathsep}{os.environ['PATH']}", MAEMC_HOME=str(output / "home"), TMPDIR=str(output)
    )
    command = [str(python), str(HERE / "journey.py"), str(installed), str(inputs), str(output), *more]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)


def environment(**variables: str) -> dict[str, str]:
    """The stand-in host on the path; with -S, a development install of MAEMC is not found."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HOST)]),
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "QT_QPA_PLATFORM": "offscreen",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        **variables,
    }


def packages_of_this_python() -> list[str]:
    return [folder for folder in sys.path if folder.endswith(("site-packages", "dist-packages"))]


def script(folder: Path, name: str, line: str) -> Path:
    """An executable shell script."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def configuration(source: Path, build: Path, prefix: Path) -> list[str]:
    """Arguments for cmake; a compiler is named, as the project's languages ask for one, and never called."""
    arguments = ["-S", str(source), "-B", str(build), f"-DCMAKE_INSTALL_PREFIX={prefix}"]
    arguments += [f"-DSlicer_DIR={HERE / 'standin_slicer'}", f"-DPython3_EXECUTABLE={sys.executable}"]
    for language in ("C", "CXX"):
        arguments += [f"-DCMAKE_{language}_COMPILER={sys.executable}", f"-DCMAKE_{language}_COMPILER_ID=None"]
        arguments += [f"-DCMAKE_{language}_COMPILER_FORCED=1", f"-DCMAKE_{language}_COMPILER_ID_RUN=1"]
    return arguments


def cmake(arguments: list[str]) -> None:
    program = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")
    if program is None:
        pytest.skip("cmake is not installed (pip install cmake)")
    subprocess.run([program, *arguments], check=True, capture_output=True, text=True)


def names_in_cmake(path: Path) -> list[str]:
    """The files of the three lists, relative to where they are installed."""
    text = path.read_text(encoding="utf-8")
    names = []
    for variable, folder in (("SCRIPTS", ""), ("RESOURCES", ""), ("SHIPPED_MODELS", "Resources/Models/")):
        bodies = re.findall(rf"set\(\w*{variable}\n(.*?)\n  \)", text, re.DOTALL)
        assert len(bodies) == 1 or (not bodies and variable == "SHIPPED_MODELS"), f"{variable} in {path}"
        names += [folder + name for body in bodies for name in body.split()]
    return names
