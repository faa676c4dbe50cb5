"""How much an entry of a kernel matters: the lowest scores are pruned.

Kernels are [stack, outputs, inputs].

References:
    Sun et al., A Simple and Effective Pruning Approach for Large Language Models (Wanda, 2024).
    Sanh et al., Movement Pruning (2020).
"""

import zlib

import numpy as np

__all__ = ["magnitude", "movement", "random", "wanda"]


def magnitude(rows: np.ndarray) -> np.ndarray:
    """Return |w|.

    >>> magnitude(np.array([[[3.0, -4.0]]]))
    array([[[3., 4.]]])
    """
    return np.abs(_wide(rows))


def wanda(rows: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return |w| times the L2 norm of its input.

    Args:
        rows: the kernel.
        squares: [stack, inputs], of each input the sum of its squares over tokens; or their mean,
            which changes no order.

    >>> wanda(np.array([[[3.0, -4.0]]]), np.array([[4.0, 1.0]]))
    array([[[6., 4.]]])
    """
    return np.abs(_wide(rows)) * np.sqrt(squares)[:, None, :]


def movement(rows: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return -w times its gradient: high where training moves a weight away from zero.

    Args:
        rows: the kernel.
        gradients: of the loss, [stack, outputs, inputs]; summed over steps, or of one.
    """
    return -_wide(rows) * gradients


def random(rows: np.ndarray, name: str, seed: int) -> np.ndarray:
    """Return a random number for each entry, which the tensor's name and the seed decide."""
    generator = np.random.Generator(np.random.Philox([seed, zlib.crc32(name.encode())]))
    return generator.random(rows.shape, np.float32)


def _wide(rows: np.ndarray) -> np.ndarray:
    return rows if rows.dtype == np.float64 else rows.astype(np.float32)
