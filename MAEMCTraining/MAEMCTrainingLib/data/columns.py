"""Further columns of a manifest: what a cache keeps of them, and what is asked of them by name.

A cache keeps nothing that may name somebody: small numbers, several readers' ratings, the coded terms of DICOM columns,
and of other columns with few values only which cases share one, as pseudonyms.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from MAEMCLib.cases.pseudonyms import pseudonym
from MAEMCLib.errors import InputError

from .cases import StoredCase

MOST_GROUPS = 20
"""Values of a column; a column with more describes single cases."""
_SMALL = re.compile(r"-?[0-9]{1,2}(?:\.[0-9]{1,2})?")  # what is larger may be somebody's number, or a date
_RATINGS = re.compile(r"[0-9](?: [0-9]){1,5}")  # of several readers, a digit each
_CODED = ("modality", "anatomy")
_CODE = re.compile("[A-Z0-9_ ]{1,16}")  # a code string of DICOM
_OF_THE_CASE = ("case_id", "label", "diameter_mm", "split")
_NEVER = ("case_id", "pseudonym_key")


def is_small_number(text: str) -> bool:
    """Whether a text is a number that can be nobody's name."""
    return _SMALL.fullmatch(text) is not None


def kept_values(cases: Sequence[Mapping[str, str]], key: bytes) -> list[dict[str, str]]:
    """What a cache keeps of the columns of its cases. A cell may hold several values, separated by ';'."""
    kept: list[dict[str, str]] = [{} for _ in cases]
    for name in dict.fromkeys(name for values in cases for name in values if name not in _NEVER):
        texts = [values.get(name, "") for values in cases]
        different = set(texts) - {""}
        if len(different) <= MOST_GROUPS or all(map(_is_harmless, different)):
            for values, text in zip(kept, texts, strict=True):
                values[name] = ";".join(_kept(name, part.strip(), key) for part in text.split(";"))
    return kept


def _is_harmless(text: str) -> bool:
    """Whether a text is a small number, or one digit for each of several readers."""
    return is_small_number(text) or _RATINGS.fullmatch(text) is not None


def _kept(name: str, text: str, key: bytes) -> str:
    if not text or _is_harmless(text) or (name in _CODED and _CODE.fullmatch(text)):
        return text
    return pseudonym("G", text, key)


def check_there(path: Path, columns: Iterable[str], names: Iterable[str]) -> None:
    """Raises InputError for names that are no columns of the data at ``path``, a manifest or a cache."""
    there = {*columns, *_OF_THE_CASE}
    lacking = [name for name in names if name not in there]
    if not lacking:
        return
    cache = " A cache keeps no column that may name somebody: give the manifest." if path.is_dir() else ""
    raise InputError(
        f"{'The cache' if path.is_dir() else 'The manifest'} {path} has no column {' and no column '.join(lacking)}, "
        f"which this method needs. It has {', '.join(sorted(there))}.{cache}",
        "manifest-columns",
        [path],
    )


def text_of(case: StoredCase, name: str) -> str:
    """What a case says under a column; empty where it says nothing. Of a cache its case_id is how messages name it."""
    own = {"label": case.label, "diameter_mm": case.diameter_mm, "split": case.part}
    value = own[name] if name in own else case.values.get(name, case.where if name == "case_id" else "")
    return "" if value is None else str(value)
