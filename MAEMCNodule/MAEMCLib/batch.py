"""Many nodules or 2-D pictures from a manifest: a row each, written as it is done; run again, it continues.

Each volume is read once however many nodules it holds. A case that cannot be scored gets a row with its reason.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from dataclasses import replace
from pathlib import Path

from .bundle import ModelBundle
from .child_processes import child_processes
from .clinical import asked_of
from .ct import read_volume
from .errors import InputError, MAEMCError, UsageError
from .manifest import ManifestRow
from .model_card import ModelCard
from .picture_scoring import score_pictures
from .points import NodulePoint
from .report.tables import write_csv
from .results import COLUMNS, NoduleResult
from .scoring import Scorer, failed, score_points

PICTURES = 16
"""Pictures computed and written at once."""


def run_batch(
    rows: list[ManifestRow],
    output: Path,
    bundle: ModelBundle,
    device: str = "auto",
    processes: int = 1,
    progress: Callable[[int, int, int], None] | None = None,
) -> tuple[int, int]:
    """Score the manifest's nodules, or its pictures where the model takes these, into a CSV. Returns how many rows were
    scored and how many failed.

    Rows that an earlier run scored with the same model are kept, failed ones are tried again. progress is called with
    (done, all, failed). When all is done the file holds the rows in the manifest's order.
    Raises UsageError for an output of another model, InputError where it cannot be written.
    """
    done = _finished(output, bundle.card)
    shares = shares_of([row for row in rows if row.case_id not in done], bundle.card)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_csv(output, done.values())
        with output.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            for results in _scored(shares, bundle, device, processes):
                for result in results:
                    done[result.case_id] = result.to_row()
                    writer.writerow(done[result.case_id])
                stream.flush()
                os.fsync(stream.fileno())
                if progress is not None:
                    progress(len(done), len(rows), _failures(done))
        write_csv(output, (done[row.case_id] for row in rows))
    except OSError as error:
        raise InputError(f"{output} cannot be written ({error}). Choose a folder that can be written.") from error
    return len(rows) - _failures(done), _failures(done)


def shares_of(rows: list[ManifestRow], card: ModelCard) -> list[list[ManifestRow]]:
    """The rows that are scored together: those of one volume, or a few pictures."""
    if card.input == "picture":
        return [rows[start : start + PICTURES] for start in range(0, len(rows), PICTURES)]
    volumes: dict[Path, list[ManifestRow]] = {}
    for row in rows:
        volumes.setdefault(row.image, []).append(row)
    return list(volumes.values())


def score_share(rows: list[ManifestRow], predictor: Scorer) -> list[NoduleResult]:
    """Score the manifest rows of one volume, or some pictures; a volume that cannot be read fails each of its rows."""
    card = predictor.card
    sound = [row for row in rows if not _problem(row, card)]
    results = {row.case_id: failed(row.case_id, None, _problem(row, card), card) for row in rows if _problem(row, card)}
    try:
        results |= {result.nodule_id: result for result in _score(sound, predictor)}
    except MAEMCError as error:
        results |= {row.case_id: failed(row.case_id, row.point_lps, error, card) for row in sound}
    return [replace(results[row.case_id], case_id=row.case_id, image=row.image.name) for row in rows]


def _score(rows: list[ManifestRow], predictor: Scorer) -> list[NoduleResult]:
    if not rows:
        return []
    if predictor.card.input == "picture":
        return [result for result, _ in score_pictures([(row.image, row.case_id) for row in rows], predictor)]
    points = [NodulePoint(row.case_id, row.point_lps) for row in rows]
    diameters = [row.diameter_mm for row in rows]
    clinical = [asked_of(row.extra, predictor.card.clinical) for row in rows]
    return [result for result, _ in score_points(read_volume(rows[0].image), points, predictor, diameters, clinical)]


def _problem(row: ManifestRow, card: ModelCard) -> InputError | None:
    if row.problem:
        return InputError(row.problem, "manifest")
    if card.input == "picture" and row.kind == "nodule":
        return InputError("The row is a nodule in a CT; the model scores 2-D pictures only.", "input-kind")
    if card.input == "nodule" and row.point_lps is None:
        return InputError(f"The row is of the kind {row.kind} and has no point; only nodules can be scored.", "point")
    return None


_predictor: Scorer | None = None  # of a child process: loaded once, used for all its shares


def _load(path: Path, device: str, threads: int) -> None:
    global _predictor
    import torch

    from .predict import open_predictor

    torch.set_num_threads(threads)
    _predictor = open_predictor(ModelBundle.open(path), device)


def _score_in_child(rows: list[ManifestRow]) -> list[NoduleResult]:
    return score_share(rows, _predictor)


def _scored(
    shares: list[list[ManifestRow]], bundle: ModelBundle, device: str, processes: int
) -> Iterator[list[NoduleResult]]:
    if not shares:
        return
    if processes <= 1:
        from .predict import open_predictor

        predictor = open_predictor(bundle, device)
        for rows in shares:
            yield score_share(rows, predictor)
        return
    threads = max(1, (os.cpu_count() or 1) // processes)
    with child_processes(processes, _load, (bundle.path, device, threads)) as pool:
        for future in as_completed([pool.submit(_score_in_child, rows) for rows in shares]):
            yield future.result()


def _finished(output: Path, card: ModelCard) -> dict[str, dict[str, str]]:
    """Scored rows of an earlier run, by case; a last line cut off by a crash is left out."""
    if not output.exists():
        return {}
    try:
        text = output.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{output} cannot be read ({error}). Choose another output.") from error
    lines = text[: text.rfind("\n") + 1].splitlines()
    reader = csv.DictReader(lines)
    if lines and tuple(reader.fieldnames or ()) != COLUMNS:
        raise UsageError(f"{output} is not a results file of this version. Choose another output; nothing was changed.")
    rows = [row for row in reader if row["status"] == "scored"]
    if any(row["model_sha256"] != card.sha256 for row in rows):
        raise UsageError(f"{output} holds results of another model. Choose another output; nothing was changed.")
    return {row["case_id"]: row for row in rows}


def _failures(done: dict[str, dict[str, str]]) -> int:
    return sum(row["status"] == "failed" for row in done.values())
