"""An evaluation as text."""

from __future__ import annotations

from typing import Any

from ..data.parts import TEST, VALIDATION

_COLUMNS = {
    "auc": "AUC",
    "auc_within_folds": "AUC within folds",
    "accuracy": "ACC",
    "sensitivity": "SEN",
    "specificity": "SPE",
    "ppv": "PPV",
    "npv": "NPV",
    "brier": "Brier",
}

TITLES = {TEST: "Test rows of the manifest", VALIDATION: "Validation rows of the manifest"}
PART_COLUMNS = {"auc": "AUC", "accuracy": "ACC", "sensitivity": "SEN", "specificity": "SPE", "brier": "Brier"}
POINT_NAMES = {"rule_out": "rule out", "balanced": "balanced", "rule_in": "rule in", "half": "one half"}


def format_table(report: dict[str, Any]) -> str:
    """The report as a table of text."""
    rows = [("this model", report["metrics"]), *report["baselines"].items()]
    columns = {key: head for key, head in _COLUMNS.items() if key in report["metrics"]}
    width = max(len(name) for name, _ in rows)
    lines = [_headline(report), " " * width + "".join(f"  {head:>18}" for head in columns.values())]
    for name, metrics in rows:
        lines.append(f"{name:<{width}}" + "".join(f"  {cell(metrics.get(key)):>18}" for key in columns))
    for name, figures in report["comparisons"].items():
        lines.append(f"AUC minus that of '{name}': {difference_text(figures)}")
    for name, point in distinct_points(report):
        counts, at = point["counts"], point["metrics"]
        lines.append(
            f"{name:<8} at {point['threshold']:.3f}: TP {counts['tp']}, FP {counts['fp']}, "
            f"TN {counts['tn']}, FN {counts['fn']}; SEN {cell(at['sensitivity'])}, SPE {cell(at['specificity'])}"
        )
    metrics = report["metrics"]
    lines.append(
        f"ECE {cell(metrics['ece'])} (if calibrated {cell(metrics.get('ece_if_calibrated'))}), "
        f"calibration slope {cell(metrics['calibration_slope'])}, "
        f"intercept {cell(metrics['calibration_intercept'])}"
    )
    lines += [f"No baseline '{name}': {reason}." for name, reason in report["baselines_unavailable"].items()]
    lines += parts_as_text(report.get("parts", {}))
    return "\n".join([*lines, *report["notes"], "Research only, not for clinical use."])


def distinct_points(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The operating points with their names; those that are one and the same share a row."""
    rows: list[tuple[str, dict[str, Any]]] = []
    for name, point in report["operating_points"].items():
        if rows and rows[-1][1] == point:
            rows[-1] = (f"{rows[-1][0]} = {POINT_NAMES[name]}", point)
        else:
            rows.append((POINT_NAMES[name], point))
    return rows


def _headline(report: dict[str, Any]) -> str:
    text = (
        f"{report['cases']} cases of {report['patients']} patients ({report['malignant']} malignant, "
        f"{report['benign']} benign)"
    )
    if report["evaluation"] == "other data":
        return f"{text}, scored by {report['subject']}"
    if report["evaluation"] != "out-of-fold":
        return f"{text}: the manifest's {report['evaluation']}, one model, protocol {report['protocol']}"
    return f"{text}, {report['folds']} folds by patient, protocol {report['protocol']}"


def cell(metric: dict[str, Any] | None) -> str:
    """``0.812 (0.70-0.91)``; a dash where nothing was computed."""
    if metric is None or metric["value"] is None:
        return "-"
    if metric["low"] is None:
        return f"{metric['value']:.3f}"
    between = " to " if metric["low"] < 0 else "-"
    return f"{metric['value']:.3f} ({metric['low']:.2f}{between}{metric['high']:.2f})"


def difference_text(figures: dict[str, Any]) -> str:
    """The difference of two AUCs with its interval, and DeLong's p."""
    metric, test = figures["difference"], figures["delong"]
    text = f"{metric['value']:+.3f}"
    if metric["low"] is not None:
        text += f" ({metric['low']:+.2f} to {metric['high']:+.2f})"
    if test is None or test["p"] is None:
        return text
    return f"{text}, DeLong p {'< 0.001' if test['p'] < 0.001 else format(test['p'], '.3f')}"


def parts_as_text(parts: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each part, for the terminal."""
    return [
        f"{TITLES[part]} ({figures['cases']} cases of {figures['patients']} patients): "
        + ", ".join(f"{head} {cell(figures['metrics'].get(key))}" for key, head in PART_COLUMNS.items())
        for part, figures in parts.items()
    ]
