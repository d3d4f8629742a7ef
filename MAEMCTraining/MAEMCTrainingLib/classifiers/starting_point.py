"""What an encoder has learned before it is fine-tuned: a pre-training, a model that is there already, or ImageNet.

Also whether it saw the patients who are tested, and what a job keeps of it: a finished fine-tuning can be exported
whatever became of its pre-training, which is many times as large.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from MAEMCLib.errors import InputError, MAEMCError, UsageError
from MAEMCLib.files.atomic import file_sha256, read_json, replacing, write_json
from MAEMCLib.models.bundle import CARD, SUFFIX, ModelBundle
from MAEMCLib.models.store import find_model, is_path, list_models
from MAEMCLib.networks.backbones import imagenet_file, load_imagenet
from MAEMCLib.networks.configuration import AnyEncoderConfiguration, BackboneConfiguration, DecoderConfiguration
from safetensors.torch import save_file
from torch import Tensor

from ..data.cohort import Cohort, Settings
from ..data.kinds import KINDS
from ..data.kinds.kind import Kind
from ..engine.checkpoints import read_tensors
from ..jobs.job import Job
from ..pretraining.run import PretrainedJob, load_pretrained

SCRATCH, IMAGENET = "scratch", "imagenet"
GIVEN, IN_FOLD, UNKNOWN = "given", "in-fold", "unknown"
UNKNOWN_PATIENTS = (
    "The model that it started from does not say which patients it was trained on: whether these are among them cannot "
    "be known. If they are, the figures are too good."
)
_FACTS, _AUTOENCODER = "start.json", "autoencoder.safetensors"


@dataclass(frozen=True)
class StartingPoint:
    """An encoder's weights and where they come from.

    source: where it lies: a folder, a file, or ``imagenet``. name: for people. preprocessing: what the encoder is used
    to; None: that of the data at hand. kind: of input that it has learned from; None: it takes all.
    fingerprint: SHA-256 of the weights' file or of the bundle's card.
    pretraining: the job, where it is one.
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
    models = [] if is_path(words) else list_models()
    known = words.partition("@")[0] in {model.card.id for model in models if model.card}
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


def check_protocol(
    protocol: str, cohort: Cohort, start: StartingPoint | None, tested: Iterable[int] | None = None
) -> tuple[str | None, bool]:
    """Where the encoders of the folds come from, and whether the evaluation leaks. tested: cases of the cohort, all
    where none are named.

    None: from scratch. GIVEN: the pre-training as it is, either because it saw nobody who is evaluated here, or, under
    the protocol ``paper``, although it did: that leaks. IN_FOLD: it did see them, so that under ``honest`` it is
    repeated in each fold without the patients that the fold tests. UNKNOWN: a model, which does not say whom it saw.

    Raises InputError under ``honest`` where pseudonyms of two keys cannot be compared.
    """
    if start is None:
        return None, False
    pretrained = start.pretraining
    if pretrained is None:
        return GIVEN if start.source == IMAGENET else UNKNOWN, False
    cases = cohort.cases if tested is None else [cohort.cases[int(case)] for case in tested]
    patients = {case.patient for case in cases}
    comparable = pretrained.cohort["pseudonym_key"] == cohort.pseudonym_key
    if comparable and not set(pretrained.cohort["pseudonyms"]) & patients:
        return GIVEN, False
    if protocol == "paper":
        return GIVEN, True
    if comparable:
        return IN_FOLD, False
    raise InputError(
        "The pre-training's pseudonyms were made with another key, so nobody can tell whether it saw patients that "
        "are to be evaluated. Pre-train again with this MAEMC_HOME, or choose --protocol paper: the report is then "
        "marked as leaky.",
        "leaky",
    )


@dataclass(frozen=True)
class KeptStart:
    """name: of the model that it was, for people. decoder: the autoencoder's shape as the card states it, None where
    there is none. pretraining: its counts and configuration, None of a start that is a model. missing: why something is
    lacking, or empty."""

    name: str = ""
    decoder: dict[str, Any] | None = None
    autoencoder: dict[str, Tensor] | None = None
    pretraining: dict[str, Any] | None = None
    missing: str = ""


def keep_start(job: Job, start: StartingPoint | None) -> None:
    """Write what ``kept_start`` reads, once; nothing from scratch and from ImageNet."""
    if start is None or start.source == IMAGENET or (job.folder / _FACTS).exists():
        return
    facts = vars(_kept(start))
    autoencoder, _ = facts.pop("autoencoder"), facts.pop("missing")
    if autoencoder:
        with replacing(job.folder / _AUTOENCODER) as temporary:
            save_file(autoencoder, temporary)
    # Of a job the name is a folder's, and nobody's business.
    write_json(job.folder / _FACTS, facts | ({"name": ""} if start.pretraining is not None else {}))


def kept_start(job: Job) -> KeptStart | None:
    """What was kept; of a job from before anything was kept, what its start still says. None from scratch and ImageNet.

    Raises InputError where what was kept is damaged.
    """
    settings = job.settings
    if settings["from"] in (SCRATCH, IMAGENET):
        return None
    if (job.folder / _FACTS).exists():
        facts = read_json(job.folder / _FACTS, "What the job keeps of its start")
        try:
            autoencoder = read_tensors(job.folder / _AUTOENCODER) if facts["decoder"] else None
            return KeptStart(facts["name"], facts["decoder"], autoencoder, facts["pretraining"])
        except (TypeError, KeyError) as error:
            raise InputError(
                f"{job.folder / _FACTS} is damaged. Remove it, and export again.", "unreadable-json"
            ) from error
    with contextlib.suppress(MAEMCError):
        start = starting_point(settings["from"])
        if start is not None and start.fingerprint == settings["pretraining_fingerprint"]:
            return _kept(start)
    return KeptStart(
        missing="The pre-training of this model was gone or changed when it was exported: it holds no autoencoder, "
        "and reconstructs no region.",
    )


def _kept(start: StartingPoint) -> KeptStart:
    pretraining, pretrained = None, start.pretraining
    if pretrained is not None:
        counts = ("cases", "patients", "malignant", "benign", "unlabeled")
        pretraining = {
            "method": pretrained.run.method,
            "epochs": pretrained.run.epochs,
            "cohort": {key: pretrained.cohort[key] for key in counts},
            "configuration": Job(pretrained.folder).settings["configuration"],
        }
    decoder = asdict(start.decoder) if start.autoencoder and start.decoder is not None else None
    # In half precision: it only draws figures, is computed in float32 again, and would be a third of a small bundle.
    autoencoder = {name: tensor.half().contiguous() for name, tensor in start.autoencoder.items()}
    return KeptStart(start.name, decoder, autoencoder or None, pretraining)
