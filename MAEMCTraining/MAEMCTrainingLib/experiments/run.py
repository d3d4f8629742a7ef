"""Running an experiment: every cell a job of its own, a table and a figure of what they reached.

Everything lies in one folder; the same command continues where it was stopped, and renews the table after each cell.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from MAEMCLib.files.atomic import make_folder

from ..jobs.job import Job
from .auc_table import write_aucs
from .cell import EVALUATE, FINETUNE, FUSE, Cell, Experiment
from .fusion_table import write_fusions
from .reconstruction_table import write_reconstructions

_WRITERS = {FINETUNE: write_aucs, FUSE: write_fusions, EVALUATE: write_reconstructions}


@dataclass(frozen=True)
class ExperimentRun:
    """What all cells have in common.

    pretraining_data: what pre-trained cells are pre-trained on; empty: the labeled data themselves, and the honest
    protocol repeats the pre-training in each fold. training: words of the command line for all trainings (preset,
    threads). machine: words for all commands that compute (device). settings: KEY=VALUE for all trainings, after the
    cell's own. columns: words that say what is fused.
    """

    experiment: Experiment
    data: Sequence[Path]
    pretraining_data: Sequence[Path]
    output: Path
    training: Sequence[str] = ()
    machine: Sequence[str] = ()
    settings: Sequence[str] = ()
    columns: Sequence[str] = ()
    quiet: bool = False

    def write_table(self, cells: Sequence[Cell]) -> None:
        """Write table.csv, table.md and experiment.png of those cells that are finished."""
        _WRITERS[self.experiment.command](cells, self.output)

    def commands(self, cell: Cell) -> Iterator[tuple[Path, list[str]]]:
        """What gives a cell its figures, in order: what a command of ``maemc-train`` writes, and its other words."""
        start, sources = "scratch", self.pretraining_data or self.data
        words = [*self.training, *self.machine]
        if cell.pretraining is not None:
            if cell.reduced:
                reduced = [self.output / f"{path.stem}-reduced.csv" for path in sources]
                for source, target in zip(sources, reduced, strict=True):
                    yield target, ["reduce", str(source), "--method", "hash", "--threshold", "6"]
                sources = reduced
            folder = self.output / cell.pretraining_folder
            start = str(folder)
            yield folder, ["pretrain", *_data(sources), *words, *cell.pretraining, *self.settings]
        command = [self.experiment.command, *_data(self.data)]
        if self.experiment.command == EVALUATE:
            yield self.output / cell.name, [*command, start, *self.machine]
        else:
            words = [*words, *self.columns, *cell.finetuning, *self.settings]
            yield self.output / cell.name, [*command, "--from", start, *words]


def run_experiment(
    run: ExperimentRun, cells: Sequence[Cell], run_command: Callable[[Sequence[str]], int], shown: Sequence[Cell]
) -> int:
    """Run the cells that are not finished; the exit code of the command that ended the run.

    run_command: runs a command of ``maemc-train`` from its words. shown: the cells of the table, of which ``cells``
    may be a part.
    """
    make_folder(run.output)
    for number, cell in enumerate(cells):
        if not run.quiet:
            labels = f", {cell.labels} labels" if cell.labels else ""
            print(f"{cell.row}{labels} ({number + 1} of {len(cells)})", file=sys.stderr)
        for target, words in run.commands(cell):
            if not _is_done(target):
                code = run_command([*words, "--output", str(target), *["--quiet"] * run.quiet])
                if code:
                    return code
        run.write_table(shown)
    return 0


def _is_done(target: Path) -> bool:
    """Whether a reduced manifest, an evaluation (whose file is written last, and at once) or a job is finished."""
    if target.is_file() or (target / "pretext.json").is_file():
        return True
    return (target / "job.json").is_file() and Job(target).status == "finished"


def _data(paths: Sequence[Path]) -> list[str]:
    return [word for path in paths for word in ("--data", str(path))]
