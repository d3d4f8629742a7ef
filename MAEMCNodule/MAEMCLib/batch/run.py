"""Many nodules or 2-D pictures from a manifest: a row each, written as it is done; run again, it continues.

Each volume is read once however many nodules it holds. A case that cannot be scored gets a row with its reason. A row
of an earlier run is reused where everything that it was computed from is the same; that costs one hash of the image.
Several processes may share the work; one that dies costs at most the rows that it was scoring.
"""

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import connection
from pathlib import Path

from ..cases.case import Case
from ..errors import UNREADABLE, InputError, UsageError
from ..machine.child_processes import end_with_parent, how_it_ended
from ..machine.terminal import visible
from ..models.bundle import ModelBundle
from ..models.card import ModelCard
from ..results import NoduleResult
from ..scoring import CaseScorer, ScoredCase, failed_case, fingerprint, opened
from .results_file import ResultsFile, Row

Share = list[Case]
Task = tuple[Share, bool]
"""A share, and whether a process has died with it."""


def run_batch(
    rows: list[Case],
    output: Path,
    bundle: ModelBundle,
    device: str = "auto",
    processes: int = 1,
    progress: Callable[[int, int, int], None] | None = None,
    nifti_form: str | None = None,
    say: Callable[[str], None] = lambda text: None,
    each: Callable[[Case, NoduleResult], None] = lambda case, result: None,
) -> tuple[int, int]:
    """Score the manifest's nodules, or its pictures where the model takes these, into a CSV. Returns how many rows were
    scored and how many failed.

    Rows that an earlier run scored from the same input are kept, failed ones are tried again. progress is called with
    (done, all, failed), say with what people should know: why a row failed, with the name of its image; each with every
    case that is scored now, before its row is written. When all is done the file holds the rows in the manifest's
    order.
    Raises UsageError for an output that holds something else, InputError where it cannot be written.
    """
    progress = progress or (lambda done, total, failed: None)
    file = ResultsFile(output)
    earlier = file.scored_rows(bundle.card)
    _check_cases(earlier, rows, output, say)
    done = _reusable(earlier, rows, bundle.card, nifti_form, progress)
    numbers = {id(row): number for number, row in enumerate(rows)}
    shares = bundle.card.kind.groups([row for number, row in enumerate(rows) if number not in done])
    file.begin(done[number] for number in sorted(done))
    with contextlib.closing(file), contextlib.closing(_scored(shares, bundle, device, processes, nifti_form)) as scored:
        for share, results in scored:
            for row, case in zip(share, results, strict=True):
                if case.result.status == "scored":
                    each(row, case.result)
            added = [case.result.to_row() for case in results]
            file.add(added)
            done |= {numbers[id(row)]: written for row, written in zip(share, added, strict=True)}
            for row, case in zip(share, results, strict=True):
                if case.result.status == "failed":
                    say(f"{visible(f'{row.case_id} {row.nodule_id}')} was not scored: {case.message}")
            progress(len(done), len(rows), _failures(done))
        file.end(done[number] for number in range(len(rows)))
    return len(rows) - _failures(done), _failures(done)


def _scored(
    shares: list[list[Case]], bundle: ModelBundle, device: str, processes: int, nifti_form: str | None
) -> Iterator[tuple[list[Case], list[ScoredCase]]]:
    if processes > 1:
        yield from score_in_processes(shares, bundle, device, processes, nifti_form)
        return
    with CaseScorer(bundle.card, opened(bundle, device), nifti_form) as scorer:
        for share in shares:
            yield share, scorer.score(share)


def _reusable(
    earlier: list[Row],
    rows: list[Case],
    card: ModelCard,
    nifti_form: str | None,
    progress: Callable[[int, int, int], None],
) -> dict[int, Row]:
    """By number, the rows whose result is there already and was computed from the very same input."""
    results = {(row["case_id"], row["nodule_id"], row["input_sha256"]): row for row in earlier}
    names = {key[:2] for key in results}
    reused: dict[int, Row] = {}
    for number, row in enumerate(rows):
        name = row.case_id, row.nodule_id
        if name not in names or row.problem:
            continue
        with contextlib.suppress(UNREADABLE):  # an image that cannot be read says so when it is to be scored
            result = results.get((*name, fingerprint(row, card, nifti_form).whole))
            if result is not None:
                reused[number] = result
        progress(len(reused), len(rows), 0)
    return reused


def _check_cases(earlier: list[Row], rows: list[Case], output: Path, say: Callable[[str], None]) -> None:
    cases = {row.case_id for row in rows}
    others = [row for row in earlier if row["case_id"] not in cases]
    if others and len(others) == len(earlier):
        raise UsageError(f"{output} holds results of other cases. Choose another output; nothing was changed.")
    if others:
        say(f"{len(others)} results of cases that the manifest does not hold are left out of {output}.")


def _failures(done: dict[int, Row]) -> int:
    return sum(row["status"] == "failed" for row in done.values())


def score_in_processes(
    shares: list[Share], bundle: ModelBundle, device: str, processes: int, nifti_form: str | None
) -> Iterator[tuple[Share, list[ScoredCase]]]:
    """Each share with its results, as they are done. A process that dies is replaced and its share tried once more;
    rows with which it dies again are failed ones.

    Raises what loading of the model raises.
    """
    waiting = deque((share, False) for share in shares)
    count = min(processes, len(shares))
    threads = max(1, (os.cpu_count() or 1) // processes)
    workers: list[_Worker] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < count:
                workers.append(_Worker(waiting.popleft(), bundle.path, device, threads, nifti_form))
            ready = connection.wait([worker.connection for worker in workers])
            for worker in [worker for worker in workers if worker.connection in ready]:
                share, again = worker.task
                try:
                    answer = worker.connection.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    worker.end()
                    if again:
                        error = _died(worker.process.exitcode)
                        yield share, [failed_case(row, error, bundle.card) for row in share]
                    else:
                        waiting.appendleft((share, True))
                    continue
                if isinstance(answer, BaseException):
                    raise answer
                if waiting:
                    worker.take(waiting.popleft())
                else:
                    workers.remove(worker)
                    worker.end()
                yield share, answer
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process that scores shares. arguments: of ``_work``."""

    def __init__(self, task: Task, *arguments: object) -> None:
        # A fresh interpreter each: forking a process that already runs threads (SimpleITK, torch) can hang.
        context = multiprocessing.get_context("spawn")
        self.connection, other_end = context.Pipe()
        self.process = context.Process(target=_work, args=(other_end, *arguments))
        with _interrupts_held():
            self.process.start()
        other_end.close()
        self.take(task)

    def take(self, task: Task) -> None:
        self.task = task
        with contextlib.suppress(OSError):  # it has died since: its end of the line says so
            self.connection.send(task[0])

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """A child that is started here never hears Ctrl-C, which reaches all processes: this one ends the others."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(line: connection.Connection, path: Path, device: str, threads: int, nifti_form: str | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    try:
        import torch

        from ..models.reference_case import open_predictor

        torch.set_num_threads(threads)
        predictor = open_predictor(ModelBundle.open(path), device)
    except Exception as error:
        line.send(error)
        return
    with CaseScorer(predictor.card, lambda: predictor, nifti_form) as scorer, contextlib.suppress(EOFError):
        while True:
            line.send([replace(case, prepared=None, error=None, nodule=None) for case in scorer.score(line.recv())])


def _died(code: int | None) -> InputError:
    return InputError(
        f"The process that scored it ended twice ({how_it_ended(code)}), perhaps for want of memory. Run the command "
        "again with fewer --processes.",
        "process-died",
    )
