"""What the machine may lack (PyTorch, another package, memory, space on the disk), and how the user is told.

Imports nothing heavy. ``check_torch`` and ``check_packages`` look before the work begins; ``explained`` names the cause
of an error that came in the midst of it.
"""

import errno
import gc
import importlib
import os
import re
import shlex
import sys
import traceback
from pathlib import Path
from types import ModuleType

from ..errors import InputError, MachineError, MAEMCError, UsageError

DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow"}
"""Names under which pip knows packages that are imported by another one."""
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_MEMORY = (
    *("cannot allocate memory", "can't allocate memory", "failed to map segment", "not enough memory", "out of memory"),
    *("unable to allocate", "bad_alloc", "bad allocation", "paging file is too small", "winerror 1455"),
)
_DISK = ("no space left on device", "disk quota exceeded", "not enough space on the disk", "winerror 112")
_LONGEST = 300
_HERE = (sys.executable,)


def check_torch() -> None:
    """Import PyTorch. Raises MachineError: it is absent ("no-torch"), there and broken ("torch-broken"), or does not
    fit into the memory ("memory").
    """
    try:
        torch = _imported("torch")
        import numpy as np

        if not hasattr(torch, "from_numpy"):  # what an aborted removal left, or a stranger of that name
            raise ImportError("what is there is not the whole package")
        torch.from_numpy(np.zeros(1))  # a build for another numpy can be imported, and fails here
    except Exception as error:  # OSError of a library, ImportError, RuntimeError ...: no list of them is complete
        raise _memory_problem(error) or torch_problem(error) from error


def _imported(name: str) -> ModuleType:
    """A large package, which stays until the process ends: Python's garbage collector does not look through its objects
    (170,000 are PyTorch's), neither while they are made nor at the end, which is a quarter of what an import costs."""
    if name in sys.modules:  # or barred from being imported
        return importlib.import_module(name)
    enabled = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def torch_problem(error: Exception) -> MachineError:
    """What an error of importing PyTorch means."""
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return MachineError(
            f"PyTorch is not installed in {sys.executable}. Install it: {_pip('torch')}", "no-torch", _HERE
        )
    reason = _reason(error)
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] != "torch":
        reason = f"it needs the package {error.name}, which is missing"
    runtime = " and the Microsoft Visual C++ Redistributable" if "winerror 126" in str(error).lower() else ""
    return MachineError(
        f"PyTorch is installed in {sys.executable}, but broken ({reason}). Repair it by installing it again{runtime}: "
        f"{_pip('--force-reinstall torch')}",
        "torch-broken",
        _HERE,
    )


def check_packages(*names: str, extra: str = "train") -> None:
    """Import packages of an extra of pyproject.toml by these names. Raises UsageError where some are missing,
    MachineError where one is broken."""
    missing = []
    for name in names:
        try:
            _imported(name)
        except ModuleNotFoundError:
            missing.append(DISTRIBUTIONS.get(name, name))
        except Exception as error:
            raise _memory_problem(error) or _package_problem(name, error) from error
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UsageError(
            f"This command needs maemc[{extra}]: pip install 'maemc[{extra}]' ({', '.join(missing)} {verb} missing in "
            f"{sys.executable}).",
            "no-extra",
            _HERE,
        )


def explained(error: BaseException) -> MAEMCError | None:
    """The error in words for the user, where the machine is its cause; None where it is a defect of MAEMC."""
    if isinstance(error, MAEMCError) or not isinstance(error, Exception):
        return None
    return _memory_problem(error) or _disk_problem(error) or _import_problem(error) or _file_problem(error)


def _memory_problem(error: Exception) -> MachineError | None:
    text = str(error).lower()
    full = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    if not full and not (isinstance(error, OSError | ImportError | RuntimeError) and any(w in text for w in _MEMORY)):
        return None
    return MachineError(
        f"There is not enough memory ({_reason(error)}). Close other programs or raise the limit, choose fewer "
        "processes, another device or a smaller model, then try again.",
        "memory",
    )


def _disk_problem(error: Exception) -> InputError | None:
    text = str(error).lower()
    if getattr(error, "errno", None) not in _FULL and not any(words in text for words in _DISK):
        return None
    name = getattr(error, "filename", None)
    where = f" ({Path(os.fsdecode(name)).name})" if isinstance(name, str | bytes) else ""
    return InputError(f"The disk is full{where}. Free space, then run the command again.", "not-written")


def _import_problem(error: Exception) -> MAEMCError | None:
    name = error.name.split(".")[0] if isinstance(error, ImportError) and error.name else ""
    if name == "torch" or _importing(error, "torch"):
        return torch_problem(error)
    return _package_problem(name, error) if name and not name.startswith("MAEMC") else None


def _package_problem(name: str, error: Exception) -> MachineError:
    state = "is missing" if isinstance(error, ModuleNotFoundError) else f"is broken ({_reason(error)})"
    install = _pip(f"--force-reinstall {DISTRIBUTIONS.get(name, name)}")
    return MachineError(
        f"The Python package {name} {state} in {sys.executable}. Install it: {install}", f"no-{name}", _HERE
    )


def _importing(error: Exception, package: str) -> bool:
    """Whether the error came out of a package's own modules while they were imported."""
    return any(
        frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__", "").split(".")[0] == package
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def _file_problem(error: Exception) -> InputError | None:
    if not isinstance(error, OSError) or error.errno is None or not isinstance(error.filename, str | bytes):
        return None
    name = os.fsdecode(error.filename)
    return InputError(f"{name} cannot be used ({error.strerror}). Check the path and its rights.", "file", (name,))


def _reason(error: Exception) -> str:
    """An error's first line without the folders that it names, which may be somebody's."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"""[^\s'"()=:]*[\\/]""", "", lines[0])[:_LONGEST].rstrip(". ")


def _pip(arguments: str) -> str:
    return f"{shlex.quote(sys.executable)} -m pip install {arguments}"
