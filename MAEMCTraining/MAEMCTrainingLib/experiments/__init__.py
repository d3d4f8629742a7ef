"""Experiments: tables of trainings that run on any labeled data, each cell an ordinary job that can be continued.

An experiment has cells, a command that gives each of them its figures, and a table of these; ``EXPERIMENTS`` names all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from MAEMCLib.errors import UsageError

FINETUNE, FUSE, EVALUATE = "finetune", "fuse", "evaluate"


@dataclass(frozen=True)
class Experiment:
    """cells: "module:function" that lists them. command: of ``maemc-train``, what gives each cell its figures; EVALUATE
    is of the pre-training itself, on patients that it has not seen.

    pretraining_share: of the patients for pre-training alone, where these are to be others and none are given.
    """

    cells: str
    command: str = FINETUNE
    pretraining_share: float = 0.4

    def list_cells(self, cases: int) -> list[Cell]:
        """The table's cells. cases: labeled ones in a fold's training part."""
        return _named(self.cells)(cases)

    @property
    def write_table(self) -> Callable[[Sequence[Cell], Path], list[dict[str, Any]]]:
        """Writes table.csv, table.md and experiment.png of the cells that are finished; returns the rows."""
        return _named(_TABLES[self.command])


_TABLES = {
    FINETUNE: "MAEMCTrainingLib.experiments.auc_table:write_table",
    FUSE: "MAEMCTrainingLib.experiments.fusion_table:write_table",
    EVALUATE: "MAEMCTrainingLib.experiments.reconstruction_table:write_table",
}
EXPERIMENTS: dict[str, Experiment] = {
    "patch-size": Experiment("MAEMCTrainingLib.experiments.patch_size:cells"),
    "methods": Experiment("MAEMCTrainingLib.experiments.methods:cells"),
    "less-is-more": Experiment("MAEMCTrainingLib.experiments.less_is_more:cells"),
    "modan-mulsupcon": Experiment("MAEMCTrainingLib.experiments.modan_mulsupcon:cells"),
    "bus-mae": Experiment("MAEMCTrainingLib.experiments.bus_mae:cells"),
    "resmae-fusion": Experiment("MAEMCTrainingLib.experiments.resmae_fusion:cells", FUSE),
    "maemc-table-2": Experiment("MAEMCTrainingLib.experiments.maemc_tables:table_2"),
    "maemc-table-3": Experiment("MAEMCTrainingLib.experiments.maemc_tables:table_3"),
    "maemc-table-4": Experiment("MAEMCTrainingLib.experiments.maemc_tables:table_4"),
    "maemc-table-5": Experiment("MAEMCTrainingLib.experiments.maemc_tables:table_5"),
    "maemc-table-6": Experiment("MAEMCTrainingLib.experiments.maemc_tables:table_6", EVALUATE, 0.8),
}


@dataclass(frozen=True)
class Cell:
    """One trained model of a table: the words of its pre-training (None: from scratch) and of what follows.

    name: of its job's folder. row and labels: where it stands in the table; labels is the number of labeled cases that
    each fold uses, 0 for all. pretraining: arguments of ``maemc-train pretrain`` besides data and output; cells with
    the same arguments share one job. finetuning: arguments of the experiment's command besides data, output and start.
    repeat: the number of a repeated fine-tuning, which differs from the others of its row by its seed alone.
    reduced: whether similar slices are left out of the pre-training's data (``maemc-train reduce``, hash, threshold 6).
    """

    name: str
    row: str
    labels: int
    pretraining: tuple[str, ...] | None
    finetuning: tuple[str, ...]
    reduced: bool = False
    repeat: int = 0


def repeated(cell: Cell, times: int) -> list[Cell]:
    """The cell, and the same fine-tuning with other seeds in the same folds."""
    return [
        replace(cell, name=f"{cell.name}-{number}", finetuning=(*cell.finetuning, f"seed={number}"), repeat=number)
        for number in range(times)
    ]


def experiment_named(name: str) -> Experiment:
    """Raises UsageError for a name that is not in ``EXPERIMENTS``."""
    if name not in EXPERIMENTS:
        raise UsageError(
            f"There is no experiment '{name}'. Choose one of {', '.join(sorted(EXPERIMENTS))}.", "experiment"
        )
    return EXPERIMENTS[name]


def _named(place: str) -> Callable[..., Any]:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
