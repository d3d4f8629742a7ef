"""What every kind of picture answers: how it is cut into a cache, and what training sees of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from MAEMCLib.cases.case import Case
from MAEMCLib.images.ct import ReadingRemark
from MAEMCLib.images.reading_process import ReadingProcess

from ..cases import SourceCase, StoredCase, single_cases

VIEWS = {
    "one": "one image: the axial montage, or a light view of a picture",
    "pair": "axial and coronal montage of a nodule, or two strong crops of a picture",
    "shifted": "the same image twice, a little shifted",
    "multi-crop": "a pair and small crops",
}
Content = Callable[[Path, str | None], str]
"""The hash of the contents of an image's files; of a folder, of one series."""


@dataclass(frozen=True)
class Cut:
    """What was cut of a case. array: what is stored, None where nothing could be read. facts: of the kind's ``Facts``.

    sha256: of the content alone, where the stored file holds more; None: that of the file. left_out: rows of the case
    that could not be read, each with its number in the manifest and the error. remarks: what reading noticed, each with
    the row's number.
    """

    array: np.ndarray | None
    facts: Any
    sha256: str | None = None
    left_out: tuple[tuple[Case, int, Exception], ...] = ()
    remarks: tuple[tuple[int, ReadingRemark], ...] = ()


class Cases(Protocol):
    """What a kind asks of a cohort. settings: of the kind's ``Settings``. cases: in order."""

    settings: Any
    cases: list[StoredCase]

    def __len__(self) -> int: ...

    def array(self, index: int) -> np.ndarray:
        """What is stored of one case, mapped and not read."""
        ...


class Presentation(ABC):
    """What training sees of cases: views for a pre-training method, augmented images for a classifier, and the plain
    images that scoring would see. Every draw is keyed by seed, epoch and sample.

    planes: names of what a case's features are kept of. samples_per_view: how many samples one view of all makes; as
    long as a kind says nothing else, each case is one. augmentation, preprocessing: of the kind's classes. side: the
    encoder's, in pixels.
    """

    planes: tuple[str, ...]

    def __init__(self, cohort: Cases, augmentation: Any, preprocessing: Any, side: int) -> None:
        self.cohort, self.augmentation, self.preprocessing, self.side = cohort, augmentation, preprocessing, side
        self.samples_per_view = len(cohort.cases)

    def case_of(self, item: int) -> int:
        """The case of one of the ``samples_per_view``."""
        return item

    @abstractmethod
    def views(
        self, kind: str, item: int, seed: int, epoch: int, sample: int, number: int
    ) -> tuple[list[np.ndarray], float]:
        """Images (S, S) float32 of a kind in ``VIEWS``, and the padded share. number: of the view among the item's."""

    @abstractmethod
    def training_image(self, case: int, plane: int, seed: int, epoch: int, sample: int) -> tuple[np.ndarray, float]:
        """(S, S) float32, augmented, and the padded share. sample: what its view is drawn by; equal for branches of a
        case that are to see the same one."""

    @abstractmethod
    def plain(self, case: int) -> np.ndarray:
        """(images, S, S) float32 without augmentation: both planes of a nodule, or all pictures of a case at all angles
        that scoring shows them at."""

    def lesion(self, item: int, seed: int, epoch: int, sample: int) -> np.ndarray | None:
        """(S, S) bool: where the lesion lies in the first of the views "one"; None where none is marked."""
        return None

    def lesions(self) -> list[np.ndarray]:
        """(S, S) bool of each image with a marked lesion, seen without augmentation."""
        return []

    def upright(self) -> Presentation:
        """The same, with every plain image at one angle."""
        return self


class Kind(ABC):
    """A kind of picture. Modules of this folder that have one as ``KIND`` are found by listing the folder.

    name: as cards, jobs and caches store it. title: as messages name it. rows: the kinds of a manifest's rows.
    Settings: how it is cut, one for a whole cache. Facts: what a cache's index further holds of a case. Augmentation,
    Preprocessing: the classes of its settings. shown_as: what training sees of a cohort. marks_lesions: whether a case
    can have a mask of its lesion. worth_a_pool: from how many groups on it pays to start processes.
    """

    name: str
    title: str
    rows: tuple[str, ...]
    Settings: type
    Facts: type
    Augmentation: type
    Preprocessing: type
    shown_as: type[Presentation]
    marks_lesions = False
    worth_a_pool = 500

    def source_cases(self, rows: Sequence[Case], folder: Path) -> list[SourceCase]:
        """The cases of a manifest's rows. folder: the manifest's. Raises InputError."""
        return single_cases(rows)

    def group(self, case: SourceCase) -> Hashable:
        """Cases with an equal group are read together."""
        return case.case_id

    @abstractmethod
    def signature(self, case: SourceCase, content: Content) -> str:
        """Of all that decides what is cut of a case: equal means that it need not be cut again."""

    def facts(self, values: dict[str, Any]) -> Any:
        """``Facts`` from what JSON holds of them, tuples as lists."""
        return self.Facts(
            **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        )

    @abstractmethod
    def read(self, case: SourceCase, reader: ReadingProcess) -> Any:
        """What the cases of a group share, read once. Raises InputError."""

    @abstractmethod
    def cut(self, shared: Any, case: SourceCase, settings: Any) -> Cut:
        """Cut one case. shared: of ``read``. Raises InputError where nothing of it can be used."""

    @abstractmethod
    def unstandardized(
        self, cohort: Cases, augmentation: Any, side: int, skip_unobserved: bool
    ) -> tuple[Any, Callable[[int], np.ndarray]]:
        """The preprocessing before mean and deviation are known, and a case's plain images under it. skip_unobserved:
        what the images would show outside their source is NaN, where a kind knows it."""

    @abstractmethod
    def scored(self, cohort: Cases, index: int) -> list[Any]:
        """What scoring sees of a stored case, one or several images, as a predictor takes them."""

    def cohort_facts(self, cohort: Cases) -> dict[str, Any]:
        """What a job keeps of its data, beyond what it keeps of every kind."""
        return {}

    def cache_line(self, cases: Sequence[StoredCase]) -> str:
        """What the command ``cache`` says of a cache beside its counts."""
        return ""
