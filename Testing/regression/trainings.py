"""What is trained: a pre-training of each family, fine-tunings, a linear probe, fusions. Seconds each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# An event for each step; a few steps of small batches.
_COURSE = ("--preset", "tiny", "--threads", "1", "--device", "cpu", "--quiet", "log_every=1", "batch=6")
_TINY = ("encoder.width=32", "encoder.depth=2", "encoder.heads=4")
_TRANSFORMER = (*_TINY, "decoder.width=16", "decoder.depth=1", "decoder.heads=2")
_SMALL_TRANSFORMER = (*_TRANSFORMER, "encoder.image_size=32", "encoder.patch_size=8")
_RESNET = ("encoder.image_size=32",)


@dataclass(frozen=True)
class Training:
    """A command that trains a job of this name; ``exported``: it is then exported as a bundle and evaluated as one."""

    name: str
    command: str
    data: str  # "nodules" or "pictures"
    options: tuple[str, ...]
    exported: bool = False

    def arguments(self, inputs: Path, job: str) -> tuple[str, ...]:
        """Of maemc-train, for the job's folder ``job``."""
        return (self.command, "--data", str(manifest(inputs, self.data)), "--output", job, *_COURSE, *self.options)


def manifest(inputs: Path, data: str) -> Path:
    """The manifest of "nodules" or "pictures" in the folder of the inputs."""
    return inputs / {"nodules": "nodules/manifest.csv", "pictures": "pictures.csv"}[data]


def _pretraining(method: str, data: str, *options: str, name: str = "") -> Training:
    return Training(name or method, "pretrain", data, ("--method", method, "epochs=3", "views_per_case=1", *options))


TRAININGS = (
    _pretraining("maemc", "nodules", *_TRANSFORMER, "queue_size=9"),
    _pretraining("mae", "pictures", *_SMALL_TRANSFORMER),
    _pretraining("moco-v2", "pictures", *_RESNET, "queue_size=15"),
    Training(
        "finetune-nodules",
        "finetune",
        "nodules",
        ("--from", "maemc", "--folds", "2", "epochs=3", "validation_fraction=0.3"),
        exported=True,
    ),
    Training(
        "finetune-pictures",
        "finetune",
        "pictures",
        ("--from", "mae", "--folds", "2", "epochs=3", "angles=3", "loss_window=2"),
        exported=True,
    ),
    _pretraining("cmae", "pictures", *_SMALL_TRANSFORMER),
    _pretraining("simclr", "pictures", *_RESNET),
    _pretraining("swav", "pictures", *_RESNET),
    _pretraining("spark", "pictures", "decoder_width=32"),
    _pretraining("resmae", "pictures", "decoder_width=32"),
    _pretraining("fcmae", "pictures", "decoder_width=32"),
    _pretraining("supervised", "pictures", *_RESNET, "columns=modality"),
    _pretraining("modan-mulsupcon", "pictures", *_RESNET, "columns=modality,anatomy"),
    Training(
        "linear-probe",
        "finetune",
        "pictures",
        ("--from", "moco-v2", "--linear-probe", "--folds", "2", "validation_fraction=0.2"),
        exported=True,
    ),
    Training(
        "fuse",
        "fuse",
        "nodules",
        (
            *("--clinical", "age:years,sex", "--branches", "axial,coronal,image_2", "--target", "subtype"),
            *("--from", "maemc", "--folds", "2", "epochs=3", "validation_fraction=0.3", "width=8"),
        ),
        exported=True,
    ),
)
