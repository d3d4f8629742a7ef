"""Model bundles: a folder or a ``.maemc`` zip of a card (JSON) and weights (safetensors), verified before use.

Opening reads no pickle and trusts nothing that its hash does not confirm. Importable without torch; only ``weights``
and ``save_bundle`` need it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .errors import ModelError
from .model_card import SCHEMA, ModelCard

if TYPE_CHECKING:
    from torch import Tensor

CARD = "bundle.json"
SUFFIX = ".maemc"
_LARGEST_CARD = 4 << 20
_CHUNK = 1 << 20


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
            )
        return bundle

    def problems(self) -> list[str]:
        """What does not match the card, a sentence a file; empty for a sound bundle."""
        found = []
        for name, entry in self.card.files.items():
            try:
                with _member(self.path, name) as stream:
                    digest, size = hashlib.sha256(), 0
                    while chunk := stream.read(_CHUNK):
                        digest.update(chunk)
                        size += len(chunk)
                        if size > entry["bytes"]:
                            break
            except (OSError, KeyError, zipfile.BadZipFile):
                found.append(f"{name} is missing or unreadable")
                continue
            if size != entry["bytes"]:
                found.append(f"{name} has the wrong size")
            elif digest.hexdigest() != entry["sha256"].lower():
                found.append(f"{name} has the wrong SHA-256")
        return found

    def weights(self, role: str) -> list[dict[str, Tensor]]:
        """Tensors of each member with the role (classifier, decoder, statistics), on the CPU. Raises ModelError."""
        import safetensors.torch

        loaded = []
        for name in self.card.members(role):
            try:
                if self.path.is_dir():  # mapped into memory, not copied: ViT-L in bfloat16 is 0.6 GB
                    loaded.append(safetensors.torch.load_file(self.path / name))
                else:
                    with _member(self.path, name) as stream:
                        loaded.append(safetensors.torch.load(stream.read()))
            except Exception as error:  # safetensors raises its own type besides ValueError and OSError
                raise ModelError(f"{self.path.name}: {name} holds no readable weights ({error}).", "weights") from error
        return loaded


def read_card(path: str | Path) -> ModelCard:
    """The checked card of a bundle, its weights not verified: for lists. Raises ModelError."""
    path = Path(path)
    if not path.exists():
        raise ModelError(f"There is no model at {path}. 'maemc models list' shows those that are here.", "missing")
    try:
        with _member(path, CARD) as stream:
            text = stream.read(_LARGEST_CARD + 1)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path.name} is not a model bundle: it has no readable {CARD}. Give a bundle's folder or {SUFFIX} file.",
            "not-a-bundle",
        ) from error
    if len(text) > _LARGEST_CARD:
        raise ModelError(f"{path.name}: {CARD} is too large to be a card. Get the model again.", "schema")
    return ModelCard.parse(text, hashlib.sha256(text).hexdigest(), path.name)


def save_bundle(path: str | Path, card: dict, members: list[Member]) -> ModelBundle:
    """Write a bundle: a folder, or a zip where the name ends in ``.maemc``. Whole or not at all; replaces an older one.

    card: everything of bundle.json but ``schema``, ``members`` and ``files``, which are filled in here.
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
        values = {"schema": SCHEMA, **card, "members": listed, "files": files}
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False).encode()
        ModelCard.parse(text, "", path.name)
        (folder / CARD).write_bytes(text)
    return ModelBundle.open(path)


def copy_bundle(bundle: ModelBundle, target: str | Path) -> ModelBundle:
    """Copy a verified bundle to a folder or a ``.maemc`` file, verified again there. Raises ModelError."""
    target = Path(target)
    with _placing(target) as folder:
        for name in (CARD, *bundle.card.files):
            with _member(bundle.path, name) as stream, (folder / name).open("wb") as copy:
                shutil.copyfileobj(stream, copy, _CHUNK)
    return ModelBundle.open(target)


@contextlib.contextmanager
def _placing(target: Path) -> Iterator[Path]:
    """A scratch folder that becomes the bundle at ``target`` when the block ends without an error."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            folder = Path(scratch) / "bundle"
            folder.mkdir()
            yield folder
            _replace(_zip(folder) if target.suffix == SUFFIX else folder, target)
    except OSError as error:
        raise ModelError(
            f"The model cannot be written to {target} ({error}). Choose a folder that can be written."
        ) from error


@contextlib.contextmanager
def _member(path: Path, name: str) -> Iterator[BinaryIO]:
    if path.is_dir():
        with (path / name).open("rb") as stream:
            yield stream
    else:
        with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
            yield stream


def _zip(folder: Path) -> Path:
    """Pack without compression (weights do not shrink) and with fixed times, so that equal bundles are equal files."""
    packed = folder.with_suffix(SUFFIX)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.iterdir()):
            archive.writestr(zipfile.ZipInfo(file.name, (1980, 1, 1, 0, 0, 0)), file.read_bytes())
    return packed


def _replace(new: Path, target: Path) -> None:
    if new.is_file():
        os.replace(new, target)
        return
    retired = None
    if target.exists():  # a folder cannot be replaced in one step; the old one stays until the new one is in place
        retired = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent)) / "old"
        os.replace(target, retired)
    try:
        os.replace(new, target)
    except OSError:
        if retired is not None:
            os.replace(retired, target)
        raise
    if retired is not None:
        shutil.rmtree(retired.parent, ignore_errors=True)
