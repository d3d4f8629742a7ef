"""Installing what the scoring process lacks, on request only: PyTorch by its extension, the rest by slicer.packaging.

The one place that talks to the PyTorch extension, whose interface has changed between its versions.
"""

import contextlib
import importlib
import inspect
import re
import sys

import slicer
from MAEMCLib.errors import MAEMCError
from slicer.i18n import tr as _

from .pipwords import failureText, listening

TORCH_REQUIREMENT = ">=2.5"
"""The oldest torch that the networks are tested with."""
WINDOWS_TORCH_REQUIREMENT = ">=2.5,<2.13"
"""From 2.13 on the wheel holds paths longer than the 260 characters of a default Windows: it installs by half."""

TORCH_CODES = ("no-torch", "no-pytorch-extension", "pytorch-extension", "torch-install")
"""Error codes after which PyTorch is still to be installed."""
BROKEN_CODES = ("torch-broken", "torch-repair")
"""Error codes after which PyTorch is there and has to be installed anew."""
_PACKAGES = {
    "safetensors": "safetensors",
    "numpy": "numpy",
    "scipy": "scipy",
    "SimpleITK": "SimpleITK",
    "pydicom": "pydicom",
    "PIL": "pillow",
    "matplotlib": "matplotlib",
    "sklearn": "scikit-learn",
    "timm": "timm>=1.0",
    "highdicom": "highdicom>=0.28.2,<0.29",
}
"""What may be missing besides PyTorch: {name to import by: name to install by}."""
PACKAGE_CODES = (*(f"no-{module}" for module in _PACKAGES), "install")
"""Error codes after which other packages are to be installed."""
REMEDY_CODES = TORCH_CODES + BROKEN_CODES + PACKAGE_CODES
MACHINE_CODES = (*REMEDY_CODES, "no-python", "slicer-version", "worker-died", "worker-start", "device", "memory")
"""Error codes of this machine, which no other CT, model or point makes better."""


class Declined(MAEMCError):
    """The user has said no. Nothing has failed."""


def buttonText(code: str) -> str:
    """What the button says that does away with an error, empty where there is none."""
    if code in BROKEN_CODES:
        return _("Repair PyTorch")
    if code in TORCH_CODES:
        return _("Install PyTorch")
    return _("Install packages") if code in PACKAGE_CODES else ""


def inPanelWords(code: str, message: str) -> str:
    """The worker's message on what it lacks, which names a command to type, as what the panel has a button for."""
    button, inBrackets = buttonText(code), re.search(r"\((.+)\)", message)
    reason = f" ({inBrackets[1]})" if inBrackets else ""
    if code == "torch-broken":
        return _("PyTorch is installed and does not work{reason}. Press {button}.").format(reason=reason, button=button)
    if code == "no-torch":
        return _("PyTorch is not installed. Press {button}.").format(button=button)
    if code.removeprefix("no-") in _PACKAGES:
        text = _("The Python package {name} is missing or does not work{reason}. Press {button}.")
        return text.format(name=code.removeprefix("no-"), reason=reason, button=button)
    return message


def install(code: str, path: str) -> None:
    """Do away with an error of one of REMEDY_CODES. path: the requirements file of what is needed besides PyTorch.

    Raises Declined, and MAEMCError where it failed: with pip's own reason, and what to do.
    """
    if code in TORCH_CODES + BROKEN_CODES:
        installTorch(broken=code in BROKEN_CODES)
    installRequirements(path, _PACKAGES.get(code.removeprefix("no-"), ""))


def installTorch(broken: bool = False) -> None:
    """Install PyTorch through the PyTorch extension, which asks for consent and shows its progress.

    broken: it is there and does not work; it is removed first, after asking here. Raises Declined; MAEMCError: the
    extension is missing, its interface is another one, the installation failed.
    """
    logic = _torchExtension()
    if broken:
        _removeTorch(logic)
    requirement = WINDOWS_TORCH_REQUIREMENT if sys.platform == "win32" else TORCH_REQUIREMENT
    with _failures(_("PyTorch could not be installed"), "torch-install"):
        if logic.installTorch(askConfirmation=not broken, torchVersionRequirement=requirement) is None:
            raise Declined(_("PyTorch was not installed."), "no-torch")


