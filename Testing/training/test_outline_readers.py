"""How alike readers outline a nodule, from counts alone, against every reader's own mask."""

import numpy as np
import pytest
from MAEMCTrainingLib.outlines.readers import dice, others_dice, reader_dice


def drawn(readers: int, seed: int) -> list[np.ndarray]:
    """Masks of so many readers: a ball each, of another size and place."""
    random = np.random.default_rng(seed)
    places = np.stack(np.indices((12, 12, 12)), axis=-1)
    middles = 5.5 + random.uniform(-1, 1, (readers, 3))
    return [np.linalg.norm(places - middle, axis=-1) < random.uniform(2.5, 4.5) for middle in middles]


def without(masks: list[np.ndarray], left_out: int) -> np.ndarray:
    """Consensus of the others: marked by at least half of them."""
    others = [mask for number, mask in enumerate(masks) if number != left_out]
    return np.sum(others, axis=0) * 2 >= len(others)


def pooled(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    shared = sum((one & other).sum() for one, other in pairs)
    return 2 * shared / sum(one.sum() + other.sum() for one, other in pairs)


@pytest.mark.parametrize("readers", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_counts_say_what_the_masks_say(readers, seed):
    masks = drawn(readers, seed)
    marks, other = np.sum(masks, axis=0), drawn(1, seed + 100)[0]
    others = [without(masks, number) & (marks > 0) for number in range(readers)]
    assert reader_dice(marks, readers) == pytest.approx(pooled(list(zip(masks, others, strict=True))))
    assert others_dice(other, marks, readers) == pytest.approx(pooled([(other, one) for one in others]))


def test_dice_of_known_masks():
    first, second = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    first[0], second[0, :2] = True, True
    assert dice(first, first) == 1 and dice(first, second) == pytest.approx(4 / 6)
    assert dice(first, ~first) == 0 and dice(first & False, second & False) == 0
