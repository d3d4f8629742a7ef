"""Which images a fusion model relates, as its card states it. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..cases.values import CHOICE, NUMBER, SERIES, ClinicalField
from ..errors import ArchitectureError
from ..inputs.region import PLANES
from ..networks.configuration import GraphConfiguration


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
