"""A cell of an experiment's table, and an experiment: its cells and the command that gives each of them its figures."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

FINETUNE, FUSE, EVALUATE = "finetune", "fuse", "evaluate"


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
    labels: int = 0
    pretraining: tuple[str, ...] | None = None
    finetuning: tuple[str, ...] = ()
    reduced: bool = False
    repeat: int = 0

    @property
    def pretraining_folder(self) -> str:
        """The folder of its pre-training, shared by all cells of the same words."""
        words = [*(self.pretraining or ()), *(["reduced"] if self.reduced else [])]
        return "pretraining-" + hashlib.sha256(" ".join(words).encode()).hexdigest()[:8]


def repeated(cell: Cell, times: int) -> list[Cell]:
    """The cell, and the same fine-tuning with other seeds in the same folds."""
    return [
        replace(cell, name=f"{cell.name}-{number}", finetuning=(*cell.finetuning, f"seed={number}"), repeat=number)
        for number in range(times)
    ]


@dataclass(frozen=True)
class Experiment:
    """list_cells: the table's cells, from the number of labeled cases in a fold's training part. command: of
    ``maemc-train``, what gives each cell its figures; EVALUATE is of the pre-training itself, on patients that it has
    not seen.

    pretraining_share: of the patients for pre-training alone, where these are to be others and none are given.
    small_cnn: whether a small convolutional network is trained beside the cells, on nodules (``small_cnn``).
    """

    list_cells: Callable[[int], list[Cell]]
    command: str = FINETUNE
    pretraining_share: float = 0.4
    small_cnn: bool = False
