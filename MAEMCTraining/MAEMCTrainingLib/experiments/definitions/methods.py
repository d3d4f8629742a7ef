"""The methods beside each other on labeled 2-D pictures: from scratch, frozen and fine-tuned, with few and all labels.

"Less is More" compares SwAV, MoCo v2 and SparK with and without reduction; the other methods and rivals are set beside
them at the same budget. Pre-training sees a part of the patients whose labels are never evaluated; all rows are
fine-tuned and tested in the same folds of the others, beside the random forest of each job's report.
"""

from ..cell import Cell, Experiment

_LABELS = (30, 100, 0)
_EPOCHS = 8  # of fine-tuning with all labels
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


def cells(cases: int) -> list[Cell]:
    """cases: labeled ones in a fold's training part."""
    counts = [labels for labels in _LABELS if labels < cases]
    table = []
    for labels in counts:
        for backbone in _BACKBONES:
            table.append(_cell(f"{backbone}, from scratch", labels, (*_steps(labels), "--backbone", backbone)))
    for method, settings in _METHODS.items():
        for reduced in (False, True) if method in REDUCED else (False,):
            words = ("--method", method, "epochs=20", *settings)
            name = f"{method}, reduced" if reduced else method
            for labels in counts:
                table.append(_cell(f"{name}, frozen", labels, ("--linear-probe",), words, reduced))
                table.append(_cell(f"{name}, fine-tuned", labels, _steps(labels), words, reduced))
    return table


def _cell(
    row: str,
    labels: int,
    finetuning: tuple[str, ...],
    pretraining: tuple[str, ...] | None = None,
    reduced: bool = False,
) -> Cell:
    name = f"{row.replace(', ', '-').replace(' ', '-')}-{labels or 'all'}"
    return Cell(name, row, labels, pretraining, (f"labeled_cases={labels}", *finetuning), reduced)


def _steps(labels: int) -> tuple[str, ...]:
    epochs = round(_IMAGES / labels) if labels else _EPOCHS
    return (f"epochs={epochs}", f"patience={epochs}", *(["batch=16"] if labels else []))


EXPERIMENTS = {"methods": Experiment(cells)}
