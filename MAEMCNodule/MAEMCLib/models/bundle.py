"""Model bundles: a folder or a ``.maemc`` zip of a card (JSON) and weights (safetensors), verified before use.

Opening reads no pickle and trusts nothing that its hash does not confirm, and nothing that a stranger's file says:
before a byte is unpacked the zip's own list of contents is checked: how long it is, what it declares, how far that
would swell. Whatever goes wrong while a file is read becomes a ModelError, so that one bad bundle stops nothing else.
Importable without torch; only ``tensors``, ``weights`` and ``save_bundle`` need it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import stat
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..errors import UNREADABLE, MAEMCError, ModelError
from .card import ModelCard, schema_of
from .tensor_header import TensorHeader, read_header

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

CARD = "bundle.json"
SUFFIX = ".maemc"
_LARGEST_CARD = 4 << 20
_CHUNK = 1 << 20
LARGEST_BUNDLE = 64 << 30
"""Bytes declared by all files together: ten folds of a ViT-L in float32 are 12 GB."""
MOST_FILES = 1000
_LARGEST_LIST = 1 << 20
_RATIO, _SLACK = 20, 4 << 20
"""Weights do not shrink. Beyond some slack for a card, a file that swells more than this holds nothing but zeros."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x06"


@dataclass(frozen=True)
class Member:
    """A file of weights to be saved: its role, its file name without suffix, its tensors."""

    role: str
    name: str
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class ModelBundle:
    """A bundle whose every file has been checked against the card. Made by ``ModelBundle.open``."""

    path: Path
    card: ModelCard

    @classmethod
    def open(cls, path: str | Path) -> ModelBundle:
        """Read the card and verify every file. Raises ModelError naming the file that is missing or does not match."""
        bundle = cls(Path(path), read_card(path))
        problems = bundle.problems()
        if problems:
            raise ModelError(
                f"The model {bundle.path.name} cannot be trusted: {'; '.join(problems)}. Get it again from its source.",
                "hash",
                [bundle.path.name],
            )
        return bundle

    def problems(self) -> list[str]:
        """What does not match the card, a sentence a file; empty for a sound bundle. Raises ModelError for an archive
        that is not safe to open."""
        with reading(self.path, f"{self.path.name} cannot be read ({{reason}}). Get the model again.", "not-a-bundle"):
            there = sizes(self.path)
        problems = (self._file_problem(name, there.get(name)) for name in self.card.files)
        return [problem for problem in problems if problem]

    def _file_problem(self, name: str, size: int | None) -> str:
        """The header is read before the rest: gigabytes that are no weights are not worth a hash."""
        stated = self.card.files[name]
        if size not in (None, stated["bytes"]):
            return f"{name} has the wrong size"
        try:
            with reading(self.path, "it is missing or unreadable", "hash"), opened(self.path, name) as stream:
                self.header(name)
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except ModelError as error:
            return f"{name} is missing or unreadable" if error.code == "hash" else str(error)
        return "" if digest == stated["sha256"].lower() else f"{name} has the wrong SHA-256"

    def header(self, name: str) -> dict[str, TensorHeader]:
        """The types and shapes of a file's tensors, without reading these. Raises ModelError."""
        with self._reading_weights(name), opened(self.path, name) as stream:
            return read_header(stream, self.card.files[name]["bytes"])

    def tensors(self, name: str) -> dict[str, Tensor]:
        """A file's tensors, on the CPU. Raises ModelError."""
        import safetensors.torch

        self.header(name)
        with self._reading_weights(name):
            try:
                if self.path.is_dir():  # mapped into memory, not copied: ViT-L in bfloat16 is 0.6 GB
                    return safetensors.torch.load_file(self.path / name)
                with opened(self.path, name) as stream:
                    return safetensors.torch.load(stream.read())
            except safetensors.SafetensorError as error:
                raise ValueError(str(error)) from error

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """The same of a file without weights, whose types numpy has too; without torch. Raises ModelError."""
        import safetensors.numpy

        self.header(name)
        with self._reading_weights(name), opened(self.path, name) as stream:
            try:
                return safetensors.numpy.load(stream.read())
            except safetensors.SafetensorError as error:
                raise ValueError(str(error)) from error

    def weights(self, role: str) -> list[dict[str, Tensor]]:
        """Tensors of each member with the role (classifier, decoder, statistics), on the CPU. Raises ModelError."""
        return [self.tensors(name) for name in self.card.members(role)]

    def _reading_weights(self, name: str) -> contextlib.AbstractContextManager:
        return reading(self.path, f"{name} holds no readable weights ({{reason}})", "weights")


