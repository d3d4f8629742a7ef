"""Clinical values, further series and classes of cases, read from the columns of their manifest."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.cases.pseudonyms import pseudonym_key
from MAEMCLib.cases.values import CHOICE, NUMBER, SERIES, ClinicalField
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.inputs.region import PLANES
from MAEMCLib.models.predictor import value_tensors

from ..data.cases import SourceCase
from ..data.cohort import Cohort, join
from ..data.sources import Progress, Source, cache_name
from ..data.store import build_store
from .cases import LABEL, OWN_CLASSES, PICTURE, LabeledCohort, labeled, source_of

CHOICES_AT_MOST = 12
CLASSES_AT_MOST = 20
_NO_VALUES = {"case_id", "patient_id", "image", "kind", "split", "l_mm", "p_mm", "s_mm", "series_uid", "volume_id"}
_SPLIT = re.compile(r"[^:]+(:[^:]+)?")


@dataclass(frozen=True)
class Columns:
    """What of a manifest is read: columns with clinical values (``name``, ``name:unit``, ``name:number`` or
    ``name:choice``), image branches (a plane, or for further series the column with their images, ``image_2`` or
    ``image_2:coronal``; none: all planes), the column with the class, of two classes the positive one (empty: the
    second)."""

    clinical: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()
    target: str = LABEL
    positive: str = ""


def check_columns(sources: Sequence[Source], columns: Columns) -> None:
    """What ``read_cases`` would refuse before it cuts anything: names, and columns that are not there."""
    names = [*_clinical_columns(columns.clinical, columns.target)]
    names += [] if columns.target == LABEL else [columns.target]
    for source in sources if names else ():
        source.check_columns(names)
    series = _check_branches(columns.branches)
    try:
        for source in sources if series else ():
            source.check_columns(series)
    except InputError as error:
        raise InputError(
            f"A branch is axial, coronal, or the column with the images of a further series. {error}", error.code
        ) from error


def read_cases(
    cached: Sequence[Any],
    sources: Sequence[Source],
    columns: Columns,
    caches: Path,
    home: Path,
    progress: Progress = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> LabeledCohort:
    """The cases that have a class, with their values; the regions of further series are cut where they are not yet.

    cached: the sources' caches, opened. caches: the folder of the caches of further series. say: called
    with a line on cases that are left out.

    Raises InputError or UsageError: a column that is not there, a text among numbers (its case is named), a column that
    describes nobody or names everybody, one class only, a further series that is not there; what reading raises.
    """
    clinical, series = _clinical_columns(columns.clinical, columns.target), _check_branches(columns.branches)
    cohort = join(cached)
    branches = columns.branches or cohort.kind.shown_as.planes
    if series and PICTURE in cohort.kind.shown_as.planes:
        raise InputError("Further series are of nodules in CT, and these data are 2-D pictures.", "kind")
    if columns.target == LABEL:
        cohort = labeled(cohort).main
        texts = [OWN_CLASSES[label] for label in cohort.labels]
    else:
        texts = [row[columns.target] for row in cohort.columns([columns.target])]
        labeled_rows = [index for index, text in enumerate(texts) if text]
        if len(labeled_rows) < len(texts):
            say(f"{len(texts) - len(labeled_rows)} cases have no {columns.target} and are left out.")
        cohort, texts = cohort.subset(labeled_rows), [texts[index] for index in labeled_rows]
    classes, labels = _classes(columns.target, texts, columns.positive)
    rows = cohort.columns([*clinical, *series, "case_id"])
    case_ids = [row["case_id"] for row in rows]
    fields = [
        _field(name, kind, unit, case_ids, [row[name] for row in rows]) for name, (kind, unit) in clinical.items()
    ]
    values, given = (part.numpy() for part in value_tensors([_parsed(row, fields) for row in rows], fields))
    further = {name: _further(name, sources, cohort, caches, home, progress, say) for name in series}
    fields += [ClinicalField(name, SERIES, optional=bool((places < 0).any())) for name, (_, places) in further.items()]
    made = LabeledCohort(
        cohort, tuple(branches), classes, labels, columns.target, tuple(fields), values, given, further
    )
    unobserved = [case_ids[int(case)] for case in np.flatnonzero(~(made.seen.any(axis=1) | made.given.any(axis=1)))]
    if unobserved:
        more = f" and {len(unobserved) - 1} more" if len(unobserved) > 1 else ""
        raise InputError(
            f"Of the case {unobserved[0]}{more} nothing at all was observed: no "
            f"{' or '.join([*made.branches, *clinical])}. Leave {'them' if more else 'it'} out.",
            "nothing-given",
        )
    return made


def _clinical_columns(clinical: Sequence[str], target: str) -> dict[str, tuple[str | None, str]]:
    """{column: its kind, None where its values are to say it, and its unit}."""
    columns: dict[str, tuple[str | None, str]] = {}
    for spec in (text.strip() for text in clinical):
        if not _SPLIT.fullmatch(spec):
            raise UsageError(
                f"'{spec}' names no clinical value. Write a column, or a column with its unit or kind: age, age:years, "
                "stage:choice, stage:number.",
                "clinical",
            )
        name, _, detail = spec.partition(":")
        if name in _NO_VALUES:
            raise UsageError(
                f"{name} says who or where a case is and not what it is like: it cannot be a clinical value.",
                "clinical",
            )
        if name == target:
            raise UsageError(f"{name} is the class to be told; it cannot be read as well.", "clinical")
        if name in columns:
            raise UsageError(f"The clinical value {name} is named twice.", "clinical")
        if detail in (NUMBER, CHOICE):
            columns[name] = detail, ""
        else:
            columns[name] = NUMBER if detail else None, detail or _unit(name)
    return columns


def _unit(name: str) -> str:
    """The unit that a column's name says: age is in years, and ``volume_ml`` ends in its own."""
    if name.lower() == "age":
        return "years"
    last = name.rpartition("_")[2].lower()
    return last if last in ("mm", "cm", "ml", "kg", "years", "months", "days") and "_" in name else ""


