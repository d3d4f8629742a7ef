"""Which processor runs the network, and why."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict, dataclass

import torch

from ..errors import UsageError

_NAME = re.compile("cpu|mps|cuda:[0-9]{1,2}")


@dataclass(frozen=True)
class Device:
    """name: as torch names it (cpu, cuda:0, mps). reason: why this one, in words."""

    name: str
    reason: str


def choose_device(request: str = "auto") -> Device:
    """The device that a request (auto, cpu, cuda, cuda:N, mps) means on this machine.

    ``auto`` takes the first GPU on which a real tensor operation works, the CPU otherwise. A GPU asked for by name
    that does not work raises UsageError with the reason.
    """
    if request == "auto":
        refused = []
        for candidate in _gpus():
            problem = try_device(candidate)
            if not problem:
                return Device(candidate, f"{device_title(candidate)} works")
            refused.append(f"{candidate}: {problem}")
        return Device("cpu", "; ".join(refused) if refused else f"no GPU is seen by torch {torch.__version__}")
    name = "cuda:0" if request == "cuda" else request
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{request[:50]}' is no device. Choose auto, cpu, cuda, cuda:N or mps.")
    problem = try_device(name)
    if problem:
        raise UsageError(f"The device '{request}' cannot be used: {problem}. Choose another, or auto.", "device")
    return Device(name, "asked for")


def try_device(name: str) -> str:
    """Run a small matrix product there; the reason why it fails, empty where it works."""
    try:
        ones = torch.ones(8, 8, device=name)
        return "" if float((ones @ ones).sum().cpu()) == 512.0 else "it computes wrong results"
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0].split(". ")[0].rstrip(".")


def device_title(name: str) -> str:
    """The device's product name."""
    if name.startswith("cuda"):
        return torch.cuda.get_device_name(name)
    return "Apple GPU" if name == "mps" else (platform.processor() or platform.machine() or "CPU")


def describe(request: str = "auto") -> dict:
    """What ``maemc device`` and the panel's status line show: choice, reason, build, GPUs, threads."""
    chosen = choose_device(request)
    return {
        **asdict(chosen),
        "title": device_title(chosen.name),
        "torch": torch.__version__,
        "cuda_build": torch.version.cuda,
        "gpus": [{"name": name, "title": device_title(name), "problem": try_device(name)} for name in _gpus()],
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "tensor_operation": try_device(chosen.name) or "works",
    }


def _gpus() -> list[str]:
    found = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [*found, "mps"] if torch.backends.mps.is_available() else found
