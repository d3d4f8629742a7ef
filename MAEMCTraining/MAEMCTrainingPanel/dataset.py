"""What a manifest or a cache holds, and what it is good for. Reading runs beside the window: no Qt in ``readData``."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.errors import InputError, MAEMCError
from MAEMCLib.files.atomic import read_json
from MAEMCTrainingLib.data.kinds import kind_of
from MAEMCTrainingLib.data.store import is_cache, open_store
from slicer.i18n import tr as _

NODULE, PICTURE = "nodule", "picture"
"""Names of the kinds of input."""
METADATA_COLUMNS = ("modality", "anatomy")
"""What the methods learn from that learn from metadata."""
VALUES_SHOWN = 3
"""Of a column of metadata, the most frequent first."""
ENOUGH_OF_A_CLASS = 20
"""Below it thresholds cannot be calibrated, and intervals are wide."""


@dataclasses.dataclass(frozen=True)
class DataSummary:
    """The cases of a manifest or cache. problem: why it cannot be used, empty for sound data.

    input: the name of their kind, NODULE or PICTURE. pictures: of all cases; a case may have several slices.
    columns: {further column of a manifest: how many different values it has}, of those that say something. metadata:
    {column: {value: cases}}; metadataDiffer: whether they tell cases apart. volumes: CTs and stacks of slices, of which
    similar slices can be left out. reduction: where that was done, how many slices were kept of how many.
    """

    path: Path
    input: str = NODULE
    cases: int = 0
    pictures: int = 0
    patients: int = 0
    benign: int = 0
    malignant: int = 0
    columns: dict = dataclasses.field(default_factory=dict)
    metadata: dict = dataclasses.field(default_factory=dict)
    metadataDiffer: bool = False
    volumes: int = 0
    reduction: tuple[int, int] | None = None
    problem: str = ""

    @property
    def unlabeled(self) -> int:
        return self.cases - self.benign - self.malignant

    @property
    def evaluable(self) -> bool:
        """Whether a classifier can be trained: both classes are there."""
        return self.benign > 0 and self.malignant > 0


def readData(path: Path) -> DataSummary:
    """Count what is in a manifest, in a cache, or in the cache whose index.json is given."""
    try:
        if path.name == "index.json":
            path = path.parent
        if is_cache(path):
            return _readCache(path)
        if path.is_dir():
            raise InputError(f"{path} is a folder without a cache. Choose a manifest (CSV) or a cache's index.json.")
        return _readManifest(path)
    except MAEMCError as error:
        return DataSummary(path, problem=str(error))


def _readCache(path: Path) -> DataSummary:
    store = open_store(path, verify=False)
    pictures = sum(len(getattr(case.facts, "pictures", ())) for case in store.cases)
    cases = [(case.patient, case.label) for case in store.cases]
    # Most values are pseudonyms there, which tell nobody anything: they are compared and not shown.
    differ = _differ(store.cases, _metadata(store.cases))
    return _summary(path, store.kind.name, cases, pictures=pictures, metadataDiffer=differ)


def _readManifest(path: Path) -> DataSummary:
    manifest = read_manifest(path)
    kind = kind_of(manifest)
    rows = [case.row for case in kind.source_cases(manifest.rows, path.parent)]
    pictures, volumes = 0, {row.image for row in rows}
    if kind.name == PICTURE:  # slices of one volume are one case
        pictures, volumes = len(manifest.rows), {row.case_id for row in rows if row.kind == "slice"}
    columns = {name: len({row.values.get(name, "").strip() for row in rows} - {""}) for name in rows[0].values}
    metadata = _metadata(rows)
    return _summary(
        path,
        kind.name,
        [(row.patient_id, row.label) for row in rows],
        pictures=pictures,
        columns={name: count for name, count in columns.items() if count},
        metadata=metadata,
        metadataDiffer=_differ(rows, metadata),
        volumes=len(volumes),
        reduction=_reduction(path),
    )


def _metadata(cases: Sequence) -> dict:
    """{column of metadata: {value: cases}} of cases of a manifest or of a cache, the most frequent value first."""
    counts = {name: Counter(case.values.get(name, "").strip() for case in cases) for name in METADATA_COLUMNS}
    filled = {name: {value: number for value, number in counts[name].most_common() if value} for name in counts}
    return {name: values for name, values in filled.items() if values}


def _differ(cases: Sequence, metadata: dict) -> bool:
    """Whether the metadata, of which no column is missing, tell cases apart."""
    complete = all(name in case.values for name in METADATA_COLUMNS for case in cases[:1])
    return complete and any(len(values) > 1 for values in metadata.values())


def _reduction(manifest: Path) -> tuple | None:
    """(kept, slices) where ``maemc-train reduce`` wrote this manifest: it puts a summary beside it."""
    try:
        summary = read_json(manifest.with_name(f"{manifest.stem}-summary.json"), "The summary")
        kept, slices = int(summary["kept"]), int(summary["slices"])
    except (MAEMCError, KeyError, TypeError, ValueError):
        return None
    return (kept, slices) if kept < slices else None


def _summary(path: Path, kind: str, cases: list, **fields) -> DataSummary:
    """cases: [(patient, label)]."""
    labels = Counter(label for _patient, label in cases)
    patients = len({patient for patient, _label in cases})
    return DataSummary(path, kind, len(cases), patients=patients, benign=labels[0], malignant=labels[1], **fields)


def countsText(data: DataSummary) -> str:
    """ "Nodules in CT: 90 cases of 73 patients, 8 benign, 47 malignant, 35 unlabeled"."""
    texts = {
        NODULE: _("Nodules in CT: {cases} cases of {patients} patients, {labels}"),
        PICTURE: _("2-D pictures: {pictures} of {cases} cases, {patients} patients, {labels}"),
    }
    counts = {"pictures": data.pictures, "cases": data.cases, "patients": data.patients}
    return texts[data.input].format(labels=_labelsText(data), **counts)


def _labelsText(data: DataSummary) -> str:
    if data.benign + data.malignant == 0:
        return _("no labels")
    labeled = _("{benign} benign, {malignant} malignant")
    text = _("{benign} benign, {malignant} malignant, {unlabeled} unlabeled") if data.unlabeled else labeled
    return text.format(benign=data.benign, malignant=data.malignant, unlabeled=data.unlabeled)


def metadataText(data: DataSummary) -> str:
    """ "modality: CT 80, US 20; anatomy: chest 100"; empty where the manifest has neither."""
    parts = []
    for name, values in data.metadata.items():
        shown = [f"{value} {number}" for value, number in list(values.items())[:VALUES_SHOWN]]
        more = len(values) - len(shown)
        if more:
            shown.append(_("{number} more").format(number=more))
        parts.append(f"{name}: {', '.join(shown)}")
    return "; ".join(parts)


def warningsText(data: DataSummary, finetuning: bool, folds: int) -> str:
    """What stands against training on these data, a sentence each; empty where nothing does."""
    if not finetuning:
        return ""
    if data.benign + data.malignant == 0:
        return _("No case has a label: only pre-training is possible.")
    if not data.evaluable:
        return _("All labeled cases are of one class: only pre-training is possible.")
    warnings = []
    smaller = min(data.benign, data.malignant)
    if smaller < ENOUGH_OF_A_CLASS:
        text = _("Only {number} cases of one class: intervals will be wide and thresholds stay at 0.5.")
        warnings.append(text.format(number=smaller))
    if smaller < folds:
        text = _("{number} cases of one class are fewer than {folds} folds.")
        warnings.append(text.format(number=smaller, folds=folds))
    return " ".join(warnings)
