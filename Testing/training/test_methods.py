"""Every method of the table as a job: on the data that it takes, stopped and continued, and as the start of a probe."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.atomic import file_sha256
from MAEMCLib.networks.configuration import BACKBONES, BackboneConfiguration, EncoderConfiguration
from MAEMCLib.networks.masking import split_tokens
from MAEMCLib.networks.vit import build_encoder
from MAEMCTrainingLib.classifiers.cases import labeled
from MAEMCTrainingLib.classifiers.presets import finetuning_preset
from MAEMCTrainingLib.classifiers.starting_point import from_job
from MAEMCTrainingLib.classifiers.task import ClassifierTask
from MAEMCTrainingLib.data.cohort import join, measure_preprocessing
from MAEMCTrainingLib.data.folds import make_folds
from MAEMCTrainingLib.data.kinds.stored_pictures import lesion_of
from MAEMCTrainingLib.data.sources import Source
from MAEMCTrainingLib.engine.configuration import override
from MAEMCTrainingLib.engine.session import Session
from MAEMCTrainingLib.engine.task import Sample
from MAEMCTrainingLib.jobs.job import open_job
from MAEMCTrainingLib.jobs.stopping import Interrupted, StopRequest
from MAEMCTrainingLib.pretraining.presets import pretraining_preset
from MAEMCTrainingLib.pretraining.registry import METHODS, default_settings, method_named, methods_for
from MAEMCTrainingLib.pretraining.run import PretrainingTask, load_pretrained, pretrain
from PIL import Image

CPU = torch.device("cpu")
FLAT = [name for name, facts in METHODS.items() if "picture" in facts.inputs]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """m.csv of 16 pictures of 48 pixels: a disk, large for class 1; half of them "US" and half "MR"."""
    folder = tmp_path_factory.mktemp("pictures")
    draws = np.random.default_rng(0)
    rows = []
    for number in range(16):
        label = number % 2
        y, x = np.mgrid[:48, :48] - draws.integers(20, 28, 2)[:, None, None]
        gray = draws.normal(60, 15, (48, 48)) + 140 * (np.hypot(x, y) < (12 if label else 5))
        path = folder / f"{number}.png"
        Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8)).save(path)
        facts = {"modality": "US" if number < 8 else "MR", "anatomy": "BREAST" if number % 4 < 2 else "THYROID"}
        rows.append(Case(f"case-{number}", f"patient-{number}", path, "image", label, values=facts))
    return write_manifest(folder / "m.csv", rows)


@pytest.fixture(scope="module")
def cohort(pictures, tmp_path_factory):
    return join([Source(pictures).open(tmp_path_factory.mktemp("cohort"), pictures.parent / "home")])


def small(name, *words):
    """A run of seconds: the method's tiny preset on images of 32 pixels."""
    run = pretraining_preset("tiny", name, "picture")
    encoder = run.encoder
    if isinstance(encoder, BackboneConfiguration):
        encoder = replace(encoder, image_size=32)
    else:
        encoder = EncoderConfiguration(image_size=32, patch_size=8, width=16, depth=1, heads=2, position="2d")
    run = replace(run, encoder=encoder)
    settings = [word for word in words if word.partition("=")[0] in vars(run.settings)]
    plain = [word for word in words if "=" in word and word not in settings]
    return override(run, ["decoder.width=16", "decoder.depth=1", "decoder.heads=2", "batch=8", *plain, *settings])


SETTINGS = {
    "spark": ("mask_patch=8", "decoder_width=32"),
    "resmae": ("mask_patch=8", "decoder_width=32"),
    "fcmae": ("mask_patch=8", "decoder_width=32"),
    "swav": ("prototypes=8", "frozen_steps=1"),
    "moco-v1": ("queue_size=24",),
    "moco-v2": ("queue_size=24",),
}


@dataclass
class StopsAfter(StopRequest):
    """Asks for the end after some steps."""

    steps: int = 0

    @property
    def asked(self):
        self.steps -= 1
        return self.steps < 0


def run_job(folder, cohort, run, data, stop):
    home = Path(data[0]["path"]).parent / "home" if data else folder.parent  # whose key made the cohort's pseudonyms
    with open_job(folder, "pretrain", {"arguments": [], "directory": "."}, home, stop) as job:
        pretrain(cohort, run, Session(job, CPU, stop), data)


