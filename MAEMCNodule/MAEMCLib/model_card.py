"""A model's card: what ``bundle.json`` says, checked, with the settings that scoring needs. Free of torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields

from .applicability import Limits
from .clinical import ClinicalField, fields_of
from .errors import ModelError
from .montage import Preprocessing
from .picture import PicturePreprocessing

SCHEMA = 1
INPUTS = ("nodule", "picture")
FUSIONS = ("mean", "axial", "coronal", "graph")
ROLES = ("classifier", "decoder", "statistics")
_REQUIRED = {
    "id": str,
    "version": str,
    "title": str,
    "architecture": dict,
    "preprocessing": dict,
    "fusion": str,
    "classes": list,
    "positive_class": str,
    "thresholds": dict,
    "calibration": dict,
    "intended_use": str,
    "members": list,
    "files": dict,
}


@dataclass(frozen=True)
class ModelCard:
    """values: the parsed bundle.json. sha256: of its bytes, which hold every file's hash; the model's identity."""

    values: dict
    sha256: str

    @classmethod
    def parse(cls, text: bytes, sha256: str, source: str) -> ModelCard:
        """Read and check bundle.json. source names the bundle in messages. Raises ModelError."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ModelError(f"{source}: bundle.json is not valid JSON ({error}). Get the model again.") from error
        if not isinstance(values, dict):
            raise ModelError(f"{source}: bundle.json holds no card. Get the model again.")
        schema = values.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise ModelError(
                f"{source} was written by a newer MAEMC (bundle schema {schema}, this version reads {SCHEMA}). "
                "Update MAEMC.",
                "newer-schema",
            )
        if schema != SCHEMA or isinstance(schema, bool):
            raise ModelError(f"{source} has an unknown bundle schema ({schema!r}). Get the model again.", "schema")
        wrong = [key for key, kind in _REQUIRED.items() if not isinstance(values.get(key), kind)]
        if wrong:
            raise ModelError(
                f"{source}: bundle.json lacks or misstates {', '.join(wrong)}. Get the model again.", "schema"
            )
        card = cls(values, sha256)
        card._check(source)
        return card

    def _check(self, source: str) -> None:
        problem = ""
        if not _are_classes(self.classes):
            problem = f"its classes {self.classes} are not two or more names"
        elif len(self.classes) > 2 and self.fusion != "graph":
            problem = f"its classes are {self.classes}, and this version scores two but for models of fusion"
        elif len(self.classes) == 2 and self.classes[1] != self.positive_class:
            problem = f"its positive class {self.positive_class} has to be the second of {self.classes}"
        elif self.input not in INPUTS:
            problem = f"its input '{self.input}' is none of {', '.join(INPUTS)}"
        elif self.fusion not in FUSIONS:
            problem = f"its fusion '{self.fusion}' is none of {', '.join(FUSIONS)}"
        elif self.fusion != "graph" and self.values.get("clinical"):
            problem = "it asks for clinical values, which models of fusion alone read"
        elif self.input == "picture" and self.fusion != "mean":
            problem = f"it scores pictures, which have no {self.fusion} plane"
        elif any(not _is_fraction(self.values["thresholds"].get(name)) for name in ("rule_out", "balanced", "rule_in")):
            problem = "its thresholds are not three numbers between 0 and 1"
        elif any(not _is_number(self.values["calibration"].get(name)) for name in ("slope", "intercept")):
            problem = "its calibration has no slope and intercept"
        elif not isinstance(self.values["calibration"].get("calibrated"), bool):
            problem = "it does not say whether it is calibrated"
        elif not _is_distances(self.values.get("training_distances", [])):
            problem = "its training distances are not 101 rising percentiles"
        else:
            problem = self._file_problem()
        if problem:
            raise ModelError(f"{source} cannot be used: {problem}. Get the model again.", "schema")
        _ = self.preprocessing, self.limits, self.clinical  # raise ModelError themselves where their values are wrong

    def _file_problem(self) -> str:
        for name, entry in self.files.items():
            plain = isinstance(name, str) and name and not set(name) & set("/\\:") and name not in (".", "..")
            if not plain or name == "bundle.json":
                return f"it names a file outside itself ({name})"
            if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str) or len(entry["sha256"]) != 64:
                return f"it states no SHA-256 for {name}"
            if not isinstance(entry.get("bytes"), int) or entry["bytes"] < 0:
                return f"it states no size for {name}"
        for member in self.values["members"]:
            if not isinstance(member, dict) or member.get("role") not in ROLES or member.get("file") not in self.files:
                return f"its list of members holds {member!r}"
        if not self.members("classifier"):
            return "it holds no classifier"
        if self.training_distances and len(self.members("statistics")) != len(self.members("classifier")):
            return "it states training distances, but not every classifier has its feature statistics"
        return ""

    @property
    def id(self) -> str:
        return self.values["id"]

    @property
    def version(self) -> str:
        return self.values["version"]

    @property
    def title(self) -> str:
        return self.values["title"]

    @property
    def classes(self) -> list[str]:
        """Class names; of two the second is the positive (malignant-like) one."""
        return self.values["classes"]

    @property
    def positive_class(self) -> str:
        return self.values["positive_class"]

    @property
    def input(self) -> str:
        """What the model scores: "nodule", a point in a CT; or "picture", a whole 2-D picture."""
        return self.values.get("input", "nodule")

    @property
    def fusion(self) -> str:
        """Which planes' logits are averaged: mean (of all), axial or coronal; "graph": of a fusion network."""
        return self.values["fusion"]

    @property
    def planes(self) -> tuple[str, ...]:
        """The images of a case that the network sees, each alone; a picture has one, itself."""
        if self.input == "picture":
            return ("picture",)
        return ("axial", "coronal") if self.fusion in ("mean", "graph") else (self.fusion,)

    @property
    def clinical(self) -> tuple[ClinicalField, ...]:
        """What the model asks for by name beside the CT; empty for models that read it alone."""
        return fields_of(self.values, self.id)

    @property
    def threshold(self) -> float | None:
        """The balanced threshold, which decides ``class``; None of more than two classes, the likeliest being it."""
        return float(self.values["thresholds"]["balanced"]) if len(self.classes) == 2 else None

    @property
    def calibrated(self) -> bool:
        return self.values["calibration"]["calibrated"]

    @property
    def training_distances(self) -> list[float]:
        """Percentiles 0, 1 ... 100 of the training cases' own distances (see ``familiarity``); empty where unknown."""
        return self.values.get("training_distances") or []

    @property
    def files(self) -> dict[str, dict]:
        """File name -> {"sha256", "bytes"}."""
        return self.values["files"]

    @property
    def preprocessing(self) -> Preprocessing | PicturePreprocessing:
        """How a case becomes network input: a ``PicturePreprocessing`` where the input is "picture"."""
        kind = PicturePreprocessing if self.input == "picture" else Preprocessing
        made = _from_fields(kind, self.values["preprocessing"], "preprocessing")
        if self.input == "picture" and not isinstance(made.image_size, int):
            raise ModelError(f"The bundle's image size {made.image_size} is no whole number of pixels.", "schema")
        return made

    @property
    def limits(self) -> Limits:
        return _from_fields(Limits, self.values.get("applicability", {}), "applicability")

    def members(self, role: str) -> list[str]:
        """File names of the members with a role, in order."""
        return [member["file"] for member in self.values["members"] if member["role"] == role]


def _from_fields(kind: type, values: dict, name: str):
    unknown = set(values) - {field.name for field in fields(kind)}
    if unknown or not all(_is_number(value) for value in values.values()):
        raise ModelError(f"The bundle's {name} settings are not understood: {values}. Get the model again.", "schema")
    return kind(**values)


def _are_classes(values: list) -> bool:
    return len(values) >= 2 and all(isinstance(v, str) and v for v in values) and len(set(values)) == len(values)


def _is_distances(values: object) -> bool:
    if not isinstance(values, list) or not all(_is_number(value) for value in values):
        return False
    return not values or (len(values) == 101 and values == sorted(values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_fraction(value: object) -> bool:
    return _is_number(value) and 0 <= value <= 1
