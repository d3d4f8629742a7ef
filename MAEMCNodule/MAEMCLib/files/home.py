"""Where MAEMC keeps what is this user's: imported models, what was checked, jobs' notes."""

import os
import sys
from pathlib import Path


def home() -> Path:
    """MAEMC_HOME, or the platform's folder for a user's application data."""
    if "MAEMC_HOME" in os.environ:
        return Path(os.environ["MAEMC_HOME"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "MAEMC"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "MAEMC"
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "MAEMC"
