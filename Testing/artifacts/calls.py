"""Runs calls of the two command lines in one process: how does each of them end?

calls.py CALLS.json     prints a list of [exit code, program, argument, ...]
"""

import contextlib
import json
import sys
from pathlib import Path


def ending(program: str, arguments: list[str]) -> int | str:
    """The exit code, or ``usage`` where the parser does not know the call."""
    if program == "maemc":
        from MAEMCLib.__main__ import main
    else:
        from MAEMCTrainingLib.__main__ import main
    try:
        return main(arguments)
    except SystemExit:
        return "usage"


def main() -> None:
    ended = []
    for program, *arguments in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        with contextlib.redirect_stdout(sys.stderr):
            code = ending(program, arguments)
        ended.append(json.dumps([code, program, *arguments]))
    print("[\n " + ",\n ".join(ended) + "\n]")


if __name__ == "__main__":
    main()
