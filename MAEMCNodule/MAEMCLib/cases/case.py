"""One case: its name, its patient, its image and its further values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..images.ct import CTVolume
from ..images.gray import Pixels


@dataclass(frozen=True)
class Case:
    """A row of a manifest, what a command line names, or a point in a scene.

    image: absolute path of a file or DICOM folder; or the volume or picture itself, where it is in memory already.
    kind: "nodule", "slice" or "image". label: 0 benign, 1 malignant, None unknown. point_lps: the nodule's point in LPS
    mm (None for kinds without one). values: further values by name: the other columns of a manifest as text; a volume
    for a further series that is in memory. problem: why the case cannot be used, where it was read leniently; empty for
    a sound one. nodule_id: which nodule of the case it is, where it is to be scored.
    """

    case_id: str
    patient_id: str
    image: Path | CTVolume | Pixels
    kind: str = "nodule"
    label: int | None = None
    split: str | None = None
    diameter_mm: float | None = None
    point_lps: tuple[float, float, float] | None = None
    values: Mapping[str, str | CTVolume] = field(default_factory=dict)
    problem: str = ""
    nodule_id: str = ""

    @property
    def series(self) -> str | None:
        """The series that is meant of a DICOM folder with several, from the column series or series_uid."""
        return self.values.get("series") or self.values.get("series_uid") or None
