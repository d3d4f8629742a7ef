"""What a worker and its owner say to each other: arrays, cases and predictions as JSON."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..applicability import LARGEST_MM
from ..cases.values import read_values
from ..errors import InputError, UsageError
from ..inputs.input import Prepared, Region
from ..inputs.jitter import Margin
from ..measures.field import PIXEL_MM, SIDE, Field
from ..measures.measured import MeasuredNodule, measured
from ..models.card import ModelCard
from ..presence.patch import Patch
from ..results import Alike, Prediction

LINE_LIMIT = 8 << 20
"""Longest line in bytes, either way; a longer request is answered by an error."""
_TYPES = {"float32": "<f4", "int16": "<i2"}
_LARGEST_ARRAY = 4 << 20


def require(sound: object, text: str, code: str) -> None:
    """Raise UsageError, unless a request is sound."""
    if not sound:
        raise UsageError(text, code)


def encode_array(array: np.ndarray) -> dict:
    """A float32 or int16 array as JSON: dtype, shape, base64 of its little-endian bytes in C order.

    Raises InputError for one that is too large to be sent.
    """
    kind = "int16" if array.dtype == np.int16 else "float32"
    data = np.ascontiguousarray(array, _TYPES[kind])
    if data.nbytes > _LARGEST_ARRAY:
        size = " x ".join(map(str, array.shape))
        raise InputError(
            f"The image of {size} pixels is too large for the scoring process. Score it with 'maemc score'.", "size"
        )
    return {"dtype": kind, "shape": list(array.shape), "data": base64.b64encode(data.tobytes()).decode("ascii")}


def decode_array(value: object) -> np.ndarray:
    """Inverse of ``encode_array``. Raises InputError for anything that is not such an object."""
    try:
        kind, shape = value["dtype"], tuple(value["shape"])
        if kind not in _TYPES or not all(isinstance(n, int) and 0 < n < 4096 for n in shape) or len(shape) > 4:
            raise ValueError(f"dtype {kind!r}, shape {shape!r}")
        data = base64.b64decode(value["data"], validate=True)
        if len(data) > _LARGEST_ARRAY or len(data) != int(np.prod(shape)) * np.dtype(_TYPES[kind]).itemsize:
            raise ValueError(f"{len(data)} bytes for the shape {shape}")
        return np.frombuffer(data, _TYPES[kind]).reshape(shape)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise InputError(
            f"An array is not as the protocol wants it ({error}): dtype float32 or int16, shape, base64 data.", "array"
        ) from error


def encode_case(case: Prepared, card: ModelCard) -> dict:
    """What a worker needs of a case: its region's arrays, the values beside it, the regions of its further series, what
    the nodule is outlined in, what tells whether there is one, and what is seen of it from beside the point.

    Raises InputError for an image that is too large to be sent.
    """
    values = case.values
    series = {name: _encoded(region, card) for name, region in values.regions.items()}
    beside = {"clinical": values.values, "series": series} if values.values else {}
    further = {
        name: {key: encode_array(array) for key, array in part.arrays().items()}
        for name, part in (("patch", case.patch), ("margin", case.margin))
        if part is not None
    }
    return {**_encoded(case.region, card), **beside, **_encoded_field(case.field), **further}


def decode_case(message: Mapping, card: ModelCard) -> Prepared:
    """Inverse of ``encode_case``. The name of a further series in ``clinical`` is for people and may be missing.

    Raises InputError for arrays that are none, UsageError for everything else.
    """
    given, series = message.get("clinical") or {}, message.get("series") or {}
    plain = isinstance(given, dict) and all(isinstance(v, str | int | float | None) for v in given.values())
    require(plain, "A case's 'clinical' is an object with a text or a number for each name.", "clinical")
    regions = isinstance(series, dict) and all(isinstance(arrays, dict) for arrays in series.values())
    require(regions, "A case's 'series' is an object with the arrays of a region for each name.", "clinical")
    region = _decoded(message, card)
    patch, margin = (_part(message, name, kind) for name, kind in (("patch", Patch), ("margin", Margin)))
    if not card.clinical:
        return Prepared(region, patch=patch, margin=margin)
    regions = {name: _decoded(arrays, card) for name, arrays in series.items()}
    values = read_values(given | {name: name for name in regions}, card.clinical, card.id)
    return Prepared(region, replace(values, regions=regions), patch=patch, margin=margin)


def decode_planes(message: Mapping) -> tuple[np.ndarray, float, float] | None:
    """Of a case the planes that its nodule is outlined in, mm to the first of them and from one to the next; None
    where they were not sent. Raises InputError, UsageError for something else."""
    given = message.get("field")
    if given is None:
        return None
    require(isinstance(given, dict), "A case's 'field' is an object with planes, first_mm and step_mm.", "field")
    planes = decode_array(given.get("planes"))
    sound = planes.dtype == np.int16 and planes.ndim == 3 and planes.shape[1:] == (SIDE, SIDE)
    require(sound, f"The planes of a field are int16 of {SIDE} x {SIDE} pixels.", "field")
    first, step = given.get("first_mm"), given.get("step_mm")
    numbers = all(isinstance(one, int | float) and abs(one) < LARGEST_MM for one in (first, step))
    require(numbers and abs(step) >= PIXEL_MM - 1e-6, "first_mm and step_mm of a field are mm.", "field")
    return planes, float(first), float(step)


def decode_outline(message: Mapping, number: int, case: Prepared) -> MeasuredNodule | None:
    """The nodule that an answer to "predict" outlines, of the case of this number; None where it outlines none."""
    logits = message["outlines"][number]
    return measured(case.field, None if logits is None else decode_array(logits))


def decode_prediction(message: Mapping) -> Prediction:
    """A ``Prediction`` from its fields."""
    alike = tuple(map(Alike.from_json, message.get("alike") or ()))
    return Prediction(**{**message, "members": tuple(message["members"]), "alike": alike})


def _encoded(region: Region, card: ModelCard) -> dict:
    return {name: encode_array(array) for name, array in card.kind.arrays(region, card.preprocessing).items()}


def _part(message: Mapping, name: str, kind: type[Patch] | type[Margin]) -> Patch | Margin | None:
    """What a case holds of a name; None where that was not sent. Raises InputError, UsageError for something else."""
    given = message.get(name)
    if given is None:
        return None
    require(isinstance(given, dict), f"A case's '{name}' is an object with arrays.", name)
    return kind.of({key: decode_array(array) for key, array in given.items()})


def _encoded_field(field: Field | None) -> dict:
    if field is None:
        return {}
    planes = encode_array(field.planes)
    return {"field": {"planes": planes, "first_mm": field.first_mm, "step_mm": field.step_mm}}


def _decoded(message: Mapping, card: ModelCard) -> Region:
    kind, names = card.kind, card.kind.array_names
    text = f"The model {card.id} scores {kind.described}: a case is an object with the arrays {', '.join(names)}."
    require(any(name in message for name in names), text, "input-kind")
    names = (*names, *(name for name in kind.further_arrays if name in message))
    return kind.region({name: decode_array(message.get(name)) for name in names})
