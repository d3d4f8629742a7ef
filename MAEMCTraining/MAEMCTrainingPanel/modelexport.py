"""From a finished fine-tuning to one of the models of this machine, in processes that no window waits for."""

from pathlib import Path

from MAEMCLib.models.bundle import read_card
from MAEMCLib.models.store import list_models

from .commands import ChildCommands

BUNDLE_NAME = "model.maemc"
"""In the job's folder: exported once, imported from there."""


def exportToModels(commands: ChildCommands, folder: Path, modelID: str) -> str:
    """Export a job's bundle, unless it lies there already, and import it; returns "id@version".

    A model of this id that is here already stays; the new one gets the next version. Raises MAEMCError with the last
    words of the process that failed.
    """
    bundle, metrics = folder / BUNDLE_NAME, folder / "metrics.json"
    current = bundle.is_file() and metrics.is_file() and bundle.stat().st_mtime >= metrics.stat().st_mtime
    if not current:
        arguments = ["export", str(folder), "--output", str(bundle), "--id", modelID, "--version", _version(modelID)]
        commands.run("MAEMCTrainingLib", *arguments)
    # The bundle was made here: its hash is no stranger's word, and a further version of a known id may come in.
    arguments = ["models", "import", str(bundle), "--sha256", read_card(bundle).sha256]
    output, _complaints = commands.run("MAEMCLib", *arguments)
    return output[-1].partition(" is at ")[0]


def _version(modelID: str) -> str:
    versions = [model.card.version for model in list_models() if model.card is not None and model.card.id == modelID]
    majors = [int(version.split(".")[0]) for version in versions if version.split(".")[0].isdigit()]
    return f"{max(majors, default=0) + 1}.0"
