"""Checkpoints: all that a run needs to go on, in safetensors and JSON, replaced as a whole.

``last/`` holds ``model.safetensors`` (the method's whole state: momentum encoder and queue too),
``optimizer.safetensors``, ``best.safetensors`` where a validation has chosen a best epoch, and ``training.json``, which
names these files with the SHA-256 of their headers (names, shapes, types) and closes with the SHA-256 of its own text.
Random states are not among them: every draw is keyed by seed, epoch and sample, so the position is enough.
"""

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from MAEMCLib.errors import InputError, ModelError
from MAEMCLib.files.atomic import read_json, sealed, unsealed
from MAEMCLib.files.strict_json import is_count, is_number
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..jobs.files import differing_keys

SCHEMA = 1
_GROUP_STEP = "group step"


@dataclass
class Position:
    """Where a run stands: steps done, the best epoch by validation, epochs since, and whether it ended early.

    recent: validation losses of the last epochs, as many as decide together. accumulation: micro-batches of a batch
    where the memory was too small for the configured ones, else 0. scaler: the state of float16's loss scale.
    """

    step: int = 0
    best_loss: float | None = None
    best_epoch: int | None = None
    stale: int = 0
    recent: list[float] = field(default_factory=list)
    ended: bool = False
    accumulation: int = 0
    scaler: dict[str, Any] = field(default_factory=dict)

    def assess(self, loss: float, epoch: int, patience: int | None, window: int) -> bool:
        """Enter an epoch's validation loss; whether it is the best so far.

        patience: epochs without a lower loss before the run ends; None: never. window: epochs, up to the present one,
        whose mean loss counts.
        """
        self.recent = [*self.recent, loss][-window:]
        smoothed = sum(self.recent) / len(self.recent)
        better = self.best_loss is None or smoothed < self.best_loss
        if better:
            self.best_loss, self.best_epoch, self.stale = smoothed, epoch, 0
        else:
            self.stale += 1
        self.ended = patience is not None and self.stale >= patience
        return better


@dataclass(frozen=True)
class Checkpoints:
    """Those of one run. identity: its configuration and its data, compared when it goes on."""

    folder: Path
    module: nn.Module
    optimizer: torch.optim.Optimizer
    identity: dict[str, Any]

    def save(self, position: Position, best: dict[str, Tensor] | None) -> None:
        """Replace ``folder``/last as a whole.

        Raises InputError where the disk does not take it; the checkpoint that was there stays.
        """
        fresh, last, old = (self.folder / name for name in ("last.new", "last", "last.old"))
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            _write_tensors(fresh / "model.safetensors", self.module.state_dict())
            _write_tensors(fresh / "optimizer.safetensors", _optimizer_tensors(self.optimizer))
            if best is not None:
                _write_tensors(fresh / "best.safetensors", best)
            # Last, so that a folder that holds it is complete.
            with open(fresh / "training.json", "w", encoding="utf-8") as stream:
                stream.write(_training_text(fresh, position, self.identity))
                stream.flush()
                os.fsync(stream.fileno())
            # A folder cannot be replaced in one step. Killed in between, ``_recover`` finds the newest whole one.
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
            go_on = "The one before it is intact: free space, then repeat the command to go on from there."
            if not last.exists():
                go_on = "There is none before it: free space, then repeat the command, which begins anew."
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"The checkpoint could not be written ({reason}). {go_on}", "not-written") from error

    def save_best(self, position: Position, best: dict[str, Tensor]) -> None:
        """Write ``folder``/best for other programs; a continued run does not read it."""
        target = self.folder / "best"
        try:
            target.mkdir(parents=True, exist_ok=True)
            _write_tensors(target / "model.safetensors.part", best)
            os.replace(target / "model.safetensors.part", target / "model.safetensors")
            (target / "training.json").write_text(_training_text(target, position, self.identity), encoding="utf-8")
        except (OSError, SafetensorError) as error:
            raise InputError(f"The best checkpoint could not be written ({error}).", "not-written") from error

    def restore(self, steps: int) -> tuple[Position, dict[str, Tensor] | None]:
        """Load the last checkpoint of a run of so many steps, or begin at step 0 where there is none.

        Raises InputError: another configuration or other data (the differing keys are listed); ModelError: damage.
        """
        _recover(self.folder)
        last = self.folder / "last"
        if not last.exists():
            return Position(), None
        training = _read_training(last)
        lines = differing_keys({key: training.get(key) for key in self.identity}, json.loads(json.dumps(self.identity)))
        if training.get("schema") != SCHEMA or lines:
            raise InputError(
                f"The checkpoint in {self.folder} is from another run: {'; '.join(lines) or 'another schema'}. "
                "Choose another --output, or repeat the command that made it.",
                "other-configuration",
            )
        position = _position(last / "training.json", training.get("position"))
        if position.step > steps:
            raise _unfit(last / "training.json", f"step {position.step} of {steps}")
        _check_headers(last, training.get("files"))
        self.module.load_state_dict(_read_state(last / "model.safetensors", self.module))
        _load_optimizer(self.optimizer, last / "optimizer.safetensors")
        best = last / "best.safetensors"
        return position, _read_state(best, self.module) if best.exists() else None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file. Raises ModelError where it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"The weights {path} are missing or damaged ({error}).", "weights", (path,)) from error


