"""Tables 2 to 6 of Zhao et al. 2025 on any nodules: rivals, ablations, mask ratios, backbones, reconstruction.

All rivals see the same montages, as the published figures suggest (methods.md, 6.1, 43). Pre-training is repeated in
each fold without its test patients, or takes other patients' nodules (``--pretraining-data``).
"""

from ..cell import EVALUATE, Cell, Experiment

_RIVALS = ("moco-v1", "moco-v2", "mae", "simclr", "cmae", "fcmae", "maemc")
_RATIOS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9)
_BACKBONES = ("vit-base", "swin", "deit", "levit", "pvt-v2", "resnet18", "resnet50", "convnextv2", "vit-large")


def table_2(cases: int) -> list[Cell]:
    """Methods. cases: not looked at, here and below; all labels are used."""
    return [Cell("supervised", "supervised"), *(Cell(name, name, 0, ("--method", name)) for name in _RIVALS)]


def table_3(cases: int) -> list[Cell]:
    """The parts of MAEMC-NET. Without data processing: the one slice through the point in the place of 25, as it is."""
    rows = {
        "contrastive only": ("--method", "maemc-contrastive"),
        "generative only": ("--method", "maemc-generative"),
        "both": ("--method", "maemc"),
    }
    table = []
    for row, words in rows.items():
        name = row.replace(" ", "-")
        raw = (*words, "mode=single")
        table.append(Cell(f"{name}-raw", f"{row}, without data processing", 0, raw, ("mode=single",)))
        table.append(Cell(name, f"{row}, with data processing", 0, words))
    return table


def table_4(cases: int) -> list[Cell]:
    """Mask ratios."""
    words = {ratio: ("--method", "maemc", f"mask_ratio={ratio}") for ratio in _RATIOS}
    return [Cell(f"ratio-{ratio:g}", f"{ratio:.0%} masked", 0, words[ratio]) for ratio in _RATIOS]


def table_5(cases: int) -> list[Cell]:
    """Backbones, trained from scratch: only the transformers of MAEMC's own can be pre-trained by it."""
    return [Cell(name, name, finetuning=("--backbone", name)) for name in _BACKBONES]


def table_6(cases: int) -> list[Cell]:
    """Reconstruction of unseen patients, by the masked autoencoder and by MAEMC-NET, with the same share masked."""
    return [Cell(name, name, 0, ("--method", name, "mask_ratio=0.5")) for name in ("mae", "maemc")]


EXPERIMENTS = {
    "maemc-table-2": Experiment(table_2),
    "maemc-table-3": Experiment(table_3),
    "maemc-table-4": Experiment(table_4),
    "maemc-table-5": Experiment(table_5),
    "maemc-table-6": Experiment(table_6, EVALUATE, 0.8),
}
