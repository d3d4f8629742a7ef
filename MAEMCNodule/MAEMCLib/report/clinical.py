"""Clinical scores in a report: those of a nodule, and the examination's category with a sentence to paste."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..clinical.edges import Edge
from ..clinical.exam import Examination
from ..clinical.fields import COUNT, COUNT_CONFIRMED, SETTING
from ..clinical.prefilled import prefilled
from ..clinical.together import GUIDELINES, answers, examination_of
from .sections import Note, Part, Table


def known_values(row: Mapping[str, object], given: Mapping[str, object], count: int) -> dict[str, object]:
    """{name: value} for ``clinical.together.answers``: what was given, and what a row knows of its nodule.

    count: of the nodules that are marked so far.
    """
    return {**prefilled(row), COUNT.name: count, **given}


def clinical_parts(row: Mapping[str, object], given: Mapping[str, object], count: int) -> list[Part]:
    """The scores of a nodule, a row each with its source's category, and the guideline's sentence."""
    values = known_values(row, given, count)
    setting = str(values.get(SETTING.name))
    if setting not in GUIDELINES:
        return [Note("Clinical scores: none, since nobody has said whether this is screening or incidental.", "soft")]
    found = answers(values)
    guideline = found[GUIDELINES[setting]]
    applicable = [one for one in found.values() if one.result is not None and one.result.applicable]
    heads = ("Clinical score", f"{setting} nodule", "nearest other category")
    rows = [(one.score.title, one.text, _edge(one.result.edge)) for one in applicable]
    parts: list[Part] = [Table(rows, heads, style="words")] if rows else []
    others = [f"{one.score.title}: {one.text.rstrip('.')}" for one in found.values() if one not in applicable]
    parts += [Note(f"No number of {'; '.join(others)}.", "soft")] if others else []
    if guideline.result is not None and guideline.result.sentence:
        parts.append(Note(f"For the report: {guideline.result.sentence}", "strong"))
    sources = "; ".join(f"{one.score.title}: {one.score.source.partition(', doi')[0]}" for one in applicable)
    return [*parts, Note(f"{sources}.", "soft")] if sources else parts


def examination_parts(rows: Sequence[Mapping[str, object]], given: Sequence[Mapping[str, object]]) -> list[Part]:
    """One category of all nodules, from the worst; nothing where the setting is not known. given: of each row."""
    settings = {str(values.get(SETTING.name)) for values in given}
    if len(settings) != 1 or not settings <= GUIDELINES.keys():
        return []
    name = GUIDELINES[settings.pop()]
    each = [known_values(row, values, len(rows)) for row, values in zip(rows, given, strict=True)]
    found = examination_of([answers(one, [name], edges=False)[name] for one in each], _confirmed(given))
    return [Note(_said(found, rows), "strong")]


def _edge(edge: Edge | None) -> str | None:
    """``above 8.0 mm: 4A, within the measurement error``: the nearest size with another category."""
    if edge is None:
        return None
    way = "above" if edge.at > edge.value else "below"
    near = ", within the measurement error" if edge.within_error else ""
    return f"{way} {edge.at:.1f} {edge.unit}: {edge.category}{near}"


def _said(found: Examination, rows: Sequence[Mapping[str, object]]) -> str:
    if found.category is None or found.nodule is None:
        return f"The examination has no category yet: none of its nodules has one ({found.count_text})."
    worst = rows[found.nodule]["nodule_id"]
    return f"Examination: {found.category}, from {worst}; {found.count_text}. For the report: {found.sentence}"


def _confirmed(given: Sequence[Mapping[str, object]]) -> bool:
    return all(str(values.get(COUNT_CONFIRMED.name, "")).lower() in ("yes", "true", "1") for values in given)
