"""ModAn-MulSupCon beside SimCLR, supervised pre-training and none, in five fixed folds with ten repeats.

Published downstream: 10 epochs, batches of 32, Adam at 1e-4, a tenth of the rate from epoch 5; the mean AUC of the
folds of each repeat, compared by a paired Wilcoxon signed-rank test. A linear probe is fitted here, not trained: it has
one outcome, so that only fine-tuning is repeated.
"""

from ..cell import Cell, Experiment, repeated

REPEATS = 10
_METHODS = ("modan-mulsupcon", "simclr", "supervised")
_FINETUNING = (
    "epochs=10", "patience=10", "batch=32", "learning_rate=1e-4", "milestones=5", "schedule=milestones",
    "warmup_fraction=0", "weight_decay=0",
)  # fmt: skip


def cells(cases: int) -> list[Cell]:
    """cases: not looked at; all labels are used. The first row is what the others are compared with."""
    table = []
    for method in _METHODS:
        words = ("--method", method)
        table += repeated(Cell(method, f"{method}, fine-tuned", 0, words, _FINETUNING), REPEATS)
        table.append(Cell(f"{method}-probe", f"{method}, linear probe", 0, words, ("--linear-probe",)))
    scratch = Cell("from-scratch", "from scratch", finetuning=("--backbone", "resnet18", *_FINETUNING))
    return [*table, *repeated(scratch, REPEATS)]


EXPERIMENTS = {"modan-mulsupcon": Experiment(cells)}
