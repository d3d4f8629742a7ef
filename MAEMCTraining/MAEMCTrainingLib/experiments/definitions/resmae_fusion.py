"""Res-MAE with bipartite-graph fusion: what the pre-training adds, and what clinical values add to the images.

The source (an abstract) reports gains over a baseline that it does not name; here every row stands beside the same
network from scratch, the images alone, the clinical values alone and the majority class.
"""

from ..cell import FUSE, Cell, Experiment

_WORDS = ("images_alone=true",)


def cells(cases: int) -> list[Cell]:
    """cases: not looked at; all labels are used."""
    return [
        Cell("scratch", "fusion, from scratch", finetuning=("--backbone", "resnet18", *_WORDS)),
        Cell("resmae", "fusion, pre-trained by resmae", 0, ("--method", "resmae"), _WORDS),
    ]


EXPERIMENTS = {"resmae-fusion": Experiment(cells, FUSE)}
