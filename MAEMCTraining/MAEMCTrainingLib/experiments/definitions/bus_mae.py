"""The masked autoencoder on 2-D pictures with small lesions: what patch size and mask ratio are worth.

The published work adapts both so that small lesions are not hidden whole, and gives no values: this is a grid.
"""

from __future__ import annotations

from ..cell import Cell, Experiment

_SHARES = (14, 28)  # patches along a side: of 16 and of 8 pixels at 224
_RATIOS = (0.5, 0.6, 0.75)


def cells(cases: int, side: int = 224) -> list[Cell]:
    """cases: not looked at; all labels are used."""
    table = []
    for share in _SHARES:
        encoder = (f"encoder.image_size={side}", f"encoder.patch_size={side // share}")
        table.append(Cell(f"patch-{side // share}-scratch", f"patch {side // share}, from scratch", 0, None,
                          ("--backbone", "tiny", *encoder)))  # fmt: skip
        for ratio in _RATIOS:
            words = ("--method", "mae", *encoder, f"mask_ratio={ratio}")
            row = f"patch {side // share}, {ratio:.0%} hidden"
            table.append(Cell(f"patch-{side // share}-{ratio:g}", row, 0, words, ()))
    return table


EXPERIMENTS = {"bus-mae": Experiment(cells)}
