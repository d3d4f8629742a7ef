"""Taking files out of an archive without letting it decide where they go."""

import contextlib
import filecmp
import os
import shutil
import tarfile
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from MAEMCLib.errors import UNREADABLE, InputError

LARGEST_BYTES = 64 * 2**30


@contextlib.contextmanager
def _refusing(archive: Path, remedy: str) -> Iterator[None]:
    """What the reading libraries raise for a damaged archive, or a disk for what it does not take, as InputError."""
    try:
        yield
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{archive} is damaged or cannot be unpacked ({error}). {remedy}", "archive") from error


def unpack_tar(archive: Path, names: Collection[str], folder: Path) -> dict[str, Path]:
    """Unpack the named members of a tar file under their bare names: {name: file}. Links are never unpacked.

    Raises InputError where the archive is damaged, unpacks to more than any data set of pictures, or the folder cannot
    be written.
    """
    files = {}
    total = 0
    with _refusing(archive, "Copy it again."), tarfile.open(archive) as tar:
        for member in tar:
            name = PurePosixPath(member.name).name
            if member.isreg() and name in names and name not in files:
                total += member.size
                _check_size(archive, total)
                files[name] = _write(folder / name, tar.extractfile(member))
    return files


def unpack_zip(archive: Path, folder: Path) -> list[Path]:
    """Unpack a zip file and return its files. Nothing is written where a name would lead out of the folder.

    Raises InputError: that, a damaged or an encrypted archive, one that unpacks to more than any scene, a folder that
    cannot be written.
    """
    with _refusing(archive, "Save it again."), zipfile.ZipFile(archive) as packed:
        members = [member for member in packed.infolist() if not member.is_dir()]
        places = [_place(member.filename, folder, archive) for member in members]
        _check_size(archive, sum(member.file_size for member in members))
        for member, place in zip(members, places, strict=True):
            with packed.open(member) as stream:
                _write(place, stream)
    return places


def _check_size(archive: Path, size: int) -> None:
    if size > LARGEST_BYTES:
        raise InputError(f"{archive.name} unpacks to more than {LARGEST_BYTES >> 30} GiB.", "archive")


def _place(name: str, folder: Path, archive: Path) -> Path:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or any(part in ("..", "/") or ":" in part for part in parts):
        raise InputError(
            f"{archive.name} holds a file that would be written outside its folder ({name}); it is not unpacked.",
            "archive-path",
        )
    return folder.joinpath(*parts)


def _write(path: Path, stream) -> Path:
    """Write one member; a file that an earlier import wrote stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without waiting for the disk, unlike ``atomic.replacing``: thousands of small images can be unpacked again.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as target:
            shutil.copyfileobj(stream, target, 1 << 20)
        if path.is_symlink() or not path.is_file() or not filecmp.cmp(temporary, path, shallow=False):
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path stays below a folder when all links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
