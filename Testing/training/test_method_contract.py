"""What every pre-training method keeps to, whatever it learns: all that the folder of methods lists are held to it."""

import copy
from dataclasses import replace

import pytest
import torch
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.models.autoencoder import Autoencoder
from MAEMCLib.networks.configuration import BACKBONES, BackboneConfiguration, DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.configuration import PRESETS as NETWORKS
from MAEMCLib.networks.vit import build_encoder, unpatchify
from MAEMCTrainingLib.data.kinds.kind import VIEWS
from MAEMCTrainingLib.pretraining.method import Method
from MAEMCTrainingLib.pretraining.presets import pretraining_preset
from MAEMCTrainingLib.pretraining.registry import METHODS, method_named
from MAEMCTrainingLib.pretraining.run import build_method, configuration_from_json, to_json
from safetensors.torch import save

from Testing.training.method_steps import make_views, optimizer_of, resumed, train, trainable

EVERY = pytest.mark.parametrize("name", METHODS)
RECONSTRUCTING = pytest.mark.parametrize("name", [name for name, facts in METHODS.items() if facts.reconstructs])
VIT = EncoderConfiguration(image_size=32, patch_size=8, width=16, depth=2, heads=2, position="2d")
DECODER = DecoderConfiguration(width=16, depth=1, heads=2)
SMALL = {
    **{name: {"mask_patch": 8, "decoder_width": 32} for name in ("spark", "resmae", "fcmae")},
    **{name: {"queue_size": 9, "projection_width": 16, "momentum": 0.9} for name in ("moco-v1", "moco-v2")},
    **{name: {"queue_size": 9, "projection_width": 16} for name in ("maemc", "maemc-contrastive", "maemc-generative")},
    "cmae": {"projection_width": 16, "momentum": 0.9},
    "simclr": {"projection_width": 16},
    "swav": {"prototypes": 8, "frozen_steps": 2, "projection_width": 16, "queue_size": 7},
    "supervised": {"classes": ("a", "b", "c"), "class_counts": (3, 2, 1)},
    "modan-mulsupcon": {"classes": ("a", "b", "c"), "projection_hidden": 32, "projection_width": 16},
}
SLOW = ("spark", "resmae")  # a fresh decoder of batch-normalized doublings begins with the mean of all pixels


def run_of(name, encoder=None, **changes):
    """The settings of a method that learns in seconds, on images of 32 pixels."""
    facts, kind = METHODS[name], method_named(name)
    if encoder is None:
        backbone = facts.backbone or "vit"
        encoder = BackboneConfiguration(backbone, 32) if backbone in BACKBONES else VIT
    settings = kind.Configuration(**(facts.settings | SMALL.get(name, {}) | changes))
    return replace(
        pretraining_preset("tiny", name, facts.inputs[0]), encoder=encoder, decoder=DECODER, settings=settings
    )


def make(name, seed=0, **changes) -> Method:
    return build_method(replace(run_of(name, **changes), seed=seed))


def batch_for(method, seed=0, size=6):
    """A batch of the views that the method is fed."""
    large, small = {"one": (1, 0), "pair": (2, 0), "shifted": (2, 0), "multi-crop": (2, 3)}[method.VIEWS]
    classes = len(method.configuration.classes) if method.configuration.columns else 0
    return make_views(seed, size, 32, large, small, method.mask_cells, classes)


@EVERY
def test_its_facts_are_those_of_its_class(name):
    facts, method = METHODS[name], make(name)
    assert facts.reconstructs == (method.reconstruct is not None) == (method.mask_cells > 0 and name != "simclr")
    assert method.VIEWS in VIEWS and set(facts.inputs) <= {"nodule", "picture"}
    assert bool(facts.needs) == bool(method.configuration.columns)
    assert facts.title and facts.sentence.endswith(".") and facts.source
    known = {*NETWORKS, *BACKBONES}
    assert set(facts.backbones) | {facts.backbone, facts.paper_backbone} - {""} <= known
    for values in facts.presets.values():
        conditions = set(values) - set(to_json(run_of(name)))
        assert all(one in facts.inputs or any(b.startswith(one) for b in BACKBONES) for one in conditions)


