"""Several processes that train one model: who this one is, and what it shares with the others.

PyTorch's own distributed engine does the work. ``torchrun`` or Slurm's ``srun`` starts the processes and says so in the
environment; without that there is one process, and everything here is a no-op.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from MAEMCLib.errors import MAEMCError, UsageError
from torch import distributed


@dataclass(frozen=True)
class Processes:
    """This process's rank among ``count``, and its number on its own machine (which picks its GPU)."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Rank 0 writes the job's folder; the others only compute."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of all processes' values."""
        if self.several:
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in one of the processes."""
        return bool(self.total(torch.tensor(int(flag), device=device)).item()) if self.several else flag

    def of_leader(self, value: Any) -> Any:
        """The leader's value, in every process."""
        if not self.several:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    @contextlib.contextmanager
    def leader_first(self) -> Iterator[None]:
        """The leader runs the block, then the others do, who find what it has written.

        What the leader raises ends the others too, without a word: it is the leader's to say.
        """
        if not self.several:
            yield
        elif self.leads:
            try:
                yield
            except BaseException as error:
                self.of_leader(getattr(error, "exit_code", 1))
                raise
            self.of_leader(0)
        else:
            code = self.of_leader(None)
            if code:
                raise _LeaderFailed(code)
            yield


class _LeaderFailed(MAEMCError):
    def __init__(self, exit_code: int) -> None:
        super().__init__("Rank 0 could not start; it says why.", "leader")
        self.exit_code = exit_code


def launched() -> Processes:
    """What the launcher's environment says: torchrun's variables, or those of a Slurm step of several tasks."""
    environment = os.environ
    if "WORLD_SIZE" in environment and "RANK" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    elif int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # of srun; a batch script's own shell has none
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
        # srun tells neither; torchrun does.
        environment.setdefault("MASTER_ADDR", environment.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1"))
        environment.setdefault("MASTER_PORT", str(20000 + int(environment.get("SLURM_JOB_ID", "0")) % 20000))
    else:
        return Processes()
    rank, count, local = (int(environment.get(name, "0")) for name in names)
    return Processes(rank, count, local)


@contextlib.contextmanager
def joined(processes: Processes, device: torch.device) -> Iterator[Processes]:
    """Meet the others (NCCL between GPUs, gloo between processors) and part from them at the end of the block."""
    if not processes.several:
        yield processes
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    if not distributed.is_available():
        raise UsageError("This build of PyTorch cannot train with several processes. Start one process.", "distributed")
    distributed.init_process_group(backend, rank=processes.rank, world_size=processes.count)
    try:
        yield processes
    finally:
        distributed.destroy_process_group()
