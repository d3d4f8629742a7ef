"""Writing a phantom data set: synthetic CTs with benign-like and malignant-like nodules, and their manifest.

``case`` draws what is written here.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import write_manifest
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.atomic import file_sha256, make_folder, read_json, write_json
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCLib.machine.child_processes import computed

from .case import CasePlan, PhantomConfiguration, plan_case, render_mask, render_volume
from .prior import PriorConfiguration, plan_prior

GENERATOR = 4
"""Raised whenever the same seed draws other images: data sets of two generators are not to be mixed."""


def write_phantom(
    folder: str | Path,
    cases: int,
    seed: int = 0,
    grade: str = "matched",
    dicom: bool = False,
    field: str = "nodule",
    processes: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    prior: PriorConfiguration | None = None,
) -> Path:
    """Write a phantom of ``cases`` cases and return the path of its ``manifest.csv``.

    folder: gets ``images/`` (one NRRD a case, or one folder of DICOM slices a case with ``dicom``; the first DICOM case
    is oblique), ``manifest.csv``, and ``phantom.json`` with the settings and each case's SHA-256.
    grade: "matched" or "easy". field: "nodule" (84 x 84 x 76 mm around the nodule) or "region" (56 mm a side: what
    models see). processes: how many write at a time; the result does not depend on it.
    progress: called with (CTs done, CTs).
    prior: where given, a CT some time earlier is written for each case too, as a case ``...-prior`` of the same
    patient, and the masks of both (``masks/``, NRRD, the nodule without its strands). In the manifest ``mask`` names
    them, and ``prior_case_id``, ``days_since_prior`` and ``growth`` of a case link it with its prior.

    Run again with the same settings it continues: cases whose content still has its hash are left as they are, damaged
    or missing ones are written anew, and ``cases`` may grow. Raises UsageError for settings that are none or differ
    from those in the folder, InputError where the folder cannot be written.
    """
    configuration = PhantomConfiguration(cases, seed, grade, field)
    folder = Path(folder).absolute()
    settings = {"generator": GENERATOR, **asdict(configuration), "dicom": dicom}
    del settings["cases"]
    if prior is not None:
        settings |= {"prior_days": prior.days, "growth": prior.growth}
    record = folder / "phantom.json"
    hashes = _known_hashes(record, settings)
    make_folder(folder / "images")
    plans = list(_plans(configuration, dicom, prior))
    jobs = [_job(folder, plan, dicom, prior) for plan in plans]
    left = [job for job in jobs if hashes.get(job.plan.case_id, "") != job.content_hash()]
    in_children = processes > 1 and len(left) >= 4  # starting a process costs more than a few cases
    written = computed(_write_case, left, processes) if in_children else map(_write_case, left)
    for done, (name, digest) in enumerate(written, len(jobs) - len(left) + 1):
        hashes[name] = digest
        write_json(record, {**settings, "sha256": dict(sorted(hashes.items()))})
        progress(done, len(jobs))
    return write_manifest(folder / "manifest.csv", [_row(job, prior) for job in jobs])


@dataclass(frozen=True)
class _Job:
    """A CT to be written: as a folder of DICOM slices or as a file; mask: where that of its nodule goes, if it does."""

    plan: CasePlan
    image: Path
    dicom: bool
    mask: Path | None

    def content_hash(self) -> str | None:
        """SHA-256 of what was written; None where something is missing."""
        digests = [_content_hash(path) for path in (self.image, self.mask) if path is not None]
        if None in digests:
            return None
        return digests[0] if self.mask is None else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _plans(configuration: PhantomConfiguration, dicom: bool, prior: PriorConfiguration | None) -> Iterator[CasePlan]:
    """Each case, and after it its prior."""
    for index in range(configuration.cases):
        plan = plan_case(index, configuration, oblique=dicom and index == 0)
        yield plan
        if prior is not None:
            yield plan_prior(plan, index, configuration.seed, configuration.field, prior)


def _job(folder: Path, plan: CasePlan, dicom: bool, prior: PriorConfiguration | None) -> _Job:
    image = folder / "images" / (plan.case_id if dicom else f"{plan.case_id}.nrrd")
    return _Job(plan, image, dicom, None if prior is None else folder / "masks" / f"{plan.case_id}.nrrd")


def _known_hashes(record: Path, settings: dict) -> dict[str, str]:
    if not record.exists():
        return {}
    stored = read_json(record, "The phantom's record")
    if not isinstance(stored, dict) or not isinstance(stored.get("sha256"), dict):
        raise InputError(f"{record} is no record of a phantom. Choose an empty folder.", "unreadable-json")
    hashes = stored["sha256"]
    names = [*settings, *(name for name in stored if name not in settings and name != "sha256")]
    differing = [
        f"{name} {stored.get(name)} and not {settings.get(name)}"
        for name in names
        if stored.get(name) != settings.get(name)
    ]
    if differing:
        raise UsageError(
            f"{record.parent} holds a phantom of other settings ({', '.join(differing)}). "
            "Choose an empty folder, or the same settings to continue."
        )
    return hashes


def _write_case(job: _Job) -> tuple[str, str]:
    """Render and write one case; it is there whole or not at all."""
    volume = render_volume(job.plan)
    if job.dicom:
        _write_series(job.plan, volume, job.image)
    else:
        write_volume(volume, job.image)
    if job.mask is not None:
        write_volume(render_mask(job.plan), job.mask)
    return job.plan.case_id, job.content_hash()


def _write_series(plan: CasePlan, volume: CTVolume, folder: Path) -> None:
    """Write the slices into a folder beside the right one, then move it there."""
    from .dicom import write_series

    temporary = folder.with_name(f".{os.getpid()}.{folder.name}")
    try:
        write_series(plan, volume, temporary)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    except OSError as error:
        raise InputError(
            f"{folder} could not be written ({error.strerror}). Free space, then run the same command: it continues.",
            "not-written",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _content_hash(path: Path) -> str | None:
    """SHA-256 of a file, or of a folder's files in the order of their names; None where there is neither."""
    if path.is_file():
        return file_sha256(path)
    if not path.is_dir():
        return None
    total = hashlib.sha256()
    for file in sorted(path.iterdir()):
        total.update(f"{file.name} {file_sha256(file)}\n".encode())
    return total.hexdigest()


def _row(job: _Job, prior: PriorConfiguration | None) -> Case:
    plan, values = job.plan, {}
    if job.mask is not None:
        values["mask"] = str(job.mask)
        if plan.earlier is None:
            values["prior_case_id"] = f"{plan.case_id}-prior"
            values |= {"days_since_prior": str(prior.days), "growth": f"{prior.growth:g}"}
    return Case(
        case_id=plan.case_id,
        patient_id=plan.patient_id,
        image=job.image,
        label=plan.nodule.label,
        diameter_mm=plan.nodule.diameter_mm,
        point_lps=plan.point,
        values={
            "modality": "CT",
            "anatomy": "CHEST",
            "slice_thickness_mm": f"{plan.grid.thickness_mm:.2f}",
            **values,
        },
    )