def _removeTorch(logic) -> None:
    if not hasattr(logic, "uninstallTorch"):
        raise _anotherInterface()
    question = _(
        "PyTorch is installed and does not work. It will be removed and downloaded again: minutes, and up to some "
        "gigabytes. Save your scene first; Slicer has to be restarted where another module has loaded PyTorch."
    )
    if not slicer.util.confirmOkCancelDisplay(question, _("Repair PyTorch")):
        raise Declined(_("PyTorch was left as it is."), "torch-broken")
    with _failures(_("PyTorch could not be removed"), "torch-repair"):
        logic.uninstallTorch()


def missingRequirements(path: str) -> list:
    """The requirements of a file that are not met, by what the installed packages say of themselves.

    Raises MAEMCError where Slicer is too old to tell.
    """
    packaging = _packaging()
    return [requirement for requirement in packaging.load_requirements(path) if not packaging.pip_check([requirement])]


def installRequirements(path: str, broken: str = "") -> None:
    """Install the packages of a requirements file that are missing; Slicer asks for consent and shows its progress.

    broken: a package that could not be imported. Where it says of itself that it is there, it is there by half, and
    is installed over itself. Raises Declined, MAEMCError.
    """
    packaging = _packaging()
    requirements = [str(requirement) for requirement in packaging.load_requirements(path)]
    faulty = [requirement for requirement in requirements if _nameIn(requirement) == _nameIn(broken)] or [
        broken
    ] * bool(broken)
    again = [requirement for requirement in faulty if packaging.pip_check([requirement])]
    if again:
        question = _("The package {name} is installed and does not work. It will be downloaded and installed again.")
        if not slicer.util.confirmOkCancelDisplay(question.format(name=_nameIn(broken)), _("Install packages")):
            raise Declined(_("Nothing was installed."), "install")
    with _failures(_("The packages of MAEMC could not be installed"), "install"):
        if again:
            packaging.pip_install(["--force-reinstall", "--no-deps", *again], requester="MAEMC")
        packaging.pip_ensure([*requirements, *(set(faulty) - set(requirements))], requester="MAEMC")


def _nameIn(requirement: str) -> str:
    """The name at the beginning of a requirement, as pip compares names."""
    return re.match(r"[\w.-]*", requirement)[0].lower().replace("_", "-")


def _torchExtension():
    try:
        logic = importlib.import_module("PyTorchUtils").PyTorchUtilsLogic()
        accepted = inspect.signature(logic.installTorch).parameters
    except (ImportError, AttributeError) as error:
        message = _("The PyTorch extension is missing. Install 'PyTorch' in the Extensions Manager and restart Slicer.")
        raise MAEMCError(message, "no-pytorch-extension") from error
    if not {"askConfirmation", "torchVersionRequirement"} <= set(accepted):
        raise _anotherInterface()
    return logic


def _anotherInterface() -> MAEMCError:
    message = _("The PyTorch extension has another interface than is known here. Update it, or MAEMC.")
    return MAEMCError(message, "pytorch-extension")


def _packaging():
    try:
        from slicer import packaging
    except ImportError as error:
        message = _("Installing packages needs Slicer 5.12 or newer; this is Slicer {version}. Update Slicer.")
        raise MAEMCError(message.format(version=slicer.app.applicationVersion), "slicer-version") from error
    return packaging


@contextlib.contextmanager
def _failures(what: str, code: str):
    """Turns what pip, the network and other extensions raise into one error with pip's own reason."""
    with listening() as lines:
        try:
            yield
        except MAEMCError:
            raise
        except Exception as error:  # no list of the types is complete
            if isinstance(error, RuntimeError) and "declined" in str(error).lower():  # slicer.packaging's way to say no
                raise Declined(_("Nothing was installed."), code) from error
            raise MAEMCError(failureText(what, lines, error), code) from error
