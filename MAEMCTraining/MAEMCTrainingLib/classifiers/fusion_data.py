"""What fusion is trained on: cases with one or several series, clinical values and a class, read from a manifest."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.cases.values import CHOICE, NUMBER, SERIES, ClinicalField
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.inputs.montage import resized
from MAEMCLib.inputs.settings import Preprocessing
from MAEMCLib.models.fusion_graph import PLANES, branch_source
from MAEMCLib.models.predictor import value_tensors

from ..data.building import build_store
from ..data.cases import SourceCase
from ..data.cohort import Cohort, join
from ..data.kinds.montage_views import View, montage
from ..data.pseudonyms import pseudonym_key
from ..data.sources import Source, cache_name

CHOICES_AT_MOST = 12
CLASSES_AT_MOST = 20
_NO_VALUES = {"case_id", "patient_id", "image", "kind", "split", "l_mm", "p_mm", "s_mm", "series_uid", "volume_id"}
_SPLIT = re.compile(r"[^:]+(:[^:]+)?")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FusionCohort:
    """Cases with a class, in the order of the main series' cohort.

    further: name of a further series -> its cohort and, for each case, the case's place in it (-1: it has none).
    asked: clinical fields, then further series. values, given: (cases, A). classes: by number; labels: (cases,) int64.
    """

    main: Cohort
    further: Mapping[str, tuple[Cohort, np.ndarray]]
    branches: tuple[str, ...]
    asked: tuple[ClinicalField, ...]
    values: np.ndarray
    given: np.ndarray
    classes: tuple[str, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.main)

    @property
    def cases(self) -> list[Any]:
        """The index entries of the main series."""
        return self.main.cases

    @property
    def patients(self) -> np.ndarray:
        """(cases,) int64: the number of each case's patient."""
        return self.main.patients

    @property
    def parts(self) -> np.ndarray:
        """(cases,) str: the part of the manifest's split that each case belongs to."""
        return self.main.parts

    @property
    def is_divided(self) -> bool:
        """Whether the manifest has a split."""
        return self.main.is_divided

    def of_parts(self, *parts: str) -> FusionCohort:
        """The cases of these parts."""
        kept = np.flatnonzero(np.isin(self.parts, parts))
        further = {name: (cohort, places[kept]) for name, (cohort, places) in self.further.items()}
        return replace(
            self,
            main=self.main.subset(kept),
            further=further,
            values=self.values[kept],
            given=self.given[kept],
            labels=self.labels[kept],
        )

    @property
    def fields(self) -> tuple[ClinicalField, ...]:
        """The clinical values among what is asked for."""
        return tuple(one for one in self.asked if one.kind != SERIES)

    @property
    def attributes(self) -> tuple[int, ...]:
        """Choices of each clinical value, 0 for a number: as the network's graph takes them."""
        return tuple(len(one.choices) for one in self.fields)

    @cached_property
    def seen(self) -> np.ndarray:
        """(cases, K) bool: which branches were observed."""
        columns = []
        for branch in self.branches:
            series, _ = branch_source(branch)
            columns.append(self.further[series][1] >= 0 if series else np.ones(len(self), bool))
        return np.stack(columns, axis=1)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all voxels, values, classes and patients' grouping, in order."""
        parts = [self.main.fingerprint, self.branches, [one.to_json() for one in self.asked], self.classes]
        parts += [self.labels.tolist(), np.where(self.given, self.values, 0).tolist(), self.given.tolist()]
        parts += [[name, cohort.fingerprint, places.tolist()] for name, (cohort, places) in self.further.items()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def image(self, case: int, branch: int, view: View, preprocessing: Preprocessing, side: int) -> np.ndarray:
        """Network input of one observed branch: (side, side) float32. All branches of a case see the same view."""
        series, plane = branch_source(self.branches[branch])
        cohort, place = self.main, case
        if series:
            cohort, places = self.further[series]
            place = int(places[case])
        return resized(montage(cohort.array(place), PLANES.index(plane), view, preprocessing)[0], side)

    def images_alone(self) -> FusionCohort:
        """The same cases without their clinical values."""
        nothing = np.zeros((len(self), 0))
        asked = tuple(one for one in self.asked if one.kind == SERIES)
        return replace(self, asked=asked, values=nothing.astype(np.float32), given=nothing.astype(bool))

    def facts(self) -> dict[str, Any]:
        """What a job keeps of its data; of the values only what the bundle states too."""
        counts = Counter(self.labels.tolist())
        return self.main.facts() | {
            "classes": {name: counts[number] for number, name in enumerate(self.classes)},
            "clinical": [one.to_json() for one in self.asked],
            "given": {one.name: int(self.given[:, column].sum()) for column, one in enumerate(self.fields)},
            "seen": {branch: int(self.seen[:, column].sum()) for column, branch in enumerate(self.branches)},
        }


def check_columns(sources: Sequence[Source], clinical: Sequence[str], branches: Sequence[str], target: str) -> None:
    """What ``read_fusion_data`` would refuse before it cuts anything: names, and columns that are not there."""
    names, _, _ = _clinical_names(clinical, target)
    for source in sources:
        source.check_columns([*names, target])
    series = _check_branches(branches)
    try:
        for source in sources:
            source.check_columns(series)
    except InputError as error:
        raise InputError(
            f"A branch is axial, coronal, or the column with the images of a further series. {error}", error.code
        ) from error


def read_fusion_data(
    cached: Sequence[Any],
    sources: Sequence[Source],
    clinical: Sequence[str],
    branches: Sequence[str],
    target: str,
    positive: str,
    caches: Path,
    home: Path,
    progress: Progress = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> FusionCohort:
    """Read the values of cases whose regions are cut, and cut those of the further series where they are not yet.

    cached: the manifests' caches, opened; sources: the manifests. caches: the folder of the caches of further series.
    clinical: ``name``, ``name:unit``, ``name:number`` or ``name:choice``, columns of the manifests. branches: "axial",
    "coronal", or for further series the column with their images, ``image_2`` or ``image_2:coronal``. target: the
    column with the class. positive: of two classes the positive one; empty: the second. say: is told of cases that are
    left out.

    Raises InputError or UsageError: a column that is not there, a text among numbers (its case is named), a column that
    describes nobody or names everybody, one class only, a further series that is not there; what reading raises.
    """
    names, kinds, units = _clinical_names(clinical, target)
    series = _check_branches(branches)
    cohort = join(cached)
    if cohort.kind.name != "nodule":
        raise InputError(
            "Fusion takes nodules in CT, and this manifest has 2-D pictures. Give rows of the kind nodule.", "kind"
        )
    texts = [row[target] for row in cohort.columns([target])]
    known = [index for index, text in enumerate(texts) if text]
    if len(known) < len(texts):
        say(f"{len(texts) - len(known)} cases have no {target} and are left out.")
    cohort = cohort.subset(known)
    classes, labels = _classes(target, [texts[index] for index in known], positive)
    rows = cohort.columns([*names, *series, target, "case_id"])
    case_ids = [row["case_id"] for row in rows]
    fields = [
        _field(name, kind, unit, case_ids, [row[name] for row in rows])
        for name, kind, unit in zip(names, kinds, units, strict=True)
    ]
    values, given = value_tensors([_parsed(row, fields) for row in rows], fields)
    further = {name: _further(name, sources, cohort, caches, home, progress, say) for name in series}
    asked = [*fields]
    for name, (_, places) in further.items():
        asked.append(ClinicalField(name, SERIES, optional=bool((places < 0).any())))
    made = FusionCohort(cohort, further, tuple(branches), tuple(asked), values.numpy(), given.numpy(), classes, labels)
    nothing = [case_ids[int(case)] for case in np.flatnonzero(~(made.seen.any(axis=1) | made.given.any(axis=1)))]
    if nothing:
        raise InputError(
            f"Of the case {nothing[0]}{f' and {len(nothing) - 1} more' if len(nothing) > 1 else ''} nothing at all was "
            f"observed: no {' or '.join([*branches, *names])}. Leave {'it' if len(nothing) == 1 else 'them'} out.",
            "nothing-given",
        )
    return made


def _clinical_names(clinical: Sequence[str], target: str) -> tuple[list[str], list[str | None], list[str]]:
    names, kinds, units = [], [], []
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
        if name in names:
            raise UsageError(f"The clinical value {name} is named twice.", "clinical")
        names.append(name)
        kinds.append(detail if detail in (NUMBER, CHOICE) else (NUMBER if detail else None))
        units.append("" if detail in (NUMBER, CHOICE) else (detail or _unit(name)))
    return names, kinds, units


def _unit(name: str) -> str:
    """The unit that a column's name says: age is in years, and ``volume_ml`` ends in its own."""
    if name.lower() == "age":
        return "years"
    last = name.rpartition("_")[2].lower()
    return last if last in ("mm", "cm", "ml", "kg", "years", "months", "days") and "_" in name else ""


def _check_branches(branches: Sequence[str]) -> list[str]:
    if not branches or len(set(branches)) < len(branches):
        raise UsageError("Name each image branch once, for example --branches axial,coronal.", "branches")
    for branch in branches:
        series, plane = branch_source(branch)
        if plane not in PLANES or series in _NO_VALUES:
            raise UsageError(
                f"There is no branch '{branch}'. A branch is axial or coronal, or of a further series, whose images a "
                "column names, COLUMN or COLUMN:coronal.",
                "branches",
            )
    return list(dict.fromkeys(series for series, _ in map(branch_source, branches) if series))


def _classes(target: str, texts: Sequence[str], positive: str) -> tuple[tuple[str, ...], np.ndarray]:
    if target == "label":  # the manifest's own column, whose numbers have names
        texts = ["malignant-like" if text == "1" else "benign-like" for text in texts]
    counts = Counter(texts)
    classes = sorted(counts, key=lambda text: (0, float(text), "") if _is_number(text) else (1, 0.0, text))
    if len(classes) < 2:
        found = f"All {len(texts)} cases are of the class {classes[0]}" if classes else f"No case has a {target}"
        raise InputError(f"{found}. A classifier needs cases of at least two classes.", "single-class")
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
        kind = NUMBER if 2 * sum(map(_is_number, there)) >= len(there) else CHOICE
    if kind == NUMBER:
        wrong = [(case, text) for case, text in zip(case_ids, texts, strict=True) if text and not _is_number(text)]
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


def _is_number(text: str) -> bool:
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
        cases = [case for case in source.cases() if case.row.values.get(name) and case.pseudonym(key) in wanted]
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
    """The case with the image of a further series; series_uid chooses among those of the main image's folder."""
    row = replace(case.row, image=image.absolute(), values={**case.row.values, "series_uid": ""})
    return replace(case, rows=(row,))
