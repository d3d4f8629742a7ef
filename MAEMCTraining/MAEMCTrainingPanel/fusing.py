"""What a fusion of images and clinical values needs of a manifest: a class to be told, columns with values, series."""

from MAEMCTrainingLib.pretraining.registry import METHODS
from slicer.i18n import tr as _

from .dataset import METADATA_COLUMNS, NODULE, DataSummary
from .methods import withLinks

MOST_CLASSES = 10
"""Columns with more different values are no classes."""
_PLANES = ("axial", "coronal")
_OF_THE_FILE = {*METADATA_COLUMNS, "volume_id", "slice_index", "series_uid", "pseudonym_key", "width", "height"}


def isFusible(data: DataSummary | None) -> bool:
    """Whether there are nodules in CT with a class that can be told, and something to read beside the image."""
    if data is None or data.problem or data.input != NODULE:
        return False
    return any(name != target for target in targets(data) for name in names(data))


def names(data: DataSummary) -> list:
    """Columns that may say something of the patient, as importers name what is of the image file."""
    return [name for name in data.columns if name not in _OF_THE_FILE and not name.endswith("_mm")]


def targets(data: DataSummary) -> dict:
    """{column: title} of what can be told: the label, and columns with a few different values."""
    label = {"label": _("label (benign or malignant)")} if data.evaluable else {}
    several = [name for name in names(data) if 2 <= data.columns[name] <= MOST_CLASSES]
    text = _("{column} ({count} classes)")
    return label | {name: text.format(column=name, count=data.columns[name]) for name in several}


def words(text: str) -> list:
    """What is typed into a field, parted by commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def problem(data: DataSummary, target: str, clinical: str, branches: str) -> str:
    """Which of the typed columns are not there; empty where a fusion can begin. What the values are is found out when
    it reads them."""
    columns = [word.partition(":")[0] for word in words(clinical)]
    series = [name for word in words(branches) if (name := word.partition(":")[0]) not in _PLANES]
    missing = [name for name in [*columns, *series] if name not in data.columns]
    if missing:
        text = _("There is no column {names}. {columns}")
        return text.format(names=", ".join(missing), columns=columnsText(data))
    if target in columns:
        return _("{column} is what is to be told, and cannot be read as well.").format(column=target)
    return ""


def columnsText(data: DataSummary) -> str:
    """ "The manifest has the columns age, sex." """
    return _("The manifest has the columns {names}.").format(names=", ".join(names(data)))


def description(data: DataSummary) -> str:
    """One sentence on it and the paper, as HTML, and the columns that can be typed."""
    sentence = _(
        "Joins the branches of a case's images with its clinical values in a graph; what is missing is masked."
    )
    return f"{sentence} <i>{withLinks(METHODS['resmae'].source)}.</i> {withLinks(columnsText(data))}"
