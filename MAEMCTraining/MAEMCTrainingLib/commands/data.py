"""Commands that make data: synthetic cases, manifests of data sets, caches."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter as Counted
from functools import partial
from pathlib import Path
from typing import Any

from MAEMCLib.errors import InputError, MAEMCError, UsageError
from MAEMCLib.files.home import home

from ..data.importers import IMPORTERS, pseudonymized
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

    command = add_command(commands, "import", _import, "make a manifest of a data set as it is distributed")
    command.add_argument(
        "kind",
        choices=tuple(IMPORTERS),
        help="lidc: LIDC-IDRI as TCIA ships it; luna25: the challenge's CSV and volumes; dicom: the CT series of any "
        "tree; images: 2-D pictures; scene: point lists of Slicer scenes; lidc-cubes: 51 mm cubes with ratings",
    )
    command.add_argument("source", type=Path, metavar="SOURCE", help="a folder; a CSV (luna25); a .mrml, .mrb (scene)")
    command.add_argument("--output", type=Path, required=True, metavar="MANIFEST")
    command.add_argument(
        "--keep-ids",
        action="store_true",
        help="write patients' and cases' names as the source has them, instead of pseudonyms made with the key of "
        "MAEMC_HOME (paths of images are never changed)",
    )
    command.add_argument(
        "--classes",
        metavar="NEGATIVE,POSITIVE",
        type=lambda text: [name.strip() for name in text.split(",") if name.strip()],
        default=[],
        help="images: the folders that are classes; of two the second is label 1",
    )
    command.add_argument(
        "--overwrite", action="store_true", help="replace a manifest even where rows or values of it would be lost"
    )

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


def _import(options: argparse.Namespace) -> None:
    from MAEMCLib.cases.manifest import read_manifest, write_manifest
    from MAEMCLib.machine.installation import check_packages

    if options.kind == "lidc":
        check_packages("scipy")
    from ..data.importers.images import import_images
    from ..data.importers.imported import check_nothing_is_lost
    from ..data.pseudonyms import pseudonym_key

    if options.classes and options.kind != "images":
        raise UsageError("--classes names folders of 2-D pictures: it goes with 'import images'.")
    importer = partial(import_images, classes=options.classes) if options.classes else IMPORTERS[options.kind]
    unpacked = options.output.absolute().parent / f"{options.output.stem}-files"
    unpacked_before = unpacked.exists()
    if not options.quiet and sys.stderr.isatty():
        print(f"Reading {options.source}; a large archive takes minutes.", file=sys.stderr)
    try:
        found = importer(options.source, unpacked)
        for item in found.skipped:
            print(f"skipped {item}", file=sys.stderr)
        for remark in found.remarks:
            print(remark, file=sys.stderr)
        if not found.rows:
            raise InputError(
                f"Nothing in {options.source} can be used ({len(found.skipped)} skipped); no manifest was written.",
                "no-cases",
            )
        rows = found.rows if options.keep_ids else pseudonymized(found.rows, pseudonym_key(home()))
        if not options.overwrite:
            check_nothing_is_lost(options.output, rows)
        write_manifest(options.output, rows)
    except MAEMCError:
        if not unpacked_before:
            shutil.rmtree(unpacked, ignore_errors=True)
        raise
    counts = read_manifest(options.output).counts()
    if not options.quiet:
        skipped = f"; {len(found.skipped)} skipped" if found.skipped else ""
        print(", ".join(f"{number} {name}" for name, number in counts.items()) + skipped, file=sys.stderr)
    print(options.output)


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
