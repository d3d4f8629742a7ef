"""Installing what the scoring process lacks, on request only: PyTorch by its extension, the rest by slicer.packaging.

The one place that talks to the PyTorch extension, whose interface has changed between its versions.
"""

import importlib
import inspect
import sys

from MAEMCLib.errors import MAEMCError
from slicer.i18n import tr as _

TORCH_REQUIREMENT = ">=2.4"
"""The oldest torch that the networks are tested with."""
WINDOWS_TORCH_REQUIREMENT = ">=2.4,<2.13"
"""From 2.13 on the wheel holds paths longer than the 260 characters of a default Windows: it installs by half."""


TORCH_CODES = ("no-torch", "no-pytorch-extension", "torch-install")
"""Error codes after which PyTorch is still to be installed."""
PACKAGE_CODES = ("no-safetensors", "no-numpy", "no-SimpleITK", "install")
"""Error codes after which other packages are."""


def installTorch() -> bool:
    """Install PyTorch through the PyTorch extension, which asks for consent and shows its progress.

    Returns False where the user declined. Raises MAEMCError: the extension is missing, its interface is another one,
    or the installation failed.
    """
    try:
        logic = importlib.import_module("PyTorchUtils").PyTorchUtilsLogic()
        accepted = inspect.signature(logic.installTorch).parameters
    except (ImportError, AttributeError) as error:
        message = _("The PyTorch extension is not installed. Install 'PyTorch' in the Extensions Manager and restart.")
        raise MAEMCError(message, "no-pytorch-extension") from error
    wanted = {
        "askConfirmation": True,
        "torchVersionRequirement": WINDOWS_TORCH_REQUIREMENT if sys.platform == "win32" else TORCH_REQUIREMENT,
    }
    if not set(wanted) <= set(accepted):
        message = _("The PyTorch extension has another interface than is known here. Update it, or MAEMC.")
        raise MAEMCError(message, "pytorch-extension")
    try:
        return logic.installTorch(**wanted) is not None
    except Exception as error:  # pip, network and import errors of another extension: no list of them is complete
        lines = str(error).strip().splitlines() or [type(error).__name__]
        message = _("PyTorch could not be installed ({reason}). See the Python console for the whole log.")
        raise MAEMCError(message.format(reason=lines[-1]), "torch-install") from error


def missingRequirements(path: str) -> list:
    """The requirements of a file that are not met, by what the installed packages say of themselves."""
    from slicer import packaging

    return [requirement for requirement in packaging.load_requirements(path) if not packaging.pip_check([requirement])]


def installRequirements(path: str) -> None:
    """Install the packages of a requirements file that are missing; Slicer asks for consent and shows its progress.

    Raises MAEMCError where the user declined or the installation failed.
    """
    from slicer import packaging

    try:
        packaging.pip_ensure(packaging.load_requirements(path), requester="MAEMC")
    except Exception as error:  # a refusal, pip and the network raise different types
        message = _("The packages of MAEMC were not installed ({reason}).")
        raise MAEMCError(message.format(reason=error), "install") from error
