"""A row whose nodule has another outline than when it was scored: measures and gate follow, the number stays."""

from __future__ import annotations

from dataclasses import replace

from ..applicability import GATES, Finding, Limits, gate_of, size_finding
from ..images.ct import CTVolume
from ..presence.findings import PRESENT
from ..results import MEASURES, InputWarning, NoduleResult
from .gates import OUTLINE_CODES, outline_findings
from .measured import MeasuredNodule
from .middle import snap

_UNJUDGED = "outline-unjudged"
_MIDDLE = ("snap_l_mm", "snap_p_mm", "snap_s_mm")


def rejudged(
    result: NoduleResult, nodule: MeasuredNodule | None, by_reader: bool, around: CTVolume, limits: Limits | None
) -> NoduleResult:
    """The row with what this outline says in place of what the one before said.

    nodule: None where there is no outline any more. by_reader: whether a reader has drawn it; of what the network
    outlines where no nodule lies, nothing more is said. around: the CT's voxels near the nodule. limits: of the model
    that has scored it; None where that is not at hand, which is said: nothing could be judged then.
    """
    gone = (*OUTLINE_CODES, _UNJUDGED)
    there = by_reader or result.nodule_present is None or result.nodule_present >= PRESENT
    findings = [_finding(one, result) for one in result.warnings if one.code not in gone]
    if limits is None:
        text = "The outline is another one than when this was scored, and the model's limits are not known here."
        findings.append(Finding("grey", _UNJUDGED, text))
    elif nodule is None or not there:
        findings += filter(None, [size_finding(None, limits)])
    else:
        findings += outline_findings(around, nodule, limits)
    gate, reasons = gate_of(findings)
    columns = {**dict.fromkeys((*MEASURES, *_MIDDLE)), **(nodule.columns() if nodule else {}), **snap(nodule)}
    warnings = tuple(InputWarning(one.code, one.message, one.color) for one in findings)
    return replace(result, gate=gate, gate_reasons=reasons, warnings=warnings, **columns)


def _finding(warning: InputWarning, result: NoduleResult) -> Finding:
    """A warning with its color; where it was kept without, that of the gate that it has caused, else caution."""
    color = warning.color
    if color not in GATES:
        color = result.gate if warning.code in result.gate_reasons and result.gate in GATES else "amber"
    return Finding(color, warning.code, warning.message)