def read_card(path: str | Path) -> ModelCard:
    """The checked card of a bundle, its weights not verified: for lists. Raises ModelError, whatever lies there."""
    path = Path(path)
    message = (
        f"{path.name} is not a model bundle: it has no readable {CARD} ({{reason}}). Give a bundle's folder or "
        f"{SUFFIX} file."
    )
    with reading(path, message, "not-a-bundle"):
        if not path.exists():
            raise ModelError(
                f"There is no model at {path}. 'maemc models list' shows those that are here.", "missing", [path]
            )
        with opened(path, CARD) as stream:
            text = stream.read(_LARGEST_CARD + 1)
    if len(text) > _LARGEST_CARD:
        raise ModelError(f"{path.name}: {CARD} is too large to be a card. Get the model again.", "schema", [path.name])
    try:
        return ModelCard.parse(text, hashlib.sha256(text).hexdigest(), path.name)
    except ModelError as error:
        raise ModelError(str(error), error.code, [path.name]) from error


def save_bundle(
    path: str | Path,
    card: dict,
    members: list[Member],
    measure: Callable[[ModelBundle], dict] | None = None,
) -> ModelBundle:
    """Write a bundle: a folder, or a zip where the name ends in ``.maemc``. Whole or not at all; replaces an older one.

    card: everything of bundle.json but ``schema``, ``members`` and ``files``, which are filled in here.
    measure: makes the card's reference case from the written weights (``reference_case.measure``).
    Raises ModelError: the card is incomplete, or the place cannot be written.
    """
    import safetensors.torch

    path = Path(path)
    with _placing(path) as folder:
        files, listed = {}, []
        for member in members:
            name = f"{member.name}.safetensors"
            tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in member.tensors.items()}
            data = safetensors.torch.save(tensors)
            (folder / name).write_bytes(data)
            files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            listed.append({"role": member.role, "file": name})
        values = {"schema": schema_of(listed), **card, "members": listed, "files": files}
        parsed = ModelCard.parse(_text(values), "", path.name)
        if measure is not None:
            values["reference"] = measure(ModelBundle(folder, parsed))
        (folder / CARD).write_bytes(_text(values))
    return ModelBundle.open(path)


def _text(values: dict) -> bytes:
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False).encode()


def copy_bundle(bundle: ModelBundle, target: str | Path) -> ModelBundle:
    """Copy a verified bundle to a folder or a ``.maemc`` file, verified again there. Raises ModelError."""
    target = Path(target)
    with _placing(target) as folder:
        for name in (CARD, *bundle.card.files):
            with opened(bundle.path, name) as stream, (folder / name).open("wb") as copy:
                shutil.copyfileobj(stream, copy, _CHUNK)
    return ModelBundle.open(target)