@pytest.mark.parametrize("name", FLAT)
def test_a_stopped_run_ends_with_the_bits_of_one_that_was_not(name, cohort, pictures, tmp_path):
    run, data = small(name, "epochs=2", *SETTINGS.get(name, ())), [{"path": str(pictures), "takes": "all"}]
    run_job(tmp_path / "whole", cohort, run, data, StopRequest())
    with pytest.raises(Interrupted, match="step 3 of 4"):
        run_job(tmp_path / "parts", cohort, run, data, StopsAfter(steps=2))
    run_job(tmp_path / "parts", cohort, run, data, StopRequest())
    weights = [file_sha256(tmp_path / part / "checkpoints/last/model.safetensors") for part in ("whole", "parts")]
    assert weights[0] == weights[1]
    pretrained = load_pretrained(tmp_path / "whole")
    assert pretrained.kind.name == "picture"
    encoder = build_encoder(run.encoder, seed=5)
    encoder.load_state_dict(pretrained.module.encoder.state_dict())  # every tensor, and no other
    if pretrained.module.reconstruct is not None:
        assert len(list((tmp_path / "whole" / "previews").glob("*.png"))) == 2


def test_a_probe_starts_from_a_pretraining_on_pictures(cohort, pictures, tmp_path, finetune_in, ball_cohort):
    run = small("resmae", "epochs=1", *SETTINGS["resmae"])
    run_job(tmp_path / "pre", cohort, run, [{"path": str(pictures), "takes": "all"}], StopRequest())
    start = from_job(tmp_path / "pre")
    probe = finetuning_preset("tiny", run.encoder, "picture")
    probe = override(probe, ["folds=2", "validation_fraction=0.25", "linear_probe=true"])
    report = finetune_in(tmp_path / "probe", labeled(cohort), probe, start, "paper")
    assert report["cases"] == 16 and report["leaky"]
    assert {"random forest on the central pixels", "untrained encoder, frozen"} <= set(report["baselines"])
    frozen = report["baselines"]["pre-trained encoder, frozen"]["auc_within_folds"]
    assert report["metrics"]["auc_within_folds"]["value"] == pytest.approx(frozen["value"], abs=0.2)
    with pytest.raises(InputError, match="learned from 2-D pictures"):
        finetune_in(tmp_path / "other", labeled(ball_cohort), probe, start, "paper")


