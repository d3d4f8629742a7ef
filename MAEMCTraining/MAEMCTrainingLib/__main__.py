"""The command line ``maemc-train``: from CT and a manifest to a model bundle."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

_FILES = {
    **dict.fromkeys(("phantom", "sample-chest", "cache"), "data"),
    "import": "importing",
    "reduce": "reduction",
    "methods": "methods",
    **dict.fromkeys(("pretrain", "finetune", "fuse"), "training"),
    **dict.fromkeys(("evaluate", "export"), "evaluation"),
    "compare": "comparison",
    "experiment": "experiment",
    "outline": "outline",
    "presence": "presence",
    "gates": "gates",
    "jobs": "jobs",
}
"""Which file of ``commands`` has each of them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 done, 2 wrong usage, 3 unusable input, 4 unusable model, 130 stopped, 143 terminated, 1 the machine lacks
    something (PyTorch, memory), or a defect of ours.
    """
    # Imports stand where they are used: Ctrl-C in the half second that they take ends as quietly as it does later.
    try:
        from MAEMCLib.machine.terminal import harmless_printing, interruptible

        with harmless_printing(), interruptible():
            code = _run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt as stopped:
        terminated = type(stopped) is not KeyboardInterrupt
        print(f"maemc-train: {'terminated' if terminated else 'interrupted'}", file=sys.stderr)
        code = 143 if terminated else 130
    from .engine.processes import leave

    return leave(code)


def _run(arguments: list[str]) -> int:
    from MAEMCLib.commands.command_line import run

    from .commands import parse

    options = parse(_parser(arguments[0] if arguments else ""), arguments)
    return run("maemc-train", options, anonymous=options.detached)


def _parser(command: str = "") -> argparse.ArgumentParser:
    """The parser of one command, for which its file alone is imported; of all of them for any other word."""
    from importlib import import_module

    from .commands import make_parser

    files = [_FILES[command]] if command in _FILES else dict.fromkeys(_FILES.values())
    return make_parser([import_module(f"{__package__}.commands.{file}") for file in files])


if __name__ == "__main__":
    sys.exit(main())
