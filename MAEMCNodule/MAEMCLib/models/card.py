"""A model's card: what ``bundle.json`` says, checked, with the settings that scoring needs. Free of torch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..applicability import Limits
from ..cases.values import CHOICE, NUMBER, SERIES, ClinicalField, fields_of
from ..errors import UNREADABLE, ArchitectureError, MAEMCError, ModelError
from ..files.strict_json import is_count, is_number, parse
from ..inputs import INPUTS
from ..inputs.input import Input
from ..inputs.region import PLANES
from ..networks.configuration import (
    AnyEncoderConfiguration,
    DecoderConfiguration,
    GraphConfiguration,
    decoder_configuration,
    encoder_configuration,
)
from .card_contents import contents_problems

SCHEMA = 2
"""2: with members that are told beside the number. A bundle says the lowest that reads it (``schema_of``)."""
_FIRST_ROLES = ("classifier", "decoder", "statistics")
ROLES = (*_FIRST_ROLES, "characteristics", "alike")
QUICK_BYTES = 64 << 20
"""Of all classifiers together: 64 MiB, some 16 million weights, a fraction of a second for seven places on a CPU."""
_LONGEST_NAME = 100
_MOST_MEMBERS = 100
_SLOPES, _LARGEST_INTERCEPT = (1e-3, 1e3), 30
_REQUIRED = {
    **dict.fromkeys(("id", "version", "title", "fusion", "positive_class", "intended_use"), str),
    **dict.fromkeys(("architecture", "preprocessing", "thresholds", "calibration", "files"), dict),
    **dict.fromkeys(("classes", "members"), list),
}


@dataclass(frozen=True)
class Calibration:
    """slope, intercept: on the margin of two classes' logits, before it becomes a probability. calibrated: whether they
    were measured; reason: why not."""

    calibrated: bool
    slope: float
    intercept: float
    reason: str = ""

    def margins(self, logits: np.ndarray) -> np.ndarray:
        """(..., 2) logits -> (...) calibrated log-odds of the second class."""
        return (logits[..., 1] - logits[..., 0]) * self.slope + self.intercept


@dataclass(frozen=True)
class ModelCard:
    """What bundle.json says.

    values: all of it, parsed. sha256: of its bytes, which hold every file's hash; the model's identity.
    classes: names; of two the second is the positive (malignant-like) one. fusion: which planes' logits are averaged:
    mean (of all), axial or coronal; "graph": of a fusion network. files: {name: {"sha256", "bytes"}}.
    input: the name of the kind of input that the model scores: "nodule", a point in a CT; "picture", a 2-D picture.
    label_type: what the training's labels are: "diagnosis", or "rating", which is readers' opinion.
    training_distances: percentiles 0, 1 ... 100 of the training cases' own distances (see ``ood``); empty where
    unknown. reference: a synthetic case and what the author's installation made of it (see ``reference_case``); None:
    unverified.
    """

    values: dict
    sha256: str
    id: str
    version: str
    title: str
    classes: list[str]
    positive_class: str
    intended_use: str
    fusion: str
    files: dict[str, dict]
    input: str = "nodule"
    label_type: str = "rating"
    training_distances: Sequence[float] = ()
    reference: dict | None = None

    @classmethod
    def parse(cls, text: bytes, sha256: str, source: str) -> ModelCard:
        """Read and check bundle.json. source names the bundle in messages. Raises ModelError, whatever the text is."""
        try:
            values = parse(text)
        except (ValueError, MemoryError) as error:
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
        if schema not in range(1, SCHEMA + 1) or isinstance(schema, bool):
            raise ModelError(f"{source} has an unknown bundle schema ({schema!r}). Get the model again.", "schema")
        wrong = [key for key, kind in _REQUIRED.items() if not isinstance(values.get(key), kind)]
        if wrong:
            raise ModelError(
                f"{source}: bundle.json lacks or misstates {', '.join(wrong)}. Get the model again.", "schema"
            )
        stated = {one.name: values[one.name] for one in fields(cls)[2:] if one.name in values}
        card = cls(values, sha256, **stated)
        try:
            card._check(source)
        except MAEMCError:
            raise
        except UNREADABLE as error:
            raise ModelError(f"{source} cannot be used: its card is not understood ({error}).", "schema") from error
        return card

    def _check(self, source: str) -> None:
        checks = (self._kind_problems(), self._number_problems(), self._file_problems(), contents_problems(self.values),
                  self._beside_problems())  # fmt: skip
        if problem := next(itertools.chain(*checks), ""):  # the first: each check relies on those before it
            raise ModelError(f"{source} cannot be used: {problem}. Get the model again.", "schema")
        # These raise ModelError themselves where their values are wrong.
        _ = self.preprocessing, self.limits, self.clinical, self.encoder, self.decoder

    def _kind_problems(self) -> Iterator[str]:
        """What the model is: its name, what it takes and what it tells apart."""
        if problem := name_problem(self.id, self.version):
            yield f"its {problem}"
        if not _are_classes(self.classes):
            yield f"its classes {self.classes} are not two or more names"
        if len(self.classes) == 2 and self.classes[1] != self.positive_class:
            yield f"its positive class {self.positive_class} has to be the second of {self.classes}"
        if not isinstance(self.input, str) or self.input not in INPUTS:
            yield f"its input '{self.input}' is none of {', '.join(INPUTS)}"
        if self.fusion not in self.kind.planes:
            known = ", ".join(self.kind.planes)
            yield f"it scores {self.kind.noun}s, which have no {self.fusion} plane: its fusion has to be one of {known}"
        if self.fusion != "graph" and self.values.get("clinical"):
            yield "it asks for clinical values, which models of fusion alone read"

    def _number_problems(self) -> Iterator[str]:
        """Numbers that decide about a probability or a class have to make sense, and not only to be numbers."""
        thresholds, calibration = self.values["thresholds"], self.values["calibration"]
        points = [thresholds.get(name) for name in ("rule_out", "balanced", "rule_in")]
        if not all(is_number(point) and 0 <= point <= 1 for point in points):
            yield "its thresholds are not three numbers between 0 and 1"
        if points != sorted(points) or not 0 < points[1] < 1:
            yield f"its thresholds {points} do not rise from rule_out over balanced, between 0 and 1, to rule_in"
        slope, intercept = calibration.get("slope"), calibration.get("intercept")
        if not (is_number(slope) and is_number(intercept)):
            yield "its calibration has no slope and intercept"
        if not _SLOPES[0] <= slope <= _SLOPES[1] or abs(intercept) > _LARGEST_INTERCEPT:
            yield (
                f"its calibration (slope {slope}, intercept {intercept}) would turn or flatten every score: a slope of "
                f"{_SLOPES[0]} to {_SLOPES[1]:g} and an intercept within {_LARGEST_INTERCEPT} of 0 are possible"
            )
        if not isinstance(calibration.get("calibrated"), bool):
            yield "it does not say whether it is calibrated"
        distances = self.values.get("training_distances", [])
        numbers = isinstance(distances, list) and all(map(is_number, distances))
        if not numbers or len(distances) not in (0, 101) or distances != sorted(distances):
            yield "its training distances are not 101 rising percentiles"

    def _file_problems(self) -> Iterator[str]:
        for name, entry in self.files.items():
            plain = name and name.isprintable() and not set(name) & set("/\\:") and name not in (".", "..")
            if not plain or name.lower() == "bundle.json":
                yield f"it names a file outside itself ({name})"
            if not isinstance(entry, dict) or not is_sha256(entry.get("sha256")):
                yield f"it states no SHA-256 for {name}"
            if not is_count(entry.get("bytes")):
                yield f"it states no size for {name}"
        for member in self.values["members"]:
            known = isinstance(member, dict) and isinstance(member.get("file"), str) and member["file"] in self.files
            if not known or member.get("role") not in ROLES:
                yield f"its list of members holds {member!r}"
        if len({member["file"] for member in self.values["members"]}) < len(self.values["members"]):
            yield "its list of members names a file twice"
        if not self.members("classifier"):
            yield "it holds no classifier"
        if len(self.members("classifier")) > _MOST_MEMBERS:
            yield f"it holds more than {_MOST_MEMBERS} classifiers"
        if self.training_distances and len(self.members("statistics")) != len(self.members("classifier")):
            yield "it states training distances, but not every classifier has its feature statistics"
        if schema_of(self.values["members"]) > self.values["schema"]:
            yield f"its schema {self.values['schema']} has no such members"

    def _beside_problems(self) -> Iterator[str]:
        """What is told beside the number, in its members and in words."""
        heads, nodules, count = self.members("characteristics"), self.members("alike"), len(self.members("classifier"))
        if heads and (len(heads) != count or "characteristics" not in self.values):
            yield "not every classifier has its head for characteristics, or the card says nothing of them"
        if nodules and (len(nodules) > 1 or "alike" not in self.values):
            yield "it holds several sets of training nodules, or says nothing of them"
        if nodules and self.values["alike"]["member"] >= count:
            yield "its training nodules are found by a classifier that it does not have"
        if heads and set(self.values["characteristics"]["shown"]) - set(self.values["characteristics"]["names"]):
            yield "it shows characteristics that it has no head for"

    @property
    def kind(self) -> Input:
        """What knows the kind of input that the model scores."""
        return INPUTS[self.input]

    @property
    def probability_name(self) -> str:
        """What the number is called to people: of readers' ratings it is never a probability of cancer."""
        if len(self.classes) > 2:
            return "probability of the likeliest class"
        if self.positive_class.removesuffix("-like") != "malignant":
            return f"probability of {self.positive_class}"
        return "malignancy probability" + " as readers rate it" * (self.label_type == "rating")

    @property
    def head(self) -> str:
        """The name of the head on the encoder, a file of ``networks/heads``; cards from before there were others have
        the one of their fusion."""
        return self.values["architecture"].get("head", "graph" if self.fusion == "graph" else "linear")

    @property
    def graph(self) -> GraphConfiguration | None:
        """Which images and values a head relates; None of one that relates none. Raises ModelError."""
        return graph_of(self.values, self.clinical, self.id) if self.fusion == "graph" else None

    @property
    def clinical(self) -> tuple[ClinicalField, ...]:
        """What the model asks for by name beside the CT; empty for models that read it alone."""
        return fields_of(self.values, self.id)

    @property
    def threshold(self) -> float | None:
        """The balanced threshold, which decides ``class``; None of more than two classes, the likeliest being it."""
        return self.thresholds["balanced"] if len(self.classes) == 2 else None

    @property
    def thresholds(self) -> dict[str, float]:
        """rule_out, balanced and rule_in, rising."""
        return {name: float(self.values["thresholds"][name]) for name in ("rule_out", "balanced", "rule_in")}

    @property
    def calibration(self) -> Calibration:
        stated = self.values["calibration"]
        return Calibration(**{one.name: stated[one.name] for one in fields(Calibration) if one.name in stated})

    @property
    def preprocessing(self) -> Any:
        """How a case becomes network input: of the class ``settings`` of the model's kind of input."""
        return _from_fields(self.kind.settings, self.values["preprocessing"], "preprocessing")

    @property
    def limits(self) -> Limits:
        return _from_fields(Limits, self.values.get("applicability", {}), "applicability")

    @property
    def quick(self) -> bool:
        """Whether the members are so small that a nodule can be scored at several places at once."""
        return sum(self.files[name]["bytes"] for name in self.members("classifier")) <= QUICK_BYTES

    @property
    def encoder(self) -> AnyEncoderConfiguration:
        """The shape of the classifier's network. Raises ModelError: none, unknown to this version, out of bounds."""
        values = self.values["architecture"].get("encoder")
        if not isinstance(values, dict):
            raise ArchitectureError(f"The model {self.id} does not describe its network. Get the model again.")
        return encoder_configuration(values)

    @property
    def decoder(self) -> DecoderConfiguration | None:
        """The shape of the reconstructing decoder; None without one. Raises ModelError as ``encoder`` does."""
        values = self.values["architecture"].get("decoder")
        return None if values is None else decoder_configuration(values)

    def members(self, role: str) -> list[str]:
        """File names of the members with a role, in order."""
        return [member["file"] for member in self.values["members"] if member["role"] == role]