def _check_branches(branches: Sequence[str]) -> list[str]:
    if len(set(branches)) < len(branches):
        raise UsageError("Name each image branch once, for example --branches axial,coronal.", "branches")
    for branch in branches:
        series, plane = source_of(branch)
        if plane not in (*PLANES, PICTURE) or series in _NO_VALUES:
            raise UsageError(
                f"There is no branch '{branch}'. A branch is axial or coronal, or of a further series, whose images a "
                "column names, COLUMN or COLUMN:coronal.",
                "branches",
            )
    return list(dict.fromkeys(series for series, _ in map(source_of, branches) if series))


def _classes(target: str, texts: Sequence[str], positive: str) -> tuple[tuple[str, ...], np.ndarray]:
    counts = Counter(texts)
    classes = sorted(counts, key=lambda text: (0, float(text), "") if is_number(text) else (1, 0.0, text))
    if len(classes) < 2:
        problem = f"All {len(texts)} cases are of the class {classes[0]}" if classes else f"No case has a {target}"
        raise InputError(f"{problem}. A classifier needs cases of at least two classes.", "single-class")
    if len(classes) > CLASSES_AT_MOST or (len(classes) > 2 and len(classes) > len(texts) / 2):
        raise InputError(
            f"The column {target} has {len(classes)} different values in {len(texts)} cases. A class is what many "
            f"cases share (at most {CLASSES_AT_MOST} classes): name another --target.",
            "many-classes",
        )
    if positive:
        if positive not in classes or len(classes) > 2:
            raise UsageError(
                f"The positive class '{positive}' has to be one of two; the classes are {', '.join(classes)}.",
                "positive",
            )
        classes = [name for name in classes if name != positive] + [positive]
    return tuple(classes), np.array([classes.index(text) for text in texts], dtype=np.int64)


