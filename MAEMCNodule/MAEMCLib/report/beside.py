"""What stands beside a number in a report: what size and attenuation give alone, characteristics in words, and the
training nodules most alike; and what a card says of how good these are."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..characteristics.alike import TrainingNodules
from ..models.card import ModelCard
from ..results import Alike, NoduleResult
from .sections import Columns, Figure, Metric, Note, Part, Section, Table

_ZOOM, _GAP = 4, 16
"""Pixels of a report's picture to one of a thumbnail; white between two of them."""


def words_text(row: Mapping[str, Any]) -> str:
    """``moderate lobulation (3.1 of 5)``, of the columns of results; empty where nothing is told."""
    told = row.get("characteristics") or {}
    return ", ".join(f"{one['word']} ({one['rating']:.1f} of 5)" for one in told.values())


def measured_text(row: Mapping[str, Any]) -> str:
    """``0.71 (middle slice: a circle of 12.3 mm, 45 HU)``, of the columns of results; empty where nothing was."""
    told = row.get("measured")
    if not told:
        return ""
    of_slice = f"a circle of {told['diameter_mm']:.1f} mm, {told['attenuation_hu']:.0f} HU"
    return f"{told['probability']:.2f} (middle slice: {of_slice})"


def alike_parts(result: NoduleResult, nodules: TrainingNodules, card: ModelCard) -> list[Part]:
    """Pictures and readers' ratings of the training nodules that a row names; nothing where it names none.

    nodules: of the bundle that the row is of, whose card is given. Raises ValueError for a number that it has not.
    """
    if not result.alike:
        return []
    alternative = f"the axial slices, 50 mm wide, of the training nodules {_numbers(result.alike)}"
    figure = Figure(_strip([nodules.picture(one.number) for one in result.alike]), alternative, "alike")
    return [Columns([[figure], [alike_table(result.alike)]]), Note(alike_note(card), "soft")]


def alike_table(alike: Sequence[Alike]) -> Table:
    """A column a nodule: how alike it is, its diameter, each reader's rating by characteristic."""
    names = dict.fromkeys(name for one in alike for name in one.ratings)
    sizes = ["-" if one.diameter_mm is None else f"{one.diameter_mm:.1f} mm" for one in alike]
    rows = [("similarity", *(f"{one.similarity:.2f}" for one in alike)), ("diameter", *sizes)]
    rows += [(name, *(" ".join(map(str, one.ratings.get(name, ()))) or "-" for one in alike)) for name in names]
    return Table(rows, ("Most alike", *(f"No. {one.number}" for one in alike)))


def alike_note(card: ModelCard) -> str:
    """What alike means, what it does not, and whose pictures these are."""
    section = card.values["alike"]
    return (
        f"Most alike among {section.get('nodules', 'the')} training nodules by the features of network "
        f"{section['member'] + 1}, each of another patient: the cosine of standardized features, 1 at most. Whose this "
        "nodule is, is not known here: one of 0.97 or more may be itself. Each reader's rating, 1 to 5, is an opinion "
        f"and no diagnosis. Pictures: 50 mm, lung window; {section['attribution']}"
    )


def _numbers(alike: Sequence[Alike]) -> str:
    return ", ".join(str(one.number) for one in alike)


def _strip(pictures: Sequence[np.ndarray]) -> bytes:
    """The pictures side by side, as a PNG."""
    from PIL import Image

    side = _ZOOM * pictures[0].shape[1]
    whole = Image.new("RGB", (len(pictures) * (side + _GAP) - _GAP, side), "white")
    for number, picture in enumerate(pictures):
        one = Image.fromarray(np.ascontiguousarray(picture)).resize((side, side), Image.Resampling.BICUBIC)
        whole.paste(one, (number * (side + _GAP), 0))
    stream = io.BytesIO()
    whole.save(stream, format="png")
    return stream.getvalue()


def beside_sections(card: ModelCard) -> list[Section]:
    """Of a card: how heads and alike nodules fared out of fold."""
    return [*_of_heads(card.values.get("characteristics")), *_of_alike(card.values.get("alike"))]


def _of_heads(section: Mapping[str, Any] | None) -> list[Section]:
    if not section or not section.get("figures"):
        return []
    heads = ("", "head", "one reader", "size alone", "error, head", "error, reader", "word shown")
    keys = ("head", "reader", "size", "head_error", "reader_error")
    rows = [
        (name, *(Metric.of(of.get(key)) for key in keys), "yes" if name in section["shown"] else "no")
        for name, of in section["figures"].items()
    ]
    note = (
        "Small linear heads on the networks' features, each nodule by the one that never saw its patient. Rank "
        "correlation, and mean absolute error, of the head and of one reader with the mean of the other readers. A "
        "word is shown where the correlation is certainly not 0.05 below a reader's, and the error not above it."
    )
    return [Section("Words beside the number", [Table(rows, heads, digits=2), Note(note, "soft")])]


def _of_alike(section: Mapping[str, Any] | None) -> list[Section]:
    if not section or not section.get("agreement"):
        return []
    rows = [
        (name, *(Metric.of(of.get(key)) for key in ("alike", "random"))) for name, of in section["agreement"].items()
    ]
    note = (
        "How far readers' mean ratings of a nodule are from those of the three most alike, and of three drawn at "
        f"random; {section.get('judged', 0)} nodules of patients that the network never saw."
    )
    table = Table(rows, ("", "most alike", "at random"), digits=2)
    return [Section("Alike training nodules", [table, Note(note, "soft")])]