@EVERY
def test_every_preset_makes_a_method_and_survives_its_job_file(name):
    for preset in METHODS[name].preset_names:
        for kind in METHODS[name].inputs:
            run = pretraining_preset(preset, name, kind)
            assert configuration_from_json(to_json(run), type(run.augmentation)) == run
            if preset == "tiny":
                classes = {"classes": ("a", "b")} if run.settings.columns else {}
                build_method(replace(run, settings=replace(run.settings, **classes)))
    with pytest.raises(UsageError, match="has no preset"):
        pretraining_preset("published", name)


@EVERY
def test_encoders_that_it_cannot_train_are_refused_with_those_that_it_can(name):
    encoders = {"tiny": VIT, "resnet18": None, "convnextv2-atto": None}
    for backbone, encoder in encoders.items():
        run = run_of(name, encoder or BackboneConfiguration(backbone, 32))
        if not METHODS[name].backbones or backbone in METHODS[name].backbones:
            assert torch.isfinite(build_method(run)(batch_for(build_method(run)))[0]["loss"])
            continue
        with pytest.raises(UsageError, match=f"cannot train .*{METHODS[name].backbones[-1]}"):
            build_method(run)


@pytest.mark.soak
@EVERY
def test_the_loss_falls(name):
    method = make(name)
    steps, rate = (30, 1e-2) if name in SLOW else (14, 3e-3)
    batches = [batch_for(method, 0, 12), batch_for(method, 1, 12)]
    log = train(method, optimizer_of(method, rate), [batches[step % 2] for step in range(steps)])
    assert all(torch.tensor(list(figures.values())).isfinite().all() for figures in log)
    first = 2 if hasattr(method, "queue") else 0  # from then on the queue is full
    losses = [figures["loss"] for figures in log]
    assert sum(losses[-2:]) < 0.85 * sum(losses[first : first + 2])


@pytest.mark.soak
@EVERY
def test_a_resumed_run_continues_with_the_same_bits(name):
    straight = make(name)
    batches = [batch_for(straight, seed) for seed in range(5)]
    expected = train(straight, optimizer_of(straight), batches)
    first = make(name)
    optimizer = optimizer_of(first)
    train(first, optimizer, batches[:3])
    second, going_on = resumed(first, optimizer, make(name, seed=9))
    assert train(second, going_on, batches[3:]) == expected[3:]
    for key, tensor in straight.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[key]), key


@EVERY
def test_the_seed_alone_decides_its_start_and_torchs_draws_are_left_alone(name):
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = make(name, seed=3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    again, other = make(name, seed=3).state_dict(), make(name, seed=4).state_dict()
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())
    for part in (True, False):  # the encoder's, and what stands on it
        assert any(not torch.equal(first[key], other[key]) for key in first if key.startswith("encoder") == part)


@EVERY
def test_all_that_trains_gets_a_gradient_and_nothing_else_moves(name):
    method = make(name, **({"frozen_steps": 0} if name == "swav" else {}))
    start = copy.deepcopy(method)
    train(method, optimizer_of(method), [batch_for(method, seed) for seed in range(2)])  # the second has negatives
    without = [key for key, parameter in trainable(method) if parameter.grad is None]
    assert not without, "several processes would wait for these"
    assert not any("momentum_" in key for key, _ in trainable(method))
    for key, parameter in method.named_parameters():
        if "momentum_" in key:  # moved by the average alone
            assert parameter.grad is None, key
        elif not parameter.requires_grad:
            assert torch.equal(parameter, dict(start.named_parameters())[key]), key


@EVERY
def test_its_momentum_copies_follow_the_average(name):
    method = make(name)
    pairs = [
        (child, getattr(method, part.removeprefix("momentum_")))
        for part, child in method.named_children()
        if part.startswith("momentum_")
    ]
    assert bool(pairs) == hasattr(method.configuration, "momentum")
    for one, two in pairs:
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    train(method, optimizer_of(method), [batch_for(method)])
    before, keep = copy.deepcopy(method), getattr(method.configuration, "momentum", 1.0)
    method.before_step()
    for part, child in before.named_children():
        for key, old in child.named_parameters() if part.startswith("momentum_") else ():
            online = dict(before.named_parameters())[f"{part.removeprefix('momentum_')}.{key}"]
            moved = dict(method.named_parameters())[f"{part}.{key}"]
            expected = keep * old.double() + (1 - keep) * online.double()
            torch.testing.assert_close(moved.double(), expected, rtol=1e-6, atol=1e-7)


