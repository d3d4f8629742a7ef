"""Who decides: asked once, kept in observer.json of MAEMC_HOME, apart from the audit log, which has a pseudonym."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from ..cases.pseudonyms import pseudonym
from ..errors import InputError, UsageError
from ..files.atomic import make_folder, read_json, write_json

_LONGEST = 64
"""Letters of a name in DICOM (PN and LO), to which it goes with an accepted result."""


@dataclass(frozen=True)
class Observer:
    """A person and where they work, as an accepted DICOM result names them."""

    name: str
    organization: str

    def __post_init__(self) -> None:
        """Raises UsageError for what is no name."""
        for what, text in asdict(self).items():
            if not 0 < len(text.strip()) <= _LONGEST or not text.isprintable() or "\\" in text:
                raise UsageError(
                    f"The observer's {what} has to be 1 to {_LONGEST} printable letters without a backslash.",
                    "observer",
                )

    def pseudonym(self, key: bytes) -> str:
        """What the audit log calls them. key: the home's (``pseudonym_key``)."""
        return pseudonym("O", f"{self.name.strip()}\0{self.organization.strip()}", key)


def read_observer(home: Path) -> Observer | None:
    """Who has been stored; None: nobody has been asked yet. Raises InputError where the file is damaged."""
    path = home / "observer.json"
    if not path.exists():
        return None
    stored = read_json(path, "The observer's name")
    try:
        return Observer(**stored)
    except (TypeError, AttributeError, UsageError) as error:
        raise InputError(f"The observer's name ({path}) is damaged. Enter it again.", "observer", (path,)) from error


def store_observer(home: Path, observer: Observer) -> None:
    """Keep who decides from now on. Raises InputError where the home cannot be written."""
    make_folder(home, "folder MAEMC_HOME")
    write_json(home / "observer.json", asdict(observer))
