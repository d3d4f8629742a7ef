"""Which folders of a tree of pictures are classes, and which of two classes is the negative one."""

from collections.abc import Sequence
from dataclasses import dataclass

from MAEMCLib.errors import InputError

KNOWN = {"benign": 0, "malignant": 1, "0": 0, "1": 1}
NEGATIONS = ("non", "no", "not", "normal", "negative", "healthy", "control", "benign")
MOST_CLASSES = 20


@dataclass(frozen=True)
class ClassFolders:
    """level: how deep below the source the folders of the classes lie; None: there are none. labels: 0 or 1 of a class
    whose polarity is known. remarks: how the folders were understood, for the user.
    """

    level: int | None = None
    labels: tuple[tuple[str, int], ...] = ()
    remarks: tuple[str, ...] = ()

    def of(self, parts: Sequence[str]) -> tuple[str, tuple[str, ...]]:
        """The class of a picture by the folders that it lies in, empty without one; and the folders below it."""
        if self.level is None or len(parts) <= self.level:
            return "", tuple(parts)
        return parts[self.level], tuple(parts[self.level + 1 :])

    def label(self, name: str) -> int | None:
        """0 or 1, None where the class has no known polarity."""
        return dict(self.labels).get(name.lower())


def find_class_folders(folders: Sequence[tuple[str, ...]], named: Sequence[str] = ()) -> ClassFolders:
    """Find the classes among the folders that pictures lie in, each given by its parts below the source.

    Folders that the user has named; else those called benign and malignant, or 0 and 1; else, where all pictures lie
    directly in folders of one and the same level and no name of these has a digit, as those of patients have, these
    folders. Raises InputError: a class that was named and has no folder.
    """
    if named:
        wanted = {name.lower(): number for number, name in enumerate(named)}
        there = {part.lower() for parts in folders for part in parts}
        missing = [name for name in named if name.lower() not in there]
        if missing or len(wanted) < 2:
            raise InputError(
                f"--classes names {', '.join(named)}; there is no folder {', '.join(missing)} with pictures."
                if missing
                else "--classes needs two names or more, the negative class first.",
                "classes",
            )
        labels = tuple(wanted.items()) if len(wanted) == 2 else ()
        return ClassFolders(_level(folders, set(wanted)), labels)
    level = _level(folders, set(KNOWN))
    if level is not None:
        return ClassFolders(level, tuple(KNOWN.items()))
    return _only_level(folders)


def _level(folders: Sequence[tuple[str, ...]], names: set[str]) -> int | None:
    """The outermost level at which one of the names stands."""
    return min((n for parts in folders for n, part in enumerate(parts) if part.lower() in names), default=None)


def _only_level(folders: Sequence[tuple[str, ...]]) -> ClassFolders:
    shared = next((n for n, parts in enumerate(zip(*folders, strict=False)) if len(set(parts)) > 1), 0)
    names = sorted({parts[shared] for parts in folders if len(parts) > shared})
    deep = {len(parts) for parts in folders} != {shared + 1}
    if deep or not 2 <= len(names) <= MOST_CLASSES or any(sign.isdigit() for name in names for sign in name):
        return ClassFolders()
    negative = [name for name in names if _is_negative(name)]
    labels = ()
    remark = (
        f"The folders {', '.join(names)} were taken for classes (column class), each picture for a patient of its own."
    )
    if len(names) == 2 and len(negative) == 1:
        labels = tuple((name.lower(), int(name not in negative)) for name in names)
        remark += f" Label 0 is {negative[0]}; --classes NEGATIVE,POSITIVE says otherwise."
    elif len(names) == 2:
        remark += " Which of them is positive is not known: name them by --classes NEGATIVE,POSITIVE for labels."
    return ClassFolders(shared, labels, (remark,))


def _is_negative(name: str) -> bool:
    """Whether a word of the name denies: CT_NonCOVID, no-finding, normal."""
    words = name.replace("-", "_").replace(" ", "_").lower().split("_")
    return any(word == start or (start == "non" and word.startswith("non")) for word in words for start in NEGATIONS)
