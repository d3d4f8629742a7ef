"""What a report says of one nodule or picture, on a page of its own: pictures, measures, score with its gate in words,
clinical scores with a sentence to paste, explanation, and what made the number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..figures.nodule import scale_figure, views_figure
from ..figures.words import TITLES, sentences
from ..models.card import ModelCard
from ..results import NoduleResult
from ..scoring import SCORING_RELEASE
from .beside import measured_text, words_text
from .card import POINT_NAMES
from .clinical import clinical_parts
from .measures import measure_rows
from .sections import Columns, Figure, Mark, Note, Notes, Part, Section, Table

if TYPE_CHECKING:
    from ..explain.explanation import Explanation
    from ..measures.view import PlaneView

GATE_WORDS = {
    "green": "green: as the model knows it",
    "amber": "amber: caution",
    "red": "red: outside what the model knows",
    "grey": "grey: not fully checked",
}


@dataclass(frozen=True)
class NodulePage:
    """One nodule's page.

    result: its row. planes: of ``planes_part``. clinical: {name: value} of patient and nodule for clinical scores
    (``clinical.together.FIELDS``), such as "setting", "age"; what the row knows itself is added. remarks: further
    sentences, such as a reader's decision. explained: figures and what they are worth. alike: of
    ``beside.alike_parts``.
    """

    result: NoduleResult
    planes: Figure | None = None
    clinical: Mapping[str, object] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    explained: Sequence[Part] = ()
    alike: Sequence[Part] = ()


def planes_part(views: Mapping[str, PlaneView]) -> Figure:
    """The planes of ``measures.view.plane_views`` for a page."""
    return Figure.drawn(views_figure(views), f"planes through the nodule: {', '.join(views)}", dpi=150)


def explained_parts(explanation: Explanation, figures: Sequence[Figure]) -> list[Part]:
    """What explains a number: its figures, and a sentence on each on what it shows and what it does not."""
    return [*figures, Notes(sentences(explanation)), *_worth(explanation)]


def _worth(explanation: Explanation) -> list[Part]:
    """The figures of each map beside those of the map turned and shifted at random."""
    rows = [
        (
            f"{branch}: {TITLES[one.kind]}",
            *(sanity.deletion, sanity.deletion_random, sanity.insertion, sanity.insertion_random),
        )
        for branch, maps in explanation.maps.items()
        for one, sanity in zip(maps, explanation.sanity.get(branch, ()), strict=False)
    ]
    heads = ("map", "deletion", "of a random map", "insertion", "of a random map")
    note = Note(
        f"Mean probability of {explanation.class_name} while the highest places are taken out (deletion, lower is "
        "better) and put in (insertion, higher is better). Random: the same map, turned and shifted, mean of several. "
        "A map that is not better than that shows nothing of this result.",
        "soft",
    )
    return [Table(rows, heads), note] if rows else []


def page_sections(page: NodulePage, card: ModelCard, count: int) -> list[Section]:
    """The page of a scored nodule or picture, and, where there is room, what explains its number. count: of the nodules
    of its examination that are marked so far."""
    result, row = page.result, page.result.to_json()
    parts: list[Part] = []
    if page.planes is not None:
        parts.append(page.planes)
    scale = Figure.drawn(scale_figure(result), "probability scale", "scale", dpi=150)
    facts = Table([(name, text) for name, text in _score(result, card) if text])
    if card.kind.located:
        measured = Table(measure_rows(row))
        missing = Note("Measures: none, since the nodule was not outlined.", "soft")
        parts.append(Columns([[scale, facts], [measured if measured.rows else missing]]))
        parts += clinical_parts(row, page.clinical, count)
    else:
        parts += [scale, facts]
    if known := clinical_text(result.clinical):
        parts.append(Note(f"Read beside the CT: {known}."))
    parts += [*(Note(remark) for remark in page.remarks), *page.alike]
    title = f"{result.nodule_id}: {result.probability:.2f}, {result.class_name}"
    whole = Section(title, [*parts, Note(provenance(result, card), "soft")], page=True)
    return [whole, Section("", page.explained, detail=True)] if page.explained else [whole]


def provenance(result: NoduleResult, card: ModelCard) -> str:
    """One paragraph: model, weights, thresholds, software, input."""
    weights = ", ".join(card.files[name]["sha256"][:16] for name in card.members("classifier"))
    thresholds = ", ".join(f"{POINT_NAMES[name]} {value:.3f}" for name, value in card.thresholds.items())
    parts = [
        f"Model {card.id} {card.version}, SHA-256 {card.sha256}",
        f"weights, SHA-256 {weights} (first 16 digits each)",
        f"thresholds: {thresholds}" if thresholds else "",
        f"{result.software}, scoring release {SCORING_RELEASE}, {result.device or 'device unknown'}, {result.time}",
        f"point L, P, S {', '.join(f'{value:.1f}' for value in result.point_lps)} mm" if result.point_lps else "",
        f"image {result.image}" if result.image and result.input_sha256 else "",
        f"all input, SHA-256 {result.input_sha256[:16]}" if result.input_sha256 else "",
    ]
    return "; ".join(filter(None, parts)) + "."


def classes_text(probabilities: dict[str, float]) -> str:
    """``cyst 0.49, myeloma 0.30, metastasis 0.21``: the probability of each of several classes, likeliest first."""
    return ", ".join(
        f"{name} {probabilities[name]:.2f}" for name in sorted(probabilities, key=lambda n: -probabilities[n])
    )


def clinical_text(values: dict[str, float | str | None] | None) -> str:
    """``age 70, sex male, image_2 Venous``: what was read beside the CT; what was left out is left out."""
    known = {name: value for name, value in (values or {}).items() if value is not None}
    texts = {name: f"{value:g}" if isinstance(value, float) else value for name, value in known.items()}
    return ", ".join(f"{name} {text}" for name, text in texts.items())


def _score(result: NoduleResult, card: ModelCard) -> list[tuple[str, str | Mark]]:
    state = "calibrated" if card.calibration.calibrated else "not calibrated"
    networks = f", networks {result.spread_text}" if result.spread_text else ""
    threshold = "" if result.threshold is None else f", at {result.threshold:.2f}"
    classes = classes_text(result.class_probabilities) if result.class_probabilities else ""
    gate = result.gate or "grey"
    return [
        ("Score", f"{result.probability:.2f}{networks}"),
        ("It is a", f"{card.probability_name}, {state}"),
        ("Click moved", jitter_text(result.to_json())),
        ("Class", f"{result.class_name}{threshold}"),
        ("All classes", classes),
        ("By size and attenuation alone", measured_text(result.to_json())),
        ("In readers' words", words_text(result.to_json())),
        ("Gate", Mark(GATE_WORDS[gate], gate, [warning.message for warning in result.warnings])),
    ]


def jitter_text(row: Mapping[str, Any]) -> str:
    """The range of the score over moved points; empty where it was not computed."""
    low, high = row.get("jitter_low"), row.get("jitter_high")
    return "" if low is None or high is None else f"{low:.2f} - {high:.2f} within 2 mm"
