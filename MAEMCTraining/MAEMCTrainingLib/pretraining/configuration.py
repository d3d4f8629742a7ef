"""The settings of a pre-training run."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from MAEMCLib.networks.configuration import AnyEncoderConfiguration, DecoderConfiguration

from ..engine.configuration import (
    PAPER_VIEWS,
    Augmentation,
    Count,
    PictureAugmentation,
    Run,
    ZeroToOne,
    at_least,
    check,
)


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
