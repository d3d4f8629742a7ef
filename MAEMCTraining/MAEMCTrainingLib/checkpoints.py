"""Checkpoints: all that a run needs to go on, in safetensors and JSON, replaced as a whole.

``last/`` holds ``model.safetensors`` (the method's whole state: momentum encoder and queue too),
``optimizer.safetensors``, ``best.safetensors`` where a validation has chosen a best epoch, and ``training.json``.
Random states are not among them: every draw is keyed by seed, epoch and sample, so the position is enough.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from MAEMCLib.atomic import read_json
from MAEMCLib.errors import InputError, ModelError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .configuration import differing_keys

SCHEMA = 1
_GROUP_STEP = "group step"


@dataclass
class Position:
    """Where a run stands: steps done, the best epoch by validation, epochs since, and whether it ended early.

    recent: validation losses of the last epochs, as many as decide together. accumulation: shares of a batch where the
    memory was found too small for the configured ones, else 0. scaler: the state of float16's loss scale.
    """

    step: int = 0
    best_loss: float | None = None
    best_epoch: int | None = None
    stale: int = 0
    recent: list[float] = field(default_factory=list)
    ended: bool = False
    accumulation: int = 0
    scaler: dict[str, Any] = field(default_factory=dict)


def save(
    folder: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    position: Position,
    best: dict[str, Tensor] | None,
    identity: dict[str, Any],
) -> None:
    """Replace ``folder``/last as a whole. identity: configuration and data, compared when the run goes on.

    Raises InputError where the disk does not take it; the checkpoint that was there stays.
    """
    fresh, last, old = folder / "last.new", folder / "last", folder / "last.old"
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        _write_tensors(fresh / "model.safetensors", module.state_dict())
        _write_tensors(fresh / "optimizer.safetensors", _optimizer_tensors(optimizer))
        if best is not None:
            _write_tensors(fresh / "best.safetensors", best)
        # Last, so that a folder that holds it is complete.
        text = json.dumps({"schema": SCHEMA, "position": asdict(position), **identity}, indent=1, allow_nan=False)
        with open(fresh / "training.json", "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        # A folder cannot be replaced in one step. Killed between these lines, ``_recover`` finds the newest whole one.
        shutil.rmtree(old, ignore_errors=True)
        if last.exists():
            os.rename(last, old)
        os.rename(fresh, last)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            shutil.rmtree(fresh, ignore_errors=True)
            if old.exists() and not last.exists():
                os.rename(old, last)
        raise InputError(
            f"The checkpoint could not be written ({getattr(error, 'strerror', None) or error}). The one before it is "
            "intact: free space, then repeat the command to go on from there.",
            "not-written",
        ) from error


def save_best(folder: Path, best: dict[str, Tensor], position: Position, identity: dict[str, Any]) -> None:
    """Write ``folder``/best for other programs; a continued run does not read it."""
    target = folder / "best"
    try:
        target.mkdir(parents=True, exist_ok=True)
        _write_tensors(target / "model.safetensors.part", best)
        os.replace(target / "model.safetensors.part", target / "model.safetensors")
        text = json.dumps({"schema": SCHEMA, "position": asdict(position), **identity}, indent=1, allow_nan=False)
        (target / "training.json").write_text(text, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise InputError(f"The best checkpoint could not be written ({error}).", "not-written") from error


def restore(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, identity: dict[str, Any]
) -> tuple[Position, dict[str, Tensor] | None]:
    """Load the last checkpoint, or begin at step 0 where there is none.

    Raises InputError: another configuration or other data (the differing keys are listed); ModelError: damaged files.
    """
    _recover(folder)
    last = folder / "last"
    if not last.is_dir():
        return Position(), None
    training = read_json(last / "training.json", "The checkpoint's state")
    lines = differing_keys({key: training.get(key) for key in identity}, json.loads(json.dumps(identity)))
    if training.get("schema") != SCHEMA or lines:
        raise InputError(
            f"The checkpoint in {folder} is from another run: {'; '.join(lines) or 'another schema'}. "
            "Choose another --output, or repeat the command that made it.",
            "other-configuration",
        )
    try:
        module.load_state_dict(read_tensors(last / "model.safetensors"))
        _load_optimizer(optimizer, read_tensors(last / "optimizer.safetensors"))
        best = read_tensors(last / "best.safetensors") if (last / "best.safetensors").is_file() else None
        return Position(**training["position"]), best
    except (RuntimeError, KeyError, TypeError) as error:
        raise ModelError(f"The checkpoint {last} does not fit this run ({error}).", "checkpoint") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file. Raises ModelError where it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"The weights {path} are missing or damaged ({error}).", "weights") from error


def _recover(folder: Path) -> None:
    last, fresh, old = folder / "last", folder / "last.new", folder / "last.old"
    if not last.exists():
        for candidate in (fresh, old):
            if (candidate / "training.json").is_file() and _is_json(candidate / "training.json"):
                os.rename(candidate, last)
                break
    for stray in (fresh, old):
        shutil.rmtree(stray, ignore_errors=True)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as "<kind>/<parameter's name>", independent of the order of its groups."""
    tensors = {}
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            for kind, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{kind}/{name}"] = value if isinstance(value, Tensor) else torch.tensor(value)
        if "step" in group:  # LAMB counts its steps once for a group
            tensors[f"{_GROUP_STEP}/{group['names'][0]}"] = group["step"].detach().clone()
    return tensors


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = {
        name: parameter
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if kind == _GROUP_STEP:
            next(group for group in optimizer.param_groups if group["names"][0] == name)["step"] = tensor
            continue
        parameter = parameters[name]
        # The fused AdamW keeps all of it beside the parameter, its count of steps too.
        optimizer.state[parameter][kind] = tensor.to(parameter.device)
