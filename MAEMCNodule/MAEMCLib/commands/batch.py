"""``maemc batch``: a manifest's cases into one CSV."""

import sys
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from ..cases.case import Case
from ..cases.values import SERIES
from ..errors import UsageError
from ..machine.installation import check_torch
from ..models.bundle import ModelBundle
from ..models.card import ModelCard
from ..models.store import find_model
from .score import FAILED


def batch(arguments: Namespace) -> int:
    """The command."""
    from ..batch.run import run_batch
    from ..cases.manifest import read_scoring_manifest

    if arguments.processes < 1:
        raise UsageError("--processes needs a number from 1.")
    check_torch()
    manifest = read_scoring_manifest(arguments.manifest)
    bundle = ModelBundle.open(find_model(arguments.model))
    cases = [_with_paths(case, manifest.path.parent, bundle.card) for case in manifest.rows]
    started = time.monotonic()

    def show(done: int, total: int, wrong: int) -> None:
        left = (time.monotonic() - started) / max(done, 1) * (total - done)
        print(f"\r{done} of {total} cases, {wrong} failed, {left:.0f} s left ", end="", file=sys.stderr, flush=True)

    def say(text: str) -> None:
        print(f"{chr(13) if watch else ''}{text}", file=sys.stderr)

    watch = show if sys.stderr.isatty() and not arguments.quiet else None
    output, options = Path(arguments.output), (arguments.device, arguments.processes)
    good, wrong = run_batch(cases, output, bundle, *options, watch, arguments.nifti_form, say)
    if watch is not None:
        print(file=sys.stderr)
    if not arguments.quiet:
        print(f"{good} scored, {wrong} failed; written to {arguments.output}")
    return FAILED if wrong else 0


def _with_paths(case: Case, folder: Path, card: ModelCard) -> Case:
    """A manifest's case whose further series are named from anywhere, and not relative to the manifest."""
    series = {one.name for one in card.clinical if one.kind == SERIES and case.values.get(one.name)}
    return replace(case, values={**case.values, **{name: str(folder / case.values[name]) for name in series}})
