"""Which code a result comes from."""

import platform
import subprocess
from pathlib import Path

import MAEMCLib


def code_revision() -> str:
    """``git 1a2b3c...`` of the checkout that this file belongs to, with "changed" where files differ from it; else the
    package's version, as of an installed package."""
    here = Path(__file__).resolve()
    version = f"maemc {MAEMCLib.__version__}"
    try:
        _git(here, "ls-files", "--error-unmatch", here.name)  # not some other project that this file merely lies in
        revision = _git(here, "rev-parse", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return version
    return f"git {revision}{' changed' if changed else ''}"


def _git(file: Path, *arguments: str) -> str:
    command = ["git", "-C", str(file.parent), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


def versions() -> dict[str, str]:
    """The software that a result depends on."""
    import numpy
    import torch

    return {
        "maemc": MAEMCLib.__version__,
        "revision": code_revision(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
    }
