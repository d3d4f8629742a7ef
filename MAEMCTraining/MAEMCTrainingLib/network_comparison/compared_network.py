"""The networks that a comparison takes: a pre-training, a fold model of a fine-tuning, a model bundle, or a network of
the same architecture that has learned nothing.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError, MAEMCError, UsageError
from MAEMCLib.inputs import INPUTS
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.networks.classifier import Classifier
from MAEMCLib.networks.heads import head_named
from MAEMCLib.networks.vit import ViT, build_encoder
from torch import nn

from ..classifiers.fold_model import load_fold
from ..classifiers.starting_point import IMAGENET, IN_FOLD, SCRATCH, UNKNOWN, UNKNOWN_PATIENTS, starting_point
from ..data.cohort import Cohort, Settings
from ..data.kinds import kind_of_job
from ..data.kinds.kind import Kind
from ..engine.configuration import Augmentation, PictureAugmentation, from_json
from ..evaluation.predictions import read_predictions
from ..jobs.job import Job, finished_job

FOLD = 0
"""Of a fine-tuning job the model of its first fold is taken, which is also a bundle's first member: each fold model has
patients that it was not trained on, and a mean of several networks has no layers of its own."""
_DRAWN = 20254  # seed of a network that has learned nothing; no training draws its first values from it


@dataclass(frozen=True)
class ComparedNetwork:
    """A network, what it is shown, and whom it has learned from.

    name: of the folder or the model. what: what it is, for people. module: a Classifier, or an encoder alone. fusion:
    as of a card. trained_on: pseudonyms of the patients that it is known to have learned from, made
    with the key that ``key`` names. unknown: why there may be others; empty where there are none.
    """

    name: str
    what: str
    module: nn.Module
    preprocessing: Settings
    augmentation: Augmentation | PictureAugmentation
    kind: Kind
    fusion: str = "mean"
    trained_on: frozenset[str] = frozenset()
    key: str | None = None
    unknown: str = ""

    @property
    def encoder(self) -> nn.Module:
        """Without its linear layer."""
        return self.module.encoder if self.is_classifier else self.module

    @property
    def is_classifier(self) -> bool:
        """Whether it has a linear layer."""
        return isinstance(self.module, Classifier)

    @property
    def planes(self) -> tuple[str, ...]:
        """The images of a case that it reads."""
        return INPUTS[self.kind.name].planes.get(self.fusion, ("axial", "coronal"))

    @property
    def side(self) -> int:
        """Pixels a side of what it is shown."""
        return self.encoder.configuration.image_size

    @property
    def shown(self) -> str:
        """How much of a case it is shown, whatever its side."""
        if self.kind.name == "picture":
            return f"the central {self.preprocessing.view_share:.0%} of the picture's side"
        return "the middle slice" if self.augmentation.mode == "single" else "the montage of 25 slices"

    @property
    def architecture(self) -> str:
        """For people."""
        network = self.encoder.configuration
        if isinstance(self.encoder, ViT):
            return f"transformer, {network.depth} blocks of {network.width}, patches of {network.patch_size}"
        return f"{network.backbone}{'' if network.stem == 'standard' else f', {network.stem} stem'}"

    def seen(self, cohort: Cohort) -> np.ndarray | None:
        """(cases,) bool: whose patients it is known to have learned from; None where nobody can tell of any."""
        if self.trained_on and self.key != cohort.pseudonym_key:
            return None
        return np.array([case.patient in self.trained_on for case in cohort.cases], dtype=bool)


@dataclass(frozen=True)
class Answers:
    """What one network makes of the cases. pixels: (cases, S * S) float32, as it is shown them. features: (cases,
    width). grams: of each minibatch (layers, n, n). maps: (cases, g, g), or None."""

    pixels: np.ndarray
    features: np.ndarray
    grams: list[np.ndarray]
    maps: np.ndarray | None


def open_networks(first: str, second: str) -> tuple[ComparedNetwork, ComparedNetwork]:
    """The two networks that the words name, as ``--from`` would, and beyond that a fine-tuning job. ``scratch`` has the
    architecture and the presentation of the other one.

    Raises UsageError: scratch twice, imagenet; InputError: no such job, an unfinished one, one for nodules and one for
    pictures, none that read the same plane; ModelError: no such bundle, a damaged one.
    """
    words = (first, second)
    if IMAGENET in words:
        raise UsageError(
            "imagenet names no network here. Fine-tune from it (--from imagenet --linear-probe leaves it as it is), "
            "and compare that job.",
            "imagenet",
        )
    if words == (SCRATCH, SCRATCH):
        raise UsageError("Both are scratch. Name at least one network whose architecture the other takes.", "scratch")
    opened = [None if word == SCRATCH else _open(word) for word in words]
    one, two = (network or _untrained(opened[1 - place]) for place, network in enumerate(opened))
    if one.kind is not two.kind:
        kinds = " and ".join(f"{network.name} at {network.kind.title}" for network in (one, two))
        raise InputError(f"The networks look at different things: {kinds}. Compare two of one kind.", "kind")
    if not set(one.planes) & set(two.planes):
        raise InputError(
            f"{one.name} reads {one.planes[0]} montages only and {two.name} {two.planes[0]} ones: there is no image "
            "that both were made for.",
            "planes",
        )
    return one, two


def _open(words: str) -> ComparedNetwork:
    path = Path(words)
    if (path / "job.json").is_file() and Job(path).settings.get("kind") == "finetune":
        return _fold_model(path)
    start = starting_point(words)
    own = {"name": start.name, "preprocessing": start.preprocessing, "kind": start.kind}
    if start.pretraining is not None:
        encoder = build_encoder(start.encoder)
        encoder.load_state_dict(start.state)
        run, cohort = start.pretraining.run, start.pretraining.cohort
        return ComparedNetwork(
            **own,
            what=f"pre-training by {run.method}, {run.epochs} epochs on {cohort['cases']} cases",
            module=encoder.eval(),
            augmentation=run.augmentation,
            trained_on=frozenset(cohort["pseudonyms"]),
            key=cohort["pseudonym_key"],
        )
    bundle = ModelBundle.open(Path(start.source))
    card = bundle.card
    classifier = head_named(card.head)(start.encoder, len(card.classes))
    classifier.load_state_dict(bundle.weights("classifier")[0])
    members = len(card.members("classifier"))
    return ComparedNetwork(
        **own,
        what="model bundle" + (f", the first of its {members} members" if members > 1 else ""),
        module=classifier.float().eval(),
        augmentation=start.kind.Augmentation(),
        fusion=card.fusion,
        unknown="A bundle does not say which patients it was trained on.",
    )


def _fold_model(folder: Path) -> ComparedNetwork:
    """The model of the first fold of a finished fine-tuning; the patients that the fold tests it has not seen."""
    job = finished_job(folder, "finetune")
    settings = job.settings
    configuration = settings["configuration"]
    trained_on, unknown = _patients_of_fold(folder, settings)
    how = "linear probe on" if configuration["linear_probe"] else "fine-tuned from"
    kind = kind_of_job(settings)
    return ComparedNetwork(
        name=folder.resolve().name,
        what=f"{how} {Path(settings['from']).name}, the model of fold {FOLD + 1} of {configuration['folds']}",
        module=load_fold(job, FOLD),
        preprocessing=kind.Preprocessing(**settings["preprocessing"]),
        augmentation=from_json(kind.Augmentation, configuration["augmentation"]),
        kind=kind,
        fusion=configuration["fusion"],
        trained_on=trained_on,
        key=settings["cohort"]["pseudonym_key"],
        unknown=unknown,
    )


def _patients_of_fold(folder: Path, settings: dict[str, Any]) -> tuple[frozenset[str], str]:
    """Whom a fold's model has learned from, its pre-training included, and why there may be others."""
    table = read_predictions(folder / "predictions.csv")
    tested = {patient for patient, fold in zip(table.patients, table.folds, strict=True) if fold == FOLD}
    own = set(settings["cohort"]["pseudonyms"]) - tested
    if settings["pretraining"] == UNKNOWN:
        return frozenset(own), UNKNOWN_PATIENTS
    if settings["pretraining"] is None or settings["from"] == IMAGENET:
        return frozenset(own), ""
    try:
        before = Job(Path(settings["from"])).settings["cohort"]
    except (MAEMCError, KeyError):
        return frozenset(own), "Its pre-training is gone, and with it the list of the patients that it saw."
    if before["pseudonym_key"] != settings["cohort"]["pseudonym_key"]:
        return frozenset(own), "The pseudonyms of its pre-training were made with another key."
    return frozenset(own | set(before["pseudonyms"]) - (tested if settings["pretraining"] == IN_FOLD else set())), ""


def _untrained(other: ComparedNetwork) -> ComparedNetwork:
    shape = other.encoder.configuration
    if other.is_classifier:
        module: nn.Module = type(other.module)(shape, other.module.classes, _DRAWN)
    else:
        module = build_encoder(shape, _DRAWN)
    return replace(
        other,
        name=SCRATCH,
        what=f"the architecture of {other.name} with weights drawn anew, trained on nothing",
        module=module.eval(),
        trained_on=frozenset(),
        key=None,
        unknown="",
    )
