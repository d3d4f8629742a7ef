"""The command ``maemc-train presence``: the detector that tells whether a point lies in a nodule."""

import argparse
from pathlib import Path
from typing import Any

from ..jobs.progress import TerminalLine
from . import TRAINING, add_command, add_output, show


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_command(
        commands,
        "presence",
        _presence,
        "train the detector that tells whether a point lies in a nodule, and print its figures",
        TRAINING,
    )
    command.add_argument(
        "slabs", type=Path, metavar="SLABS", help="the folder of LIDC slabs: labels.csv, images, masks"
    )
    command.add_argument("--cubes", type=Path, required=True, metavar="DIR", help="LIDC cubes, which only test it")
    add_output(command)


def _presence(options: argparse.Namespace) -> None:
    from MAEMCLib.report.formats import write_report

    from ..presence.page import detector_report
    from ..presence.run import make_detector

    with TerminalLine(options.quiet) as line:
        figures = make_detector(options.slabs, options.cubes, options.output, line.count, line.renew)
    report = detector_report(figures)
    write_report(report, options.output / "report.md")
    show(report)
    print(options.output)
