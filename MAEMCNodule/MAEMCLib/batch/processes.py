"""Shares of a batch scored in several processes; one that dies costs at most the rows that it was scoring."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import connection
from pathlib import Path

from ..cases.case import Case
from ..errors import InputError
from ..machine.child_processes import end_with_parent, how_it_ended
from ..models.bundle import ModelBundle
from ..scoring import CaseScorer, ScoredCase, failed_case

Share = list[Case]
Task = tuple[Share, bool]
"""A share, and whether a process has died with it."""


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
            line.send([replace(case, prepared=None, error=None) for case in scorer.score(line.recv())])


def _died(code: int | None) -> InputError:
    return InputError(
        f"The process that scored it ended twice ({how_it_ended(code)}), perhaps for want of memory. Run the command "
        "again with fewer --processes.",
        "process-died",
    )
