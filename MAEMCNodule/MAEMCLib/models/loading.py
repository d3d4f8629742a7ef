"""Networks filled with a bundle's weights, which are looked at first and read when they fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from ..errors import ModelError
from .bundle import ModelBundle
from .weights_header import FLOATS, TensorHeader


def load_members(bundle: ModelBundle, role: str, network: Callable[[], nn.Module]) -> list[nn.Module]:
    """The members with a role, on the CPU, in their own precision. network: makes one.

    Made on the "meta" device and filled by assignment: a network that the weights do not fit takes no memory, and one
    that they fit has them in memory once (ViT-L: 1.2 GB in float32). Raises ModelError naming what does not fit.
    """
    members = []
    for name in bundle.card.members(role):
        with torch.device("meta"):
            empty = network()
        header = bundle.header(name)
        _check_fit(header, empty.state_dict(), bundle.card.id)
        empty.load_state_dict(bundle.tensors(name), assign=True)
        (kind,) = {tensor.dtype for tensor in empty.state_dict().values() if tensor.is_floating_point()}
        members.append(empty.to(dtype=kind).eval().requires_grad_(False))
    return members


def _check_fit(header: Mapping[str, TensorHeader], expected: Mapping[str, torch.Tensor], model: str) -> None:
    wrong = sorted(set(expected) ^ set(header)) or sorted(
        name for name, tensor in header.items() if tensor.shape != tuple(expected[name].shape)
    )
    # A batch norm counts its batches in a whole number; all else is of one floating type.
    kinds = {tensor.dtype for name, tensor in header.items() if not name.endswith("num_batches_tracked")}
    if wrong or len(kinds) != 1 or not kinds <= FLOATS:
        what = f"tensors of type {', '.join(sorted(kinds))}"
        if wrong:
            first = "".join(letter if letter.isprintable() else "?" for letter in wrong[0][:80])  # a stranger's name
            what = f"{len(wrong)} tensors differ, first {first}"
        raise ModelError(
            f"The weights of {model} do not fit its architecture ({what}). Get the model again.", "weights"
        )
