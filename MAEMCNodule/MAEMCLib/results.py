"""What the networks say of a case, and its row: what every way of scoring returns, and how it is written down."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from . import __version__

MEASURES = (
    *("long_axis_mm", "short_axis_mm", "mean_diameter_mm", "equivalent_diameter_mm", "diameter_error_mm"),
    *("volume_mm3", "mean_hu", "mask_status", "composition", "solid_long_axis_mm", "solid_mean_diameter_mm"),
)
"""Of COLUMNS those that are measured of the outlined nodule."""
COLUMNS = (
    *("case_id", "nodule_id", "image", "l_mm", "p_mm", "s_mm"),
    *("status", "gate", "gate_reasons", "probability", "interval_low", "interval_high", "class", "threshold"),
    *("padded_fraction", "warnings", "model_id", "model_sha256", "seconds", "message", "interval_kind"),
    *("model_version", "device", "software", "time", "ood_percentile", "class_probabilities", "clinical"),
    *MEASURES,
    *("nodule_present", "snap_l_mm", "snap_p_mm", "snap_s_mm", "jitter_low", "jitter_high"),
    "input_sha256",
)
"""Columns of results.csv, in order. ``class`` is the class at the bundle's balanced threshold; of more than two classes
the likeliest, whose probability is then ``probability``, and ``class_probabilities`` has those of all."""

MEASURED = ("diameter_mm", "attenuation_hu", "probability")
"""The keys of a result's ``measured``."""

DISCLAIMER = "Research only, not for clinical use."


@dataclass(frozen=True)
class InputWarning:
    """A reason for caution: a short code for programs, a sentence for people, the color that it gives the gate, which
    results of before 2026-12 do not have."""

    code: str
    message: str
    color: str | None = None


@dataclass(frozen=True)
class Alike:
    """A training nodule that is like one that was scored. number: of the nodule in the model's bundle, from 1.
    similarity: the cosine of their features, at most 1. ratings: by characteristic each reader's, 1 to 5."""

    number: int
    similarity: float
    diameter_mm: float | None
    ratings: dict[str, list[int]]

    @classmethod
    def from_json(cls, values: dict) -> Alike:
        """From the fields as JSON has them."""
        return cls(**values | {"ratings": {name: list(given) for name, given in values["ratings"].items()}})


@dataclass(frozen=True)
class Prediction:
    """probability: of the positive class, calibrated where the bundle is, mean over its members; of more than two
    classes that of the most probable one.

    interval_low, interval_high: lowest and highest member ("members"); None where the bundle has one member.
    members: each member's probability. notice: what the reader should know of how it was computed, else empty.
    ood_percentile: share of the training's cases, in percent, whose features lie nearer to what the members know;
    None where the bundle does not say how far those lie. class_probabilities: by class, of more than two.
    nodule_present: 0 to 1, from 0.5 on the point lies in a nodule. jitter_low, jitter_high: of the probability at the
    point and at points 2 mm beside it. characteristics: of those that the model tells as well as a reader {name:
    {"rating": 1 to 5, "word"}}; None where it tells none. alike: the training nodules most like it. measured: of a
    model that reads them beside its images the "diameter_mm" and "attenuation_hu" of the middle slice, and the
    "probability" that they give by themselves.
    """

    probability: float
    interval_low: float | None
    interval_high: float | None
    interval_kind: str | None
    members: tuple[float, ...]
    device: str
    seconds: float
    notice: str = ""
    ood_percentile: float | None = None
    class_probabilities: dict[str, float] | None = None
    nodule_present: float | None = None
    jitter_low: float | None = None
    jitter_high: float | None = None
    characteristics: dict[str, dict] | None = None
    alike: tuple[Alike, ...] = ()
    measured: dict[str, float] | None = None


