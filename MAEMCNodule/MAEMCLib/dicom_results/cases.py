"""The DICOM results of scored cases whose images are files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .. import __version__
from ..cases.case import Case
from ..errors import UNREADABLE, InputError, input_error
from ..files.atomic import file_sha256
from ..images.ct import CTVolume
from ..images.reading_process import ReadingProcess
from ..machine.terminal import visible
from ..measures.measures import measure
from ..measures.segment import NEAR_MM, mask_near
from ..models.card import ModelCard
from ..results import NoduleResult
from ..scoring import fingerprint
from .nodule import Outline, ReportedNodule
from .source import SourceSeries, read_source
from .writing import write_nodule


class CaseWriter:
    """Writes the DICOM results of cases into folders below ``folder``; each series is read once for the cases that come
    after each other. say: takes what people should know. ``with`` ends what reads the images."""

    def __init__(self, folder: Path, card: ModelCard, nifti_form: str | None, say: Callable[[str], None]) -> None:
        self._folder, self._card, self._nifti_form, self._say = folder, card, nifti_form, say
        self._reader = ReadingProcess(nifti_form)
        self._of: tuple[Path, str | None] | None = None
        self._source: SourceSeries | None = None

    def __enter__(self) -> CaseWriter:
        return self

    def __exit__(self, *error) -> None:
        self._reader.close()

    def write(self, case: Case, result: NoduleResult, number: int, name: str, segment: Path | None = None) -> bool:
        """Whether the case's results stand in a folder that begins with ``name``; what keeps them from it is said.

        number: of the nodule among those of its CT, from 1. segment: a volume file that is 0 outside of nodules;
        without it, or where it holds nothing near the point, there is a report about the point alone.
        """
        called = visible(f"{case.case_id} {result.nodule_id}".strip())
        try:
            source = self._series(case)
            if fingerprint(case, self._card, self._nifti_form).whole != result.input_sha256:
                raise InputError("The image changed after it was scored. Run the command again.", "image-changed")
            volume = self._reader.volume(case.image, case.series)
            outline = None if segment is None else self._outline(volume, result, segment)
            nodule = ReportedNodule(result, self._card, number, outline)
            written = write_nodule(self._folder, name, source, nodule, volume)
        except UNREADABLE as error:
            known = input_error(error, "The DICOM results cannot be written").hide(case.image)
            self._say(f"{called}: no DICOM results. {known}")
            return False
        if outline is None:
            why = "no segment was given" if segment is None else f"the segment holds nothing within {NEAR_MM:g} mm"
            self._say(f"{called}: {why}, so its DICOM report holds the point and the score, and no measures.")
        if not written.new:
            self._say(f"{called}: the same DICOM results stood there already and were left as they are.")
        return True

    def _series(self, case: Case) -> SourceSeries:
        if self._source is None or self._of != (case.image, case.series):
            self._source = None
            self._source = read_source(case.image, case.series)
            self._of = case.image, case.series
        return self._source

    def _outline(self, volume: CTVolume, result: NoduleResult, segment: Path) -> Outline | None:
        found = self._reader.further(segment)
        mask = mask_near(found, result.point_lps)
        if mask is None:
            return None
        made = ("segment SHA-256: " + file_sha256(segment), "part nearest to the reader's point")
        return Outline(mask, measure(volume, mask), "Segment given as a file", __version__, parameters=made)
