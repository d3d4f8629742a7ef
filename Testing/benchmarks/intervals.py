"""How often the 95 % intervals of rates and AUCs hold the truth: ``python -m Testing.benchmarks.intervals [REPEATS]``.

Scores are normal, those of malignant cases shifted so that the true AUC is the wanted one; a case is called benign
below the quantile that gives the wanted specificity. Patients have one case each, or one to four cases of their own
class whose scores correlate by a half.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
from MAEMCTrainingLib.statistics.metrics import area, rates
from scipy.stats import norm

PATIENTS = ((8, 47), (20, 20), (100, 100))  # benign, malignant
AREAS = (0.76, 0.92, 0.98)
SPECIFICITIES = (0.8, 0.9, 0.98)
FIGURES = ("auc", "auc_within_folds", "specificity", "sensitivity", "balanced_accuracy")


def sample(
    draws: np.random.Generator, benign: int, malignant: int, shift: float, several: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and patients, (cases,) each."""
    of_patient = np.repeat([0, 1], [benign, malignant])
    counts = draws.integers(1, 5, len(of_patient)) if several else np.ones(len(of_patient), int)
    patients = np.repeat(np.arange(len(of_patient)), counts)
    own, common = draws.normal(size=len(patients)), draws.normal(size=len(of_patient))[patients]
    labels = of_patient[patients]
    return labels, shift * labels + (np.sqrt(0.5) * (own + common) if several else own), patients


def coverage(
    repeats: int, specificities: Sequence[float] = SPECIFICITIES, seed: int = 0
) -> dict[tuple, dict[str, float]]:
    """{(benign, malignant, several cases of a patient, AUC, specificity): share of the intervals that hold the truth}.

    "zero width" counts intervals of any figure that are a point.
    """
    table = {}
    for several in (False, True):
        for benign, malignant in PATIENTS:
            for wanted in AREAS:
                shift = np.sqrt(2) * norm.ppf(wanted)
                for specificity in specificities:
                    cell = (benign, malignant, several, wanted, specificity)
                    draws = np.random.default_rng([seed, len(table)])
                    table[cell] = _cell(draws, repeats, cell, shift, float(norm.ppf(specificity)))
    return table


def _cell(draws: np.random.Generator, repeats: int, cell: tuple, shift: float, threshold: float) -> dict[str, float]:
    benign, malignant, several, wanted, specificity = cell
    sensitivity = float(norm.sf(threshold - shift))
    truth = dict(zip(FIGURES, (wanted, wanted, specificity, sensitivity, (sensitivity + specificity) / 2), strict=True))
    held: Counter = Counter()
    for _ in range(repeats):
        labels, scores, patients = sample(draws, benign, malignant, shift, several)
        found = rates(labels, scores, patients, threshold) | {
            "auc": area(labels, scores, patients),
            "auc_within_folds": area(labels, scores, patients, patients % 4),
        }
        for name, value in truth.items():
            low, high = found[name].low, found[name].high
            held[name] += low - 1e-9 <= value <= high + 1e-9
            held["zero width"] += high - low < 1e-9
    return {name: held[name] / repeats for name in (*FIGURES, "zero width")}


def report(table: dict[tuple, dict[str, float]]) -> str:
    """The table as text, with the lowest and the mean of each column."""
    lines = ["| benign, malignant patients | cases | AUC | specificity | " + " | ".join(FIGURES) + " |"]
    lines.append("|---" * (4 + len(FIGURES)) + "|")
    for (benign, malignant, several, wanted, specificity), found in table.items():
        values = " | ".join(f"{found[name]:.3f}" for name in FIGURES)
        lines.append(f"| {benign}, {malignant} | {'1-4' if several else '1'} | {wanted} | {specificity} | {values} |")
    for name, of in (("lowest", min), ("mean", np.mean)):
        values = " | ".join(f"{of([found[figure] for found in table.values()]):.3f}" for figure in FIGURES)
        lines.append(f"| {name} | | | | {values} |")
    points = sum(found["zero width"] for found in table.values())
    return "\n".join([*lines, f"Intervals of zero width: {points:g}."])


if __name__ == "__main__":
    print(report(coverage(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)))
