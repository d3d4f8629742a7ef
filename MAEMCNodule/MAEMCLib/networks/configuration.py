"""The shapes of the networks as plain values: a bundle's card stores them, a network is built from them. No torch."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import ArchitectureError

TILES = 5
"""Tiles along each side of a nodule's montage: 25 slices in row-major order."""
MIDDLE_SLICE = (TILES * TILES - 1) // 2
EMBEDDINGS = ("linear", "convolutional")
POSITIONS = {"1d": 2, "2d": 4, "3d": 8}
"""Each position code, with the number of which the width has to be a multiple."""

LARGEST = {
    "image_size": 2048,
    "patch_size": 2048,
    "width": 8192,
    "depth": 96,
    "heads": 128,
    "rounds": 16,
}
"""Far above any published network of the kind, and far below what would fill the memory on a stranger's word."""
LARGEST_TOKENS = 4096
LARGEST_MLP_RATIO = 16


def _check_positive_integers(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST[name]:
            raise ArchitectureError(
                f"The network's {name} is {value!r}, but it has to be a positive whole number of at most "
                f"{LARGEST[name]}. Correct the architecture settings.",
            )


def _check_blocks(owner: "EncoderConfiguration | DecoderConfiguration", position: str) -> None:
    _check_positive_integers(owner, "width", "depth", "heads")
    ratio = owner.mlp_ratio
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio <= LARGEST_MLP_RATIO:
        raise ArchitectureError(
            f"The network's mlp_ratio is {ratio!r}, but it has to be above 0 and at most {LARGEST_MLP_RATIO}.",
        )
    if owner.width % owner.heads:
        raise ArchitectureError(
            f"A width of {owner.width} cannot be shared by {owner.heads} attention heads. "
            "Choose a width that is a multiple of the heads.",
        )
    multiple = POSITIONS[position]
    if owner.width % multiple:
        raise ArchitectureError(
            f"A width of {owner.width} does not fit the {position} position code. Choose a multiple of {multiple}.",
        )


@dataclass(frozen=True)
class EncoderConfiguration:
    """A vision transformer for one-channel square montages; the defaults are MAEMC-NET's ViT-Large.

    Zhao et al. 2025, section 3.3: patches of 50 x 50 pixels on a 250 x 250 montage, so that one token is one CT slice.

    Raises ModelError where the values contradict each other.
    """

    image_size: int = 250  # pixels a side
    patch_size: int = 50  # pixels a side
    width: int = 1024
    depth: int = 24
    heads: int = 16
    mlp_ratio: float = 4.0
    # "1d": sine-cosine over the token index, as the paper's equations 1 and 2 print. "2d": rows and columns of the
    # grid of patches. "3d": slice, and row and column inside the slice, for patches smaller than a slice: what "1d" is
    # for whole slices, so that the same place in the neighboring slice is one step away everywhere in the montage.
    position: str = "1d"
    # How a patch becomes a token. "linear": by one linear map, as published. "convolutional": by a small convolutional
    # network shared by all slices; a patch is then a slice.
    embedding: str = "linear"
    # The slices that the network is shown, by their distance from the middle one in slices; empty: all 25. A network
    # that is shown a fixed few makes the same of a nodule whatever else of the CT there is.
    offsets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", tuple(self.offsets))  # JSON has lists
        if not isinstance(self.position, str) or self.position not in POSITIONS:
            raise ArchitectureError(
                f"The position code {self.position!r} is not known. Choose one of {', '.join(POSITIONS)}.",
            )
        _check_positive_integers(self, "image_size", "patch_size")
        _check_blocks(self, self.position)
        if self.image_size % self.patch_size:
            raise ArchitectureError(
                f"Patches of {self.patch_size} pixels do not fill an image of {self.image_size} pixels. "
                "Choose a patch size that divides the image size.",
            )
        if self.tokens > LARGEST_TOKENS:
            raise ArchitectureError(
                f"Patches of {self.patch_size} pixels make {self.tokens} tokens of an image of {self.image_size} "
                f"pixels; at most {LARGEST_TOKENS} are computed. Choose a larger patch size.",
            )
        if self.embedding not in EMBEDDINGS:
            raise ArchitectureError(
                f"The embedding {self.embedding!r} is not known. Choose one of {', '.join(EMBEDDINGS)}.",
            )
        if (self.embedding == "convolutional" or self.offsets) and self.grid != TILES:
            raise ArchitectureError(
                "Convolutional tokens and chosen slices need patches that are whole slices: a patch size of "
                f"{self.image_size // TILES} for images of {self.image_size} pixels.",
            )
        known = range(-MIDDLE_SLICE, MIDDLE_SLICE + 1)
        whole = all(type(offset) is int and offset in known for offset in self.offsets)
        if not whole or list(self.offsets) != sorted(set(self.offsets)):
            raise ArchitectureError(
                f"The slices {self.offsets} cannot be shown. Name each once, in order, from {known[0]} to {known[-1]}.",
            )
        if self.position == "3d" and self.grid % TILES:
            raise ArchitectureError(
                f"The 3d position code needs patches that lie within one of the montage's {TILES} x {TILES} slices, "
                f"but {self.grid} patches a side do not. Choose another patch size or position code.",
            )

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        """Patch tokens of one image, the class token not counted."""
        return self.grid**2

    @property
    def skips_unobserved(self) -> bool:
        """Whether slices outside the volume make no token; the published network is shown air there."""
        return self.embedding == "convolutional"

    @property
    def shown(self) -> tuple[int, ...]:
        """Indices of the patches that a classifier sees."""
        return tuple(MIDDLE_SLICE + offset for offset in self.offsets) or tuple(range(self.tokens))

    @property
    def patch_pixels(self) -> int:
        """Pixels of one patch: the length of a patch vector."""
        return self.patch_size**2


@dataclass(frozen=True)
class DecoderConfiguration:
    """The reconstruction decoder; the defaults are the published ones (Zhao et al. 2025, section 3.3: 8 blocks of 512).

    The number of heads is not printed; 16 is the value of the masked autoencoder that the paper builds on. The position
    code is the encoder's.
    """

    width: int = 512
    depth: int = 8
    heads: int = 16
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        _check_blocks(self, "3d")  # a width that serves every position code


@dataclass(frozen=True)
class BackboneFacts:
    """A published architecture that timm builds. tag: of its weights trained on ImageNet; multiple: the sides it takes
    are multiples of this; only: the one it takes; why: the reason, for people."""

    timm_name: str
    tag: str
    multiple: int = 1
    only: int | None = None
    why: str = ""

    @property
    def imagenet(self) -> str:
        """Where its weights trained on ImageNet are: a name on huggingface.co."""
        return f"timm/{self.timm_name}.{self.tag}"

    def nearest_side(self, wanted: int) -> int:
        """The side next to ``wanted`` that the backbone takes, in pixels; of two equally near the larger."""
        if self.only is not None:
            return self.only
        return max(32, (2 * wanted + self.multiple) // (2 * self.multiple) * self.multiple)


_HALVED = "it halves the image five times"
BACKBONES: dict[str, BackboneFacts] = {
    "resnet18": BackboneFacts("resnet18", "a1_in1k"),
    "resnet50": BackboneFacts("resnet50", "a1_in1k"),
    "swin": BackboneFacts("swin_tiny_patch4_window7_224", "ms_in1k", 32, why=_HALVED),
    "deit": BackboneFacts(
        "deit_small_distilled_patch16_224",
        "fb_in1k",
        16,
        why="its patches are 16 pixels wide",
    ),
    "levit": BackboneFacts(
        "levit_256",
        "fb_dist_in1k",
        only=224,
        why="its attention has one learned bias for each place of a 224 grid",
    ),
    "pvt-v2": BackboneFacts("pvt_v2_b2", "in1k", 32, why=_HALVED),
    "convnextv2": BackboneFacts("convnextv2_tiny", "fcmae_ft_in22k_in1k", 32, why=_HALVED),
    "convnextv2-atto": BackboneFacts("convnextv2_atto", "fcmae_ft_in1k", 32, why=_HALVED),
}
"""The backbones of the papers' tables besides the vision transformers of ``EncoderConfiguration``."""


@dataclass(frozen=True)
class BackboneConfiguration:
    """A timm backbone for one-channel square images. Raises ModelError: an unknown name, a side it does not take."""

    backbone: str
    image_size: int = 250  # pixels a side
    # "small": a 3 x 3 first convolution of stride 1 in the place of a ResNet's 7 x 7 of stride 2 (ModAn-MulSupCon).
    stem: str = "standard"
    skips_unobserved: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.backbone, str) or self.backbone not in BACKBONES:
            raise ArchitectureError(f"There is no backbone '{self.backbone}'. Choose one of {', '.join(BACKBONES)}.")
        _check_positive_integers(self, "image_size")
        facts = BACKBONES[self.backbone]
        nearest = facts.nearest_side(self.image_size)
        if nearest != self.image_size:
            raise ArchitectureError(
                f"The backbone {self.backbone} takes no images of {self.image_size} pixels"
                f"{': ' + facts.why if facts.why else ''}. The nearest side is {nearest}.",
            )
        if self.stem not in ("standard", "small") or (self.stem == "small" and "resnet" not in self.backbone):
            raise ArchitectureError(
                f"The backbone {self.backbone} has no stem '{self.stem}'. ResNets have 'standard' and 'small', the "
                "others 'standard'.",
            )


AnyEncoderConfiguration = EncoderConfiguration | BackboneConfiguration


def encoder_configuration(values: dict[str, Any]) -> AnyEncoderConfiguration:
    """The configuration that a card or a job stores. Raises ModelError for settings that this version does not know."""
    return _configuration(BackboneConfiguration if "backbone" in values else EncoderConfiguration, "encoder", values)


def decoder_configuration(values: dict[str, Any]) -> DecoderConfiguration:
    """As ``encoder_configuration``."""
    return _configuration(DecoderConfiguration, "decoder", values)


def _configuration(kind: type, part: str, values: dict[str, Any]) -> Any:
    try:
        return kind(**values)
    except TypeError as error:
        raise ArchitectureError(
            f"The {part}'s settings are unknown to this version ({values}). Update MAEMC."
        ) from error


CLINICAL = "clinical"
"""Name of the branch of a fusion graph that holds all clinical values together."""
LARGEST_BRANCHES = 32
LARGEST_CHOICES = 1000


@dataclass(frozen=True)
class GraphConfiguration:
    """The fusion graph. branches: names of the image branches. attributes: for each clinical value the number of its
    choices, 0 for a number. width: of a node's vector. rounds: of message passing.

    Raises ModelError for values that make no sense.
    """

    branches: tuple[str, ...]
    attributes: tuple[int, ...] = ()
    width: int = 64
    rounds: int = 2

    def __post_init__(self) -> None:
        sizes = ((name, getattr(self, name)) for name in ("width", "rounds"))
        good = (
            0 < len(self.branches) <= LARGEST_BRANCHES
            and all(isinstance(name, str) and name for name in self.branches)
            and len(set(self.branches)) == len(self.branches)
            and CLINICAL not in self.branches
            and all(isinstance(count, int) and 0 <= count <= LARGEST_CHOICES for count in self.attributes)
            and all(type(value) is int and 0 < value <= LARGEST[name] for name, value in sizes)
        )
        if not good:
            raise ArchitectureError(f"The fusion graph's settings contradict themselves: {self}.")


PRESETS: dict[str, tuple[EncoderConfiguration, DecoderConfiguration]] = {
    # As published: 304.9 million parameters with the two-class layer.
    "vit-large": (EncoderConfiguration(), DecoderConfiguration()),
    # Table 5's smaller transformer: 86.5 million parameters.
    "vit-base": (EncoderConfiguration(width=768, depth=12, heads=12), DecoderConfiguration()),
    # Slices as tokens of a small convolutional network: learns from a thousand nodules on a processor.
    "slices": (
        EncoderConfiguration(width=128, depth=2, heads=4, embedding="convolutional"),
        DecoderConfiguration(width=128, depth=2, heads=4),
    ),
    # The same design for a laptop's processor, and small enough for five fold members and the autoencoder in one
    # download. Patches of a quarter slice, so that masks and attention maps resolve places inside a slice;
    # in single trials on the phantom whole slices told its classes about as well, and faster. The 3d position code,
    # because masked reconstruction finds the neighboring slices far sooner with it.
    "tiny": (
        EncoderConfiguration(patch_size=25, width=112, depth=4, heads=4, position="3d"),
        DecoderConfiguration(width=128, depth=2, heads=4),
    ),
}
