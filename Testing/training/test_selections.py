"""Which slices a rule keeps, against brute force, and rules that are refused."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from MAEMCLib.errors import UsageError
from MAEMCTrainingLib.reduction import METHODS, check_rule
from MAEMCTrainingLib.reduction.hash import DifferenceHash
from MAEMCTrainingLib.reduction.position import AllSlices, EveryNth
from MAEMCTrainingLib.reduction.selection import LEADER, PAIRWISE, Rule, select

from Testing.training.drawn_slices import drifting, noise


@dataclass
class Table:
    """A similarity that is told: a symmetric matrix."""

    matrix: np.ndarray
    is_distance: bool

    def compare(self, described, one, others):
        return self.matrix[one, others]


def within(value, threshold, is_distance):
    return value <= threshold if is_distance else value >= threshold


def brute_leader(matrix, threshold, is_distance):
    """The published procedure: the first of what remains is written, all like it leave the list."""
    remaining, kept, why = list(range(len(matrix))), [], {}
    while remaining:
        first = remaining[0]
        kept.append(first)
        alike = [i for i in remaining if i != first and within(matrix[first, i], threshold, is_distance)]
        why |= dict.fromkeys(alike, first)
        remaining = [i for i in remaining if i != first and i not in alike]
    return kept, why


def brute_pairwise(matrix, threshold, is_distance, share=None):
    """All remaining pairs are looked at anew before each removal."""
    remaining, why = list(range(len(matrix))), {}
    while len(remaining) > 1 and (share is None or len(remaining) - 1 >= share * len(matrix)):
        best = None
        for place, a in enumerate(remaining):
            for b in remaining[place + 1 :]:
                if best is None or (matrix[a, b] < best[0] if is_distance else matrix[a, b] > best[0]):
                    best = (matrix[a, b], a, b)
        if threshold is not None and not within(best[0], threshold, is_distance):
            break
        remaining.remove(best[2])
        why[best[2]] = best[1]
    return remaining, why


def last(why, place):
    return last(why, why[place]) if place in why else place


@pytest.mark.parametrize("is_distance", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_selections_against_brute_force(seed, is_distance):
    """Few distinct values, so that ties are the rule."""
    draws = np.random.default_rng(seed)
    count = int(draws.integers(1, 14))
    half = np.triu(draws.integers(0, 7, (count, count)), 1).astype(float)
    table = Table(half + half.T, is_distance)
    for threshold in (-1.0, 0.0, 2.0, 3.0, 6.0, 9.0):
        for selection, brute in ((LEADER, brute_leader), (PAIRWISE, brute_pairwise)):
            found = select(table, None, count, Rule(selection, threshold))
            kept, why = brute(table.matrix, threshold, is_distance)
            assert list(found.kept) == kept
            assert {item.place: item.because_of for item in found.removed} == why
            assert {item.place: item.kept for item in found.removed} == {place: last(why, place) for place in why}
            assert all(item.value == table.matrix[item.place, item.because_of] for item in found.removed)
            assert not any(within(table.matrix[a, b], threshold, is_distance) for a in kept for b in kept if a < b)
    for share in (0.01, 0.1, 0.5, 0.7, 1.0):
        found = select(table, None, count, Rule(PAIRWISE, share=share))
        assert list(found.kept) == brute_pairwise(table.matrix, None, is_distance, share)[0]
        assert len(found.kept) == max(1, math.ceil(round(share * count, 6)))


def test_selections_differ_where_they_should():
    """Along a chain the leader absorbs one neighbor; in pairs the chain collapses from its most alike end."""
    distances = np.array([[0, 3, 6, 9], [3, 0, 2, 6], [6, 2, 0, 1], [9, 6, 1, 0]], float)
    table = Table(distances, True)
    assert select(table, None, 4, Rule(LEADER, 3)).kept == (0, 2)
    found = select(table, None, 4, Rule(PAIRWISE, 3))
    assert found.kept == (0,) and [item.place for item in found.removed] == [3, 2, 1]
    assert {item.kept for item in found.removed} == {0}


@pytest.mark.parametrize("name", ["hash", "ssim", "mi"])
def test_each_similarity_against_brute_force(name):
    similarity = METHODS[name]()
    slices = drifting(14, 48, seed=4)
    described = similarity.describe(slices)
    matrix = np.array([similarity.compare(described, one, np.arange(14)) for one in range(14)])
    assert np.allclose(matrix, matrix.T, atol=1e-6)
    threshold = 6.0 if name == "hash" else float(np.round(np.quantile(matrix, 0.8), 3))
    kept, _ = brute_leader(matrix, threshold, similarity.is_distance)
    assert select(similarity, described, 14, Rule(LEADER, threshold)).kept == tuple(kept) and 1 < len(kept) < 14
    kept, _ = brute_pairwise(matrix, threshold, similarity.is_distance)
    assert select(similarity, described, 14, Rule(PAIRWISE, threshold)).kept == tuple(kept) and 1 < len(kept) < 14


def test_constant_slices_collapse_to_one():
    slices = [np.full((32, 32), value, np.uint8) for value in (0, 0, 0)] + [noise(32, 32)]
    for name, threshold in (("hash", 6.0), ("ssim", 0.99), ("mi", 1.99)):
        similarity = METHODS[name]()
        assert select(similarity, similarity.describe(slices), 4, Rule(LEADER, threshold)).kept == (0, 3)


def test_all_and_every_nth():
    rule = Rule(threshold=1.0)
    assert select(AllSlices(), None, 7, rule).kept == tuple(range(7))
    assert select(EveryNth(3), None, 8, rule).kept == (0, 3, 6)
    assert [(r.place, r.kept) for r in select(EveryNth(3), None, 5, rule).removed] == [(1, 0), (2, 0), (4, 3)]
    assert select(EveryNth(10), None, 1, rule).kept == (0,)
    with pytest.raises(UsageError, match="--every is 0"):
        EveryNth(0)


@pytest.mark.parametrize(
    "name, rule, message",
    [
        ("hash", Rule(threshold=-1), "whole number from 0 to 64"),
        ("hash", Rule(threshold=65), "whole number from 0 to 64"),
        ("hash", Rule(threshold=6.5), "whole number from 0 to 64"),
        ("hash", Rule(threshold=math.nan), "whole number from 0 to 64"),
        ("hash", Rule(threshold=math.inf), "whole number from 0 to 64"),
        ("ssim", Rule(threshold=1.01), "a number from -1 to 1"),
        ("ssim", Rule(), "needs --threshold"),
        ("mi", Rule(threshold=0.9), "a number from 1 to 2"),
        ("mi", Rule(threshold=math.nan), "a number from 1 to 2"),
        ("hash", Rule(PAIRWISE, share=0.0), "above 0 and up to 1"),
        ("hash", Rule(PAIRWISE, share=1.1), "above 0 and up to 1"),
        ("hash", Rule(PAIRWISE, share=math.nan), "above 0 and up to 1"),
        ("hash", Rule(PAIRWISE, 6, 0.1), "one of them"),
        ("hash", Rule(LEADER, share=0.1), "goes by pairs"),
        ("all", Rule(threshold=3), "goes by position"),
        ("every-n", Rule(PAIRWISE, share=0.1), "goes by position"),
    ],
)
def test_rules_that_are_refused(name, rule, message):
    with pytest.raises(UsageError, match=message):
        check_rule(name, METHODS[name](), rule)


def test_thresholds_of_their_own():
    assert check_rule("hash", DifferenceHash(), Rule()).threshold == 6.0
    assert check_rule("hash", DifferenceHash(), Rule(PAIRWISE, share=0.1)) == Rule(PAIRWISE, share=0.1)