def schema_of(members: Sequence[Mapping[str, str]]) -> int:
    """The lowest schema that has these members of a bundle: without the later ones earlier versions read it too."""
    return 1 if all(member["role"] in _FIRST_ROLES for member in members) else SCHEMA


def _from_fields(kind: type, values: object, name: str):
    flags = {field.name: isinstance(field.default, bool) for field in fields(kind)}
    good = isinstance(values, dict) and not set(values) - set(flags)
    if not good or not all(type(one) is bool if flags[name] else is_number(one) for name, one in values.items()):
        raise ModelError(f"The bundle's {name} settings are not understood: {values}. Get the model again.", "schema")
    return kind(**values)


def _are_classes(values: list) -> bool:
    return len(values) >= 2 and all(isinstance(v, str) and v for v in values) and len(set(values)) == len(values)


def name_problem(identity: str, version: str) -> str:
    """Why a model cannot be called so, ``ID@VERSION`` in all commands; empty where it can."""
    if not _is_name(identity) or set(identity) & set("@/\\") or identity.endswith(".maemc"):
        return f"id {identity!r} is no name (at most {_LONGEST_NAME} printable letters, without @ / \\ and .maemc)"
    if not _is_name(version):
        return f"version {version!r} is no name (at most {_LONGEST_NAME} printable letters)"
    return ""


