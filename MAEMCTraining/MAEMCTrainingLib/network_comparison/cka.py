"""How alike two networks' layers arrange the same cases: linear centered kernel alignment (CKA), from minibatches.

Kornblith et al. 2019 (arXiv:1905.00414) compare two layers by the Hilbert-Schmidt independence criterion (HSIC) of
their Gram matrices K = X X^T and L = Y Y^T: CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)). Its usual estimate,
tr(K H L H) / (n - 1)^2, is biased: of few cases and many features it comes out high for layers that have nothing in
common. Nguyen et al. 2021 (arXiv:2010.15327, equations 2 and 3) take the unbiased estimate of Song et al. 2012 (JMLR
13:1393-1434, equation 5), whose mean over minibatches expects the same value whatever their size.
"""

from collections.abc import Iterable

import numpy as np
from MAEMCLib.errors import InputError

FEWEST_CASES = 4
"""The unbiased estimate divides by n - 3."""


def u_centered(gram: np.ndarray) -> np.ndarray:
    """(..., n, n) symmetric -> the same with a diagonal of 0 and rows and columns that sum to 0.

    Of two matrices so centered, the sum of the products over n (n - 3) is Song's estimate of their HSIC (Szekely and
    Rizzo, Annals of Statistics 2014;42:2382-2412, definition 2). Raises InputError for fewer than ``FEWEST_CASES``.
    """
    n = gram.shape[-1]
    if n < FEWEST_CASES:
        raise InputError(f"The unbiased HSIC needs at least {FEWEST_CASES} cases, and there are {n}.", "too-few-cases")
    off = np.array(gram, dtype=np.float64)
    diagonal = np.arange(n)
    off[..., diagonal, diagonal] = 0.0
    means = off.sum(axis=-1) / (n - 2)
    means -= means.sum(axis=-1, keepdims=True) / (2 * (n - 1))
    off -= means[..., :, None] + means[..., None, :]
    off[..., diagonal, diagonal] = 0.0
    return off


def minibatch_cka(minibatches: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(layers of one network, layers of another): CKA of each pair, at most 1; NaN for a layer that says the same of
    all cases. minibatches: of each the Gram matrices of the same n cases, (layers, n, n) of either network.
    """
    between = first = second = np.zeros(())
    for grams in minibatches:
        n = grams[0].shape[-1]
        one, two = (u_centered(part).reshape(len(part), -1) / np.sqrt(n * (n - 3)) for part in grams)
        between = between + one @ two.T
        first = first + (one**2).sum(axis=1)
        second = second + (two**2).sum(axis=1)
    scale = np.sqrt(np.outer(first, second))
    return np.divide(between, scale, out=np.full(scale.shape, np.nan), where=scale > 0)
