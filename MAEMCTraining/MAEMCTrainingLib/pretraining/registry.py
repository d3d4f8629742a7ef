"""The pre-training methods, found by name in one table."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from MAEMCLib.errors import UsageError


@dataclass(frozen=True)
class Entry:
    """A method in the table. implementation: module and class; settings: of its Configuration, where a name stands for
    a variant. title, sentence, source: for people. needs: what the data have to be or to have.
    """

    implementation: str
    title: str
    sentence: str
    source: str
    needs: tuple[str, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()


NODULES, LABELS, METADATA = "nodules in CT", "labels", "metadata"
"""What a method may need: two planes of a nodule, a class for each case, the columns modality and anatomy."""
_ZHAO = "Zhao et al. 2025, 10.3389/fmed.2025.1507258"
METHODS: dict[str, Entry] = {
    "maemc": Entry(
        "MAEMCTrainingLib.pretraining.methods.maemc:MAEMC",
        "MAEMC-NET",
        "Rebuilds hidden parts of the axial montage and tells the coronal montage of the same nodule from others.",
        _ZHAO,
        (NODULES,),
    ),
    "maemc-contrastive": Entry(
        "MAEMCTrainingLib.pretraining.methods.maemc:MAEMC",
        "MAEMC-NET, contrastive only",
        "The ablation without reconstruction: tells the coronal montage of the same nodule from others.",
        f"{_ZHAO}, Table 3",
        (NODULES,),
        (("loss_balance", 0.0),),
    ),
    "maemc-generative": Entry(
        "MAEMCTrainingLib.pretraining.methods.maemc:MAEMC",
        "MAEMC-NET, generative only",
        "The ablation without contrast: rebuilds hidden parts of the axial montage.",
        f"{_ZHAO}, Table 3",
        (NODULES,),
        (("loss_balance", 1.0),),
    ),
    "mae": Entry(
        "MAEMCTrainingLib.pretraining.methods.mae:MAE",
        "Masked autoencoder",
        "Rebuilds hidden patches of an image; patch size and mask ratio are free, for small lesions too.",
        "He et al. 2022, arXiv:2111.06377",
    ),
    "cmae": Entry(
        "MAEMCTrainingLib.pretraining.methods.cmae:CMAE",
        "Contrastive masked autoencoder",
        "Rebuilds hidden patches, and matches their features with those of the whole, slightly shifted image.",
        "Huang et al. 2022, arXiv:2207.13532",
    ),
    "simclr": Entry(
        "MAEMCTrainingLib.pretraining.methods.simclr:SimCLR",
        "SimCLR",
        "Tells two views of one image from the views of all others in the batch.",
        "Chen et al. 2020, arXiv:2002.05709",
    ),
    "moco-v1": Entry(
        "MAEMCTrainingLib.pretraining.methods.moco:MoCoV1",
        "MoCo v1",
        "Tells two views of one image from a queue of earlier ones, with a momentum encoder.",
        "He et al. 2020, arXiv:1911.05722",
    ),
    "moco-v2": Entry(
        "MAEMCTrainingLib.pretraining.methods.moco:MoCoV2",
        "MoCo v2",
        "MoCo with a projection of two layers and stronger augmentation.",
        "Chen et al. 2020, arXiv:2003.04297",
    ),
    "swav": Entry(
        "MAEMCTrainingLib.pretraining.methods.swav:SwAV",
        "SwAV",
        "Predicts from one crop of an image the cluster that another crop was assigned to.",
        "Caron et al. 2020, arXiv:2006.09882; on reduced CT: Wolf et al. 2024, arXiv:2410.14524",
    ),
    "spark": Entry(
        "MAEMCTrainingLib.pretraining.methods.spark:SparK",
        "SparK",
        "Masked reconstruction for a convolutional network that never sees the hidden places.",
        "Tian et al. 2023, arXiv:2301.03580; on reduced CT: Wolf et al. 2024, arXiv:2410.14524",
    ),
    "resmae": Entry(
        "MAEMCTrainingLib.pretraining.methods.resmae:ResMAE",
        "Res-MAE",
        "A residual network rebuilds blocks that were blacked out; the image encoder of multi-modal fusion.",
        "Jiao et al. 2022, 10.1007/978-3-031-17266-3_6, as its abstract reads",
    ),
    "fcmae": Entry(
        "MAEMCTrainingLib.pretraining.methods.fcmae:FCMAE",
        "ConvNeXt V2 (FCMAE)",
        "Masked reconstruction with a convolutional network and global response normalization.",
        "Woo et al. 2023, arXiv:2301.00808",
    ),
    "supervised": Entry(
        "MAEMCTrainingLib.pretraining.methods.supervised:Supervised",
        "Supervised",
        "Learns the classes of a column of the manifest, as many as there are.",
        "cross-entropy; the supervised rows of the papers' tables",
        (LABELS,),
    ),
    "modan-mulsupcon": Entry(
        "MAEMCTrainingLib.pretraining.methods.modan_mulsupcon:ModAnMulSupCon",
        "ModAn-MulSupCon",
        "Draws images together by the modality and anatomy that they share.",
        "Takaya and Inamori 2025, arXiv:2508.18613",
        (METADATA,),
    ),
}


def method_named(name: str) -> type:
    """The class of a pre-training method. Raises UsageError for a name that is not in ``METHODS``."""
    module, _, attribute = _entry(name).implementation.partition(":")
    return getattr(import_module(module), attribute)


def default_settings(name: str) -> Any:
    """A method's own settings, as its name in the table has them. Raises UsageError."""
    return method_named(name).Configuration(**dict(_entry(name).settings))


def methods_for(flat: bool, labels: bool, metadata: bool) -> list[str]:
    """The names of the methods that can learn from data, in the table's order.

    flat: 2-D pictures. labels, metadata: whether they tell cases apart (at least two values).
    """
    there = {NODULES: not flat, LABELS: labels, METADATA: metadata}
    return [name for name, entry in METHODS.items() if all(there[need] for need in entry.needs)]


def _entry(name: str) -> Entry:
    if name not in METHODS:
        raise UsageError(
            f"There is no pre-training method called {name!r}. Choose one of {', '.join(METHODS)}.", "unknown-method"
        )
    return METHODS[name]
