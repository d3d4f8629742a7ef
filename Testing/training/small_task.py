"""A small task for the training loop: a line that is fitted with dropout."""

from dataclasses import dataclass, field

import numpy as np
import torch
from MAEMCTrainingLib.engine.configuration import Optimization
from MAEMCTrainingLib.engine.loop import train
from MAEMCTrainingLib.engine.optimization import NamedParameter
from MAEMCTrainingLib.engine.rng import generator
from MAEMCTrainingLib.engine.session import Session
from MAEMCTrainingLib.engine.task import Task
from MAEMCTrainingLib.jobs.job import Job
from MAEMCTrainingLib.jobs.stopping import StopRequest
from torch import nn

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Settings:
    epochs: int = 4
    batch: int = 6
    accumulation: int = 1
    precision: str = "float32"
    seed: int = 0
    log_every: int = 1
    checkpoint_seconds: float = 1e9
    optimization: Optimization = field(default_factory=lambda: Optimization(learning_rate=0.05))


class Numbers(list):
    def to(self, device):
        return self


class Line(Task):
    """Fit a line with dropout; state that is no parameter must survive too (the buffer counts steps).

    30 samples in batches of 6: five steps an epoch.
    """

    phase, images_per_sample, samples, divisible = "line", 1, 30, True

    def __init__(self, seed=0, stop=None, stop_at=-1, spoil_at=-1, losses=(), dropout=0.3):
        self.module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(dropout), nn.Linear(8, 1))
        draws = np.random.default_rng(seed)
        for parameter in self.module.parameters():
            parameter.data = torch.from_numpy(draws.normal(size=tuple(parameter.shape))).float()
        self.module.register_buffer("seen", torch.zeros(1))
        self.stop, self.stop_at, self.spoil_at, self.losses = stop, stop_at, spoil_at, list(losses)
        self.steps = self.micro_batches = self.epochs = 0

    def parameters(self):
        return [NamedParameter(name, p) for name, p in self.module.named_parameters()]

    def order(self, epoch):
        return generator(0, "order", epoch).permutation(self.samples)

    def batch(self, samples):
        rows = [generator(0, "data", *sample).normal(size=4).tolist() for sample in samples]
        return Numbers(rows), {"loaded": float(np.mean([number for _, number in samples]))}

    def names(self, samples):
        return ["case-{}-{}".format(*sample) for sample in samples]

    def before_step(self):
        self.steps += 1
        self.module.seen += 1

    def step(self, model, batch):
        self.micro_batches += 1
        if self.steps == self.stop_at:
            self.stop.signaled = True
        x = torch.tensor(list(batch))
        loss = (model(x)[:, 0] - x.sum(dim=1)).square().mean()
        return {"loss": loss * (float("nan") if self.steps == self.spoil_at else 1.0)}, len(batch)

    def after_step(self, kept):
        assert sum(kept) == 6

    def epoch_done(self, epoch, device):
        self.epochs += 1

    def validate(self, device):
        return {"loss": self.losses.pop(0)} if self.losses else None


def run_line(folder, task, settings=None, data="data", stop=None, **options):
    job = Job(folder.parent)
    folder.parent.mkdir(exist_ok=True)
    session = Session(job, CPU, stop or StopRequest())
    return train(task, settings or Settings(), session, folder, data, **options)
