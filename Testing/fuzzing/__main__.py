"""``python -m Testing.fuzzing``: the table of all readers, hours of work at its default counts.

--cases N          inputs for each reader of text (100,000)
--native-cases N   inputs for each native one (5,000)
--seed S           of the spoiling; printed, so that a run can be had again
--only NAME        a reader, repeatable
--keep DIR         where an input of each kind of fault is written, as Python writes it
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
from pathlib import Path

from .judging import run
from .readers import READERS

SHOWN = 400
"""Letters of an input."""


def main() -> int:
    """Print the table; exit code 1 where any reader has a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--native-cases", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--only", action="append", choices=[reader.name for reader in READERS])
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    print(
        f"{'reader':34}{'cases':>9}{'read':>9}{'refused':>9}{'uncaught':>10}{'wrong':>7}{'crashes':>9}{'slow':>6}{'s':>7}"
    )
    sound = True
    for reader in READERS:
        if options.only and reader.name not in options.only:
            continue
        with tempfile.TemporaryDirectory(prefix="fuzzing-") as scratch:
            os.environ["MAEMC_HOME"] = str(Path(scratch) / "home")
            cases = options.native_cases if reader.native else options.cases
            outcome = run(reader, Path(scratch), cases, options.seed)
        print(
            f"{reader.name:34}{outcome.cases:9,}{outcome.read:9,}{outcome.refused:9,}{outcome.uncaught:10,}"
            f"{outcome.wrong:7,}{outcome.crashes:9,}{outcome.slow:6,}{outcome.seconds:7.0f}",
            flush=True,
        )
        for number, (kind, (message, content)) in enumerate(outcome.faults.items()):
            print(f"    {kind}: {message}\n        {content[:SHOWN]}", flush=True)
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{reader.name.replace(' ', '-').strip('.')}-{number}.txt").write_text(content)
        sound = sound and outcome.sound
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
