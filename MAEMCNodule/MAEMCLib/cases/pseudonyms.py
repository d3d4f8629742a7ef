"""Pseudonyms: how caches, jobs and the audit log know patients and cases apart without holding what identifies them.

A pseudonym is a keyed hash of a name: the manifest's patient_id or case_id, a series' UID, a reader's name. The key is
made once per MAEMC_HOME and stays there, so that one patient has one pseudonym in every cache of a site while nobody
without the key can find the patient by trying all hospital numbers. Nothing numerical depends on pseudonyms: folds and
draws go by the order of the cases.
"""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import time
from pathlib import Path

from ..errors import InputError

_TRIES, _BETWEEN_SECONDS = 50, 0.02
_MADE = re.compile("[A-Z][0-9a-f]{16}")
_KINDS = {"P": "", "C": "case\0", "V": "volume\0", "G": "group\0", "N": "nodule\0", "O": "observer\0"}
"""What goes into the hash before a name: a case called like its patient must not show its patient's pseudonym."""


def pseudonym_key(home: Path) -> bytes:
    """The site's key, made at the first call. Raises InputError where it cannot be written or is damaged."""
    path = home / "pseudonym.key"
    try:
        home.mkdir(parents=True, exist_ok=True)
        # Exclusive creation: of two processes that start at the same time one writes and both read the same key.
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        with contextlib.suppress(FileExistsError), os.fdopen(os.open(path, flags, 0o600), "w") as stream:
            stream.write(secrets.token_hex(32))
        key = bytes.fromhex(_written(path))
    except (OSError, ValueError) as error:
        raise InputError(
            f"The pseudonym key {path} cannot be made or read ({error}). Set MAEMC_HOME to a writable folder.",
            "pseudonym-key",
        ) from error
    if len(key) != 32:
        raise InputError(
            f"The pseudonym key {path} is damaged. Restore it from a backup, or remove it and build the caches again; "
            "what the audit log says of nodules before is then no longer theirs.",
            "pseudonym-key",
        )
    return key


def _written(path: Path) -> str:
    """What the file holds, as soon as the process that has just made it has written it."""
    for _ in range(_TRIES):
        if text := path.read_text().strip():
            break
        time.sleep(_BETWEEN_SECONDS)
    return text


def pseudonym(letter: str, name: str, key: bytes, made_with: str | None = None) -> str:
    """The pseudonym of a name: the letter of its kind (``P`` patient, ``C`` case, ``V`` volume, ``G`` group of cases,
    ``N`` nodule, ``O`` observer) and 16 hexadecimal digits. made_with: the name of the key of an importer that made the
    name a pseudonym already.

    One that was made with this site's key is taken as it is, so that imported manifests and manifests with the
    hospital's own numbers agree; one of another key is hashed again.
    """
    if made_with == key_name(key) and name.startswith(letter) and _MADE.fullmatch(name):
        return name
    return letter + hmac.new(key, f"{_KINDS[letter]}{name}".encode(), hashlib.sha256).hexdigest()[:16]


def key_name(key: bytes) -> str:
    """A name of the key that does not give it away: pseudonyms made with different keys cannot be compared."""
    return hashlib.sha256(b"MAEMC pseudonym key" + key).hexdigest()[:16]
