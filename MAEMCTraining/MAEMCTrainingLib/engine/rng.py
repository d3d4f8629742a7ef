"""Random draws that depend on what they are for, never on when or where they are made.

Every draw has its own counter-based generator, keyed by the seed, the purpose, the epoch and the sample. A resumed run,
another number of processes or another order of the samples therefore draws the same numbers.
"""

import hashlib

import numpy as np


def generator(seed: int, purpose: str, epoch: int = 0, sample: int = 0) -> np.random.Generator:
    """The generator of one purpose ("order", "shift", "mask-axial", ...) for one sample in one epoch.

    Philox with the seed and the purpose as its key, the epoch and the sample as the upper words of its counter; the
    lower words count the numbers drawn, so that no two of these streams overlap.
    """
    word = int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")
    return np.random.Generator(np.random.Philox(key=[seed, word], counter=[0, 0, epoch, sample]))
