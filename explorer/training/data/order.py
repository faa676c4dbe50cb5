"""Permutations that are computed, not stored.

Where an example goes follows from (seed, epoch, position) alone, so that two numbers resume
a run in the middle of an epoch, over any amount of data.
"""

from functools import lru_cache

import numpy as np

from explorer.errors import InputError

__all__ = ["permute"]

_ROUNDS = 6


def permute(positions: np.ndarray, size: int, seed: int, epoch: int) -> np.ndarray:
    """Return the numbers at these positions of an epoch's permutation of range(size).

    A Feistel network over the next power of four, keyed by (seed, epoch), walked on where
    it leaves the range: a bijection whatever its rounds do, with no table.

    Raises:
        InputError: the range is empty, where a walk would never end.

    References:
        Black and Rogaway, "Ciphers with arbitrary finite domains", 2002.

    >>> permute(np.arange(5), 5, seed=0, epoch=0).tolist()
    [1, 4, 3, 2, 0]
    """
    if size < 1:
        raise InputError(
            "order", found=f"of {size} examples", expected="at least one example"
        )
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    keys = _keys(seed, epoch)
    numbers = np.array(positions, np.uint64, ndmin=1)
    walking = np.arange(numbers.size)
    while walking.size:
        numbers[walking] = _encipher(numbers[walking], half, keys)
        walking = walking[numbers[walking] >= size]
    return numbers.astype(np.int64)


@lru_cache(maxsize=8)
def _keys(seed: int, epoch: int) -> np.ndarray:
    return np.random.SeedSequence([seed, epoch]).generate_state(_ROUNDS, np.uint64)


def _encipher(numbers: np.ndarray, half: np.uint64, keys: np.ndarray) -> np.ndarray:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = numbers >> half, numbers & mask
    for key in keys:
        left, right = right, left ^ (_mix(right + key) & mask)
    return (left << half) | right


def _mix(x: np.ndarray) -> np.ndarray:
    """Return SplitMix64's finaliser: every bit of the input moves every bit of the output."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