@contextlib.contextmanager
def _placing(target: Path) -> Iterator[Path]:
    """A scratch folder that becomes the bundle at ``target`` when the block ends without an error."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{target.name[:40]}-"
        with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent, ignore_cleanup_errors=True) as scratch:
            folder = Path(scratch) / "bundle"
            folder.mkdir()
            yield folder
            _replace(_zip(folder) if target.suffix == SUFFIX else folder, target)
    except OSError as error:
        reason = error.strerror or error
        raise ModelError(
            f"The model cannot be written to {target} ({reason}). Choose a folder that can be written.",
            private=[target, target.parent],
        ) from error


def _zip(folder: Path) -> Path:
    """Pack without compression (weights do not shrink) and with fixed times, so that equal bundles are equal files."""
    packed = folder.with_suffix(SUFFIX)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.iterdir()):
            archive.writestr(zipfile.ZipInfo(file.name, (1980, 1, 1, 0, 0, 0)), file.read_bytes())
    return packed


def _replace(new: Path, target: Path) -> None:
    """A folder cannot be replaced in one step: the old one stays beside the new one until that is in its place."""
    retired = new.with_name("old")
    if new.is_dir() and target.exists():
        os.replace(target, retired)
    try:
        os.replace(new, target)
    except OSError:
        if retired.exists():
            os.replace(retired, target)
        raise


@contextlib.contextmanager
def reading(path: Path, message: str, code: str) -> Iterator[None]:
    """Whatever reading raises becomes a ModelError: ``message``, with {reason} for what happened."""
    try:
        yield
    except MAEMCError:
        raise
    except UNREADABLE as error:
        raise ModelError(message.replace("{reason}", _reason(error)), code, [path, path.name]) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip("'\"") or type(error).__name__


def sizes(path: Path) -> dict[str, int]:
    """File name -> bytes declared, of a bundle's folder or zip. Raises ModelError for a zip that is no honest bundle,
    OSError and what zipfile raises for one that cannot be read."""
    found = _folder_sizes(path) if path.is_dir() else _zip_sizes(path)
    if sum(found.values()) > LARGEST_BUNDLE:
        raise _refused(path, f"its files are {sum(found.values()) >> 30} GiB, more than any model")
    return found


@contextlib.contextmanager
def opened(path: Path, name: str) -> Iterator[BinaryIO]:
    """One file's bytes. Raises as ``sizes`` does, KeyError where there is none of the name."""
    if path.is_dir():
        _regular(path / name)
        with (path / name).open("rb") as stream:
            yield stream
    else:
        _zip_sizes(path)
        with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
            yield stream


def _folder_sizes(path: Path) -> dict[str, int]:
    with os.scandir(path) as entries:
        found = list(itertools.islice(entries, MOST_FILES + 1))
    if len(found) > MOST_FILES:
        raise _refused(path, f"it holds more than {MOST_FILES} files")
    return {entry.name: entry.stat().st_size for entry in found if entry.is_file()}


def _regular(path: Path) -> int:
    """A file's size. A pipe or device would keep a reader waiting for ever."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path.name} is no file")
    return found.st_size


def _zip_sizes(path: Path) -> dict[str, int]:
    size = _regular(path)
    if _list_bytes(path, size) > _LARGEST_LIST:
        raise _refused(path, "its list of contents is longer than any model's")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(names) > MOST_FILES:
        raise _refused(path, f"it holds more than {MOST_FILES} files")
    if len({name.lower() for name in names}) < len(names):
        raise _refused(path, "it holds a file twice")
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise _refused(path, "it is encrypted")
    if any(entry.compress_type not in _METHODS for entry in entries):
        raise _refused(path, "it is compressed in a way that bundles are not")
    packed, declared = sum(e.compress_size for e in entries), sum(e.file_size for e in entries)
    swelling = [e for e in entries if e.file_size > _RATIO * e.compress_size + _SLACK]
    if swelling or declared > _RATIO * packed + _SLACK or packed > size:
        raise _refused(path, f"its {size} bytes would swell to {declared}")
    return {entry.filename: entry.file_size for entry in entries if not entry.is_dir()}


def _list_bytes(path: Path, size: int) -> int:
    """The length of a zip's list of contents as its end states it, before zipfile reads all of it into memory."""
    with path.open("rb") as stream:
        stream.seek(max(0, size - (1 << 16) - 128))
        tail = stream.read()
    stated = [0]
    for mark, place, kind in ((_END, 12, "<I"), (_END_64, 40, "<Q")):
        at = tail.find(mark)
        while at >= 0:
            field = tail[at + place : at + place + struct.calcsize(kind)]
            if len(field) == struct.calcsize(kind):
                (value,) = struct.unpack(kind, field)
                # In a zip of over 4 GB the short field may only say that the long one counts.
                stated.append(0 if value == 0xFFFFFFFF and kind == "<I" else value)
            at = tail.find(mark, at + 1)
    return max(stated)


def _refused(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path.name} is no model bundle that is safe to open: {why}. Get the model again.", "archive", [path.name]
    )
