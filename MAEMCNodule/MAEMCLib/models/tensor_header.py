"""The header of a safetensors file, checked before a byte of its tensors is read. Free of torch and safetensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import BinaryIO

from ..files.strict_json import parse

LARGEST_HEADER = 4 << 20
_MOST_DIMENSIONS = 8
FLOATS = {"F64", "F32", "F16", "BF16"}
"""The types that a network's weights may be of."""
_BYTES = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 1),
}


@dataclass(frozen=True)
class TensorHeader:
    """dtype: as safetensors writes it ("F32"). shape: of the tensor."""

    dtype: str
    shape: tuple[int, ...]


def read_header(stream: BinaryIO, size: int) -> dict[str, TensorHeader]:
    """Every tensor's type and shape. size: bytes of the whole file.

    Raises ValueError where the header is too long, is no header, or states other bytes than the file has.
    """
    first = stream.read(8)
    length = int.from_bytes(first, "little")
    if len(first) < 8 or not 2 <= length <= min(LARGEST_HEADER, size - 8):
        raise ValueError("it has no safetensors header")
    text = stream.read(length)
    values = parse(text)
    if len(text) < length or not isinstance(values, dict):
        raise ValueError("its safetensors header is cut short or no list of tensors")
    values.pop("__metadata__", None)
    tensors = {name: _tensor(name, entry) for name, entry in values.items()}
    # One tensor begins where the one before it ends: nothing overlaps, nothing is left over.
    offsets = sorted(entry["data_offsets"] for entry in values.values())
    if [*(begin for begin, _ in offsets), size - 8 - length] != [0, *(end for _, end in offsets)]:
        raise ValueError("its tensors do not fill the file")
    return tensors


def _tensor(name: str, entry: object) -> TensorHeader:
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        raise ValueError(f"its header does not describe the tensor {name[:80]}")
    kind, shape, offsets = entry["dtype"], entry.get("shape"), entry.get("data_offsets")
    if kind not in _BYTES:
        raise ValueError(f"its weights are of the unknown type {kind[:20]}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(shape) > _MOST_DIMENSIONS or len(offsets) != 2:
        raise ValueError(f"its header does not describe the tensor {name[:80]}")
    if offsets[1] - offsets[0] != math.prod(shape) * _BYTES[kind]:
        raise ValueError(f"the tensor {name[:80]} has other bytes than its shape needs")
    return TensorHeader(kind, tuple(shape))


def _are_sizes(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
