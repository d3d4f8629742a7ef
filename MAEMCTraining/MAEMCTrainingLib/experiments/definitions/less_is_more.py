"""Less is More: does pre-training gain from leaving out similar slices? SwAV, MoCo v2 and SparK, with and without.

The published protocol of fine-tuning: one linear layer on the encoder, 10 epochs in which it alone is trained, then
all; Adam, batches of 64; five runs, of which mean and deviation are given.
"""

from ..cell import Cell, Experiment, repeated

METHODS = ("swav", "moco-v2", "spark")
RUNS = 5
_FINETUNING = ("frozen_epochs=10", "epochs=30", "patience=30", "batch=64", "weight_decay=0", "learning_rate=1e-3")


def cells(cases: int) -> list[Cell]:
    """cases: not looked at; all labels are used."""
    scratch = Cell("from-scratch", "from scratch", finetuning=("--backbone", "resnet18", *_FINETUNING[1:]))
    table = [scratch]
    for method in METHODS:
        for reduced in (False, True):
            row = f"{method}, {'HASH 6' if reduced else 'all slices'}"
            name = f"{method}-{'reduced' if reduced else 'all'}"
            table.append(Cell(name, row, 0, ("--method", method), _FINETUNING, reduced))
    return [again for cell in table for again in repeated(cell, RUNS)]


EXPERIMENTS = {"less-is-more": Experiment(cells)}
