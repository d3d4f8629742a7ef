"""Runs commands of one source tree: ``python starter.py TREE``, commands on its standard input, one after another.

Importing PyTorch and scikit-learn takes longer than a tiny training. So this process imports them once, and each
command is a fork of it that runs ``python -m MAEMCTrainingLib ARGUMENTS``. The tree is imported after the fork.

A command is a line of JSON, ``{"arguments": [...], "output": FILE}``; the answers are a line with the number of its
process, so that it can be sent a signal, and a line with its exit code.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import runpy
import sys
import traceback
from pathlib import Path

_PACKAGES = ("MAEMCLib", "MAEMCTrainingLib")
# What training imports from elsewhere and what takes long; a revision that lacks one of them does not miss it.
_HEAVY = (
    "torch._dynamo",
    "torch.utils.tensorboard",
    "torch.export",
    "timm",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "scipy.stats",
    "matplotlib.figure",
    "SimpleITK",
    "pydicom",
)


def main() -> None:
    """Import what is heavy, then run each command that is read. Exits with a message where the tree is not imported."""
    tree = Path(sys.argv[1]).resolve()
    found = {name: str(importlib.util.find_spec(name).origin) for name in _PACKAGES}
    for name, origin in found.items():
        if not Path(origin).resolve().is_relative_to(tree):
            sys.exit(f"{name} would be imported from {origin} and not from {tree}: nothing can be compared.")
    for name in _HEAVY:
        importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)
    print(json.dumps(found), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        process = os.fork()
        if process == 0:
            _run(command["arguments"], command["output"])
        print(process, flush=True)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(arguments: list[str], output: str) -> None:
    """Be the command, and never return."""
    with open(output, "wb") as log, open(os.devnull, "rb") as nothing:
        for number, stream in enumerate((nothing, log, log)):
            os.dup2(stream.fileno(), number)
    code: object = 0
    try:
        sys.argv = ["maemc-train", *arguments]
        runpy.run_module("MAEMCTrainingLib", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:  # it has to end here, or the fork would go on reading commands
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