@dataclass(frozen=True)
class NoduleResult:
    """A row. What was not computed is None, never 0.

    point_lps: (l, p, s) mm. gate: green, amber, red, or grey where something could not be checked; it hides nothing.
    interval_low, interval_high: spread of the probability, of the kind named by interval_kind.
    ood_percentile: how far the features lie from the training cases', 0 to 100 (see ``applicability``).
    class_probabilities: by class, of more than two. clinical: the values that were read beside the images, by name.
    image: the first letters of its content's hash, since names of files and folders may be those of patients.
    input_sha256: of all that the result was computed from (see ``fingerprint``). long_axis_mm and what follows:
    of the nodule as it was outlined (see ``measures.measures``), None where it was not. nodule_present: 0 to 1, from
    0.5 on the point lies in a nodule. snap_l_mm to snap_s_mm: the middle of the outlined nodule. jitter_low,
    jitter_high: of the probability at the point and 2 mm beside it. characteristics, alike, measured: as of
    ``Prediction``; in JSON alone, and of no point that lies in no nodule.
    """

    nodule_id: str
    point_lps: tuple[float, float, float] | None
    status: str  # scored | failed
    case_id: str = ""
    image: str = ""
    gate: str | None = None
    gate_reasons: tuple[str, ...] = ()
    probability: float | None = None
    interval_low: float | None = None
    interval_high: float | None = None
    interval_kind: str | None = None
    class_name: str | None = None
    threshold: float | None = None
    padded_fraction: float | None = None
    warnings: tuple[InputWarning, ...] = ()
    model_id: str | None = None
    model_version: str | None = None
    model_sha256: str | None = None
    device: str | None = None
    seconds: float | None = None
    message: str = ""
    ood_percentile: float | None = None
    class_probabilities: dict[str, float] | None = None
    clinical: dict[str, float | str | None] | None = None
    input_sha256: str | None = None
    long_axis_mm: float | None = None
    short_axis_mm: float | None = None
    mean_diameter_mm: float | None = None
    equivalent_diameter_mm: float | None = None
    diameter_error_mm: float | None = None
    volume_mm3: float | None = None
    mean_hu: float | None = None
    mask_status: str | None = None  # whole | border | islands | wall
    composition: str | None = None  # solid | part-solid | ground-glass
    solid_long_axis_mm: float | None = None
    solid_mean_diameter_mm: float | None = None
    nodule_present: float | None = None
    snap_l_mm: float | None = None
    snap_p_mm: float | None = None
    snap_s_mm: float | None = None
    jitter_low: float | None = None
    jitter_high: float | None = None
    characteristics: dict[str, dict] | None = None
    alike: tuple[Alike, ...] = ()
    measured: dict[str, float] | None = None
    software: str = f"maemc {__version__}"
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def spread_text(self) -> str:
        """``0.74 - 0.89``, or nothing where no spread was computed."""
        if self.interval_low is None or self.interval_high is None:
            return ""
        return f"{self.interval_low:.2f} - {self.interval_high:.2f}"

    def to_json(self) -> dict:
        """Keys as in COLUMNS, with ``point_lps`` for the three coordinates and lists for reasons and warnings."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        values["class"] = values.pop("class_name")
        return values

    @classmethod
    def from_json(cls, values: dict) -> NoduleResult:
        """Inverse of ``to_json``."""
        fields = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        fields["class_name"] = fields.pop("class")
        fields["warnings"] = tuple(InputWarning(**warning) for warning in values["warnings"])
        fields["alike"] = tuple(map(Alike.from_json, values.get("alike") or ()))
        return cls(**fields)

    def to_row(self) -> dict[str, str]:
        """Text for each of COLUMNS; empty where nothing was computed."""
        values = self.to_json()
        values["l_mm"], values["p_mm"], values["s_mm"] = self.point_lps or (None, None, None)
        values["gate_reasons"] = "; ".join(self.gate_reasons)
        values["warnings"] = "; ".join(f"{warning.code}: {warning.message}" for warning in self.warnings)
        values["class_probabilities"] = _pairs(self.class_probabilities)
        values["clinical"] = _pairs(self.clinical)
        return {column: _text(values[column]) for column in COLUMNS}


def _pairs(values: dict[str, float | str | None] | None) -> str:
    """``a=0.100000; b=0.900000``; a value that was left out is left out."""
    return "; ".join(f"{name}={_text(value)}" for name, value in (values or {}).items() if value is not None)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)
