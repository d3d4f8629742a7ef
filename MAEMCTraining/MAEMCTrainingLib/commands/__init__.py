"""The commands of ``maemc-train``, a file a subject, and what they share.

torch and SimpleITK take seconds to import: each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from MAEMCLib.errors import UsageError

if TYPE_CHECKING:
    import torch
    from MAEMCLib.report.sections import Report

TRAINING = ("torch", "scipy", "sklearn")
"""What commands that train or evaluate import, whatever the method."""


def add_command(
    commands: Any, name: str, run: Callable, summary: str, needs: tuple[str, ...] = ()
) -> argparse.ArgumentParser:
    """A command's parser with the options that all commands have; ``run`` is called with what was typed.

    needs: packages it cannot do without, by the names they are imported by; they are looked for before it begins.
    """
    command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    command.set_defaults(run=run, needs=needs)
    command.add_argument("--quiet", action="store_true", help="no progress, errors only")
    command.add_argument("--verbose", action="store_true", help="say more, and where an error came from")
    return command


def add_data(command: argparse.ArgumentParser, name: str = "--data", **others: Any) -> None:
    """An option that takes manifests and caches and may be repeated."""
    others = {"default": [], "metavar": "MANIFEST|CACHE"} | others
    command.add_argument(name, type=Path, action="append", **others)


def add_output(command: argparse.ArgumentParser, metavar: str = "DIR", **others: Any) -> None:
    """``--output``, which has to be given."""
    command.add_argument("--output", type=Path, required=True, metavar=metavar, **others)


def add_machine(command: argparse.ArgumentParser) -> None:
    """``--device`` and ``--threads``, as ``chosen_device`` reads them."""
    command.add_argument("--device", default="auto")
    command.add_argument(
        "--threads", type=int, metavar="N", help="processor threads (bit-identical runs need the same)"
    )


def chosen_device(options: argparse.Namespace, gpu: int | None = None) -> torch.device:
    """The device, and its threads set, as options say. gpu: the number of that which one of several processes takes
    where nobody chose one. Raises UsageError."""
    import torch
    from MAEMCLib.machine.device import choose_device

    threads = getattr(options, "threads", None)
    if threads is not None:
        if threads < 1:
            raise UsageError(f"--threads is {threads}; it has to be at least 1.")
        torch.set_num_threads(threads)
    name = options.device
    if gpu is not None and name in ("auto", "cuda") and torch.cuda.is_available():
        name = f"cuda:{gpu % torch.cuda.device_count()}"
    return torch.device(choose_device(name).name)


def show(report: Report, options: argparse.Namespace) -> None:
    """Print a report, unless all shall be quiet."""
    from MAEMCLib.report.formats import render

    if not options.quiet:
        print(render(report, "txt"))


class TerminalLine:
    """One line on standard error, renewed in place; nothing where that is no terminal, or where all shall be quiet.

    stage: what is done with the cases that a call counts.
    """

    def __init__(self, quiet: bool, stage: str = "") -> None:
        self.live, self.shown = not quiet and sys.stderr.isatty(), False
        self.stage, self.done, self.started = stage, 0, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        self.count(self.stage, done, total)

    def renew(self, text: str) -> None:
        """Show another text in the place of the last one."""
        if self.live:
            self.shown = True
            print(f"\r{text:60}", end="", file=sys.stderr, flush=True)

    def count(self, stage: str, done: int, total: int) -> None:
        """How many cases of a stage are done, and the time left; the stage alone where nothing is counted."""
        from ..jobs.progress import duration

        now = time.monotonic()
        if stage != self.stage or done < self.done:
            self.started = now
        self.stage, self.done = stage, done
        left = f"  {duration((now - self.started) * (total / done - 1))} left" if done else ""
        self.renew(f"{stage} case {done} of {total}{left}" if total else stage)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.shown:
            print(file=sys.stderr)


def make_parser(subjects: Sequence[Any]) -> argparse.ArgumentParser:
    """The parser of ``maemc-train`` with the commands of these modules."""
    parser = argparse.ArgumentParser(
        "maemc-train",
        description="Prepare data, train and evaluate models for pulmonary nodules, and export them for scoring.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for subject in subjects:
        subject.add(commands)
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """What was typed, and in ``arguments`` the words themselves. Ends the process where they are wrong."""
    options, rest = parser.parse_known_args(arguments)
    # argparse takes positionals from one place only; KEY=VALUE may stand anywhere.
    if wrong := [word for word in rest if word.startswith("-") or "=" not in word or "overrides" not in options]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    if "overrides" in options:
        options.overrides += rest
    options.arguments = list(arguments)
    return options
