"""The settings of a training run: one tree of frozen dataclasses, its presets, and KEY=VALUE overrides.

The presets hold the published values of Zhao et al. 2025 or name each difference from them in a comment.
"""

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from MAEMCLib.errors import ModelError, UsageError
from MAEMCLib.networks.configuration import BACKBONES, BackboneConfiguration, EncoderConfiguration
from MAEMCLib.networks.configuration import PRESETS as NETWORKS

PRESETS = ("default", "tiny", "paper", "paper-schedule")


def check(condition: bool, message: str) -> None:
    """Raises UsageError with the message unless the condition holds."""
    if not condition:
        raise UsageError(message, "configuration")


@dataclass(frozen=True)
class Bound:
    """What a setting has to be, in words and as a test; it stands in the annotation of the setting's field."""

    wanted: str
    holds: Callable[[Any], bool]


def at_least(lowest: int) -> Bound:
    """The bound of a number that cannot be lower."""
    return Bound(f"at least {lowest}", lambda value: value >= lowest)


MaskRatio = Annotated[float, Bound("between 0 and 1", lambda value: 0 < value < 1)]
"""A share of an image that is masked: something is masked and something visible."""
HeldOut = Annotated[float, Bound("between 0 and 0.5", lambda fraction: 0 < fraction < 0.5)]
"""A share of what could be trained on."""
LabeledCases = Annotated[int, Bound("0 (all) or at least 4, two of each class", lambda n: n == 0 or n >= 4)]
Count = Annotated[int, at_least(1)]
Positive = Annotated[float, Bound("above 0", lambda value: value > 0)]
NotNegative = Annotated[float, at_least(0)]
BelowOne = Annotated[float, Bound("at least 0 and below 1", lambda value: 0 <= value < 1)]
UpToOne = Annotated[float, Bound("above 0 and at most 1", lambda value: 0 < value <= 1)]
ZeroToOne = Annotated[float, Bound("at least 0 and at most 1", lambda value: 0 <= value <= 1)]
AreaRange = Annotated[
    tuple[float, ...],
    Bound(
        "two shares of an area, the smaller first, for example 0.2,1",
        lambda area: len(area) == 2 and 0 < area[0] <= area[1] <= 1,
    ),
]


@dataclass(frozen=True)
class CheckedSettings:
    """Settings with values that their annotations allow, ``Literal`` or with a ``Bound``. Raises UsageError."""

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(type(self), include_extras=True).items():
            value, bounds = getattr(self, name), list(getattr(kind, "__metadata__", ()))
            if typing.get_origin(kind) is Literal:
                choices = typing.get_args(kind)
                bounds.append(Bound(f"one of {', '.join(choices)}", choices.__contains__))
            for bound in bounds:
                check(bound.holds(value), f"{name} is {value!r}, but it has to be {bound.wanted}.")


PAPER_VIEWS = 40
"""Views of each case in the published data: 4 rotations, 2 flips and 5 positions."""


@dataclass(frozen=True)
class Augmentation(CheckedSettings):
    """How a case is varied from one presentation to the next.

    online: a random whole-millimeter 3-D shift shared by both planes, a right-angle rotation and a flip drawn for each
    plane by itself. paper: the 40 combinations of 4 rotations, 2 flips and 5 positions (the paper's 13,320 pairs from
    333 cases are 40 each; the factors are our inference). none: the case as it is. single: without the paper's data
    processing, the one slice through the point in the place of the montage, as it is (its ablation, Table 3). light:
    any angle, zoom and shift in the plane, a flip, changed attenuation, and a shift by whole slices, drawn for each
    plane by itself.
    """

    mode: Literal["online", "paper", "none", "single", "light"] = "online"
    # Largest shift along each axis.
    shift_mm: Annotated[int, Bound("0 to 5: a cache holds a margin of 5 mm", range(6).__contains__)] = 5
    rotate: bool = True
    flip: bool = True
    zoom: BelowOne = 0.15  # light: the view is wider or narrower by up to this share
    gain: BelowOne = 0.1  # light: the share of the window is multiplied by 1 - gain ... 1 + gain
    offset: BelowOne = 0.05  # light: and moved by up to this
    # Light: largest shift across the slices, in slices.
    shift_slices: Annotated[int, Bound("0 to 5: a cache holds a margin of 5 slices", range(6).__contains__)] = 1
    # Light: share of the views in which slices are left out as if they had not been observed, so that how many a file
    # holds tells nothing; then those farther than 0 ... drop_reach slices from the middle are.
    drop_slices: ZeroToOne = 0.0
    drop_reach: Annotated[int, at_least(0)] = 0


