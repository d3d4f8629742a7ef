"""The settings of a training run: one tree of frozen dataclasses, its presets, and KEY=VALUE overrides.

The presets hold the published values of Zhao et al. 2025 or name each difference from them in a comment.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from MAEMCLib.errors import ModelError, UsageError
from MAEMCLib.networks.configuration import BACKBONES, BackboneConfiguration, EncoderConfiguration
from MAEMCLib.networks.configuration import PRESETS as NETWORKS

PRESETS = ("default", "tiny", "paper", "paper-schedule")


def check(condition: bool, message: str) -> None:
    """Raises UsageError with the message unless the condition holds."""
    if not condition:
        raise UsageError(message, "configuration")


PAPER_VIEWS = 40
"""Views of each case in the published data: 4 rotations, 2 flips and 5 positions."""


@dataclass(frozen=True)
class Augmentation:
    """How a case is varied from one presentation to the next.

    online: a random whole-millimeter 3-D shift shared by both planes, a right-angle rotation and a flip drawn for each
    plane by itself. paper: the 40 combinations of 4 rotations, 2 flips and 5 positions (the paper's 13,320 pairs from
    333 cases are 40 each; the factors are our inference). none: the case as it is. single: without the paper's data
    processing, the one slice through the point in the place of the montage, as it is (its ablation, Table 3).
    """

    mode: Literal["online", "paper", "none", "single"] = "online"
    shift_mm: int = 5  # largest shift along each axis; the cache holds a margin of 5 mm
    rotate: bool = True
    flip: bool = True

    def __post_init__(self) -> None:
        check(0 <= self.shift_mm <= 5, f"shift_mm is {self.shift_mm}; the cache holds a margin of 5 mm: choose 0 to 5.")


@dataclass(frozen=True)
class PictureAugmentation:
    """How a 2-D picture is varied from one presentation to the next.

    Two recipes. Light, for masked autoencoders and classifiers: a small shift, zoom and gain, a flip, right angles.
    Strong, for contrastive methods: square crops of a random part of the view, flips and turns, and a change of
    brightness, contrast and sharpness. Gray pictures have no hue to change.
    """

    view_share: float = 1.0  # side of the central square that is looked at, as a share of the stored picture's side
    shift_share: float = 0.05  # light: largest shift along each axis, as a share of the view
    zoom: float = 0.1  # light: the view is wider or narrower by up to this share
    gain: float = 0.1  # light: gray values are multiplied by 1 - gain ... 1 + gain
    flip: bool = True  # left and right
    turn: bool = False  # right angles: for pictures without an up, as axial CT of a nodule; never for ultrasound
    # Light: turned by up to this many degrees to either side beside that; with right angles, 45 makes every angle as
    # likely as any. What comes in from beyond the stored picture is black.
    tilt: float = 0.0
    crop_area: tuple[float, ...] = (0.2, 1.0)  # strong: share of the view's area that a crop shows
    jitter: float = 0.4  # strong: largest change of brightness and contrast, in four of five crops
    blur: bool = True  # strong: half of the crops
    small_crops: int = 6  # of the view, for methods that compare large crops with small ones
    small_area: tuple[float, ...] = (0.1, 0.33)
    small_side: float = 0.43  # of a large crop's side, as 96 pixels of 224

    def __post_init__(self) -> None:
        check(0 < self.view_share <= 1, f"view_share is {self.view_share}; choose above 0 up to 1.")
        for name in ("shift_share", "zoom", "gain", "jitter"):
            check(0 <= getattr(self, name) < 1, f"{name} is {getattr(self, name)}; choose 0 up to below 1.")
        check(0 <= self.tilt <= 180, f"tilt is {self.tilt}; choose 0 to 180 degrees.")
        for name in ("crop_area", "small_area"):
            area = getattr(self, name)
            good = len(area) == 2 and 0 < area[0] <= area[1] <= 1
            check(good, f"{name} is {area}; two shares are needed, the smaller first, for example {name}=0.2,1.")
        check(self.small_crops >= 0, f"small_crops is {self.small_crops}; it cannot be negative.")
        check(0 < self.small_side <= 1, f"small_side is {self.small_side}; choose above 0 up to 1.")


@dataclass(frozen=True)
class Optimization:
    """The optimizer and the course of its rate (MAEMC-NET: AdamW with these betas; the rest is not printed)."""

    optimizer: Literal["adamw", "sgd", "lars", "lamb"] = "adamw"
    momentum: float = 0.9  # of sgd and lars
    learning_rate: float = 3.75e-5
    schedule: Literal["cosine", "constant", "milestones"] = "cosine"
    warmup_fraction: float = 0.1  # of all steps, linear from zero
    milestones: tuple[int, ...] = ()  # epochs after which the rate falls tenfold
    weight_decay: float = 0.05
    betas: tuple[float, ...] = (0.9, 0.95)
    gradient_clip: float = 1.0  # largest l2 norm of the whole gradient
    layer_decay: float = 1.0  # the rate of each block relative to that of the block above it

    def __post_init__(self) -> None:
        check(0 <= self.momentum < 1, f"momentum is {self.momentum}; choose 0 up to below 1.")
        check(self.learning_rate > 0, f"learning_rate is {self.learning_rate}; it has to be above 0.")
        check(0 <= self.warmup_fraction < 1, f"warmup_fraction is {self.warmup_fraction}; choose 0 up to below 1.")
        check(self.weight_decay >= 0, f"weight_decay is {self.weight_decay}; it cannot be negative.")
        check(self.gradient_clip > 0, f"gradient_clip is {self.gradient_clip}; it has to be above 0.")
        check(0 < self.layer_decay <= 1, f"layer_decay is {self.layer_decay}; choose above 0 up to 1.")
        check(len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), f"betas are {self.betas}; two in [0, 1).")
        check(
            self.schedule != "milestones" or bool(self.milestones),
            "The schedule 'milestones' needs milestones, for example milestones=40,70.",
        )


def check_run(run: Any) -> None:
    """What every training's settings have to fulfill. Raises UsageError."""
    for name in ("epochs", "batch", "accumulation", "log_every"):
        check(getattr(run, name) >= 1, f"{name} is {getattr(run, name)}; it has to be at least 1.")
    check(0 <= run.seed < 2**63, f"seed is {run.seed}; choose 0 or a positive number.")
    check(
        run.accumulation <= run.batch,
        f"accumulation is {run.accumulation}; a batch of {run.batch} cannot pass in more shares than it has samples.",
    )
    check(run.checkpoint_seconds >= 0, f"checkpoint_seconds is {run.checkpoint_seconds}; it cannot be negative.")


