"""The command ``maemc-train import``: a subcommand for each importer."""

import argparse
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

from MAEMCLib.errors import InputError, MAEMCError
from MAEMCLib.files.atomic import home

from ..data.importers.formats import importers
from ..data.importers.imported import Importer
from . import add_command, add_output


def add(commands: Any) -> None:
    """Add the command to the parser."""
    summary = "make a manifest of a data set as it is distributed"
    command = commands.add_parser("import", help=summary, description=f"{summary.capitalize()}.")
    kinds = command.add_subparsers(required=True, metavar="KIND")
    for name, importer in importers().items():
        kind = add_command(kinds, name, partial(_import, importer), importer.summary, importer.needs)
        kind.add_argument("source", type=Path, metavar="SOURCE", help=importer.source)
        add_output(kind, "MANIFEST")
        kind.add_argument(
            "--keep-ids",
            action="store_true",
            help="write patients' and cases' names as the source has them, instead of pseudonyms made with the key of "
            "MAEMC_HOME (paths of images are never changed)",
        )
        kind.add_argument(
            "--overwrite", action="store_true", help="replace a manifest even where rows or values of it would be lost"
        )
        own = [kind.add_argument(flag, **arguments).dest for flag, arguments in importer.options.items()]
        kind.set_defaults(own=own)


def _import(importer: Importer, options: argparse.Namespace) -> None:
    from MAEMCLib.cases.manifest import read_manifest, write_manifest
    from MAEMCLib.cases.pseudonyms import pseudonym_key

    from ..data.importers.imported import check_nothing_is_lost, pseudonymized

    unpacked = options.output.absolute().parent / f"{options.output.stem}-files"
    unpacked_before = unpacked.exists()
    if not options.quiet and sys.stderr.isatty():
        print(f"Reading {options.source}; a large archive takes minutes.", file=sys.stderr)
    try:
        found = importer.read(options.source, unpacked, **{name: getattr(options, name) for name in options.own})
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
    if not options.quiet:
        counts = [f"{number} {name}" for name, number in read_manifest(options.output).counts().items()]
        skipped = f"; {len(found.skipped)} skipped" if found.skipped else ""
        print(", ".join(counts) + skipped, file=sys.stderr)
    print(options.output)
