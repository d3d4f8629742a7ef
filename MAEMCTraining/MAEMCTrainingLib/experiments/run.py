"""Running an experiment: every cell a job of its own, a table and a figure of what they reached.

Everything lies in one folder; the same command continues where it was stopped, and renews the table after each cell.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from MAEMCLib.files.folder import make_folder

from ..jobs.job import Job
from . import auc_table, fusion_table, reconstruction_table
from .cell import EVALUATE, FINETUNE, FUSE, Cell, Experiment

Command = Callable[[Sequence[str]], int]
"""Runs a command of ``maemc-train`` from its words, and returns its exit code."""


def table_writer(experiment: Experiment) -> Callable[[Sequence[Cell], Path], list[dict[str, Any]]]:
    """Writes table.csv, table.md and experiment.png of the cells that are finished; returns the rows."""
    return {
        FINETUNE: auc_table.write_table,
        FUSE: fusion_table.write_table,
        EVALUATE: reconstruction_table.write_table,
    }[experiment.command]


def run_experiment(
    experiment: Experiment,
    cells: Sequence[Cell],
    data: Sequence[Path],
    pretraining_data: Sequence[Path],
    output: Path,
    words: Sequence[str],
    run_command: Command,
    quiet: bool,
    settings: Sequence[str] = (),
    shown: Sequence[Cell] = (),
    columns: Sequence[str] = (),
) -> int:
    """Run the cells that are not finished. words: of the command line for all of them (preset, device, threads).
    shown: the cells of the table, where these are a part of them.
    settings: KEY=VALUE for all of them, after the cell's own. columns: what is fused, of a table of fusions.

    pretraining_data: what pre-trained cells are pre-trained on; where it is empty, the labeled data themselves, and the
    honest protocol repeats the pre-training in each fold. Returns the exit code of the command that ended the run.
    """
    make_folder(output)
    for number, cell in enumerate(cells):
        if not quiet:
            labels = f", {cell.labels} labels" if cell.labels else ""
            print(f"{cell.row}{labels} ({number + 1} of {len(cells)})", file=sys.stderr)
        start = "scratch"
        if cell.pretraining is not None:
            start = str(output / cell.pretraining_folder)
            sources = list(pretraining_data or data)
            if cell.reduced:
                sources = [output / f"{path.stem}-reduced.csv" for path in sources]
                code = _reduce(run_command, list(pretraining_data or data), sources, quiet)
                if code:
                    return code
            words_of_pretraining = ["pretrain", *_data(sources), *words, *cell.pretraining, *settings]
            code = _job(run_command, Path(start), words_of_pretraining)
            if code:
                return code
        if experiment.command == EVALUATE:
            known = ["--device", words[words.index("--device") + 1]] if "--device" in words else []
            known += ["--quiet"] * quiet
            code = _evaluation(run_command, output / cell.name, [EVALUATE, start, *_data(data), *known])
        else:
            arguments = [experiment.command, *_data(data), "--from", start, *words, *columns]
            arguments += [*cell.finetuning, *settings]
            code = _job(run_command, output / cell.name, arguments)
        if code:
            return code
        table_writer(experiment)(shown or cells, output)
    return 0


def _reduce(run_command: Command, sources: list[Path], outputs: list[Path], quiet: bool) -> int:
    """Leave similar slices out of each manifest that was not reduced yet."""
    for source, output in zip(sources, outputs, strict=True):
        if not output.is_file():
            words = ["reduce", str(source), "--method", "hash", "--threshold", "6", "--output", str(output)]
            code = run_command([*words, *(["--quiet"] if quiet else [])])
            if code:
                return code
    return 0


def _data(paths: Sequence[Path]) -> list[str]:
    return [word for path in paths for word in ("--data", str(path))]


def _job(run_command: Command, folder: Path, arguments: list[str]) -> int:
    if (folder / "job.json").is_file() and Job(folder).status == "finished":
        return 0
    return run_command([*arguments, "--output", str(folder)])


def _evaluation(run_command: Command, folder: Path, arguments: list[str]) -> int:
    done = (folder / "pretext.json").is_file()  # written last, and at once
    return 0 if done else run_command([*arguments, "--output", str(folder)])
