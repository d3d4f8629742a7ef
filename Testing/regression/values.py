"""All tensors and numbers that a training leaves in its folder, by name, and in what two trainings differ."""

from __future__ import annotations

import csv
import json
import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

TOLERANCE = 1e-12
# Not numbers of a training: what they are differs from one run to the next.
_IGNORED = frozenset({"time", "seconds", "images_per_second", "memory_mb", "bytes", "size", "created"})
_TEXT = object()  # stands for any text: texts may be rewritten
_NO_RESULT = frozenset({"job.json", "state.json", "training.json", "index.json"})

Value = Tensor | float | bool | None | object


def values_of(folder: Path) -> Iterator[tuple[str, Value]]:
    """(FILE:NAME, value) of a job's folder, with what was exported into it; caches are no result of a training."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and "caches" not in path.parts)
    # The events come first: what differs in the first step explains all that differs after it.
    for path in sorted(paths, key=lambda path: path.suffix != ".jsonl"):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".maemc":
            with zipfile.ZipFile(path) as bundle:
                for member in sorted(bundle.namelist()):
                    yield from _values_of_file(f"{name}/{member}", bundle.read(member))
        elif path.name not in _NO_RESULT and path.suffix in _READERS:
            yield from _values_of_file(name, path.read_bytes())


def _values_of_file(name: str, content: bytes) -> Iterator[tuple[str, Value]]:
    read = _READERS.get(Path(name).suffix)
    for key, value in read(content) if read else ():
        yield f"{name}:{key}", value


def _tensors(content: bytes) -> Iterator[tuple[str, Value]]:
    yield from sorted(load(content).items())


def _json(content: bytes) -> Iterator[tuple[str, Value]]:
    yield from _leaves(json.loads(content), "")


def _json_lines(content: bytes) -> Iterator[tuple[str, Value]]:
    for number, line in enumerate(content.splitlines(), 1):
        yield from _leaves(json.loads(line), f"{number}.")


def _table(content: bytes) -> Iterator[tuple[str, Value]]:
    for number, row in enumerate(csv.DictReader(content.decode("utf-8").splitlines()), 1):
        for column, cell in row.items():
            try:
                yield f"{number}.{column}", float(cell)
            except ValueError:
                yield f"{number}.{column}", _TEXT


_READERS: dict[str, Callable[[bytes], Iterator[tuple[str, Value]]]] = {
    ".safetensors": _tensors,
    ".json": _json,
    ".jsonl": _json_lines,
    ".csv": _table,
}


def _leaves(node: Any, name: str) -> Iterator[tuple[str, Value]]:
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if key not in _IGNORED:
                yield from _leaves(value, f"{name}{key}.")
    else:
        yield name.removesuffix("."), _TEXT if isinstance(node, str) else node


def difference(first: Value, second: Value) -> str | None:
    """In what two values differ, tensors by any bit and numbers by more than 1e-12; None where they do not."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return _tensor_difference(first, second)
    if _is_number(first) and _is_number(second):
        same = first == second or (math.isnan(first) and math.isnan(second))
        if same or abs(first - second) <= TOLERANCE * max(1.0, abs(first), abs(second)):
            return None
        return f"{first!r} there, {second!r} here"
    return None if first is second else f"{_described(first)} there, {_described(second)} here"


def _tensor_difference(first: Tensor, second: Tensor) -> str | None:
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return f"{_described(first)} there, {_described(second)} here"
    if torch.equal(*(one.contiguous().reshape(-1).view(torch.uint8) for one in (first, second))):
        return None
    largest = (first.double() - second.double()).abs().max().item()
    return f"other bits; {int((first != second).sum())} of {first.numel()} elements differ, by up to {largest:.3g}"


def is_tensor(value: Value) -> bool:
    """Whether a value is a tensor, of a checkpoint or a bundle."""
    return isinstance(value, Tensor)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _described(value: Value) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    return "text" if value is _TEXT else repr(value)