@EVERY
@pytest.mark.parametrize("size", [1, 2, 5])
def test_batches_of_any_size_train_or_say_why_not(name, size):
    method = make(name)
    if size > 1:
        assert torch.isfinite(method(batch_for(method, size=size))[0]["loss"])
        return
    normalizes = any(isinstance(layer, torch.nn.BatchNorm2d) for layer in method.modules())
    if not normalizes:  # of a method that compares samples the task refuses the batch
        assert method.WHOLE_BATCH or torch.isfinite(method(batch_for(method, size=1))[0]["loss"])
        return
    with pytest.raises(UsageError, match=r"[Oo]ne sample"):
        method(batch_for(method, size=1))


@pytest.mark.soak
@EVERY
def test_bfloat16_trains(name):
    method = make(name)
    views = batch_for(method, size=3)
    with torch.autocast("cpu", torch.bfloat16):
        figures, _ = method(views)
    assert figures["loss"].dtype == torch.float32
    figures["loss"].backward()
    plain, _ = make(name)(views)
    assert figures["loss"].item() == pytest.approx(plain["loss"].item(), rel=0.1)
    assert all(not value.requires_grad for key, value in figures.items() if key != "loss")


@EVERY
def test_the_encoder_goes_on_to_fine_tuning(name):
    method = make(name)
    train(method, optimizer_of(method), [batch_for(method)])
    encoder = build_encoder(run_of(name).encoder, seed=5)
    encoder.load_state_dict(method.encoder.state_dict())  # every tensor, and no other
    images = batch_for(method, 3).images[0]
    with torch.no_grad():
        assert torch.equal(encoder.eval().features(images), method.eval().encoder.features(images))


@RECONSTRUCTING
def test_what_is_masked_is_not_seen(name):
    method = make(name)
    images, noise = batch_for(method).images[0], batch_for(method).noise[:, 0]
    for plane in ("axial", "coronal"):
        prediction, masked = copy.deepcopy(method).reconstruct(images, noise, plane)
        assert prediction.shape == (6, 16, 64) and not prediction.requires_grad
        order = noise.argsort(dim=1, stable=True)[:, 16 - method.masked :]
        assert torch.equal(masked.sort(dim=1).values, order.sort(dim=1).values)
        covered = torch.zeros(6, 16, dtype=torch.bool).scatter(1, masked, True)
        pixels = unpatchify(covered[:, :, None].expand(6, 16, 64))
        standardized = getattr(method.configuration, "norm_pixels", False)  # these patches' means are put back
        others = torch.where(pixels, torch.full_like(images, 9.0), images)
        found = copy.deepcopy(method).reconstruct(others, noise, plane)[0]
        seen = ~covered if standardized else torch.ones_like(covered)
        assert torch.equal(found[seen], prediction[seen])
        shown = torch.where(pixels, images, images + 0.1)
        assert not torch.equal(copy.deepcopy(method).reconstruct(shown, noise, plane)[0], prediction)


@EVERY
def test_a_bundles_autoencoder_reconstructs_as_the_method_does(name):
    method = make(name)
    train(method, optimizer_of(method), [batch_for(method)])
    state = method.autoencoder_state()
    save(state)  # refuses two names for the same memory
    if not state:
        assert not (isinstance(run_of(name).encoder, EncoderConfiguration) and METHODS[name].reconstructs)
        return
    autoencoder = Autoencoder(VIT, DECODER)
    autoencoder.load_state_dict(state)
    images, noise = batch_for(method, 1).images[0], batch_for(method, 1).noise[:, 0]
    for plane in ("axial", "coronal"):
        expected, masked = method.reconstruct(images, noise, plane)
        split = method.split(images, noise)
        assert torch.equal(autoencoder.predict(images, split, plane), expected)
        assert torch.equal(split.masked, masked) and masked.shape[1] == method.masked


