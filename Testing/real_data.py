"""Part of ``make soak``: every cube and fifty slabs of LIDC-IDRI, each with every clinical score and all outputs.

    python Testing/real_data.py [--data ../shared/data] [--slabs 50] [--outputs N] [--output DIR]

Scores each nodule with the shipped model, computes every clinical score in both settings for one made-up patient, and
writes all that `maemc score --output` writes of N of them (default: all) and reads it again. Prints how many failed,
how often each score applies and each gate fires, and how often a category may be another one by the measured error.
Ends with 1 where anything failed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from MAEMCLib.__main__ import main as maemc
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.clinical.fields import INCIDENTAL, SCREENING
from MAEMCLib.clinical.prefilled import prefilled
from MAEMCLib.clinical.together import GUIDELINES, answers
from MAEMCLib.measures.measures import READERS_DIFFER_MM
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.models.reference_case import open_predictor
from MAEMCLib.models.store import find_model
from MAEMCLib.scoring import CaseScorer
from MAEMCTrainingLib.__main__ import main as maemc_train

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
UNUSED = "LIDC-unknown"
"""Cubes of unknown patients are quoted nowhere."""
PATIENT = {"age": 65, "sex": "female", "smoker": True, "quit_years": 5, "risk": "high", "count": 1, "uptake": "faint"}
WRITTEN = ("results.csv", "results.json", "report.html", "report.pdf")


def main() -> int:
    options = _options()
    bundle = ModelBundle.open(find_model(None))
    cases = [*_cases(options, "lidc-cubes", None), *_cases(options, "lidc-slabs", options.slabs)]
    found: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    distances: dict[str, list[float]] = collections.defaultdict(list)
    failed: list[str] = []
    since = time.process_time()
    with CaseScorer(bundle.card, lambda: open_predictor(bundle, "cpu")) as scorer:
        for number, case in enumerate(cases):
            print(f"\r{number} of {len(cases)}", end="", file=sys.stderr, flush=True)
            try:
                row = scorer.score([case])[0].result
                _count(found, distances, row.to_json())
                failed += [f"{case.image.name}: {row.message}"] * (row.status != "scored")
            except Exception:  # whatever it is: it is what this looks for
                failed.append(f"{case.image.name}: {traceback.format_exc()}")
    print(f"\n{len(cases)} nodules, {len(failed)} failed, {time.process_time() - since:.0f} s of processor time")
    chosen = cases if options.outputs is None else cases[:: max(len(cases) // max(options.outputs, 1), 1)]
    for case in chosen[: options.outputs]:
        failed += list(_outputs(case, options.output))
    print(f"{len(chosen[: options.outputs])} written with all outputs and read again, {len(failed)} failures in all")
    _show(found, len(cases))
    for name, values in distances.items():
        print(f"{name}: a third of the nodules lie within {np.percentile(values, 100 / 3):.2f} mm of another category")
    print("\n".join(failed))
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--slabs", type=int, default=50, help="how many of the slabs, evenly over all")
    parser.add_argument("--outputs", type=int, help="of how many nodules all outputs are written")
    parser.add_argument("--output", type=Path, default=Path(tempfile.mkdtemp(prefix="maemc-real-data-")))
    options = parser.parse_args()
    for name in ("lidc-cubes", "lidc-slabs"):
        if not (options.data / name / "labels.csv").is_file():
            parser.error(f"{options.data / name} holds no labels.csv: name the folder of the LIDC data with --data.")
    return options


def _cases(options: argparse.Namespace, name: str, count: int | None) -> list[Case]:
    """Of a data set, so many of its nodules, evenly over all."""
    manifest = options.output / f"{name}.csv"
    words = ["import", name, str(options.data / name), "--output", str(manifest), "--overwrite", "--quiet"]
    if maemc_train(words):
        raise SystemExit(f"{name} was not imported.")
    rows = [row for row in read_manifest(manifest).rows if UNUSED not in row.image.name]
    return list(rows) if count is None else list(rows[:: max(len(rows) // count, 1)][:count])


def _count(found: dict, distances: dict, row: dict) -> None:
    """What the clinical scores and the gate say of a row."""
    found["gate"][row["gate"]] += 1
    found["gate reason"].update(row["gate_reasons"])
    for setting in (INCIDENTAL, SCREENING):
        given = {**prefilled(row), **PATIENT, "setting": setting}
        for name, answer in answers(given).items():
            applicable = answer.result is not None and answer.result.applicable
            found[f"{setting}: number or category"][name] += applicable
            if applicable and name == GUIDELINES[setting]:
                _count_edge(found, name, answer.result.edge)
                distances[name] += [] if answer.result.edge is None else [answer.result.edge.distance]


def _count_edge(found: dict, name: str, edge) -> None:
    """Whether the category may be another one by the error of the outline, and by what two readers differ."""
    if edge is None:
        return
    found[f"{name}: nearest other category"]["known"] += 1
    if edge.error is not None:
        found[f"{name}: nearest other category"]["within the 90 % error measured"] += bool(edge.within_error)
    found[f"{name}: nearest other category"]["within what two readers differ"] += edge.distance <= READERS_DIFFER_MM


def _outputs(case: Case, output: Path) -> Iterator[str]:
    """Write all outputs of a nodule and read them again; what was wrong."""
    folder, point = output / case.image.stem, ",".join(f"{value:.3f}" for value in case.point_lps)
    clinical = [word for name, value in PATIENT.items() for word in ("--clinical", f"{name}={_text(value)}")]
    words = ["score", str(case.image), "--point", point, "--device", "cpu", "--output", str(folder), "--quiet"]
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        code = maemc([*words, *clinical, "--clinical", f"setting={INCIDENTAL}"])
    missing = [name for name in WRITTEN if not (folder / name).is_file()]
    if code or missing:
        yield f"{case.image.name}: exit code {code}, without {', '.join(missing) or 'nothing'}: {told.getvalue()}"
        return
    (row,) = json.loads((folder / "results.json").read_text())["nodules"]
    page = (folder / "report.html").read_text()
    wrong = [text for text in (f"{row['probability']:.2f}", "Research only", "Fleischner") if text not in page]
    if wrong or not (folder / "report.pdf").read_bytes().startswith(b"%PDF"):
        yield f"{case.image.name}: the report lacks {', '.join(wrong) or 'its PDF'}."


def _text(value: object) -> str:
    return "yes" if value is True else str(value)


def _show(found: dict, count: int) -> None:
    for title, counter in found.items():
        of = counter.get("known", count)
        print(f"{title}: " + ", ".join(f"{name} {n} ({100 * n / of:.0f} %)" for name, n in counter.most_common()))


if __name__ == "__main__":
    sys.exit(main())
