"""The methods beside each other on labeled 2-D pictures: from scratch, frozen and fine-tuned, with few and all labels.

"Less is More" compares SwAV, MoCo v2 and SparK with and without reduction; the other methods and rivals are set beside
them at the same budget. Pre-training sees a part of the patients whose labels are never evaluated; all rows are
fine-tuned and tested in the same folds of the others, beside the random forest of each job's report.
"""

from __future__ import annotations

from ..cell import Cell, Experiment

_LABELS = (30, 100, 0)
_IMAGES = 1600  # that a fold's fine-tuning sees with few labels: as many steps for 30 as for 100
_METHODS: dict[str, tuple[str, ...]] = {
    "simclr": (),
    "moco-v2": (),
    "swav": (),
    "mae": (),
    "spark": (),
    "resmae": (),
    "modan-mulsupcon": ("columns=malignancy_median_high",),
    "supervised": ("columns=malignancy_median_high",),
}
"""With the settings that fit one modality and one anatomy: what is left of the metadata is the readers' rating."""
_BACKBONES = ("resnet18", "tiny")
"""Trained from scratch: what all methods but mae have, and the small transformer that mae has."""
REDUCED = ("moco-v2", "swav", "spark", "mae")
"""Methods that are also pre-trained without similar slices."""


def cells(cases: int, epochs: int = 8, pretraining_epochs: int = 20) -> list[Cell]:
    """cases: labeled ones in a fold's training part. epochs: of fine-tuning with all labels."""
    table = []
    for labels in _LABELS:
        if labels < cases:
            for backbone in _BACKBONES:
                table.append(_cell("scratch", f"{backbone}, from scratch", labels, None, False, epochs, backbone))
    for method, settings in _METHODS.items():
        for reduced in (False, True) if method in REDUCED else (False,):
            words = ("--method", method, f"epochs={pretraining_epochs}", *settings)
            name = f"{method}, reduced" if reduced else method
            for labels in _LABELS:
                if labels < cases:
                    table.append(_cell("probe", f"{name}, frozen", labels, words, reduced, epochs))
                    table.append(_cell("tuned", f"{name}, fine-tuned", labels, words, reduced, epochs))
    return table


def _cell(
    kind: str,
    row: str,
    labels: int,
    pretraining: tuple[str, ...] | None,
    reduced: bool,
    epochs: int,
    backbone: str = "",
) -> Cell:
    words: tuple[str, ...] = (f"labeled_cases={labels}",)
    if kind == "probe":
        words += ("--linear-probe",)
    elif labels:
        longer = round(_IMAGES / labels)
        words += (f"epochs={longer}", f"patience={longer}", "batch=16")
    else:
        words += (f"epochs={epochs}", f"patience={epochs}")
    if backbone:
        words += ("--backbone", backbone)
    name = f"{row.replace(', ', '-').replace(' ', '-')}-{labels or 'all'}"
    return Cell(name, row, labels, pretraining, words, reduced)


EXPERIMENTS = {"methods": Experiment(cells)}
