"""Commands of ours that are waited for, in a thread beside the window; no Qt here."""

import subprocess
import sys
from collections.abc import Mapping, Sequence

from MAEMCLib.errors import MAEMCError


def runCommand(command: Sequence[str], environment: Mapping[str, str]) -> tuple:
    """Run to the end: (lines of its output, lines of its error output). Raises MAEMCError with its last words."""
    flags = {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", **flags
        )
    except OSError as error:
        raise MAEMCError(f"{command[0]} could not be started ({error}).", "not-started") from error
    said, complained = done.stdout.strip().splitlines(), done.stderr.strip().splitlines()
    if done.returncode != 0:
        last = (complained or [f"The process ended with {done.returncode}."])[-1]
        raise MAEMCError(last.removeprefix("maemc-train: ").removeprefix("maemc: "), "command")
    return said, complained
