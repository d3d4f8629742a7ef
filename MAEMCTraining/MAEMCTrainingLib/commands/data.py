"""Commands that make data: synthetic cases, caches."""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from MAEMCLib.errors import UsageError
from MAEMCLib.files.atomic import home

from ..jobs.progress import TerminalLine
from . import add_command, add_output

_PROCESSES = "cases worked on at the same time (default: one for each processor, at most 8)"


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    command = add_command(
        commands, "phantom", _phantom, "write synthetic CTs with nodules, and their manifest", ("scipy",)
    )
    add_output(command)
    command.add_argument("--cases", type=int, required=True, metavar="N")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--grade", choices=("matched", "easy"), default="matched")
    command.add_argument("--dicom", action="store_true", help="complete CT series instead of NRRD, one of them oblique")
    command.add_argument("--prior", type=int, metavar="DAYS", help="also write each case's CT so many days earlier")
    command.add_argument("--growth", type=float, metavar="X", help="the nodule's volume by that in the prior CT")
    command.add_argument("--processes", type=int, metavar="N", help=_PROCESSES)

    command = add_command(
        commands, "sample-chest", _sample_chest, "write a synthetic chest CT and points on its nodules", ("scipy",)
    )
    add_output(command)

    command = add_command(
        commands, "cache", _cache, "cut the regions of all nodules, or keep all pictures, ready for training"
    )
    command.add_argument("manifest", type=Path, metavar="MANIFEST")
    add_output(command)
    command.add_argument("--slice-step", type=int, default=1, metavar="MM", help="distance between slices (default 1)")
    command.add_argument("--processes", type=int, metavar="N", help=_PROCESSES)


def _phantom(options: argparse.Namespace) -> None:
    from MAEMCLib.machine.child_processes import usual_count

    from ..phantom.prior import PriorConfiguration
    from ..phantom.writing import write_phantom

    if (options.prior is None) != (options.growth is None):
        raise UsageError("A prior CT needs both --prior DAYS and --growth X. Give both, or none.")
    with TerminalLine(options.quiet, "Drawing") as counter:
        manifest = write_phantom(
            options.output,
            options.cases,
            options.seed,
            options.grade,
            options.dicom,
            processes=options.processes or usual_count(),
            progress=counter,
            prior=None if options.prior is None else PriorConfiguration(options.prior, options.growth),
        )
    print(manifest)


def _sample_chest(options: argparse.Namespace) -> None:
    from ..phantom.sample_chest import write_sample_chest

    for path in write_sample_chest(options.output):
        print(path)


def _cache(options: argparse.Namespace) -> None:
    from ..data.kinds.nodule import NoduleSettings
    from ..data.sources import Source

    step, settings = options.slice_step, None
    if step < 1:
        raise UsageError(f"--slice-step is {step}; it has to be a whole number of mm from 1.")
    source = Source(options.manifest)
    if source.kind.Settings is NoduleSettings:
        settings = NoduleSettings(slice_step_mm=step)
    elif step != 1:
        raise UsageError(f"--slice-step is of nodules in CT, and these are {source.kind.title}. Leave it out.")
    with TerminalLine(options.quiet, "Cutting") as counter:
        store = source.build(options.output, home(), settings, options.processes, counter)
    for skipped in store.left_out:
        print(f"left out {skipped['case_id']}: {skipped['reason']}", file=sys.stderr)
    if not options.quiet:
        counts = f"{len(store.cases)} cases cached, {len(store.left_out)} left out"
        print(f"{counts}; {store.kind.cache_line(store.cases)}.", file=sys.stderr)
        parts = Counter(case.part for case in store.cases if case.part)
        if parts:
            print(f"split: {', '.join(f'{count} {part}' for part, count in parts.items())}", file=sys.stderr)
    print(options.output)
