"""Experiments: tables of trainings that run on any labeled data, each cell an ordinary job that can be continued.

An experiment is a function from the command line's settings to its cells; ``EXPERIMENTS`` is the one table of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from MAEMCLib.errors import UsageError

EXPERIMENTS: dict[str, str] = {
    "patch-size": "MAEMCTrainingLib.experiments.patch_size:cells",
    "methods": "MAEMCTrainingLib.experiments.methods:cells",
    "less-is-more": "MAEMCTrainingLib.experiments.less_is_more:cells",
    "modan-mulsupcon": "MAEMCTrainingLib.experiments.modan_mulsupcon:cells",
    "bus-mae": "MAEMCTrainingLib.experiments.bus_mae:cells",
    "maemc-table-2": "MAEMCTrainingLib.experiments.maemc_tables:table_2",
    "maemc-table-3": "MAEMCTrainingLib.experiments.maemc_tables:table_3",
    "maemc-table-4": "MAEMCTrainingLib.experiments.maemc_tables:table_4",
    "maemc-table-5": "MAEMCTrainingLib.experiments.maemc_tables:table_5",
}


@dataclass(frozen=True)
class Cell:
    """One trained model of a table: the words of its pre-training (None: from scratch) and of its fine-tuning.

    name: of its job's folder. row and labels: where it stands in the table; labels is the number of labeled cases that
    each fold uses, 0 for all. pretraining: arguments of ``maemc-train pretrain`` besides data and output; cells with
    the same arguments share one job. finetuning: arguments of ``maemc-train finetune`` besides data, output and start.
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


def experiment_named(name: str) -> Callable[..., Any]:
    """The function that lists an experiment's cells. Raises UsageError for a name that is not in ``EXPERIMENTS``."""
    if name not in EXPERIMENTS:
        raise UsageError(
            f"There is no experiment '{name}'. Choose one of {', '.join(sorted(EXPERIMENTS))}.", "experiment"
        )
    module, _, attribute = EXPERIMENTS[name].partition(":")
    return getattr(import_module(module), attribute)
