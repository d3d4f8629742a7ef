"""report.html: one self-contained page of results, pictures and what the model is."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

from ..files.atomic import replacing
from ..machine.terminal import visible
from ..models.card import ModelCard
from ..results import DISCLAIMER, NoduleResult
from .figures import scale_figure
from .tables import classes_text, clinical_text, point_text, spread_text

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 62em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; margin-bottom: .2em; } h2 { font-size: 1.15em; margin-top: 2em; border-top: 1px solid #ddd;
padding-top: 1em; } table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; }
th, td { padding: .35em .7em .35em 0; border-bottom: 1px solid #e4e4e4; vertical-align: top; }
.notice { background: #fff4d6; border-left: 4px solid #e0a800; padding: .5em .9em; font-weight: 600; }
.gate { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em; }
.green { background: #3a9d4f; } .amber { background: #e0a800; } .red { background: #c0392b; }
.grey { background: #999; }
td.short { white-space: nowrap; }
.soft { color: #666; font-size: .9em; } img { max-width: 100%; } .number { font-size: 1.3em; font-weight: 600; }
"""


CONTENT_POLICY = (
    "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'\">"
)
"""A report loads and runs nothing, whatever stands in it: it has the pictures and the style that it holds."""


def write_report(path: Path, results: list[tuple[NoduleResult, Path | None]], card: ModelCard) -> None:
    """Write the page of results, each with the PNG of its figure, which is embedded. Raises InputError."""
    pictures = card.input == "picture"
    rows = "".join(_row(result, pictures) for result, _ in results)
    title, first = ("Picture report", "Picture") if pictures else ("Lung nodule report", "Nodule")
    place = "" if pictures else "<th>L, P, S (mm)</th>"
    sections = "".join(_section(result, figure) for result, figure in results)
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">{CONTENT_POLICY}
<title>MAEMC report</title><style>{_STYLE}</style></head><body>
<h1>{title}</h1>
<p class="soft">{_shown(results[0][0].time) if results else ""} &middot; {_shown(card.title)}, {_shown(card.id)}
{_shown(card.version)}</p>
<p class="notice">{DISCLAIMER}</p>
<table><tr><th>{first}</th><th>Probability</th><th>Spread</th><th>Class</th><th>Fitness of the input</th>
{place}</tr>{rows}</table>
{sections}
<h2>The model</h2>{_model(card)}
</body></html>
"""
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _shown(text: str) -> str:
    return escape(visible(text))


def _row(result: NoduleResult, picture: bool) -> str:
    if result.status == "failed":
        cells = f"<td colspan='3'>not scored: {_shown(result.message)}</td><td></td>"
    else:
        cells = (
            f"<td class='number'>{result.probability:.2f}</td><td class='short'>{spread_text(result) or '-'}</td>"
            f"<td class='short'>{_shown(result.class_name)}</td><td>{_gate(result)}</td>"
        )
    place = "" if picture else f"<td class='short'>{point_text(result)}</td>"
    return f"<tr><td>{_shown(result.nodule_id)}</td>{cells}{place}</tr>"


def _gate(result: NoduleResult) -> str:
    reasons = "; ".join(warning.message for warning in result.warnings)
    color = _shown(result.gate)
    return f"<span class='gate {color}'></span>{color} <span class='soft'>{_shown(reasons)}</span>"


def _section(result: NoduleResult, figure: Path | None) -> str:
    if result.status == "failed":
        return ""
    slices = f"<p><img src='{_embed(figure.read_bytes())}' alt='figure'></p>" if figure else ""
    texts = [classes_text(result.class_probabilities)] if result.class_probabilities else []
    if known := clinical_text(result.clinical):
        texts.append(f"Read beside the CT: {known}")
    beside = "".join(f"<p>{_shown(text)}</p>" for text in texts)
    buffer = io.BytesIO()
    scale_figure(result).savefig(buffer, dpi=110)
    return (
        f"<h2>{_shown(result.nodule_id)}</h2><p><img src='{_embed(buffer.getvalue())}' alt='probability scale' "
        f"style='max-width: 34em'></p>{beside}{slices}"
    )


def _model(card: ModelCard) -> str:
    values = card.values
    training = values.get("training", {})
    facts = [
        ("Intended use", values["intended_use"]),
        ("Limits", values.get("limitations", "")),
        ("Training data", training.get("summary", "")),
        ("Attribution", training.get("attribution", "")),
        ("Calibration", _calibration(card)),
        ("Spread", "lowest and highest of the fold models, where the model has several"),
        ("SHA-256", card.sha256),
    ]
    facts += [(f"Measured {name}", _metric(metric)) for name, metric in values.get("metrics", {}).items()]
    rows = "".join(
        f"<tr><th>{_shown(name)}</th><td>{_shown(' '.join(str(text).split()))}</td></tr>"
        for name, text in facts
        if text
    )
    return f"<table>{rows}</table>"


def _calibration(card: ModelCard) -> str:
    if card.calibrated:
        return "calibrated on out-of-fold predictions"
    return f"not calibrated: {card.values['calibration'].get('reason', 'no reason stated')}"


def _metric(metric: dict) -> str:
    if not isinstance(metric, dict) or metric.get("value") is None:
        return str(metric)
    text = f"{metric['value']:.3f}"
    if metric.get("low") is not None:
        text += f" (95 % interval {metric['low']:.3f} to {metric['high']:.3f})"
    return f"{text}, n = {metric['n']}" if metric.get("n") else text


def _embed(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
