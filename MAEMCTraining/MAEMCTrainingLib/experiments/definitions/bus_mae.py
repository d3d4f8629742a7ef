"""The masked autoencoder on 2-D pictures with small lesions: what patch size and mask ratio are worth.

The published work adapts both so that small lesions are not masked whole, and gives no values: this is a grid.
"""

from ..cell import Cell, Experiment

_SIDE = 224
_PATCHES = (16, 8)  # pixels a side
_RATIOS = (0.5, 0.6, 0.75)


def cells(cases: int) -> list[Cell]:
    """cases: not looked at; all labels are used."""
    table = []
    for patch in _PATCHES:
        encoder = (f"encoder.image_size={_SIDE}", f"encoder.patch_size={patch}")
        row, name = f"patch {patch}", f"patch-{patch}"
        table.append(Cell(f"{name}-scratch", f"{row}, from scratch", finetuning=("--backbone", "tiny", *encoder)))
        for ratio in _RATIOS:
            words = ("--method", "mae", *encoder, f"mask_ratio={ratio}")
            table.append(Cell(f"{name}-{ratio:g}", f"{row}, {ratio:.0%} masked", 0, words))
    return table


EXPERIMENTS = {"bus-mae": Experiment(cells)}
