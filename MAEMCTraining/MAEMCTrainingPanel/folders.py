"""Where jobs and manifests are put, and what they and models are called unless somebody says otherwise."""

import re
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path

from MAEMCLib.files.home import home


def jobsFolder() -> Path:
    """Where new jobs are put: with the models, in the user's own data folder, which no cloud copies away."""
    return home() / "jobs-data"


def proposedFolder(task: str, preset: str, parent: Path | None = None) -> Path:
    """A folder that is not there yet, named after what the job does (a method, or "finetune"), and numbered."""
    return _free((parent or jobsFolder()) / f"{task}-{preset}-{number}" for number in count(1))


def proposedID(folder: Path) -> str:
    """The id of a job's model."""
    return re.sub(r"[^\w.-]+", "-", folder.name).strip(".-") or "model"


def manifestFolder(home: Path, name: str) -> Path:
    """A folder for a manifest that we make, not there yet; numbered where the name is taken."""
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return _free(home / "manifests" / name for name in names)


def _free(folders: Iterable[Path]) -> Path:
    return next(folder for folder in folders if not folder.exists())
