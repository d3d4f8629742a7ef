"""How the pictures of a case are stored: one square after another in one row of bytes.

Each square has its own side and is exactly what ``images.gray.framed`` gives scoring of the same picture: in 8 bits
where that loses nothing, otherwise in float32. The lesion that is marked in a picture follows it, a byte a pixel.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from MAEMCLib.images.gray import STORED_SIDE, crop_resized, framed, square

from .kind import Cases, Cut

_WORD = 4  # bytes: squares of float32 begin at a multiple of it


@dataclass(frozen=True)
class StoredPicture:
    """Where a square lies: the offset of its first byte, its side, whether it is in 8 bits; the offset of its lesion,
    None where none is marked."""

    offset: int
    side: int
    eight_bits: bool
    mask: int | None = None


@dataclass(frozen=True)
class PictureFacts:
    """The pictures of a case, in the order of their slices."""

    pictures: tuple[StoredPicture, ...]


def stored(pictures: Sequence[tuple[np.ndarray, np.ndarray | None]]) -> Cut:
    """Pictures (rows, columns) float32 in [0, 1], each with its lesions bool or None. sha256: of the gray values."""
    content, places, hashes = bytearray(), [], []
    for gray, mask in pictures:
        whole = framed(gray, STORED_SIDE)
        levels = np.rint(whole * 255).astype(np.uint8)
        eight_bits = np.array_equal(levels.astype(np.float32) / np.float32(255), whole)
        square_bytes = (levels if eight_bits else whole.astype(np.float32)).tobytes()
        hashes.append(hashlib.sha256(square_bytes).hexdigest())
        offset = _append(content, square_bytes)
        lesion = None if mask is None else _append(content, _framed_lesion(mask, len(whole)).tobytes())
        places.append(StoredPicture(offset, len(whole), eight_bits, lesion))
    array = np.frombuffer(bytes(content), np.uint8)
    return Cut(array, PictureFacts(tuple(places)), hashlib.sha256("".join(hashes).encode()).hexdigest())


def _append(content: bytearray, more: bytes) -> int:
    """Add to the content and fill up to a whole word; where it begins."""
    offset = len(content)
    content += more + bytes(-len(more) % _WORD)
    return offset


def _framed_lesion(mask: np.ndarray, side: int) -> np.ndarray:
    """(side, side) uint8. Anything of a lesion that falls on a pixel makes it lesion: a small one must not vanish."""
    marked = square(mask.astype(np.float32))
    if len(marked) != side:
        marked = crop_resized(marked, (len(marked) / 2, len(marked) / 2), len(marked), side)
    return (marked > 0).astype(np.uint8)


def gray_of(cohort: Cases, case: int, place: int) -> np.ndarray:
    """(side, side) float32 in [0, 1] of one picture of a case: what ``framed`` gives scoring."""
    stored = cohort.cases[case].facts.pictures[place]
    count = stored.side**2 * (1 if stored.eight_bits else _WORD)
    content = cohort.array(case)[stored.offset : stored.offset + count]
    if stored.eight_bits:
        return content.reshape(stored.side, stored.side).astype(np.float32) / np.float32(255)
    return np.array(content.view(np.float32).reshape(stored.side, stored.side))


def lesion_of(cohort: Cases, case: int, place: int) -> np.ndarray | None:
    """(side, side) bool of the same picture; None where no lesion is marked."""
    stored = cohort.cases[case].facts.pictures[place]
    if stored.mask is None:
        return None
    mask = cohort.array(case)[stored.mask : stored.mask + stored.side**2] > 0
    return mask.reshape(stored.side, stored.side) if mask.any() else None
