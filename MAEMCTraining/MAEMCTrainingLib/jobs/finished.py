"""A finished job, as what reads its results needs it."""

from __future__ import annotations

from pathlib import Path

from MAEMCLib.errors import InputError

from .job import Job

KINDS = {"pretrain": "pre-training", "finetune": "fine-tuning", "fuse": "fusion"}
"""What people call the jobs of each kind."""


def finished_job(folder: Path, *kinds: str) -> Job:
    """The job of a folder. Raises InputError: no job, one of another kind than these, one that is not finished."""
    job = Job(folder)
    kind = job.settings.get("kind")
    if kind not in kinds:
        wanted = " or a ".join(KINDS[name] for name in kinds)
        raise InputError(f"{folder} is a job of the kind '{kind}'. This takes a {wanted}.", "job-kind")
    if job.status != "finished":
        raise InputError(
            f"The {KINDS[kind]} {folder} is {job.status}, not finished. Repeat its command to continue it.",
            "unfinished",
        )
    return job
