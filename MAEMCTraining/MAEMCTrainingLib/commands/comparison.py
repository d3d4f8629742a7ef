"""The command ``maemc-train compare``."""

import argparse
from pathlib import Path
from typing import Any

from MAEMCLib.files.atomic import home

from ..engine.processes import chosen_device
from ..jobs.progress import TerminalLine
from . import TRAINING, add_command, add_machine, add_output, show


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_command(
        commands,
        "compare",
        _compare,
        "two networks on the same cases: their layers, their features, where they look",
        TRAINING,
    )
    for place in ("first", "second"):
        command.add_argument(
            place,
            metavar="JOB|BUNDLE|scratch",
            help="a finished pre-training or fine-tuning (the model of its first fold), a model bundle, or scratch: "
            "the architecture of the other one with weights drawn anew",
        )
    command.add_argument("--data", type=Path, required=True, metavar="MANIFEST|CACHE", help="cases to show both")
    add_output(command)
    command.add_argument(
        "--columns",
        default="",
        metavar="NAME,NAME",
        help="of the manifest, to color and evaluate by beside the label; modality+anatomy joins two",
    )
    command.add_argument(
        "--cases", type=int, default=500, metavar="N", help="drawn by a fixed seed from more (default 500)"
    )
    add_machine(command)


def _compare(options: argparse.Namespace) -> None:
    from ..evaluation.external import make_output
    from ..jobs.stopping import Interrupted
    from ..network_comparison.comparing import compare_networks
    from ..network_comparison.page import comparison_report

    device = chosen_device(options.device, options.threads)
    columns = [name.strip() for name in options.columns.split(",")] if options.columns else []
    make_output(options.output)
    networks = (options.first, options.second)
    try:
        with TerminalLine(options.quiet) as line:
            report = compare_networks(
                networks, options.data, options.output, home(), device, columns, options.cases, line.count
            )
    except KeyboardInterrupt:
        raise Interrupted("Stopped. No result was written, and what was there before is unchanged.") from None
    if not options.quiet:
        show(comparison_report(report))
    print(options.output)
