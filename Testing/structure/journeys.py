"""``python -m Testing.structure.journeys [REVISION]``: real runs on tiny inputs, followed from file to file.

Walked are the scoring of one point, a click in the Slicer module until its row stands in the table (on the stand-in
host, with a real worker), a pre-training, a fine-tuning and an export; ``tracer.py`` says what is counted. Beside it:
how often each nodule's stacks are sampled (two, axial and coronal, where each is sampled once), and how often the
manifest and the model's file are opened.

REVISION   of git; the working tree without one
--only X   one of the journeys, repeatable
--json     all figures as JSON, with the routes
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .tree import REPOSITORY, checkout
from .walks import WALKS


def journeys(root: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """The figures of each journey in a tree, by name, each walked in a process of its own: Slicer's holds no torch."""
    figures = {}
    with tempfile.TemporaryDirectory(prefix="journeys-") as folder:
        for name in names:
            command = [sys.executable, "-m", "Testing.structure.walks", str(root), name, folder]
            done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
            figures[name] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> int:
    """Print the figures of one tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?")
    parser.add_argument("--only", action="append", choices=WALKS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with checkout(options.revision) as root:
        figures = journeys(root, options.only or list(WALKS))
    if options.json:
        print(json.dumps(figures, indent=2))
        return 0
    print(f"{'journey':12}{'rooms':>7}{'stays':>7}{'returns':>9}{'nodules':>9}   calls; files opened")
    for name, one in figures.items():
        counted = ", ".join(f"{key} {count}" for key, count in {**one["calls"], **one["openings"]}.items())
        print(f"{name:12}{one['rooms']:7}{one['stays']:7}{one['returns']:9}{one['nodules']:9}   {counted}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