def _is_name(text: str) -> bool:
    """Text that can be typed and printed: no escapes, no line ends, nothing that turns the direction of writing."""
    return 0 < len(text) <= _LONGEST_NAME and text.isprintable() and text == text.strip()


def is_sha256(text: object) -> bool:
    """Whether a text is 64 hexadecimal digits."""
    return isinstance(text, str) and re.fullmatch(r"[0-9a-fA-F]{64}", text) is not None


def branch_source(branch: str) -> tuple[str, str]:
    """(series, plane) of an image branch: "axial" and "coronal" are planes of the CT that is scored, whose series is
    "", "image_2" is the axial plane of the further series image_2, "image_2:coronal" its coronal one."""
    if branch in PLANES:
        return "", branch
    series, _, plane = branch.partition(":")
    return series, plane or "axial"


def graph_of(card: Mapping, fields: Sequence[ClinicalField], model: str) -> GraphConfiguration:
    """The fusion graph that a card states. Raises ModelError."""
    stored = card.get("architecture", {}).get("graph")
    try:
        values = {**stored, "branches": tuple(stored["branches"])}
        attributes = tuple(len(one.choices) for one in fields if one.kind in (NUMBER, CHOICE))
        graph = GraphConfiguration(**values, attributes=attributes)
        sources = [branch_source(branch) for branch in graph.branches]
        series = {one.name for one in fields if one.kind == SERIES}
        if any(plane not in PLANES or name not in {"", *series} for name, plane in sources):
            raise ValueError(f"branches {', '.join(graph.branches)}")
    except (TypeError, KeyError, ValueError) as error:
        raise ArchitectureError(
            f"The fusion graph of {model} is not understood ({error}). Get the model again.",
        ) from error
    return graph