@dataclass(frozen=True)
class PictureAugmentation(CheckedSettings):
    """How a 2-D picture is varied from one presentation to the next.

    Two recipes. Light, for masked autoencoders and classifiers: a small shift, zoom and gain, a flip, right angles.
    Strong, for contrastive methods: square crops of a random part of the view, flips and turns, and a change of
    brightness, contrast and sharpness. Gray pictures have no hue to change.
    """

    view_share: UpToOne = 1.0  # side of the central square that is taken, as a share of the stored picture's side
    shift_share: BelowOne = 0.05  # light: largest shift along each axis, as a share of the view
    zoom: BelowOne = 0.1  # light: the view is wider or narrower by up to this share
    gain: BelowOne = 0.1  # light: gray values are multiplied by 1 - gain ... 1 + gain
    flip: bool = True  # left and right
    turn: bool = False  # right angles: for pictures without an up, as axial CT of a nodule; never for ultrasound
    # Light: turned by up to this many degrees to either side beside that; with right angles, 45 makes every angle as
    # likely as any. What comes in from beyond the stored picture is black.
    tilt: Annotated[float, Bound("0 to 180 degrees", lambda value: 0 <= value <= 180)] = 0.0
    crop_area: AreaRange = (0.2, 1.0)  # strong: share of the view's area that a crop shows
    jitter: BelowOne = 0.4  # strong: largest change of brightness and contrast, in four of five crops
    blur: bool = True  # strong: half of the crops
    small_crops: Annotated[int, at_least(0)] = 6  # of the view, for methods that compare large crops with small ones
    small_area: AreaRange = (0.1, 0.33)
    small_side: UpToOne = 0.43  # of a large crop's side, as 96 pixels of 224


@dataclass(frozen=True)
class Optimization(CheckedSettings):
    """The optimizer and the course of its rate (MAEMC-NET: AdamW with these betas; the rest is not printed)."""

    optimizer: Literal["adamw", "sgd", "lars", "lamb"] = "adamw"
    momentum: BelowOne = 0.9  # of sgd and lars
    learning_rate: Positive = 3.75e-5
    schedule: Literal["cosine", "constant", "milestones"] = "cosine"
    warmup_fraction: BelowOne = 0.1  # of all steps, linear from zero
    milestones: tuple[int, ...] = ()  # epochs after which the rate falls tenfold
    weight_decay: NotNegative = 0.05
    betas: Annotated[
        tuple[float, ...],
        Bound("two numbers from 0 to below 1", lambda betas: len(betas) == 2 and all(0 <= beta < 1 for beta in betas)),
    ] = (0.9, 0.95)
    gradient_clip: Positive = 1.0  # largest l2 norm of the whole gradient
    layer_decay: UpToOne = 1.0  # the rate of each block relative to that of the block above it

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.schedule != "milestones" or bool(self.milestones),
            "The schedule 'milestones' needs milestones, for example milestones=40,70.",
        )


@dataclass(frozen=True, kw_only=True)
class Run(CheckedSettings):
    """The settings of every training, which the loop reads."""

    epochs: Count = 100
    batch: Count = 64
    # Micro-batches in which a batch passes, one after another: less memory; batch norms see a micro-batch.
    accumulation: Count = 1
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # auto: float32 on a processor
    seed: Annotated[int, Bound("at least 0 and below 2 ** 63", range(2**63).__contains__)] = 0
    log_every: Count = 10  # steps
    checkpoint_seconds: NotNegative = 300.0
    optimization: Optimization = field(default_factory=Optimization)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.accumulation <= self.batch,
            f"accumulation is {self.accumulation}; a batch of {self.batch} cannot pass in more micro-batches than it "
            "has samples.",
        )


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


def flatten(configuration: Any, prefix: str = "") -> dict[str, Any]:
    """A tree of dataclasses as dotted key -> value."""
    values: dict[str, Any] = {}
    for f in dataclasses.fields(configuration):
        value = getattr(configuration, f.name)
        values |= flatten(value, f"{prefix}{f.name}.") if dataclasses.is_dataclass(value) else {prefix + f.name: value}
    return values


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
    except ModelError as error:  # an architecture that nobody can build; no model is at fault
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
    if origin is types.UnionType:  # of a kind and None, the default
        return _parse(typing.get_args(kind)[0], text, key)
    if origin is tuple:
        inner = typing.get_args(kind)[0]
        return tuple(_parse(inner, part, key) for part in text.split(",") if part)
    if kind is bool:
        check(text.lower() in ("true", "false"), f"{key} is '{text}', but it has to be true or false.")
        return text.lower() == "true"
    if kind is str or origin is Literal:  # whose choices the settings check themselves
        return text
    names = {int: "a whole number", float: "a number"}
    try:
        value = kind(text)
    except (TypeError, ValueError):
        raise UsageError(f"{key} is '{text}', but it has to be {names.get(kind, kind)}.", "configuration") from None
    check(value == value and abs(value) != float("inf"), f"{key} is '{text}', but it has to be finite.")
    return value
