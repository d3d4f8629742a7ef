"""How a value is kept in the parameter node: text parameters and node references, as Slicer names them."""

import collections.abc
import enum
import pathlib
import typing

from .types import isNode, splitAnnotations
from .validators import IsInstance, NotNone, Validator


def _modify(node):
    import slicer

    return slicer.util.NodeModify(node)


class TextSerializer:
    """A value kept as one text parameter."""

    def __init__(self, kind, default, to_text, from_text, accepted=None):
        self.kind, self._default, self._to_text, self._from_text = kind, default, to_text, from_text
        self.validators = [NotNone(), IsInstance(accepted or kind)]

    def default(self):
        return self._default() if callable(self._default) else self._default

    def fits(self, value):
        return type(value) is self.kind or (isinstance(value, self.kind) and self.kind not in (int, float))

    def isIn(self, node, name):
        return node.HasParameter(name)

    def write(self, node, name, value):
        for validator in self.validators:
            validator.validate(value)
        node.SetParameter(name, self._to_text(value))

    def read(self, node, name):
        return self._from_text(node.GetParameter(name))

    def remove(self, node, name):
        node.UnsetParameter(name)


class NodeSerializer:
    """A node kept as a node reference; an empty parameter of the same name says that None was meant."""

    def __init__(self, kind):
        self.kind = kind
        self.validators = [IsInstance(kind)]

    def default(self):
        return None

    def fits(self, value):
        return isinstance(value, self.kind)

    def isIn(self, node, name):
        return node.HasParameter(name)

    def write(self, node, name, value):
        for validator in self.validators:
            validator.validate(value)
        with _modify(node):
            node.SetParameter(name, "")
            node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node, name):
        return node.GetNodeReference(name)

    def remove(self, node, name):
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class NoneSerializer:
    """None, as one half of an Optional."""

    validators = ()

    def default(self):
        return None

    def fits(self, value):
        return value is None

    def isIn(self, node, name):
        return node.HasParameter(name)

    def write(self, node, name, value):
        if value is not None:
            raise ValueError("Value must be None")
        node.SetParameter(name, "True")

    def read(self, node, name):
        return None

    def remove(self, node, name):
        node.UnsetParameter(name)


class UnionSerializer:
    """One of several types: the parameter's name carries the number of the type in use."""

    def __init__(self, parts):
        self.parts = parts
        self.validators = []

    def default(self):
        if len(self.parts) == 2 and isinstance(self.parts[1], NoneSerializer):
            return None
        return self.parts[0].default()

    def fits(self, value):
        return any(part.fits(value) for part in self.parts)

    def isIn(self, node, name):
        return any(part.isIn(node, f"{name}_{index}") for index, part in enumerate(self.parts))

    def write(self, node, name, value):
        for validator in self.validators:
            validator.validate(value)
        chosen = next((index for index, part in enumerate(self.parts) if part.fits(value)), None)
        if chosen is None:
            raise TypeError(f"Unable to write value {value!r} of type {type(value)}")
        with _modify(node):
            for index, part in enumerate(self.parts):
                if index != chosen and part.isIn(node, f"{name}_{index}"):
                    part.remove(node, f"{name}_{index}")
            self.parts[chosen].write(node, f"{name}_{chosen}", value)

    def read(self, node, name):
        for index, part in enumerate(self.parts):
            if part.isIn(node, f"{name}_{index}"):
                return part.read(node, f"{name}_{index}")
        return self.default()

    def remove(self, node, name):
        for index, part in enumerate(self.parts):
            part.remove(node, f"{name}_{index}")


class ObservedList(collections.abc.MutableSequence):
    """A list that writes itself to the parameter node whenever it changes."""

    def __init__(self, node, serializer, name, values):
        self._node, self._serializer, self._name, self._list = node, serializer, name, values

    def _save(self):
        self._serializer.write(self._node, self._name, self._list)

    def __len__(self):
        return len(self._list)

    def __getitem__(self, index):
        return self._list[index]

    def __setitem__(self, index, value):
        self._list[index] = value
        self._save()

    def __delitem__(self, index):
        del self._list[index]
        self._save()

    def insert(self, index, value):
        self._list.insert(index, value)
        self._save()

    def __eq__(self, other):
        return self._list == (other._list if isinstance(other, ObservedList) else other)

    __hash__ = None

    def __add__(self, other):
        raise NotImplementedError("Slicer's ObservedList cannot be added; += works")

    def __repr__(self):
        return f"ObservedList({self._list})"


class ListSerializer:
    """``list[T]``: a parameter for the length and one for each item."""

    def __init__(self, item):
        self.item = item
        self.validators = []

    def default(self):
        return []

    def fits(self, value):
        return isinstance(value, (list, ObservedList))

    def isIn(self, node, name):
        return node.HasParameter(f"{name}_len")

    def _length(self, node, name):
        return int(node.GetParameter(f"{name}_len")) if self.isIn(node, name) else 0

    def write(self, node, name, values):
        for validator in self.validators:
            validator.validate(values)
        before = self._length(node, name)
        values = list(values)
        with _modify(node):
            for index, value in enumerate(values):
                self.item.write(node, f"{name}_{index}", value)
            node.SetParameter(f"{name}_len", str(len(values)))
            for index in range(len(values), before):
                self.item.remove(node, f"{name}_{index}")

    def read(self, node, name):
        values = [self.item.read(node, f"{name}_{index}") for index in range(self._length(node, name))]
        return ObservedList(node, self, name, values)

    def remove(self, node, name):
        for index in range(self._length(node, name)):
            self.item.remove(node, f"{name}_{index}")
        node.UnsetParameter(f"{name}_len")


def _simple(kind):
    if kind is bool:
        return TextSerializer(bool, False, str, lambda text: text == "True")
    if kind is int:
        return TextSerializer(int, 0, str, int)
    if kind is float:
        return TextSerializer(float, 0, str, float, accepted=(int, float))
    if kind is str:
        return TextSerializer(str, "", str, str)
    if isinstance(kind, type) and issubclass(kind, pathlib.PurePath):
        return TextSerializer(kind, kind, str, kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return TextSerializer(kind, next(iter(kind)), lambda value: value.name, lambda text: kind[text])
    return None


def createSerializer(datatype):
    """The serializer for a (possibly annotated) type; raises TypeError for a type that Slicer cannot store."""
    kind, annotations = splitAnnotations(datatype)
    serializer = _simple(kind)
    if serializer is None and isNode(kind):
        serializer = NodeSerializer(kind)
    elif kind is type(None):
        serializer = NoneSerializer()
    elif typing.get_origin(kind) is typing.Union:
        serializer = UnionSerializer([createSerializer(part) for part in typing.get_args(kind)])
    elif typing.get_origin(kind) is list:
        serializer = ListSerializer(createSerializer(typing.get_args(kind)[0]))
    if serializer is None:
        raise TypeError(f"Unable to create serializer for type: {kind} (Slicer knows no 'A | B' here: use Union)")
    extra = [annotation for annotation in annotations if isinstance(annotation, Validator)]
    if extra:
        serializer.validators = [*serializer.validators, *extra]
    return serializer
