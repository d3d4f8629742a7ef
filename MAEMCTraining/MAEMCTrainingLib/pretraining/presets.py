"""The settings of a pre-training run, and its presets: what all methods share, and the values of each method's own
file."""

import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.networks.configuration import PRESETS as NETWORKS
from MAEMCLib.networks.configuration import AnyEncoderConfiguration, BackboneConfiguration, DecoderConfiguration

from ..engine.configuration import (
    PAPER_VIEWS,
    Augmentation,
    Count,
    PictureAugmentation,
    Run,
    ZeroToOne,
    as_assignments,
    at_least,
    check,
    encoder_named,
    override,
)
from .registry import MethodFacts, default_settings, facts_of


@dataclass(frozen=True)
class PretrainingConfiguration(Run):
    """A pre-training run. ``settings`` are the method's own, a frozen dataclass of its class."""

    method: str
    settings: Any
    encoder: AnyEncoderConfiguration
    decoder: DecoderConfiguration
    views_per_case: Count = PAPER_VIEWS  # presentations of each case in an epoch: epochs as long as the published ones
    # Share of the patches that a marked lesion touches which masks leave visible; 0: masks know nothing of lesions.
    min_visible_lesion: ZeroToOne = 0.0
    # Epochs from one preview to the next; the first and the last are always drawn; 0: none.
    preview_epochs: Annotated[int, at_least(0)] = 10
    augmentation: Augmentation | PictureAugmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            getattr(self.augmentation, "mode", "") != "paper" or self.views_per_case == PAPER_VIEWS,
            f"The paper's augmentation has {PAPER_VIEWS} views of each case, but views_per_case is "
            f"{self.views_per_case}.",
        )


_SETTINGS = {f.name for f in fields(PretrainingConfiguration)}


def pretraining_preset(
    name: str, method: str, kind: str = "nodule", backbone: str | None = None
) -> PretrainingConfiguration:
    """The preset of a pre-training method.

    kind: of input. backbone: as ``encoder_named`` takes it; None: the method's own choice. Raises UsageError: an
    unknown method or encoder, a preset that the method does not have, an encoder that it cannot train.
    """
    facts, is_picture, tiny = facts_of(method), kind == "picture", name == "tiny"
    if name not in facts.preset_names:
        names = ", ".join(facts.preset_names)
        raise UsageError(f"The method {method} has no preset '{name}'. Choose one of {names}.", "preset")
    network = "tiny" if tiny else "vit-large"
    published = facts.paper_backbone if name.startswith("paper") else ""
    encoder = encoder_named(backbone or published or facts.backbone or network, is_picture, tiny)
    run = PretrainingConfiguration(method, default_settings(method), encoder, NETWORKS[network][1])
    check_encoder(run)
    if is_picture:
        run = replace(run, augmentation=PictureAugmentation(), views_per_case=1)
    if tiny:
        # For a processor in minutes: a small network with patches of 25, four views of each case an epoch. Batch 16: at
        # the same number of views four times the steps of batch 64, and a lower loss.
        words = ["epochs=30", "batch=16", "checkpoint_seconds=60", "learning_rate=1e-3"]
        run = override(run, words if is_picture else [*words, "views_per_case=4"])
    return override(run, _own_values(facts, name, run, kind))


def _own_values(facts: MethodFacts, preset: str, run: PretrainingConfiguration, kind: str) -> list[str]:
    """What the method's file says of a preset. Its tables that are no part of a run's settings are conditions: they
    hold for the kind of input, or for the encoders whose names begin as they are called."""
    backbone = run.encoder.backbone if isinstance(run.encoder, BackboneConfiguration) else ""
    words = []
    for key, value in facts.presets.get(preset, {}).items():
        if key in _SETTINGS:
            words += as_assignments({key: value})
        elif key == kind or backbone.startswith(key):
            words += as_assignments(value)
    return words


def read_settings(path: Path) -> list[str]:
    """The KEY=VALUE pairs of a TOML file, which has the form of a preset in a method's own. Raises InputError."""
    try:
        return as_assignments(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:  # no TOML, or no UTF-8
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"The settings {path} cannot be read as TOML ({reason}).", "configuration", [path]) from error


def check_encoder(run: PretrainingConfiguration) -> None:
    """Raises UsageError where the method cannot train the encoder."""
    facts = facts_of(run.method)
    if run.encoder.skips_unobserved and "slices" not in facts.backbones:
        others = f"--backbone {', '.join(facts.backbones)}" if facts.backbones else "another --backbone"
        raise UsageError(
            f"The method {run.method} cannot leave out slices that were not observed, as the network 'slices' does. "
            f"Choose {others}, or another method (maemc-train methods).",
            "backbone",
        )
    published = isinstance(run.encoder, BackboneConfiguration)
    fits = run.encoder.backbone in facts.backbones if published else set(NETWORKS) & set(facts.backbones)
    if facts.backbones and not fits:
        name = run.encoder.backbone if published else "a vision transformer"
        raise UsageError(
            f"The method {run.method} cannot train {name}. Choose --backbone {', '.join(facts.backbones)}, or another "
            "method (maemc-train methods).",
            "backbone",
        )
