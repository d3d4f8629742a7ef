"""What an encoder has learned before it is fine-tuned: a pre-training, a model that is there already, or ImageNet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.atomic import file_sha256
from MAEMCLib.models.bundle import CARD, SUFFIX, ModelBundle
from MAEMCLib.models.store import find_model, list_models
from MAEMCLib.networks.backbones import imagenet_file, load_imagenet
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration
from MAEMCLib.networks.encoders import AnyEncoderConfiguration
from torch import Tensor

from ..data.kinds import KINDS
from ..data.kinds.kind import Kind
from ..data.preprocessing import Settings
from ..pretraining.run import PretrainedJob, load_pretrained

SCRATCH, IMAGENET = "scratch", "imagenet"


@dataclass(frozen=True)
class StartingPoint:
    """An encoder's weights and where they come from.

    source: where it lies: a folder, a file, or ``imagenet``. name: for people. preprocessing: what the encoder is used
    to; None: that of the data at hand. kind: of input that it has learned from; None: it takes all.
    fingerprint: SHA-256 of the weights' file or of the bundle's card.
    pretraining: the job, where it is one. patients_known: whether anybody can tell whom it has learned from.
    autoencoder and decoder: the tensors and the architecture that reconstruct a montage, where it has them;
    otherwise empty and None.
    """

    source: str
    name: str
    encoder: AnyEncoderConfiguration
    state: dict[str, Tensor]
    fingerprint: str
    preprocessing: Settings | None = None
    kind: Kind | None = None
    pretraining: PretrainedJob | None = None
    patients_known: bool = True
    autoencoder: dict[str, Tensor] = field(default_factory=dict)
    decoder: DecoderConfiguration | None = None

    @property
    def public_name(self) -> str:
        """What a job's log calls it: without names of folders."""
        if self.pretraining is not None:
            return f"a pre-training by {self.pretraining.run.method}"
        return self.name


def starting_point(words: str) -> StartingPoint | None:
    """What the words after ``--from`` name: a job's folder, a model's file, folder or id. None: ``scratch``, and
    ``imagenet``, which is loaded when the architecture is settled. Raises as ``from_job`` and ``from_bundle`` do.
    """
    if words in (SCRATCH, IMAGENET):
        return None
    known = words.partition("@")[0] in {model.card.id for model in list_models() if model.card}
    path = find_model(words) if known else Path(words)  # an id before a folder of that name
    return from_bundle(path) if path.suffix == SUFFIX or (path / CARD).is_file() else from_job(path)


def from_job(folder: Path) -> StartingPoint:
    """A finished pre-training. Raises as ``load_pretrained`` does."""
    pretrained = load_pretrained(folder)
    return StartingPoint(
        source=str(folder.resolve()),
        name=folder.name,
        encoder=pretrained.run.encoder,
        state=pretrained.module.encoder.state_dict(),
        preprocessing=pretrained.preprocessing,
        kind=pretrained.kind,
        fingerprint=file_sha256(folder / "checkpoints" / "last" / "model.safetensors"),
        pretraining=pretrained,
        # MAEMC's own; the other methods' decoders do not fit a bundle.
        autoencoder=pretrained.module.autoencoder_state(),
        decoder=pretrained.run.decoder,
    )


def from_bundle(path: Path) -> StartingPoint:
    """The encoder of a model's first classifier, in float32. Raises ModelError; InputError for a fusion model."""
    bundle = ModelBundle.open(path)
    if bundle.card.fusion == "graph":
        raise InputError(
            f"{path.name} fuses images with clinical values and has several encoders. Fine-tune from a model of one "
            "image.",
            "fusion",
        )
    prefix = "encoder."
    tensors = bundle.weights("classifier")[0]
    return StartingPoint(
        source=str(path.resolve()),
        name=f"{bundle.card.id} {bundle.card.version}",
        encoder=bundle.card.encoder,
        # Counters of training steps are whole numbers and stay so.
        state={
            name.removeprefix(prefix): tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        },
        preprocessing=bundle.card.preprocessing,
        kind=KINDS[bundle.card.input],
        fingerprint=bundle.card.sha256,
        patients_known=False,
        autoencoder=next(iter(bundle.weights("decoder")), {}) if bundle.card.decoder else {},
        decoder=bundle.card.decoder,
    )


def from_imagenet(encoder: Any, weights: Path | None) -> StartingPoint:
    """A backbone with the published weights of a file that the user brings; nothing is fetched.

    Raises UsageError: no backbone of the table, no file named; ModelError: a file that does not hold its weights.
    """
    if not isinstance(encoder, BackboneConfiguration):
        raise UsageError(
            "ImageNet's weights are of published backbones. Name one with --backbone, for example --backbone resnet18.",
            "backbone",
        )
    if encoder.stem != "standard":
        raise UsageError("ImageNet's weights have the published first layer. Leave encoder.stem out.", "stem")
    if weights is None:
        raise UsageError(f"--from imagenet needs a file: {imagenet_file(encoder)}", "no-weights")
    return StartingPoint(
        source=IMAGENET,
        name="ImageNet",
        encoder=encoder,
        state=load_imagenet(encoder, weights),
        fingerprint=file_sha256(weights),
    )
