"""``maemc batch``: a manifest's cases into one CSV."""

import contextlib
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ..cases.case import Case
from ..cases.values import SERIES
from ..dicom_results.cases import CaseWriter
from ..dicom_results.writing import check_writable
from ..errors import UsageError
from ..files.atomic import folder_name
from ..machine.installation import check_torch
from ..models.bundle import ModelBundle
from ..models.card import ModelCard
from ..models.store import find_model
from ..results import NoduleResult
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
    with _dicom_writer(arguments, cases, bundle.card, say) as written:
        each = [] if written is None else [written.add]
        good, wrong = run_batch(cases, output, bundle, *options, watch, arguments.nifti_form, say, *each)
    if watch is not None:
        print(file=sys.stderr)
    if written is not None and written.count < good:
        say(
            f"{good - written.count} rows were kept from an earlier run: DICOM results are written when a case is "
            "scored. Choose another --output for those of all."
        )
    if not arguments.quiet:
        print(f"{good} scored, {wrong} failed; written to {arguments.output}")
    return FAILED if wrong or (written is not None and not written.whole) else 0


class _DicomResults:
    """The DICOM results of a batch's cases. count: of cases so far. whole: whether those of all could be written."""

    def __init__(self, writer: CaseWriter, cases: list[Case], folder: Path) -> None:
        self._writer, self._folder = writer, folder
        self._numbers = {id(case): number for number, case in enumerate(cases, start=1)}
        self.count, self.whole = 0, True

    def add(self, case: Case, result: NoduleResult) -> None:
        """Write those of a scored case."""
        name = folder_name(f"{case.case_id}_{case.nodule_id}".strip("_"), set())
        segment = self._folder / case.values["segment"] if case.values.get("segment") else None
        self.count += 1
        self.whole &= self._writer.write(case, result, self._numbers[id(case)], name, segment)


@contextlib.contextmanager
def _dicom_writer(
    arguments: Namespace, cases: list[Case], card: ModelCard, say: Callable[[str], None]
) -> Iterator[_DicomResults | None]:
    """What takes the scored cases; None without --dicom-sr."""
    if not arguments.dicom_sr:
        yield None
        return
    check_writable(card)
    output = Path(arguments.output)
    with CaseWriter(output.with_name(f"{output.stem}-dicom"), card, arguments.nifti_form, say) as writer:
        yield _DicomResults(writer, cases, Path(arguments.manifest).parent)


def _with_paths(case: Case, folder: Path, card: ModelCard) -> Case:
    """A manifest's case whose further series are named from anywhere, and not relative to the manifest."""
    series = {one.name for one in card.clinical if one.kind == SERIES and case.values.get(one.name)}
    return replace(case, values={**case.values, **{name: str(folder / case.values[name]) for name in series}})
