"""Where jobs and manifests are put, and what they and models are called unless somebody says otherwise."""

import re
from itertools import count
from pathlib import Path

from MAEMCLib.files.home import home


def jobsFolder() -> Path:
    """Where new jobs are put: with the models, in the user's own data folder, which no cloud copies away."""
    return home() / "jobs-data"


def proposedFolder(task: str, preset: str, parent: Path | None = None) -> Path:
    """A folder that is not there yet, named after what the job does (a method, or "finetune"), and numbered."""
    parent = parent or jobsFolder()
    names = (f"{task}-{preset}-{number}" for number in count(1))
    return next(parent / name for name in names if not (parent / name).exists())


def proposedID(folder: Path) -> str:
    """The id of a job's model."""
    return re.sub(r"[^\w.-]+", "-", folder.name).strip(".-") or "model"


def manifestFolder(home: Path, name: str) -> Path:
    """A folder for a manifest that we make, not there yet; numbered where the name is taken."""
    parent = home / "manifests"
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(parent / name for name in names if not (parent / name).exists())