IMPOSSIBLE = {
    "mask_ratio": (0.0, 1.0, -1, float("nan")),
    "temperature": (0.0,),
    "momentum": (1.0, -0.1),
    "queue_size": (-1,),
    "projection_width": (0,),
    "same_patient": ("maybe",),
    "loss_balance": (1.1,),
    "flattening": ("max",),
    "feature_depth": (0,),
    "contrastive_weight": (-1.0,),
    "decoder_width": (0,),
    "mask_patch": (1,),
    "prototypes": (1,),
    "epsilon": (0.0,),
    "sinkhorn_iterations": (0,),
    "frozen_steps": (-1,),
    "threshold": (0.0, 1.1),
    "normalizer": ("max",),
    "columns": ((),),
    "class_counts": ((1, 2), (1, 2, 0)),
    "projection_hidden": (0,),
}


@EVERY
def test_impossible_settings_are_refused_by_name(name):
    settings = run_of(name).settings
    unchecked = {key for key in vars(settings) if not isinstance(getattr(settings, key), bool)} - IMPOSSIBLE.keys()
    assert unchecked <= {"classes"}
    for key in IMPOSSIBLE.keys() & vars(settings).keys():
        for value in IMPOSSIBLE[key]:
            with pytest.raises(UsageError, match=key):
                replace(settings, **{key: value})


@EVERY
def test_masks_of_everything_or_nothing_are_refused(name):
    if not METHODS[name].reconstructs:
        return
    for ratio, count in ((0.99, "16 of 16"), (0.01, "0 of 16")):
        with pytest.raises(UsageError, match=count):
            make(name, mask_ratio=ratio)


PUBLISHED = {
    "maemc": {"epochs": 100, "batch": 64, "queue_size": 700, "momentum": 0.99, "learning_rate": 1e-2},
    "mae": {"epochs": 800, "mask_ratio": 0.75, "norm_pixels": True, "learning_rate": 1.5e-4 * 64 / 256},
    "cmae": {"epochs": 1600, "momentum": 0.996, "feature_depth": 2, "contrastive_weight": 2 * 0.07},
    "simclr": {"batch": 256, "epochs": 1000, "temperature": 0.1, "optimizer": "sgd", "learning_rate": 0.05},
    "moco-v1": {"batch": 64, "queue_size": 65536, "temperature": 0.07, "optimizer": "sgd", "learning_rate": 1e-4},
    "moco-v2": {"batch": 64, "queue_size": 65536, "temperature": 0.2, "optimizer": "sgd", "learning_rate": 1e-4},
    "swav": {"batch": 128, "epochs": 800, "prototypes": 500, "frozen_steps": 313, "optimizer": "lars"},
    "spark": {"batch": 32, "mask_ratio": 0.6, "mask_patch": 32, "optimizer": "lamb", "learning_rate": 2e-4 / 8},
    "fcmae": {"epochs": 1600, "mask_ratio": 0.6, "mask_patch": 32, "learning_rate": 1.5e-4 / 4},
    "supervised": {"batch": 256, "epochs": 1000, "optimizer": "sgd", "learning_rate": 0.05},
    "modan-mulsupcon": {"batch": 256, "epochs": 1000, "optimizer": "sgd", "learning_rate": 0.05, "stem": "small"},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values(name):
    run = pretraining_preset("paper", name, METHODS[name].inputs[-1])
    found = {**vars(run), **vars(run.optimization), **vars(run.settings), **vars(run.encoder)}
    assert {key: found[key] for key in PUBLISHED[name]} == pytest.approx(PUBLISHED[name])
    assert run.optimization.momentum == 0.9


def test_a_method_that_nobody_knows():
    with pytest.raises(UsageError, match="maemc"):
        method_named("maemcnet")


def test_columns_without_values_are_refused():
    for name, facts in METHODS.items():
        if facts.needs:
            with pytest.raises(InputError, match=r"columns?.*(modality|label)"):
                method = make(name, **{"classes": (), "class_counts": ()} if name == "supervised" else {"classes": ()})
                method(batch_for(method))
