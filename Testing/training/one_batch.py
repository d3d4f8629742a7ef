"""One optimizer step of every method with a convolutional network, in as many processes as are asked for.

Run by test_batch_norm_processes.py: ``one_batch.py RANK STORE TARGET [NAME ...]`` is one of two processes.
"""

import os
import sys

import torch
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration, GraphConfiguration
from MAEMCLib.networks.heads.graph import GraphHead
from MAEMCLib.networks.heads.linear import LinearHead
from MAEMCTrainingLib.classifiers.task import ClassifierTask, LabeledBatch
from MAEMCTrainingLib.engine.batch_norm import batch_norms, synchronize
from MAEMCTrainingLib.engine.configuration import Optimization
from MAEMCTrainingLib.engine.optimization import NamedParameter, build_optimizer
from MAEMCTrainingLib.engine.processes import Processes
from MAEMCTrainingLib.engine.task import Stepper, Task
from MAEMCTrainingLib.pretraining.method import ViewBatch
from MAEMCTrainingLib.pretraining.presets import PretrainingConfiguration
from MAEMCTrainingLib.pretraining.registry import default_settings, method_named
from torch import nn

SIDE = 32
BATCH = int(os.environ.get("MAEMC_BATCH", "16"))
PARTS = [(slice(0, 5), slice(5, 7)), (slice(0, 7), slice(7, 7))]  # of a layer's rows; the second process has none
CPU = torch.device("cpu")
RESNET = BackboneConfiguration("resnet18", SIDE)
METHODS = {
    "simclr": {"projection_width": 16},
    "moco-v2": {"projection_width": 16, "queue_size": 100},
    "swav": {"projection_width": 16, "prototypes": 8, "frozen_steps": 0},
    "spark": {"mask_patch": 16, "decoder_width": 32},
    "resmae": {"mask_patch": 16, "decoder_width": 32},
    "fcmae": {"mask_patch": 16, "decoder_width": 32},
    "supervised": {"classes": ("a", "b", "c"), "class_counts": (3, 2, 1)},
    "modan-mulsupcon": {"classes": ("a", "b", "c"), "projection_hidden": 32, "projection_width": 16},
}


