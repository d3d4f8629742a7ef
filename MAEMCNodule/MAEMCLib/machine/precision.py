"""In which precision a processor computes a network: half precision where it has the instructions, else float32.

Without them every product is converted to and fro: two planes of ViT-L took 3.1 s in bfloat16 and 0.65 s in float32 on
one thread of a processor with AVX2 alone.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

# As Linux names them: x86 with AVX-512 or AMX, and ARM.
_FLAGS = {
    torch.bfloat16: {"avx512_bf16", "amx_bf16", "bf16"},
    torch.float16: {"avx512_fp16", "amx_fp16", "fphp", "asimdhp"},
}
_LIBRARY = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}


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
