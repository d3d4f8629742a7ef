"""The DICOM objects of a nodule in a folder of their own, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, MAEMCError, UsageError, input_error
from ..images.ct import CTVolume
from ..machine.installation import check_packages
from ..models.card import ModelCard
from .nodule import SOFTWARE, ReportedNodule
from .source import SourceSeries

if TYPE_CHECKING:
    from pydicom import Dataset

SEGMENTATION, REPORT, CAPTURE = "segmentation.dcm", "report.dcm", "capture.dcm"


@dataclass(frozen=True)
class WrittenNodule:
    """folder: of the files. new: False where the same result was written there before, and stays as it is."""

    folder: Path
    new: bool

    @property
    def report(self) -> Path:
        """What ``accepting.accept`` takes."""
        return self.folder / REPORT


def check_writable(card: ModelCard) -> None:
    """Raise UsageError before anything is scored: highdicom is missing, or the model's results have no place in the
    report."""
    check_packages("highdicom", extra="dicom")
    if not card.kind.located:
        raise UsageError(
            f"The model {card.id} scores {card.kind.described}: DICOM results are written of nodules in a CT. Leave "
            "--dicom-sr out, or choose another model with --model."
        )
    if len(card.classes) != 2:
        raise UsageError(
            f"The model {card.id} tells {len(card.classes)} classes apart, and the DICOM report holds one probability "
            "of malignancy. Leave --dicom-sr out, or choose another model with --model."
        )


def write_nodule(
    folder: Path, name: str, source: SourceSeries, nodule: ReportedNodule, volume: CTVolume
) -> WrittenNodule:
    """Write report, capture and, with an outline, segmentation into ``folder/NAME-HASH``. volume: what was scored.

    The hash is that of the result, its outline and the software: another result gets another folder, and what was
    written before, accepted reports included, is never touched. The same result is not written twice.
    Raises InputError: source and volume do not belong together, no measures there, a folder that cannot be written.
    """
    target = folder / f"{name}-{_hash(source, nodule)[:8]}"
    if target.is_dir():
        return WrittenNodule(target, False)
    source.check(volume)
    try:
        with _silence():
            made = _objects(source, nodule, volume)
            _write(target, made)
    except OSError as error:
        if target.is_dir():  # another process has written it meanwhile
            return WrittenNodule(target, False)
        raise InputError(
            f"The DICOM results could not be written in {folder} ({error.strerror or 'the disk did not take all of it'}"
            "). What was there before is unchanged; free space or correct the rights, then run the command again.",
            "not-written",
            [folder],
        ) from error
    except MAEMCError:
        raise
    except Exception as error:  # a header that DICOM's rules forbid to write again: highdicom raises what it pleases
        raise input_error(error, "The DICOM results cannot be made of this series") from error
    return WrittenNodule(target, True)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What highdicom remarks on names and dates would print them."""
    log = logging.getLogger("highdicom")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


def _objects(source: SourceSeries, nodule: ReportedNodule, volume: CTVolume) -> dict[str, Dataset]:
    from .capture import capture
    from .report import report
    from .segmentation import segmentation

    segments = None if nodule.outline is None else segmentation(source, nodule)
    made = {REPORT: report(source, nodule, segments), CAPTURE: capture(source, nodule, volume)}
    return made if segments is None else {SEGMENTATION: segments, **made}


def _write(target: Path, made: dict[str, Dataset]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".part", dir=target.parent) as folder:
        whole = Path(folder, target.name)
        whole.mkdir()
        for name, data in made.items():
            with (whole / name).open("wb") as stream:
                data.save_as(stream, enforce_file_format=True)
                stream.flush()
                os.fsync(stream.fileno())
        os.rename(whole, target)


def _hash(source: SourceSeries, nodule: ReportedNodule) -> str:
    result, outline = nodule.result, nodule.outline
    stated = [SOFTWARE, source.first.SeriesInstanceUID, nodule.tracked_in(source.first.StudyInstanceUID)]
    stated += [result.nodule_id, nodule.card.sha256, str(result.input_sha256), f"{result.probability:.6f}"]
    stated += [str(result.gate), result.spread_text]
    found = hashlib.sha256("\n".join(stated).encode())
    if outline is not None:
        found.update("\n".join((outline.algorithm, outline.version, *outline.parameters)).encode())
        found.update(outline.mask.array.tobytes() + outline.mask.affine.round(6).tobytes())
        found.update(repr(outline.mask.array.shape).encode())
    return found.hexdigest()
