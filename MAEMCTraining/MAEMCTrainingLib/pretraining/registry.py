"""The pre-training methods, found by listing: each NAME.toml in ``methods`` is one. Light: nothing here imports torch.

The file holds what is known of the method without running it (``MethodFacts``) and its presets; the module beside it
(NAME.py, "_" for "-") holds the class that is named there. With ``variant_of`` a file takes all that it does not say
itself from another one, with ``presets_of`` the presets that it does not have.
"""

import tomllib
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from MAEMCLib.errors import UsageError

LABELS, METADATA = "labels", "metadata"
"""What a method may need: a class for each case, or the columns modality and anatomy."""
_INPUTS = {"nodule": "nodules in CT", "picture": "2-D pictures"}
_FOLDER = Path(__file__).parent / "methods"
_USUAL_PRESETS = ("default", "tiny", "paper")


@dataclass(frozen=True)
class MethodFacts:
    """What is known of a method without importing it.

    title, sentence, source: for people. inputs: kinds of input that it can learn from. needs: ``LABELS``, ``METADATA``.
    reconstructs: whether it predicts masked parts, so that a job has previews. backbones: encoders that it can train;
    empty: all. backbone: the encoder of its presets, a name of ``encoder_named``; empty: MAEMC's own transformer;
    paper_backbone: the published one, where it is larger. settings: its own, where they differ from the class's.
    presets: {name: settings that differ from those that all methods share (``pretraining_preset``)}.
    """

    name: str
    module: str
    class_name: str
    title: str
    sentence: str
    source: str
    inputs: tuple[str, ...] = tuple(_INPUTS)
    needs: tuple[str, ...] = ()
    reconstructs: bool = False
    backbones: tuple[str, ...] = ()
    backbone: str = ""
    paper_backbone: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    presets: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def needs_in_words(self) -> tuple[str, ...]:
        """All that data have to be or to have, for people."""
        kinds = () if len(self.inputs) == len(_INPUTS) else tuple(_INPUTS[kind] for kind in self.inputs)
        return (*kinds, *self.needs)

    @property
    def preset_names(self) -> tuple[str, ...]:
        """The presets that it has."""
        return (*_USUAL_PRESETS, *(name for name in self.presets if name not in _USUAL_PRESETS))


def _read(name: str) -> MethodFacts:
    values = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    if "variant_of" in values:
        values = {**vars(_read(values.pop("variant_of"))), **values}
    if "presets_of" in values:
        values["presets"] = _read(values.pop("presets_of")).presets | values["presets"]
    values = {"module": name.replace("-", "_"), **values, "name": name}
    values |= {f.name: tuple(values[f.name]) for f in fields(MethodFacts) if isinstance(values.get(f.name), list)}
    return MethodFacts(**values)


# First what is made for one kind of input, last what needs more than images.
METHODS: dict[str, MethodFacts] = {
    facts.name: facts
    for facts in sorted(
        (_read(path.stem) for path in _FOLDER.glob("*.toml")),
        key=lambda facts: (bool(facts.needs), len(facts.inputs), facts.name),
    )
}


def facts_of(name: str) -> MethodFacts:
    """Raises UsageError for a method that is not there."""
    if name not in METHODS:
        raise UsageError(
            f"There is no pre-training method called {name!r}. Choose one of {', '.join(METHODS)}.", "unknown-method"
        )
    return METHODS[name]


def method_named(name: str) -> type:
    """The class of a pre-training method. Raises UsageError for a name that is not in ``METHODS``."""
    facts = facts_of(name)
    return getattr(import_module(f"{__package__}.methods.{facts.module}"), facts.class_name)


def default_settings(name: str) -> Any:
    """A method's own settings before any preset. Raises UsageError."""
    return method_named(name).Configuration(**facts_of(name).settings)


def methods_for(kind: str, labels: bool, metadata: bool) -> list[str]:
    """The names of the methods that can learn from data, in the order of ``METHODS``.

    kind: of input. labels, metadata: whether they tell cases apart (at least two values).
    """
    there = {LABELS: labels, METADATA: metadata}
    return [
        name for name, facts in METHODS.items() if kind in facts.inputs and all(there[need] for need in facts.needs)
    ]