def _field(name: str, kind: str | None, unit: str, case_ids: Sequence[str], texts: Sequence[str]) -> ClinicalField:
    """What a column holds. Without a kind: numbers, where at least half of its values are numbers."""
    there = [text for text in texts if text]
    if not there:
        raise InputError(f"The column {name} is empty in all {len(texts)} cases. Leave it out.", "clinical")
    optional = len(there) < len(texts)
    if kind is None:
        kind = NUMBER if 2 * sum(map(is_number, there)) >= len(there) else CHOICE
    if kind == NUMBER:
        wrong = [(case, text) for case, text in zip(case_ids, texts, strict=True) if text and not is_number(text)]
        if wrong:
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise InputError(
                f"The column {name} holds numbers, but the case {wrong[0][0]} has '{wrong[0][1]}'{more}. Correct it, "
                f"leave it empty where it is unknown, or read the column as --clinical {name}:choice.",
                "clinical-number",
            )
        numbers = [float(text) for text in there]
        return ClinicalField(name, NUMBER, unit, min(numbers), max(numbers), optional=optional)
    choices = tuple(sorted(set(there)))
    if len(choices) > CHOICES_AT_MOST or len(choices) > max(2, len(there) / 2):
        raise InputError(
            f"The column {name} has {len(choices)} different texts in {len(there)} cases. A choice is what many cases "
            f"share (at most {CHOICES_AT_MOST}), and free text, which may name a person, does not go into a model.",
            "clinical-choices",
        )
    if len(choices) < 2:
        raise InputError(f"The column {name} says {choices[0]} of every case. Leave it out.", "clinical")
    return ClinicalField(name, CHOICE, choices=choices, optional=optional)


def is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _parsed(row: Mapping[str, str], fields: Sequence[ClinicalField]) -> dict[str, float | str | None]:
    return {one.name: (float(t) if one.kind == NUMBER else t) if (t := row[one.name]) else None for one in fields}


def _further(
    name: str,
    sources: Sequence[Source],
    main: Cohort,
    caches: Path,
    home: Path,
    progress: Progress,
    say: Callable[[str], None],
) -> tuple[Cohort, np.ndarray]:
    """The cohort of a further series, whose images a column of the manifests names, cut about the same points."""
    wanted = {case.case_id for case in main.cases}
    cached, key = [], pseudonym_key(home)
    for source in sources:
        cases = [case for case in source.cases() if case.row.values.get(name) and case.facts(key)["case_id"] in wanted]
        there = [_of_series(case, source.path.parent / case.row.values[name]) for case in cases]
        lacking = [case.case_id for case in there if not case.row.image.exists()]
        if lacking:
            raise InputError(
                f"The column {name} of {source.path.name} names images that are not there: those of the cases "
                f"{', '.join(lacking[:5])}{f' and {len(lacking) - 5} more' if len(lacking) > 5 else ''}. Paths are "
                "relative to the manifest; leave the column empty where a case has no such series.",
                "missing-file",
            )
        if there:
            folder = caches / cache_name(source.path, name)
            cached.append(build_store(source.kind, there, folder, home, progress=progress, path=source.path))
    if not cached:
        raise InputError(f"No case has an image in the column {name}. Leave this branch out.", "branches")
    cohort = join(cached)
    place_of = {case.case_id: index for index, case in enumerate(cohort.cases)}
    places = np.array([place_of.get(case.case_id, -1) for case in main.cases], dtype=np.int64)
    if (places < 0).any():
        say(f"{int((places < 0).sum())} of {len(places)} cases have no {name}; that branch is masked there.")
    return cohort, places


def _of_series(case: SourceCase, image: Path) -> SourceCase:
    """The case with the image of a further series; its series is one of the main image's folder, and goes."""
    values = case.row.values | {"series": "", "series_uid": ""}
    return replace(case, rows=(replace(case.row, image=image.absolute(), values=values),))
