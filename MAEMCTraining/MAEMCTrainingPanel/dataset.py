"""What a manifest or a cache holds, and what it is good for. Reading runs beside the window: no Qt in ``readData``."""

import dataclasses
from collections import Counter
from pathlib import Path

from MAEMCLib.errors import InputError, MAEMCError
from MAEMCLib.manifest import read_manifest
from MAEMCTrainingLib.data.cache import is_cache, open_cache
from MAEMCTrainingLib.data.sources import source_cases
from slicer.i18n import tr as _

ENOUGH_OF_A_CLASS = 20
"""Below it thresholds cannot be calibrated, and intervals are wide."""


@dataclasses.dataclass(frozen=True)
class DataSummary:
    """The nodules of a manifest or cache. problem: why it cannot be used, empty for sound data."""

    path: Path
    cases: int = 0
    patients: int = 0
    benign: int = 0
    malignant: int = 0
    others: int = 0  # rows that are no nodules in a CT
    problem: str = ""

    @property
    def unlabeled(self) -> int:
        return self.cases - self.benign - self.malignant

    @property
    def evaluable(self) -> bool:
        """Whether a classifier can be trained: both classes are there."""
        return self.benign > 0 and self.malignant > 0


def readData(path: Path) -> DataSummary:
    """Count the nodules of a manifest, of a cache, or of the cache whose index.json is given."""
    try:
        if path.name == "index.json":
            path = path.parent
        if is_cache(path):
            cache = open_cache(path, verify=False)
            return _summary(path, [(case.patient, case.label) for case in cache.cases], 0)
        if path.is_dir():
            raise InputError(f"{path} is a folder without a cache. Choose a manifest (CSV) or a cache's index.json.")
        manifest = read_manifest(path)
        nodules = [(case.patient_id, case.label) for case in source_cases(manifest)]
    except MAEMCError as error:
        return DataSummary(path, problem=str(error))
    return _summary(path, nodules, len(manifest) - len(nodules))


def _summary(path: Path, nodules: list, others: int) -> DataSummary:
    labels = Counter(label for _patient, label in nodules)
    patients = len({patient for patient, _label in nodules})
    return DataSummary(path, len(nodules), patients, labels[0], labels[1], others)


def countsText(data: DataSummary) -> str:
    """ "90 cases of 73 patients: 8 benign, 47 malignant, 35 unlabeled"."""
    text = _("{cases} cases of {patients} patients: {benign} benign, {malignant} malignant, {unlabeled} unlabeled")
    return text.format(
        cases=data.cases,
        patients=data.patients,
        benign=data.benign,
        malignant=data.malignant,
        unlabeled=data.unlabeled,
    )


def warningsText(data: DataSummary, finetuning: bool, folds: int) -> str:
    """What stands against training on these data, a sentence each; empty where nothing does."""
    found = []
    if data.others:
        found.append(_("{number} rows are no nodules in a CT and are left out.").format(number=data.others))
    if not finetuning:
        return " ".join(found)
    if data.benign + data.malignant == 0:
        found.append(_("No case has a label: only pre-training is possible."))
    elif not data.evaluable:
        found.append(_("All labeled cases are of one class: only pre-training is possible."))
    else:
        smaller = min(data.benign, data.malignant)
        if smaller < ENOUGH_OF_A_CLASS:
            text = _("Only {number} cases of one class: intervals will be wide and thresholds stay at 0.5.")
            found.append(text.format(number=smaller))
        if smaller < folds:
            found.append(
                _("{number} cases of one class are fewer than {folds} folds.").format(number=smaller, folds=folds)
            )
    return " ".join(found)
