"""Commands that make data: synthetic cases, caches."""

from __future__ import annotations

import argparse
import sys
from collections import Counter as Counted
from pathlib import Path
from typing import Any

from MAEMCLib.errors import UsageError
from MAEMCLib.files.home import home

from . import Counter, add_command

_PROCESSES = "cases worked on at the same time (default: one for each processor, at most 8)"


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    command = add_command(
        commands, "phantom", _phantom, "write synthetic CTs with nodules, and their manifest", ("scipy",)
    )
    command.add_argument("--output", type=Path, required=True, metavar="DIR")
    command.add_argument("--cases", type=int, required=True, metavar="N")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--grade", choices=("matched", "easy"), default="matched")
    command.add_argument("--dicom", action="store_true", help="complete CT series instead of NRRD, one of them oblique")
    command.add_argument("--processes", type=int, metavar="N", help=_PROCESSES)

    command = add_command(
        commands, "sample-chest", _sample_chest, "write a synthetic chest CT and points on its nodules", ("scipy",)
    )
    command.add_argument("--output", type=Path, required=True, metavar="DIR")

    command = add_command(commands, "cache", _cache, "cut the regions of all nodules, ready for training")
    command.add_argument("manifest", type=Path, metavar="MANIFEST")
    command.add_argument("--output", type=Path, required=True, metavar="DIR")
    command.add_argument("--slice-step", type=int, default=1, metavar="MM", help="distance between slices (default 1)")
    command.add_argument("--processes", type=int, metavar="N", help=_PROCESSES)


def _phantom(options: argparse.Namespace) -> None:
    from MAEMCLib.machine.child_processes import usual_count

    from ..phantom.writing import write_phantom

    with Counter("Drawing", options.quiet) as counter:
        manifest = write_phantom(
            options.output,
            options.cases,
            options.seed,
            options.grade,
            options.dicom,
            processes=options.processes or usual_count(),
            progress=counter,
        )
    print(manifest)


def _sample_chest(options: argparse.Namespace) -> None:
    from ..phantom.sample_chest import write_sample_chest

    for path in write_sample_chest(options.output):
        print(path)


def _cache(options: argparse.Namespace) -> None:
    from MAEMCLib.cases.manifest import read_manifest

    from ..data.cache import build_cache
    from ..data.sources import source_cases

    if options.slice_step < 1:
        raise UsageError(f"--slice-step is {options.slice_step}; it has to be a whole number of mm from 1.")
    cases = source_cases(read_manifest(options.manifest))
    with Counter("Cutting", options.quiet) as counter:
        cache = build_cache(
            cases, options.output, home(), options.slice_step, processes=options.processes, progress=counter
        )
    for skipped in cache.left_out:
        print(f"left out {skipped['case_id']}: {skipped['reason']}", file=sys.stderr)
    if not options.quiet:
        padded = sum(case.padded_fraction > 0 for case in cache.cases)
        margin = sum(case.margin_padded > 0 for case in cache.cases)
        print(
            f"{len(cache.cases)} cases cached, {len(cache.left_out)} left out; {padded} reach beyond their volume, "
            f"{margin} when they are shifted by up to 5 mm (padded with -1200 HU).",
            file=sys.stderr,
        )
        parts = Counted(case.part for case in cache.cases if case.part)
        if parts:
            print(f"split: {', '.join(f'{count} {part}' for part, count in parts.items())}", file=sys.stderr)
    print(options.output)
