"""Which processor runs the network, and why; in half precision where it has the instructions, else in float32.

Without them every product is converted to and fro: two planes of ViT-L took 3.1 s in bfloat16 and 0.65 s in float32 on
one thread of a processor with AVX2 alone.
"""

import contextlib
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from ..errors import UsageError

_NAME = re.compile("cpu|mps|cuda:[0-9]{1,2}")
# As Linux names them: x86 with AVX-512 or AMX, and ARM.
_FLAGS = {
    torch.bfloat16: {"avx512_bf16", "amx_bf16", "bf16"},
    torch.float16: {"avx512_fp16", "amx_fp16", "fphp", "asimdhp"},
}
_LIBRARY = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}


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


def placed(network: nn.Module, device: str) -> nn.Module:
    """The network on a device; on a processor without the instructions of its precision widened to float32."""
    kind = next(network.parameters()).dtype
    if device == "cpu" and kind in _FLAGS and not computes_natively(kind):
        network = network.float()
    return network.to(device)


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """On a GPU TensorFloat-32 of a convolution moves a logit by more than a change of the machine may."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@lru_cache
def computes_natively(kind: torch.dtype) -> bool:
    """Whether this processor has instructions for products of the type, and PyTorch's library uses them."""
    return bool(_FLAGS[kind] & _processor_flags()) and _library_uses(kind)


def _processor_flags() -> set[str]:
    """The first processor's features; empty where the system does not tell, which means float32: right, if slower."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    found = re.search(r"(?im)^(?:flags|features)[^:]*:(.*)$", text)
    return set(found[1].split()) if found else set()


def _library_uses(kind: torch.dtype) -> bool:
    """oneDNN may be built, or told by its environment, to leave the instructions alone."""
    try:
        return bool(getattr(torch.ops.mkldnn, _LIBRARY[kind])())
    except (AttributeError, RuntimeError):
        return False
