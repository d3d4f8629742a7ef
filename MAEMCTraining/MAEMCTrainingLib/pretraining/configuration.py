"""The settings of a pre-training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration, EncoderConfiguration

from ..engine.configuration import PAPER_VIEWS, Augmentation, Optimization, PictureAugmentation, check, check_run


@dataclass(frozen=True)
class PretrainingConfiguration:
    """A pre-training run. ``settings`` are the method's own, a frozen dataclass of its class."""

    method: str
    settings: Any
    encoder: EncoderConfiguration | BackboneConfiguration
    decoder: DecoderConfiguration
    epochs: int = 100
    batch: int = 64
    views_per_case: int = PAPER_VIEWS  # presentations of each case in an epoch: epochs as long as the published ones
    accumulation: int = 1  # shares in which a batch passes, one after another: less memory; batch norms see a share
    # Share of the patches that a marked lesion touches which masks leave visible; 0: masks know nothing of lesions.
    min_visible_lesion: float = 0.0
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # auto: float32 on a processor
    seed: int = 0
    log_every: int = 10  # steps
    checkpoint_seconds: float = 300.0
    preview_epochs: int = 10  # epochs from one preview to the next; the first and the last are always drawn; 0: none
    augmentation: Augmentation | PictureAugmentation = field(default_factory=Augmentation)
    optimization: Optimization = field(default_factory=Optimization)

    def __post_init__(self) -> None:
        check_run(self)
        check(self.preview_epochs >= 0, f"preview_epochs is {self.preview_epochs}; choose 0 (none) or more.")
        check(0 <= self.min_visible_lesion <= 1, f"min_visible_lesion is {self.min_visible_lesion}; choose 0 to 1.")
        check(self.views_per_case >= 1, f"views_per_case is {self.views_per_case}; it has to be at least 1.")
        check(
            not _is_paper(self.augmentation) or self.views_per_case == PAPER_VIEWS,
            f"The paper's augmentation has {PAPER_VIEWS} views of each case, but views_per_case is "
            f"{self.views_per_case}.",
        )


def _is_paper(augmentation: Augmentation | PictureAugmentation) -> bool:
    return isinstance(augmentation, Augmentation) and augmentation.mode == "paper"
