"""What a training runs in: its job, its device, the wish to stop it, and the processes that share it."""

from dataclasses import dataclass

import torch

from ..jobs.job import Job
from ..jobs.stopping import StopRequest
from .processes import Processes


@dataclass(frozen=True)
class Session:
    """job: opened; of the processes the one that leads writes into it."""

    job: Job
    device: torch.device
    stop: StopRequest
    processes: Processes = Processes()  # noqa: RUF009 - frozen