def encoder_named(name: str, flat: bool, small: bool) -> EncoderConfiguration | BackboneConfiguration:
    """An encoder by the name of ``--backbone``: a vision transformer or one of timm's, at the side that suits the data.

    flat: for 2-D pictures instead of montages of 250 pixels; small: pictures of 64 instead of 224 pixels.
    """
    if name in BACKBONES:
        side = BACKBONES[name].nearest_side((64 if small else 224) if flat else 250)
        return BackboneConfiguration(name, side)
    if name not in NETWORKS:
        choices = ", ".join([*NETWORKS, *BACKBONES])
        raise UsageError(f"There is no backbone '{name}'. Choose one of {choices}.", "backbone")
    encoder = NETWORKS[name][0]
    if flat:
        side, patch = (64, 8) if small else (224, 16)
        return replace(encoder, image_size=side, patch_size=patch, position="2d")
    return encoder


def unknown_preset(name: str) -> UsageError:
    """The error of a preset that nobody knows."""
    return UsageError(f"There is no preset '{name}'. Choose one of {', '.join(PRESETS)}.", "preset")


def flatten(configuration: Any, prefix: str = "") -> dict[str, Any]:
    """A tree of dataclasses as dotted key -> value."""
    flat: dict[str, Any] = {}
    for f in dataclasses.fields(configuration):
        value = getattr(configuration, f.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{f.name}.")
        else:
            flat[prefix + f.name] = value
    return flat


def to_json(configuration: Any) -> dict[str, Any]:
    """The tree as JSON values: what job.json and the checkpoints store."""
    return json.loads(json.dumps(dataclasses.asdict(configuration)))


def from_json(kind: type, values: dict[str, Any]) -> Any:
    """One flat dataclass of the tree from what ``to_json`` stored; lists become tuples. Raises UsageError."""
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    except TypeError as error:
        raise UsageError(f"The stored settings do not fit {kind.__name__}: {error}.", "configuration") from error


def override(configuration: Any, assignments: Sequence[str]) -> Any:
    """Apply KEY=VALUE pairs, all at once: a dotted key, or any last part that names exactly one setting.

    Raises UsageError: no '=', an unknown key (near matches are listed), an ambiguous one, a value of another type.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        check(bool(separator and key), f"'{assignment}' is not KEY=VALUE. Write for example epochs=6.")
        *path, name = _find(configuration, key).split(".")
        node, branch = configuration, changes
        for part in path:
            node, branch = getattr(node, part), branch.setdefault(part, {})
        branch[name] = _parse(typing.get_type_hints(type(node))[name], text, key)
    try:
        return _changed(configuration, changes)
    except ModelError as error:  # an architecture that nobody can build was asked for; no model is at fault
        raise UsageError(f"{' '.join(assignments)}: {error}", error.code) from error


def as_assignments(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """A tree of values, as TOML holds them, as the KEY=VALUE pairs of ``override``."""
    words = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            words += as_assignments(value, f"{prefix}{key}.")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else value
            words.append(f"{prefix}{key}={text}")
    return words


def _find(configuration: Any, key: str) -> str:
    keys = list(flatten(configuration))
    if key in keys:
        return key
    matches = [full for full in keys if full.endswith("." + key)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"'{key}' could be {' or '.join(matches)}. Write the whole key.", "configuration")
    last = {full.rpartition(".")[2] for full in keys}
    near = difflib.get_close_matches(key, sorted(last | set(keys)), n=3, cutoff=0.5)
    hint = f"Did you mean {', '.join(near)}?" if near else f"The settings are {', '.join(keys)}."
    raise UsageError(f"There is no setting '{key}'. {hint}", "configuration")


def _changed(node: Any, changes: dict[str, Any]) -> Any:
    """The tree with some of its settings replaced, each dataclass once: settings that fit only together may change."""
    return replace(
        node,
        **{name: _changed(getattr(node, name), new) if isinstance(new, dict) else new for name, new in changes.items()},
    )


def _parse(kind: Any, text: str, key: str) -> Any:
    origin = typing.get_origin(kind)
    if origin is types.UnionType:  # of a kind and None, which is what stays where nothing is said
        return _parse(typing.get_args(kind)[0], text, key)
    if origin is Literal:
        choices = typing.get_args(kind)
        check(text in choices, f"{key} is '{text}', but it has to be one of {', '.join(choices)}.")
        return text
    if origin is tuple:
        inner = typing.get_args(kind)[0]
        return tuple(_parse(inner, part, key) for part in text.split(",") if part)
    if kind is bool:
        check(text.lower() in ("true", "false"), f"{key} is '{text}', but it has to be true or false.")
        return text.lower() == "true"
    if kind is str:
        return text
    names = {int: "a whole number", float: "a number"}
    try:
        value = kind(text)
    except (TypeError, ValueError):
        raise UsageError(f"{key} is '{text}', but it has to be {names.get(kind, kind)}.", "configuration") from None
    check(value == value and abs(value) != float("inf"), f"{key} is '{text}', but it has to be finite.")
    return value
