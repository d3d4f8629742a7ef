"""Model bundles: a folder or a ``.maemc`` zip of a card (JSON) and weights (safetensors), verified before use.

Opening reads no pickle and trusts nothing that its hash does not confirm. Importable without torch; only ``tensors``,
``weights`` and ``save_bundle`` need it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from .bundle_files import opened, reading, sizes
from .card import SCHEMA, ModelCard
from .weights_header import TensorHeader, read_header

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
        values = {"schema": SCHEMA, **card, "members": listed, "files": files}
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