@pytest.mark.parametrize("optimizer", ["lars", *(pytest.param(one, marks=pytest.mark.soak) for one in ("sgd", "lamb"))])
def test_every_optimizer_goes_on_where_it_stopped(optimizer, cohort, tmp_path):
    run = small("resmae", "epochs=2", f"optimizer={optimizer}", "learning_rate=0.01", *SETTINGS["resmae"])
    run_job(tmp_path / "whole", cohort, run, [], StopRequest())
    with pytest.raises(Interrupted):
        run_job(tmp_path / "parts", cohort, run, [], StopsAfter(steps=1))
    run_job(tmp_path / "parts", cohort, run, [], StopRequest())
    weights = [file_sha256(tmp_path / part / "checkpoints/last/model.safetensors") for part in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_ablations_are_maemc_with_another_balance():
    assert default_settings("maemc-contrastive").loss_balance == 0.0
    assert default_settings("maemc-generative").loss_balance == 1.0
    assert method_named("maemc-generative") is method_named("maemc")


def test_methods_are_hidden_that_do_not_fit_the_data():
    everything = set(METHODS)
    assert set(methods_for("nodule", labels=True, metadata=True)) == everything
    assert everything - set(methods_for("nodule", labels=False, metadata=True)) == {"supervised"}
    assert everything - set(methods_for("nodule", labels=True, metadata=False)) == {"modan-mulsupcon"}
    assert set(methods_for("picture", labels=True, metadata=True)) == set(FLAT)


@pytest.mark.parametrize("name", ["simclr", "swav", "modan-mulsupcon", "cmae"])
def test_methods_that_compare_samples_refuse_micro_batches_and_lone_samples(name, cohort, pictures, tmp_path):
    data = [{"path": str(pictures), "takes": "all"}]
    with pytest.raises(UsageError, match="cannot pass in micro-batches"):
        run_job(tmp_path / "a", cohort, small(name, "accumulation=2", *SETTINGS.get(name, ())), data, StopRequest())
    for batch, cases in ((1, cohort), (2, cohort.subset(range(3)))):  # three samples are a batch of two and one of one
        run = small(name, f"batch={batch}", *SETTINGS.get(name, ()))
        with pytest.raises(UsageError, match="single sample"):
            run_job(tmp_path / str(batch), cases, run, data, StopRequest())


@pytest.mark.parametrize("backbone", [*BACKBONES, "tiny"])
def test_every_backbone_trains_on_pictures_at_its_side(backbone, cohort):
    run = finetuning_preset("tiny", None, "picture", backbone)
    assert run.encoder.image_size == (224 if backbone == "levit" else 64)
    preprocessing = measure_preprocessing(cohort, run.augmentation, run.encoder.image_size)
    fold = make_folds(cohort.labels, cohort.patients, 2, 0.25, 0)[0]
    task = ClassifierTask(labeled(cohort), fold, run, preprocessing, None)
    batch, _ = task.batch([Sample(0, number) for number in range(4)])
    loss = task.step(task.module, batch)[0]["loss"]
    loss.backward()
    assert torch.isfinite(loss) and all(named.parameter.grad is not None for named in task.parameters())
    assert set(task.validate(CPU)) == {"loss", "auc"}


def test_lesions_stay_visible_where_masks_name_them(cohort, pictures, tmp_path):
    """With masks of the disks, at least three quarters of the cells that each view's disk touches stay visible."""
    rows = []
    for row in read_manifest(pictures).rows:
        gray = np.asarray(Image.open(row.image)).astype(float)
        mask = tmp_path / f"{row.case_id}_mask.png"
        Image.fromarray(((gray > 140) * 255).astype(np.uint8)).save(mask)
        rows.append(replace(row, values={**row.values, "mask": mask.name} if row.case_id != "case-3" else row.values))
    path = write_manifest(tmp_path / "m.csv", rows)
    marked = join([Source(path).open(tmp_path / "caches", tmp_path / "home")])
    assert lesion_of(marked, 3, 0) is None and lesion_of(marked, 0, 0).sum() > 20
    run = small("mae", "epochs=1", "mask_ratio=0.6", "min_visible_lesion=0.75")
    preprocessing = measure_preprocessing(marked, run.augmentation, 32)
    guarded, free = (
        PretrainingTask(marked, replace(run, min_visible_lesion=share), preprocessing) for share in (0.75, 0)
    )
    changed = 0
    for sample in range(16):
        batch = guarded.batch([Sample(0, sample)])[0]
        keep, _ = split_tokens(batch.noise[:, 0], guarded.module.masked)
        assert keep.shape[1] == 16 - guarded.module.masked
        changed += not torch.equal(batch.noise, free.batch([Sample(0, sample)])[0].noise)
        lesion = guarded.presentation.lesion(sample, run.seed, 0, sample)
        if sample == 3:
            assert lesion is None
            continue
        bright = batch.images[0][0, 0].numpy() > 1.0  # the disk, in the view that the network is shown
        assert (lesion & bright).sum() > 0.8 * bright.sum() > 10
        touched = {4 * (y // 8) + x // 8 for y, x in zip(*np.nonzero(lesion), strict=True)}
        shown = len(touched & set(keep[0].tolist()))
        assert shown >= min(0.75 * len(touched), keep.shape[1])
    assert changed >= 3
    for name in ("spark", "resmae", "fcmae", "cmae"):  # whatever hides parts of a picture
        other = small(name, "min_visible_lesion=0.75", *SETTINGS.get(name, ()))
        task = PretrainingTask(marked, other, preprocessing)
        keep, _ = split_tokens(task.batch([Sample(0, 0)])[0].noise[:, 0], task.module.masked)
        lesion = task.presentation.lesion(0, other.seed, 0, 0)
        touched = {4 * (y // 8) + x // 8 for y, x in zip(*np.nonzero(lesion), strict=True)}
        assert len(touched & set(keep[0].tolist())) >= min(0.75 * len(touched), keep.shape[1])
    run_job(tmp_path / "job", marked, run, [], StopRequest())
    assert "15 lesions are marked" in (tmp_path / "job" / "log.txt").read_text()
    with pytest.raises(InputError, match="column mask"):
        run_job(tmp_path / "unmarked", cohort, run, [], StopRequest())
    with pytest.raises(UsageError, match="mask parts of 2-D pictures"):
        run_job(tmp_path / "simclr", marked, small("simclr", "min_visible_lesion=0.5"), [], StopRequest())
