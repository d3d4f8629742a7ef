"""The models of a finished job as a bundle that lies nowhere: to score other data with them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from MAEMCLib.models.bundle import Member, ModelBundle
from MAEMCLib.models.card import SCHEMA, ModelCard, name_problem
from MAEMCLib.models.weights_header import TensorHeader
from torch import Tensor

from .export import card_and_members


def models_of_job(folder: Path) -> ModelBundle:
    """The bundle that ``export`` would write, without texts and decoder and in memory alone: to score with the models
    of a finished job, of either head. Raises as ``export`` does.
    """
    return ModelsInMemory.of(*card_and_members(folder, _texts(folder)))


def _texts(folder: Path) -> dict[str, Any]:
    name = folder.resolve().name
    return {
        "id": "job" if name_problem(name, "job") else name,
        "version": "job",
        "title": f"Job {name}",
        "intended_use": "Research only.",
    }


@dataclass(frozen=True)
class ModelsInMemory(ModelBundle):
    """A bundle whose members were never written: they are what a training of this process's own left behind."""

    held: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)

    @classmethod
    def of(cls, card: Mapping[str, Any], members: Sequence[Member]) -> ModelsInMemory:
        """card: as ``save_bundle`` takes it. Raises ModelError."""
        held = {f"{member.name}.safetensors": member.tensors for member in members}
        values = {
            "schema": SCHEMA,
            **card,
            "members": [{"role": member.role, "file": name} for member, name in zip(members, held, strict=True)],
            "files": {name: {"sha256": "0" * 64, "bytes": 1} for name in held},
        }
        return cls(Path(), ModelCard.parse(json.dumps(values).encode(), "", card["id"]), held)

    def header(self, name: str) -> dict[str, TensorHeader]:
        """The types and shapes of a member's tensors."""
        kinds = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}
        return {key: TensorHeader(kinds[t.dtype], tuple(t.shape)) for key, t in self.held[name].items()}

    def tensors(self, name: str) -> dict[str, Tensor]:
        """A member's tensors."""
        return dict(self.held[name])
