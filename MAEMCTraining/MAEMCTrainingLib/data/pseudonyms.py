"""Pseudonyms: how caches and jobs know patients and cases apart without holding what identifies them.

A pseudonym is a keyed hash of the manifest's patient_id or case_id. The key is made once per MAEMC_HOME and stays
there, so that one patient has one pseudonym in every cache of a site while nobody without the key can find the patient
by trying all hospital numbers. Nothing numerical depends on pseudonyms: folds and draws go by the order of the cases.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from MAEMCLib.errors import InputError

_MADE = re.compile("[A-Z][0-9a-f]{16}")


def pseudonym_key(home: Path) -> bytes:
    """The site's key, made at the first call. Raises InputError where it cannot be written or is damaged."""
    path = home / "pseudonym.key"
    try:
        home.mkdir(parents=True, exist_ok=True)
        try:
            # Exclusive creation: of two processes that start at the same time one writes and both read the same key.
            with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as stream:
                stream.write(secrets.token_hex(32))
        except FileExistsError:
            pass
        key = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise InputError(
            f"The pseudonym key {path} cannot be made or read ({error}). Set MAEMC_HOME to a writable folder.",
            "pseudonym-key",
        ) from error
    if len(key) != 32:
        raise InputError(
            f"The pseudonym key {path} is damaged. Restore it from a backup, or remove it and build the caches again.",
            "pseudonym-key",
        )
    return key


def pseudonym(patient_id: str, key: bytes) -> str:
    """The pseudonym of one patient: "P" and 16 hexadecimal digits."""
    return "P" + hmac.new(key, patient_id.encode(), hashlib.sha256).hexdigest()[:16]


def name_pseudonym(letter: str, what: str, name: str, key: bytes) -> str:
    """The pseudonym of another name than a patient's: a letter and 16 hexadecimal digits."""
    # What kind of name it is goes into the hash: a case called like its patient must not show its patient's pseudonym.
    return letter + pseudonym(f"{what}\0{name}", key)[1:]


def patient_pseudonym(patient_id: str, made_with: str | None, key: bytes) -> str:
    """The pseudonym of a case's patient. made_with: the name of the key of an importer that made it one already.

    One that was made with this site's key is taken as it is, so that imported manifests and manifests with the
    hospital's own numbers agree; one of another key is hashed again.
    """
    return patient_id if _is_made("P", patient_id, made_with, key) else pseudonym(patient_id, key)


def case_pseudonym(case_id: str, made_with: str | None, key: bytes) -> str:
    """The pseudonym of a case, likewise: "C" and 16 hexadecimal digits."""
    return case_id if _is_made("C", case_id, made_with, key) else name_pseudonym("C", "case", case_id, key)


def _is_made(letter: str, name: str, made_with: str | None, key: bytes) -> bool:
    return made_with == key_name(key) and name.startswith(letter) and _MADE.fullmatch(name) is not None


def key_name(key: bytes) -> str:
    """A name of the key that does not give it away: pseudonyms made with different keys cannot be compared."""
    return hashlib.sha256(b"MAEMC pseudonym key" + key).hexdigest()[:16]
