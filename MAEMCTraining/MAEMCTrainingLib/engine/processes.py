"""Several processes that train one model: who this one is, and what it shares with the others.

PyTorch's own distributed engine does the work. ``torchrun`` or Slurm's ``srun`` starts the processes and says so in the
environment; without that there is one process, and everything here is a no-op.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from MAEMCLib.errors import MAEMCError, UsageError

if TYPE_CHECKING:  # torch is slow to import, and the command line asks for leave() also after a short command
    import torch


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
            from torch import distributed

            distributed.all_reduce(values)
        return values

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in one of the processes."""
        if not self.several:
            return flag
        import torch

        return bool(self.total(torch.tensor(int(flag), device=device)).item())

    def of_leader(self, value: Any) -> Any:
        """The leader's value, in every process."""
        if not self.several:
            return value
        from torch import distributed

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
                failed = MAEMCError("Rank 0 could not start; it says why.", "leader")
                failed.exit_code = code
                raise failed
            yield


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


def chosen_device(request: str, threads: int | None = None, processes: Processes | None = None) -> torch.device:
    """The device that a request means (auto, cpu, cuda, cuda:N, mps), and the processor's threads set. Of several
    processes each takes a GPU of its own where nobody chose one. Raises UsageError."""
    import torch
    from MAEMCLib.machine.device import choose_device

    if threads is not None:
        if threads < 1:
            raise UsageError(f"--threads is {threads}; it has to be at least 1.")
        torch.set_num_threads(threads)
    several = processes is not None and processes.several
    if several and request in ("auto", "cuda") and torch.cuda.is_available():
        request = f"cuda:{processes.local_rank % torch.cuda.device_count()}"
    return torch.device(choose_device(request).name)


@contextlib.contextmanager
def joined(processes: Processes, device: torch.device) -> Iterator[Processes]:
    """Meet the others (NCCL between GPUs, gloo between processors) and part from them at the end of the block."""
    if not processes.several:
        yield processes
        return
    from torch import distributed

    backend = "nccl" if device.type == "cuda" else "gloo"
    if not distributed.is_available():
        raise UsageError("This build of PyTorch cannot train with several processes. Start one process.", "distributed")
    distributed.init_process_group(backend, rank=processes.rank, world_size=processes.count)
    try:
        yield processes
    finally:
        distributed.destroy_process_group()


def leave(exit_code: int) -> int:
    """End a process that trained with others, at once; one that did not goes on with its exit code.

    DistributedDataParallel keeps the group's communication threads beyond the group (torch 2.14). One of them that
    releases its last tensor while the interpreter is being taken down aborts the process, after all work is done.
    """
    if launched().several:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    return exit_code
