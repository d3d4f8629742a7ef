"""The interface of a kind of input, and a case that is ready for the network."""

from abc import ABC, abstractmethod
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from ..applicability import Finding, Limits
from ..cases.case import Case
from ..cases.values import ClinicalField, ClinicalValues
from ..errors import ModelError, UsageError
from ..measures.field import Field
from ..networks.configuration import AnyEncoderConfiguration
from ..presence.patch import Patch
from ..results import NoduleResult
from .jitter import Margin

NOBODY = Case("", "", Path())


class Region(Protocol):
    """What of a case is shown to a network. point_lps: LPS mm, None where it has no place in the patient.
    padded_fraction: share of it that lies outside the image."""

    point_lps: tuple[float, float, float] | None
    padded_fraction: float


class Model(Protocol):
    """What an input needs of a model's card, ``models.card.ModelCard``, which knows its kind of input."""

    id: str
    clinical: Sequence[ClinicalField]
    preprocessing: Any
    limits: Limits
    training_distances: Sequence[float]
    encoder: AnyEncoderConfiguration
    fusion: str
    quick: bool


@dataclass(frozen=True)
class Prepared:
    """A case ready for the network: its region, the values beside the image, and what was noticed of both.

    field: of a nodule's CT, what it is outlined in; None where there is nothing to outline. patch: what tells whether
    there is a nodule at all. margin: what is seen of it from beside the point. None where there are none.
    """

    region: Region
    values: ClinicalValues = dataclass_field(default_factory=ClinicalValues)
    case: Case = NOBODY
    findings: tuple[Finding, ...] = ()
    field: Field | None = None
    patch: Patch | None = None
    margin: Margin | None = None


class Input(ABC):
    """A kind of input. A new one overrides what it does otherwise, and at least what has no answer here.

    name: what a card's "input" says. noun: of one case, in tables. described: of several, in messages. title: of a
    report. located: whether a case has a place in the patient, and its image may be several files.
    sliced: whether a case may be a slice of a volume; ``slice_of(case)`` is then its number, None where it is the whole
    of its image. tiled: whether neighbors in its images may lie apart in the case. measured: whether its maps are shown
    with their sanity figures. planes: for each "fusion" of a card the images of a case that the network sees.
    settings: the class of a card's "preprocessing". array_names, further_arrays: of what ``arrays`` gives, and what of
    it ``region`` does without.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    described: ClassVar[str]
    title: ClassVar[str]
    located: ClassVar[bool] = False
    sliced: ClassVar[bool] = False
    tiled: ClassVar[bool] = False
    measured: ClassVar[bool] = False
    planes: ClassVar[Mapping[str, tuple[str, ...]]]
    settings: ClassVar[type]
    array_names: ClassVar[tuple[str, ...]]
    further_arrays: ClassVar[tuple[str, ...]] = ()

    def cases(self, arguments: Namespace, card: Model, notice: Callable[[str], None]) -> list[Case]:
        """The cases that a command line names: here its image alone. notice: receives a message about each point of a
        file that is skipped. Raises UsageError for an option that does not go with the input."""
        for name in ("point", "points", "series", "clinical"):
            if getattr(arguments, name, None):
                raise UsageError(
                    f"The model {card.id} scores {self.described}: --{name} does not go with it. Leave it out, or "
                    "choose another model with --model."
                )
        return [Case("", "", Path(arguments.image), self.name, nodule_id=f"{self.noun[0].upper()}1")]

    def check(self, case: Case) -> None:
        """Raise InputError for a case that cannot be scored, whatever its image holds."""

    def groups(self, cases: list[Case]) -> list[list[Case]]:
        """The cases that are scored together."""
        return [[case] for case in cases]

    @abstractmethod
    def prepare(
        self, case: Case, card: Model, values: ClinicalValues, reader: Any = None, beside: bool = True
    ) -> Prepared:
        """Read a case and assess its fitness for the model. beside: False leaves out what its number does not need.

        Raises InputError for one that cannot be scored.
        """

    def check_side(self, settings: Any, side: int, model: str) -> None:
        """Raise ModelError where images of these settings do not fit a network that takes ``side`` pixels."""

    def limits(self, card: Model) -> dict[str, str]:
        """What the model takes of the input, by a heading for its card."""
        return {}

    def observes(self, region: Any, plane: str, card: Model) -> bool:
        """Whether there is anything in a plane of what the model is shown."""
        return True

    @abstractmethod
    def images(self, region: Any, plane: str, settings: Any, side: int) -> np.ndarray:
        """(views, side, side) float32 network input: all that a network is shown of a plane, the first one upright.
        Raises InputError."""

    @abstractmethod
    def synthetic(self, number: int) -> Region:
        """A region drawn by whole-number arithmetic, alike on every machine: a model's reference case. number: of
        several regions of one case. Another drawing needs another name than ``reference_case.CASE``."""

    @abstractmethod
    def arrays(self, region: Any, settings: Any) -> dict[str, np.ndarray]:
        """What of a region a worker in another process needs, float32 or int16."""

    @abstractmethod
    def region(self, arrays: Mapping[str, np.ndarray]) -> Region:
        """Inverse of ``arrays``."""

    def unfolded(self, image: np.ndarray) -> np.ndarray:
        """(side, side) of the network -> the geometry of the region."""
        return image

    @abstractmethod
    def restored(self, image: np.ndarray, settings: Any) -> np.ndarray:
        """(side, side) network input or its reconstruction -> the input's own unit, within what the settings show."""

    def figures(self, result: NoduleResult, case: Prepared, explanation: Any) -> dict[str, Any]:
        """The matplotlib figures that explain a row in a report, by name. explanation: as
        ``explain.explanation.explain`` makes it."""
        return {}

    def draw(self, folder: Path, result: NoduleResult, case: Prepared, explanation: Any) -> list[Path]:
        """Write what goes with a row into a folder; returns the figures for the report. explanation: as in
        ``figures``."""
        return []

    def write(self, folder: Path, result: NoduleResult, case: Prepared, explanation: Any) -> list[str]:
        """Write all of an explanation into a folder; returns what there is to say about it."""
        for name, _, array in explanation.files():
            np.save(folder / f"{name}.npy", array)
        return [f"{explanation.attention_kind}: where the classifier looks."]


SMALLEST_STD = 1e-3


def check_numbers(settings: Any) -> None:
    if not all(isinstance(value, int | float) and np.isfinite(value) for value in asdict(settings).values()):
        raise ModelError(f"The preprocessing settings are not all finite numbers: {asdict(settings)}.")


def check_standardization(mean: float, std: float) -> None:
    """Raises ModelError for a mean and a deviation that gray values in [0, 1] cannot have."""
    if not (0 <= mean <= 1 and SMALLEST_STD <= std <= 1):
        raise ModelError(
            f"Gray values between 0 and 1 have no mean of {mean:g} and deviation of {std:g}; the preprocessing "
            "settings are wrong.",
            "standardization",
        )
