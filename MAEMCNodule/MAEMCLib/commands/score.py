"""``maemc score``: a table or a JSON document, and with --output files and images. ``maemc explain``: as files, where
the classifier looks, what the autoencoder reconstructs and where it errs."""

from __future__ import annotations

import contextlib
import json
import sys
from argparse import Namespace
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..clinical.together import FIELDS
from ..dicom_results.cases import CaseWriter
from ..dicom_results.writing import check_writable
from ..errors import UNREADABLE, InputError, ModelError, UsageError, input_error
from ..files.atomic import folder_name, make_folder
from ..images.reading_process import ReadingProcess
from ..machine.terminal import visible
from ..measures.view import place_of, plane_views
from ..models.bundle import ModelBundle
from ..models.card import ModelCard
from ..models.prevalence import check_prevalence
from ..models.store import find_model
from ..report.sections import Figure, Note
from ..results import DISCLAIMER
from ..scoring import CaseScorer, ScoredCase, opened

if TYPE_CHECKING:
    from ..explain.explanation import Explanation
    from ..measures.view import PlaneView
    from ..models.autoencoder import Autoencoder
    from ..models.predictor import Predictor

MOST_EXPLAINED = 10
"""Nodules of a report that explains their numbers and measures the maps, which takes seconds and half a megabyte each;
of more, the figures lie in the nodules' folders, and ``maemc explain`` measures."""
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
    clinical = _for_clinical_scores(arguments, bundle.card)
    if prevalence is not None:  # before anything is computed
        check_prevalence(bundle.card, prevalence)
    if arguments.dicom_sr:
        check_writable(bundle.card)
    rows, predictor = _scored(bundle, arguments)
    results = [one.result for one in rows]
    device = predictor.device if predictor else None
    if folder is None:
        document = results_document(results, bundle.card, device)
    else:
        document = write_results(folder, results, bundle.card, device)
        _draw(folder, rows, predictor, bundle.card, clinical, arguments)
    whole = not arguments.dicom_sr or _write_dicom(folder / "dicom", rows, bundle.card, arguments)
    if arguments.json:
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
    with CaseScorer(bundle.card, opened(bundle, arguments.device), arguments.nifti_form, say) as scorer:
        rows = scorer.score(cases)
    for one in rows:
        if one.error is not None and not isinstance(one.error, InputError):
            raise one.error
    return rows, scorer.predictor


def say(text: str) -> None:
    print(text, file=sys.stderr)


def _for_clinical_scores(arguments: Namespace, card: ModelCard) -> dict[str, Any]:
    """{name: value} of --clinical that clinical scores ask for; those that the model does not ask for as well are taken
    out of the arguments. Raises UsageError for impossible ones, and where there is no report to show them."""
    asked, given, others = {one.name.lower() for one in card.clinical}, {}, []
    for text in arguments.clinical or () if card.kind.located else ():
        key, separator, value = text.partition("=")
        name = key.strip().lower().replace("-", "_")
        if separator and name in FIELDS:
            with contextlib.suppress(*([UsageError] if name in asked else [])):  # then the model says what it takes
                given[name] = FIELDS[name].read(value)
        if not separator or name not in FIELDS or name in asked:
            others.append(text)
    if given.keys() - asked and arguments.output is None:
        names = ", ".join(sorted(given.keys() - asked))
        raise UsageError(
            f"The model {card.id} asks for no {names}; clinical scores do, and stand in the report. Say where to write "
            "it: --output DIR, or leave the value out."
        )
    if card.kind.located:
        arguments.clinical = others
    return given


def _draw(
    folder: Path,
    rows: list[ScoredCase],
    predictor: Predictor | None,
    card: ModelCard,
    clinical: dict[str, Any],
    arguments: Namespace,
) -> None:
    """What there is to see of each scored case, and the report that shows it, as HTML and as PDF."""
    from ..report.beside import alike_parts
    from ..report.formats import write_report
    from ..report.nodule_page import NodulePage, explained_parts, planes_part
    from ..report.scores import score_report

    pages = [NodulePage(one.result, clinical=clinical) for one in rows]
    if predictor is not None:
        from ..models.autoencoder import load_autoencoder

        autoencoder, kind, taken = None, card.kind, set()
        try:
            autoencoder = load_autoencoder(predictor)
        except ModelError as error:  # the scores stand, and so do the classifier's maps
            say(f"maemc: there is no reconstruction and no error. {error}")
        with ReadingProcess(arguments.nifti_form) as reader:
            for number, one in enumerate(rows):
                if one.prepared is None:
                    continue
                place = folder / folder_name(one.result.nodule_id, taken) if kind.located else folder
                place.mkdir(exist_ok=True)
                few = len(rows) <= MOST_EXPLAINED or not kind.located
                explanation = _explanation(one, predictor, autoencoder, few)
                drawn = kind.draw(place, one.result, one.prepared, explanation)
                explained = [Note(f"What explains the number lies in the folder {place.name}.", "soft")]
                if few:
                    explained = explained_parts(explanation, [Figure(path.read_bytes(), path.stem) for path in drawn])
                views = _views(one, reader) if kind.located else {}
                planes = planes_part(views) if views else None
                nodules = predictor.beside.nodules
                alike = alike_parts(one.result, nodules, card) if nodules is not None else ()
                pages[number] = replace(pages[number], planes=planes, explained=explained, alike=alike)
    report = score_report(pages, card, arguments.patient or "")
    for ending in ("html", "pdf"):
        write_report(report, folder / f"report.{ending}")


def _views(one: ScoredCase, reader: ReadingProcess) -> dict[str, PlaneView]:
    """The planes through a nodule; none where the CT lacks slices there."""
    case = one.prepared.case
    try:
        volume, nodule = reader.volume(case.image, case.series), one.nodule
        if nodule is None:
            return plane_views(volume, one.result.point_lps)
        axes = nodule.measures.axes
        return plane_views(volume, place_of(nodule.mask, axes), nodule.mask, axes)
    except UNREADABLE as error:
        say(f"{visible(one.result.nodule_id)}: no picture of its planes. {input_error(error, 'It cannot be drawn')}")
        return {}


def _explanation(
    case: ScoredCase, predictor: Predictor, autoencoder: Autoencoder | None = None, measured: bool = True
) -> Explanation:
    from ..explain.explanation import explain as explained

    kind = predictor.card.kind
    class_name = None if kind.located else case.result.class_name
    return explained(predictor, case.prepared, autoencoder, class_name, measured or kind.measured)


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