def _recover(folder: Path) -> None:
    last, fresh, old = folder / "last", folder / "last.new", folder / "last.old"
    if not last.exists():
        for candidate in filter(Path.exists, (fresh, old)):
            with contextlib.suppress(ModelError):
                _check_headers(candidate, _read_training(candidate).get("files"))
                os.rename(candidate, last)
                break
    for stray in (fresh, old):
        shutil.rmtree(stray, ignore_errors=True)


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
            tensors[f"{_GROUP_STEP}/{group['names'][0]}"] = torch.as_tensor(group["step"]).detach().clone()
    return tensors


def _read_state(path: Path, module: nn.Module) -> dict[str, Tensor]:
    """The state of a module in a file. Raises ModelError, naming the first tensor that differs."""
    tensors, expected = read_tensors(path), module.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise _unfit(path, f"{name} is missing")
        found = tensors[name]
        if name not in expected or (found.shape, found.dtype) != (expected[name].shape, expected[name].dtype):
            raise _unfit(path, f"{name} {tuple(found.shape)} {found.dtype}")
    return tensors


def _load_optimizer(optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Raises ModelError for a value that is missing, of another form or of no parameter; then nothing is loaded."""
    tensors = read_tensors(path)
    groups = {group["names"][0]: group for group in optimizer.param_groups}
    parameters = {
        name: parameter
        for group in groups.values()
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }
    kinds = _state_kinds(optimizer)
    states: dict[str, dict[str, Tensor]] = {}
    steps: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if kind == _GROUP_STEP and name in groups and tensor.dim() == 0:
            steps[name] = tensor
        elif (
            kind in kinds and name in parameters and tensor.shape == (() if kind == "step" else parameters[name].shape)
        ):
            # The fused AdamW keeps all of it beside the parameter, its count of steps too.
            states.setdefault(name, {})[kind] = tensor.to(parameters[name].device)
        else:
            raise _unfit(path, f"{key} {tuple(tensor.shape)}")
    for name, state in states.items():
        if missing := kinds - state.keys():
            raise _unfit(path, f"{sorted(missing)[0]}/{name} is missing")
    for name, state in states.items():
        optimizer.state[parameters[name]].update(state)
    for name, step in steps.items():
        groups[name]["step"] = step


def _state_kinds(optimizer: torch.optim.Optimizer) -> set[str]:
    """What the optimizer keeps of each parameter that it has moved."""
    if "betas" not in optimizer.defaults:
        return {"momentum_buffer"}
    return {"exp_avg", "exp_avg_sq"} | ({"step"} if isinstance(optimizer, torch.optim.AdamW) else set())


def _training_text(folder: Path, position: Position, identity: dict[str, Any]) -> str:
    content = {"schema": SCHEMA, "position": asdict(position), "files": _headers(folder), **identity}
    return json.dumps(sealed(content), indent=1)


def _read_training(folder: Path) -> dict[str, Any]:
    """training.json. Raises ModelError where it is missing or is not what was written."""
    path = folder / "training.json"
    try:
        training = read_json(path, "The checkpoint's state")
    except InputError as error:
        raise ModelError(str(error), "checkpoint", error.private) from error
    if isinstance(training, dict) and "sha256" not in training:  # of an older version
        return training
    try:
        return unsealed(training)
    except ValueError as error:
        raise _unfit(path, str(error)) from error


def _headers(folder: Path) -> dict[str, str]:
    """The SHA-256 of the header of each file of tensors in a folder."""
    hashes = {}
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as stream:
            size = stream.read(8)
            header = min(int.from_bytes(size, "little"), path.stat().st_size)  # eight damaged bytes state any number
            hashes[path.name] = hashlib.sha256(size + stream.read(header)).hexdigest()
    return hashes


def _check_headers(folder: Path, files: object) -> None:
    """Raises ModelError unless the weights' files are those that training.json was written with. None: of an older
    version, which did not name them."""
    if files is None:
        return
    stated, present = files if isinstance(files, dict) else {}, _headers(folder)
    for name in sorted(stated.keys() | present.keys()):
        if not (name in stated and name in present and stated[name] == present[name]):
            raise _unfit(folder / name, "it is missing, or not the one that was written with the others")


def _position(path: Path, values: object) -> Position:
    kinds = {
        "step": is_count,
        "best_loss": lambda value: value is None or is_number(value),
        "best_epoch": lambda value: value is None or is_count(value),
        "stale": is_count,
        "recent": lambda value: isinstance(value, list) and all(map(is_number, value)),
        "ended": lambda value: isinstance(value, bool),
        "accumulation": is_count,
        "scaler": lambda value: isinstance(value, dict) and all(map(is_number, value.values())),
    }
    if not isinstance(values, dict) or values.keys() != kinds.keys():
        raise _unfit(path, "its position is not whole")
    for key, sound in kinds.items():
        if not sound(values[key]):
            raise _unfit(path, f"{key} is {str(values[key])[:50]!r}")
    return Position(**values)


def _unfit(path: Path, what: str) -> ModelError:
    text = f"The checkpoint's {path} is damaged or of another run ({what}). Bring it back from a copy, or begin anew."
    return ModelError(text, "checkpoint", (path,))
