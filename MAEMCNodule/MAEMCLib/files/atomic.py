"""Writing so that a reader, or a run after a crash, finds the old content or the new one, never half of it; and folders
that are to be written to, made before anything slow begins."""

import contextlib
import functools
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from .strict_json import parse_json, require

_LONGEST_NAME = 60
_PARTLY = "the disk did not take all of it"  # where a library, such as numpy, counts bytes and gives no reason


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; what is written there takes its place when the block ends without an error.

    Raises InputError where the disk does not take it (full, read-only); the old file then stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"{path.name} could not be written in {path.parent} ({error.strerror or _PARTLY}). "
            "What was there before is unchanged; free space or correct the rights, then run the command again.",
            "not-written",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file. Raises InputError where it cannot be written, ValueError for values that are no JSON."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        # Half a surrogate pair, which JSON of others may hold, is written as the escape that it is in JSON.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: Path, what: str, largest: int = 1 << 28) -> Any:
    """A JSON file; ``what`` names it in the message. Raises InputError where it is missing, not JSON, or of more than
    ``largest`` bytes."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(largest + 1)
        require(len(content) <= largest, f"it is larger than {largest >> 10} KiB")
        return parse_json(content.decode("utf-8"))
    except (OSError, ValueError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise InputError(f"{what} ({path}) {reason}.", "unreadable-json", (path,)) from error


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """The content as it will be read, with its own SHA-256 (``sha256``). For files that only MAEMC writes.

    Raises ValueError for values that are no JSON.
    """
    content = json.loads(json.dumps(content, allow_nan=False))
    return {**content, "sha256": _digest(content)}


def unsealed(content: Any) -> dict[str, Any]:
    """The content without its seal. Raises ValueError where it is not what was sealed, or has no seal."""
    require(isinstance(content, dict) and "sha256" in content, "it has no seal")
    plain = {key: value for key, value in content.items() if key != "sha256"}
    require(content["sha256"] == _digest(plain), "it was changed after it was written")
    return plain


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def make_folder(folder: Path, what: str = "folder") -> None:
    """Make a folder and those above it, unless it is there. what: how it is called in the message.

    Raises InputError where it cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # rights alone do not tell of a full or read-only disk
            pass
    except OSError as error:
        raise InputError(
            f"The {what} {folder} cannot be written ({error.strerror}). Choose another.", "not-written", [folder]
        ) from error


def folder_name(name: str, taken: set[str]) -> str:
    """A nodule's name, which is free text, as a folder's; unique among ``taken``, to which it is added."""
    plain = re.sub(r"[^\w.-]+", "_", name)[:_LONGEST_NAME].strip("._") or "nodule"
    unique, number = plain, 2
    while unique.lower() in taken:
        unique, number = f"{plain}-{number}", number + 1
    taken.add(unique.lower())
    return unique


def home() -> Path:
    """MAEMC_HOME, or the platform's folder for a user's application data."""
    return _home(*(os.environ.get(name) for name in ("MAEMC_HOME", "LOCALAPPDATA", "XDG_DATA_HOME", "HOME")))


@functools.lru_cache(maxsize=1)
def _home(chosen: str | None, local: str | None, data: str | None, _user: str | None) -> Path:
    """By what the environment says; a panel asks for it at each look at a nodule."""
    if chosen is not None:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(local or Path.home() / "AppData" / "Local") / "MAEMC"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "MAEMC"
    return Path(data or Path.home() / ".local" / "share") / "MAEMC"