def draw(sample, *shape):
    """Numbers of a sample that every process draws alike."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(int(sample)))


class Step(Task):
    """A task of the loop, reduced to what ``Stepper`` needs: views of samples for a method."""

    def __init__(self, module):
        self.module = module
        self.before_step, self.after_step, self.unmoved = module.before_step, module.after_step, module.unmoved

    def batch(self, samples):
        views = [torch.stack([draw(3 * s + v, 1, side, side) for s in samples]) for v, side in enumerate((32, 32, 16))]
        # Brightness that differs from sample to sample: statistics of a part are not those of the whole.
        bright = torch.stack([draw(s + 10**6, 1, 1, 1) for s in samples])
        views = tuple(view + 2 * bright for view in views)
        noise = torch.stack([draw(s + 2 * 10**6, 2, self.module.mask_cells) for s in samples]).sigmoid()
        attributes = torch.nn.functional.one_hot(torch.as_tensor([int(s) % 3 for s in samples]), 3).bool()
        return ViewBatch(views, torch.as_tensor([int(s) % 50 for s in samples]), noise, attributes), {}

    def names(self, samples):
        return [f"sample {int(sample)}" for sample in samples]

    def step(self, model, batch):
        return model(batch)


class Pictures(Step):
    """Fine-tuning of pictures."""

    def __init__(self, module):
        self.module, self.relates = module, module.RELATES

    def batch(self, samples):
        views, _ = Step.batch(Masked, samples)
        count, labels = len(samples), views.patient % 2
        nothing, seen = torch.zeros(count, 0), torch.ones(count, 1).bool()
        return LabeledBatch(views.images[0][:, None], seen, nothing, nothing.bool(), labels, 0.5 + labels), {}

    step = ClassifierTask.step
    losses = ClassifierTask.losses


class Masked:
    module = type("Unmasked", (), {"mask_cells": 0})


class Fused(Pictures):
    """Fusion of two image branches and one number; the last samples have no image at all."""

    def batch(self, samples):
        views, _ = Step.batch(Masked, samples)
        count = len(samples)
        seen = torch.as_tensor([[int(s) % 64 < 56, int(s) % 4 == 1 and int(s) % 64 < 56] for s in samples])
        values = torch.stack([draw(s + 3 * 10**6, 1) for s in samples])
        given = torch.ones(count, 1, dtype=torch.bool)
        images = torch.stack(views.images[:2], dim=1)
        return LabeledBatch(images, seen, values, given, views.patient % 2, torch.ones(count)), {}


def tasks():
    """(name, task) of everything that is trained with a convolutional network."""
    for name, changes in METHODS.items():
        encoder = BackboneConfiguration("convnextv2-atto", SIDE) if name == "fcmae" else RESNET
        settings = type(default_settings(name))(**{**vars(default_settings(name)), **changes})
        module = method_named(name)(settings, encoder, DecoderConfiguration(), 0)
        if name == "fcmae":  # the response normalization begins as nothing
            for key, parameter in module.named_parameters():
                if ".grn." in key:
                    parameter.data.normal_(std=0.05, generator=torch.Generator().manual_seed(len(key)))
        if hasattr(module, "queue"):  # negatives from the first step on
            keys = torch.randn(100, 16, generator=torch.Generator().manual_seed(1))
            module.queue.enqueue(nn.functional.normalize(keys, dim=1), torch.full((100,), 99))
        yield name, Step(module)
    yield "fine-tuning", Pictures(LinearHead(RESNET, classes=2, seed=0))
    yield "fusion", Fused(GraphHead(RESNET, 2, 0, GraphConfiguration(("axial", "coronal"), (0,))))


def layer(part):
    """A layer's output, gradients and running statistics for some of seven rows far from zero, in float64."""
    draws = torch.Generator().manual_seed(0)
    rows = torch.randn(7, 3, 2, 2, generator=draws, dtype=torch.float64) + 1e4
    wanted = torch.randn(7, 3, 2, 2, generator=draws, dtype=torch.float64)
    made = nn.BatchNorm2d(3, dtype=torch.float64)
    nn.init.normal_(made.weight, generator=draws)
    network = nn.Sequential(made)
    if torch.distributed.is_initialized():
        synchronize(network)
    own = rows[part].requires_grad_()
    output = network(own)
    (output * wanted[part]).sum().backward()
    return output.detach(), own.grad, made.weight.grad, made.bias.grad, network.state_dict()


def run(processes, batch, accumulation=1, names=None, prepare=None):
    """{name: (figures, gradients, buffers, weights after the step)} of one step of each task."""
    results = {}
    for name, task in tasks():
        if names and name not in names:
            continue
        module = task.module.train()
        if prepare is not None:
            prepare(name, module)
        settings = PretrainingConfiguration(
            "simclr", default_settings("simclr"), RESNET, DecoderConfiguration(), batch=batch,
            accumulation=accumulation, optimization=Optimization(optimizer="sgd", learning_rate=0.1, gradient_clip=1e9),
        )  # fmt: skip
        parameters = [NamedParameter(key, value) for key, value in module.named_parameters() if value.requires_grad]
        stepper = Stepper(task, settings, build_optimizer(parameters, settings.optimization, CPU), CPU, processes)
        samples = list(range(batch))
        figures = stepper.step(samples, stepper.micro_batches(samples), 0)
        gradients = {key: value.grad for key, value in module.named_parameters() if value.grad is not None}
        running = {key: value for key, value in module.named_buffers() if "running" in key}
        assert len(running) == 2 * len(list(batch_norms(module)))
        results[name] = (figures, gradients, running, module.state_dict())
    return results


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank, store, target, *names = int(sys.argv[1]), *sys.argv[2:]
    torch.distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
    parts = [layer(part[rank]) for part in PARTS]
    torch.save((run(Processes(rank, 2, rank), BATCH, names=names), parts), target)
    torch.distributed.destroy_process_group()
