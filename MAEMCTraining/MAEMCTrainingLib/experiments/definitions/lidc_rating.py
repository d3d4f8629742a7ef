"""The shipped model's design beside its rivals on the LIDC slabs: pre-trained, from scratch, and a ResNet-18.

Three seeds each, in the same folds by patient; the pre-training is repeated in each fold without the patients that it
tests. Once each, from scratch, what the design is made of: without the measured size and attenuation, shown one slice
and five. ``Resources/make_demo_model.sh`` trains the first row with seed 1 and exports it: the words are the same.
"""

from ..cell import Cell, Experiment, repeated

_VIEWS = ("mode=light", "shift_mm=3")
_PRETRAINING = (
    "--method", "maemc", "--backbone", "slices", "seed=1", "epochs=4", "encoder.offsets=-1,0,1", *_VIEWS,
    "drop_slices=0.5", "drop_reach=6",
)  # fmt: skip
_FINETUNING = (
    "epochs=60", "patience=60", "batch=32", "learning_rate=1e-3", "loss_window=3", "fusion=axial", *_VIEWS,
    "head=measured",
)  # fmt: skip
_SLICES = ("drop_slices=0.5",)
"""So often the middle slice alone is shown: which slices a slab holds must not tell how large its nodule is."""
_BLOCKS = ("new_patch_embedding=true",)
"""Fine-tuned whole, the pre-trained network stayed below one from scratch on the inner validation parts; with its
blocks and a slice embedding drawn anew it did not."""
_SEEDS = 3


def cells(cases: int) -> list[Cell]:
    """cases: labeled ones in a fold's training part; all of them are used."""

    def scratch(name: str, title: str, *words: str, offsets: str = "-1,0,1") -> Cell:
        network = ("--backbone", "slices", f"encoder.offsets={offsets}")
        return Cell(name, title, 0, None, (*network, *_FINETUNING, *_SLICES, *words))

    rivals = [
        Cell("maemc", "MAEMC-NET of slices, pre-trained", 0, _PRETRAINING, (*_FINETUNING, *_SLICES, *_BLOCKS)),
        scratch("scratch", "the same from scratch"),
        Cell("resnet18", "ResNet-18 on the montage, from scratch", 0, None, ("--backbone", "resnet18", *_FINETUNING)),
    ]
    parts = [
        scratch("linear", "from scratch, of the images alone", "head=linear"),
        scratch("one-slice", "from scratch, the middle slice alone", offsets="0"),
        scratch("five-slices", "from scratch, five slices", offsets="-2,-1,0,1,2"),
    ]
    return [*(cell for row in rivals for cell in repeated(row, _SEEDS)), *parts]


EXPERIMENTS = {"lidc-rating": Experiment(cells)}
