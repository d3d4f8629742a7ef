"""The command ``maemc-train outline``."""

import argparse
from pathlib import Path
from typing import Any

from ..engine.processes import chosen_device
from ..jobs.progress import TerminalLine
from . import TRAINING, add_command, add_output, show


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_command(
        commands, "outline", _outline, "train and judge the network that outlines nodules from a click", TRAINING
    )
    command.add_argument("--slabs", type=Path, required=True, metavar="DIR", help="folder of LIDC nodule slabs")
    command.add_argument("--cubes", type=Path, required=True, metavar="DIR", help="folder of LIDC nodule cubes")
    add_output(command, help="weights, table of errors and report; weights that lie there are judged again")
    command.add_argument("--epochs", type=int, default=12, metavar="N", help="default 12: 20 minutes on one core")
    command.add_argument("--phantoms", type=int, default=12, metavar="N", help="phantoms to judge by (default 12)")
    command.add_argument("--threads", type=int, metavar="N", help="processor threads")


def _outline(options: argparse.Namespace) -> None:
    from ..jobs.stopping import Interrupted
    from ..outlines.run import make_outline
    from ..outlines.training import OutlineTraining

    chosen_device("cpu", options.threads)
    settings = OutlineTraining(epochs=options.epochs)
    try:
        with TerminalLine(options.quiet) as line:
            say = (lambda text: None) if options.quiet else print
            report = make_outline(
                options.slabs, options.cubes, options.output, settings, options.phantoms, say, line.count
            )
    except KeyboardInterrupt:
        raise Interrupted("Stopped. What was written before is unchanged.") from None
    if not options.quiet:
        show(report)
    print(options.output)
