"""Writing a phantom data set: synthetic CTs with benign-like and malignant-like nodules, and their manifest.

``case`` draws what is written here.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import write_manifest
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.atomic import file_sha256, make_folder, read_json, write_json
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCLib.machine.child_processes import computed

from .case import CasePlan, PhantomConfiguration, plan_case, render_volume

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
) -> Path:
    """Write a phantom of ``cases`` cases and return the path of its ``manifest.csv``.

    folder: gets ``images/`` (one NRRD a case, or one folder of DICOM slices a case with ``dicom``; the first DICOM case
    is oblique), ``manifest.csv``, and ``phantom.json`` with the settings and each case's SHA-256.
    grade: "matched" or "easy". field: "nodule" (84 x 84 x 76 mm around the nodule) or "region" (56 mm a side: what
    models see). processes: how many write at a time; the result does not depend on it.
    progress: called with (cases done, cases).

    Run again with the same settings it continues: cases whose content still has its hash are left as they are, damaged
    or missing ones are written anew, and ``cases`` may grow. Raises UsageError for settings that are none or differ
    from those in the folder, InputError where the folder cannot be written.
    """
    configuration = PhantomConfiguration(cases, seed, grade, field)
    folder = Path(folder).absolute()
    settings = {"generator": GENERATOR, **asdict(configuration), "dicom": dicom}
    del settings["cases"]
    record = folder / "phantom.json"
    hashes = _known_hashes(record, settings)
    make_folder(folder / "images")
    plans = [plan_case(index, configuration, oblique=dicom and index == 0) for index in range(cases)]
    paths = [folder / "images" / (plan.case_id if dicom else f"{plan.case_id}.nrrd") for plan in plans]
    jobs = [
        (plan, path, dicom)
        for plan, path in zip(plans, paths, strict=True)
        if hashes.get(plan.case_id, "") != _content_hash(path)
    ]
    in_children = processes > 1 and len(jobs) >= 4  # starting a process costs more than a few cases
    written = computed(_write_case, jobs, processes) if in_children else map(_write_case, jobs)
    for done, (name, digest) in enumerate(written, cases - len(jobs) + 1):
        hashes[name] = digest
        write_json(record, {**settings, "sha256": dict(sorted(hashes.items()))})
        progress(done, cases)
    return write_manifest(folder / "manifest.csv", [_row(p, image) for p, image in zip(plans, paths, strict=True)])


def _known_hashes(record: Path, settings: dict) -> dict[str, str]:
    if not record.exists():
        return {}
    stored = read_json(record, "The phantom's record")
    if not isinstance(stored, dict) or not isinstance(stored.get("sha256"), dict):
        raise InputError(f"{record} is no record of a phantom. Choose an empty folder.", "unreadable-json")
    hashes = stored["sha256"]
    differing = [
        f"{name} {stored.get(name)} and not {value}" for name, value in settings.items() if stored.get(name) != value
    ]
    if differing:
        raise UsageError(
            f"{record.parent} holds a phantom of other settings ({', '.join(differing)}). "
            "Choose an empty folder, or the same settings to continue."
        )
    return hashes


def _write_case(job: tuple[CasePlan, Path, bool]) -> tuple[str, str]:
    """Render and write one case; it is there whole or not at all."""
    plan, path, dicom = job
    volume = render_volume(plan)
    if dicom:
        _write_series(plan, volume, path)
    else:
        write_volume(volume, path)
    return plan.case_id, _content_hash(path)


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


def _row(plan: CasePlan, image: Path) -> Case:
    return Case(
        case_id=plan.case_id,
        patient_id=plan.case_id,
        image=image,
        label=plan.nodule.label,
        diameter_mm=plan.nodule.diameter_mm,
        point_lps=plan.nodule.center,
        values={"modality": "CT", "anatomy": "CHEST", "slice_thickness_mm": f"{plan.grid.thickness_mm:.2f}"},
    )
