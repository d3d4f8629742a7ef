"""Does this input look like what the model was trained on? Colors a result; never hides it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from .errors import ModelError

LARGEST_MM = 1000
GATES = ("green", "grey", "amber", "red")
"""The colors, the worst last; grey: something could not be checked."""


@dataclass(frozen=True)
class Limits:
    """Where a model is at home; stored in its bundle under ``applicability``.

    The diameter range is that of the training nodules. 3 mm slices are those of the published data (Zhao et al. 2025,
    2.31 +/- 0.71 mm); the other limits are this project's proposals.
    """

    smallest_diameter_mm: float = 7.0
    largest_diameter_mm: float = 30.0
    slice_spacing_amber_mm: float = 3.0
    slice_spacing_red_mm: float = 5.0
    padded_amber: float = 0.25
    padded_red: float = 0.5

    def __post_init__(self) -> None:
        """Raises ModelError for limits that no nodule, scan or region could lie between."""
        sizes = 0 < self.smallest_diameter_mm <= self.largest_diameter_mm <= LARGEST_MM
        slices = 0 < self.slice_spacing_amber_mm <= self.slice_spacing_red_mm <= LARGEST_MM
        if not (sizes and slices and 0 <= self.padded_amber <= self.padded_red <= 1):
            raise ModelError(f"The model's limits make no sense: {asdict(self)}. Get the model again.", "schema")


@dataclass(frozen=True)
class Finding:
    """What was noticed of an input. color: one of GATES. code: a word for programs. message: a sentence for people."""

    color: str
    code: str
    message: str


def gate_of(findings: Sequence[Finding]) -> tuple[str, tuple[str, ...]]:
    """The worst color of an input's findings, and the codes behind it, each once; none of green."""
    gate = max((finding.color for finding in findings), key=GATES.index, default="green")
    return gate, tuple(dict.fromkeys(finding.code for finding in findings if finding.color == gate != "green"))
