"""What the patch size costs: the published patch of 50 (a token a slice, one linear map) against smaller ones.

methods.md calls it the consequence of the published design that in-slice detail passes through a single linear map of
2,500 values. This table trains patch 50, 25 and 10, from scratch and pre-trained, with 30, 100 and all labels.
"""

from ..cell import Cell, Experiment

# Patches smaller than a slice need a position code that knows slice, row and column.
_PATCHES = {50: "1d", 25: "3d", 10: "3d"}
_LABELS = (30, 100, 0)
_EPOCHS = 120  # with all labels


def cells(cases: int) -> list[Cell]:
    """cases: labeled ones in a fold's training part. Fewer labels get as many more epochs, so that every cell takes the
    same number of steps: what differs is what the steps can learn from.
    """
    table = []
    for patch in _PATCHES:
        encoder = (f"encoder.patch_size={patch}", f"encoder.position={_PATCHES[patch]}")
        starts = {
            "from scratch": (None, encoder),
            "pre-trained": (encoder, ("new_patch_embedding=false",)),
            "pre-trained blocks": (encoder, ("new_patch_embedding=true",)),
        }
        for start, (pretraining, words) in starts.items():
            for labels in _LABELS:
                if labels >= cases:
                    continue
                longer = cases / labels if labels else 1.0
                name = f"patch-{patch}-{start.replace(' ', '-')}-{labels or 'all'}"
                steps = (f"epochs={round(_EPOCHS * longer)}", f"patience={round(_EPOCHS * longer / 2)}")
                finetuning = (*words, f"labeled_cases={labels}", *steps)
                table.append(Cell(name, f"patch {patch}, {start}", labels, pretraining, finetuning))
    return table


EXPERIMENTS = {"patch-size": Experiment(cells, small_cnn=True)}
