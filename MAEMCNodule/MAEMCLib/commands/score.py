"""``maemc score``: a table or a JSON document, and with --output files and images. ``maemc explain``: as files, where
the classifier looks, what the autoencoder reconstructs and where it errs."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..dicom_results.cases import CaseWriter
from ..dicom_results.writing import check_writable
from ..errors import InputError, ModelError, UsageError
from ..files.atomic import folder_name, make_folder
from ..machine.installation import check_torch
from ..machine.terminal import visible
from ..models.bundle import ModelBundle
from ..models.card import ModelCard
from ..models.prevalence import check_prevalence
from ..models.store import find_model
from ..results import DISCLAIMER
from ..scoring import CaseScorer, ScoredCase

if TYPE_CHECKING:
    from ..explain.explanation import Explanation
    from ..models.autoencoder import Autoencoder
    from ..models.predictor import Predictor

FAILED = 3
"""Exit code where some input could not be scored."""


def score(arguments: Namespace) -> int:
    """``maemc score``."""
    from ..report.prevalence import prevalence_document, prevalence_text
    from ..report.scores import results_document, results_table, write_results

    folder = None if arguments.output is None else Path(arguments.output)
    _check_dicom(arguments)
    if folder is not None:
        make_folder(folder)
    bundle, prevalence = ModelBundle.open(find_model(arguments.model)), arguments.prevalence
    if prevalence is not None:  # before anything is computed
        check_prevalence(bundle.card, prevalence)
    if arguments.dicom_sr:
        check_writable(bundle.card)
    rows, predictor = _scored(bundle, arguments)
    results = [one.result for one in rows]
    device = predictor.device if predictor else None
    if folder is not None:
        write_results(folder, results, bundle.card, device)
        _draw(folder, rows, bundle, predictor)
    whole = not arguments.dicom_sr or _write_dicom(folder / "dicom", rows, bundle.card, arguments)
    if arguments.json:
        document = results_document(results, bundle.card, device)
        if prevalence is not None:
            document["at_prevalence"] = prevalence_document(results, bundle.card, prevalence)
        print(json.dumps(document, ensure_ascii=False, allow_nan=False))
    elif not arguments.quiet:
        print(results_table(results, bundle.card))
        if prevalence is not None:
            print(prevalence_text(results, bundle.card, prevalence))
        if folder is not None:
            print(f"Written to {folder}")
    return _failures(rows) or (0 if whole else FAILED)


def explain(arguments: Namespace) -> int:
    """``maemc explain``."""
    folder = Path(arguments.output)
    make_folder(folder)
    bundle = ModelBundle.open(find_model(arguments.model))
    (row,), predictor = _scored(bundle, arguments)
    if row.error is not None:
        raise row.error
    lines = bundle.card.kind.write(folder, row.result, row.prepared, _explanation(row, predictor))
    if not arguments.quiet:
        print("\n".join([*lines, f"Written to {folder}. {DISCLAIMER}"]))
    return 0


def _scored(bundle: ModelBundle, arguments: Namespace) -> tuple[list[ScoredCase], Predictor | None]:
    """The cases of a command, each with its row, and the predictor; None where nothing could be read.

    Raises whatever is wrong with the command or the model; what is wrong with a case's image is in its row.
    """
    cases = bundle.card.kind.cases(arguments, bundle.card, say)

    def opened() -> Predictor:
        check_torch()
        from ..models.reference_case import open_predictor

        return open_predictor(bundle, arguments.device)

    with CaseScorer(bundle.card, opened, arguments.nifti_form, say) as scorer:
        rows = scorer.score(cases)
    for one in rows:
        if one.error is not None and not isinstance(one.error, InputError):
            raise one.error
    return rows, scorer.predictor


def say(text: str) -> None:
    print(text, file=sys.stderr)


def _draw(folder: Path, rows: list[ScoredCase], bundle: ModelBundle, predictor: Predictor | None) -> None:
    """What there is to see of each scored case, and the report that shows it."""
    from ..report.formats import write_report
    from ..report.scores import score_report

    figures: dict[int, Path | None] = {}
    if predictor is not None:
        from ..models.autoencoder import load_autoencoder

        autoencoder, kind, taken = None, bundle.card.kind, set()
        try:
            autoencoder = load_autoencoder(predictor)
        except ModelError as error:  # the scores stand, and so do the classifier's maps
            say(f"maemc: there is no reconstruction and no error. {error}")
        for number, one in enumerate(rows):
            if one.prepared is None:
                continue
            place = folder / folder_name(one.result.nodule_id, taken) if kind.located else folder
            place.mkdir(exist_ok=True)
            figures[number] = kind.draw(place, one.result, one.prepared, _explanation(one, predictor, autoencoder))
    shown = [(one.result, figures.get(number)) for number, one in enumerate(rows)]
    write_report(score_report(shown, bundle.card), folder / "report.html")


def _explanation(case: ScoredCase, predictor: Predictor, autoencoder: Autoencoder | None = None) -> Explanation:
    from ..explain.explanation import explain as explained

    kind = predictor.card.kind
    class_name = None if kind.located else case.result.class_name
    return explained(predictor, case.prepared, autoencoder, class_name, kind.measured)


def _check_dicom(arguments: Namespace) -> None:
    if arguments.dicom_sr and arguments.output is None:
        raise UsageError("--dicom-sr writes files. Say where: --output DIR.")
    if arguments.segment and not arguments.dicom_sr:
        raise UsageError("--segment is the outline in the DICOM results. Add --dicom-sr, or leave it out.")


def _write_dicom(folder: Path, rows: list[ScoredCase], card: ModelCard, arguments: Namespace) -> bool:
    """The DICOM results of each scored nodule; whether all were written. Why one was not is said."""
    segment = Path(arguments.segment) if arguments.segment else None
    taken: set[str] = set()
    with CaseWriter(folder, card, arguments.nifti_form, say) as writer:
        done = [
            writer.write(one.prepared.case, one.result, number, folder_name(one.result.nodule_id, taken), segment)
            for number, one in enumerate(rows, start=1)
            if one.prepared is not None
        ]
    return all(done)


def _failures(rows: list[ScoredCase]) -> int:
    """Exit code; each failed case is named on stderr, each reason once."""
    wrong: dict[str, list[str]] = defaultdict(list)
    for one in rows:
        if one.error is not None:
            wrong[str(one.error)].append(visible(one.result.nodule_id))
    for text, names in wrong.items():
        say(f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} not scored: {text}")
    return FAILED if wrong else 0
