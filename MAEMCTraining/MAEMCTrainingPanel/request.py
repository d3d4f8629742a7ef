"""What a training job is asked to do, and the command that does it."""

import dataclasses
import os
import shlex
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from MAEMCLib.errors import UsageError
from MAEMCLib.files.atomic import home
from slicer.i18n import tr as _

from .methods import IMAGENET_BACKBONES, imagenetPage

SCRATCH, IMAGENET = "scratch", "imagenet"
"""Instead of a pre-training's folder: begin with random weights, or with those of ImageNet from a file."""


@dataclasses.dataclass(frozen=True)
class JobRequest:
    """A job to be.

    kind: "pretrain", "finetune" or "fuse". data: a manifest (CSV) or a cache. folder: of the job, new; one is made up
    where none is given. method: of a pre-training. backbone: of a pre-training, or of what starts from scratch or
    ImageNet; empty for the usual one. startFrom (a pre-training's folder, a model, "scratch" or "imagenet"), weights
    (the file for "imagenet"), folds, protocol ("honest" or "paper"): of a fine-tuning or a fusion. linearProbe: of a
    fine-tuning. target (a column), clinical and branches ("age:years,sex" and "axial,coronal"): of a fusion. settings:
    further ones, as ["epochs=6", "seed=3"] or in one string.
    """

    kind: str
    data: str | Path
    folder: str | Path | None = None
    method: str = "maemc"
    backbone: str = ""
    startFrom: str | Path = SCRATCH
    weights: str | Path = ""
    preset: str = "tiny"
    device: str = "auto"
    folds: int = 5
    protocol: str = "honest"
    linearProbe: bool = False
    target: str = "label"
    clinical: str = ""
    branches: str = "axial,coronal"
    settings: str | Sequence[str] = ()

    def command(self) -> tuple:
        """(job folder, what would be typed after ``maemc-train``). Raises UsageError for what cannot be a command."""
        if self.kind not in ("pretrain", "finetune", "fuse"):
            raise UsageError(_("There is no job of the kind '{kind}'.").format(kind=self.kind), "kind")
        folder = Path(self.folder or proposedFolder(self.kind, self.method, self.preset, jobsFolder())).absolute()
        options = {"data": Path(self.data).absolute(), "output": folder, "preset": self.preset, "device": self.device}
        options["threads"] = max(1, (os.cpu_count() or 2) - 1)  # one is left to Slicer
        if self.kind == "pretrain":
            options["method"] = self.method
        else:
            options |= {**self._start(), "folds": self.folds, "protocol": self.protocol}
        if self.kind == "fuse":
            options |= {"target": self.target, "branches": self.branches, "clinical": self.clinical}
        if self.kind == "pretrain" or str(self.startFrom) in (SCRATCH, IMAGENET):
            options["backbone"] = self.backbone
        words = [word for name, value in options.items() if value != "" for word in (f"--{name}", str(value))]
        probe = ["--linear-probe"] if self.linearProbe and self.kind == "finetune" else []
        return folder, [self.kind, *words, *probe, *self._settings()]

    def _start(self) -> dict:
        start = str(self.startFrom)
        if start != IMAGENET:
            return {"from": SCRATCH if start == SCRATCH else Path(start).absolute()}
        missing = missingWeights(self.backbone or IMAGENET_BACKBONES[0], str(self.weights))
        if missing:
            raise UsageError(missing, "weights")
        return {"from": IMAGENET, "weights": Path(self.weights).absolute()}

    def _settings(self) -> list:
        try:
            words = shlex.split(self.settings) if isinstance(self.settings, str) else list(self.settings)
        except ValueError as error:
            raise UsageError(_("The settings cannot be read: a quote is not closed."), "settings") from error
        wrong = [word for word in words if "=" not in word or word.startswith("-")]
        if wrong:
            text = _("'{word}' is no setting. Write KEY=VALUE, for example epochs=6.")
            raise UsageError(text.format(word=wrong[0]), "settings")
        return words


def jobsFolder() -> Path:
    """Where new jobs are put: with the models, in the user's own data folder, which no cloud copies away."""
    return home() / "jobs-data"


def proposedFolder(kind: str, method: str, preset: str, parent: Path) -> Path:
    """A folder that is not there yet, named after what the job does (a method, or "finetune"), and numbered."""
    task = method if kind == "pretrain" else kind
    folders = (parent / f"{task}-{preset}-{number}" for number in count(1))
    return next(folder for folder in folders if not folder.exists())


def missingWeights(backbone: str, weights: str) -> str:
    """Why a fine-tuning cannot begin with a backbone's ImageNet weights from a file; empty where it can."""
    if backbone not in IMAGENET_BACKBONES:
        text = _("There are no ImageNet weights of {backbone}. Choose one of {names}.")
        return text.format(backbone=backbone, names=", ".join(IMAGENET_BACKBONES))
    if not weights:
        text = _("Name the file of ImageNet weights first: model.safetensors of {page}. Nothing is fetched.")
        return text.format(page=imagenetPage(backbone))
    return "" if Path(weights).is_file() else _("There is no file {path}.").format(path=weights)
